// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/json.h"

#include <endian.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/output/text.h"

/* Writes one value, of which member is the place in *flow; NULL = the flow has none. */
typedef char *put_value(char *at, const struct flow *flow, const void *member);

static char *put_u8(char *at, const struct flow *flow, const void *member)
{
    (void)flow;
    return text_number(at, *(const uint8_t *)member);
}

static char *put_u32(char *at, const struct flow *flow, const void *member)
{
    (void)flow;
    return text_number(at, *(const uint32_t *)member);
}

static char *put_u64(char *at, const struct flow *flow, const void *member)
{
    (void)flow;
    return text_number(at, *(const uint64_t *)member);
}

static char *put_string(char *at, const char *string)
{
    if (string == NULL)
        return NULL;
    *at++ = '"';
    at = stpcpy(at, string);
    *at++ = '"';
    return at;
}

static char *put_bool(char *at, bool value)
{
    return stpcpy(at, value ? "true" : "false");
}

static char *put_true(char *at, const struct flow *flow, const void *member)
{
    (void)flow, (void)member;
    return put_bool(at, true);
}

static char *put_kind(char *at, const struct flow *flow, const void *member)
{
    (void)flow, (void)member;
    return put_string(at, "packets");
}

static char *put_u16(char *at, const struct flow *flow, const void *member)
{
    (void)flow;
    return text_number(at, *(const uint16_t *)member);
}

/* As ip link shows it. */
static char *put_mac(char *at, const struct flow *flow, const void *member)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *octets = member;
    (void)flow;
    *at++ = '"';
    for (unsigned i = 0; i < 6; i++) {
        *at++ = digits[octets[i] >> 4];
        *at++ = digits[octets[i] & 0xf];
        *at++ = i < 5 ? ':' : '"';
    }
    return at;
}

static char *put_time(char *at, const struct flow *flow, const void *member)
{
    uint64_t time_ns = *(const uint64_t *)member;
    struct tm time;
    (void)flow;
    gmtime_r(&(time_t){(time_t)(time_ns / NS_PER_S)}, &time);
    *at++ = '"';
    at = text_date_time(at, &time, 'T');
    *at++ = '.';
    at = text_digits(at, time_ns, 9);
    return stpcpy(at, "Z\"");
}

static char *put_duration(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return text_number(at, flow->stop_ns > flow->start_ns ? flow->stop_ns - flow->start_ns : 0);
}

static char *put_ip_version(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return text_number(at, flow->family == AF_INET ? 4 : 6);
}

static char *put_protocol_name(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return put_string(at, text_protocol(flow->protocol));
}

static char *put_address(char *at, const struct flow *flow, const void *member)
{
    *at++ = '"';
    at = text_address(at, flow, member);
    *at++ = '"';
    return at;
}

static char *put_port(char *at, const struct flow *flow, const void *member)
{
    return text_has_ports(flow) ? text_number(at, be16toh(*(const be16 *)member)) : NULL;
}

static char *put_icmp_u8(char *at, const struct flow *flow, const void *member)
{
    return flow_is_icmp(flow) ? text_number(at, *(const uint8_t *)member) : NULL;
}

static char *put_icmp_id(char *at, const struct flow *flow, const void *member)
{
    return flow_is_icmp(flow) ? text_number(at, be16toh(*(const be16 *)member)) : NULL;
}

static char *put_translated(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return put_bool(at, flow_is_translated(flow));
}

static char *put_requested(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return put_bool(at, flow_has(flow, FLOW_REQUESTED));
}

static char *put_zone(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return text_number(at, flow_zone_of_both(flow));
}

/* The zone of one direction, which few flows have. */
static char *put_own_zone(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return text_number(at, flow->zone);
}

static char *put_end_reason_name(char *at, const struct flow *flow, const void *member)
{
    static const char *const names[UINT8_MAX + 1] = {
        [FLOW_END_UNKNOWN] = "unknown",
        [FLOW_END_IDLE_TIMEOUT] = "idle_timeout",
        [FLOW_END_ACTIVE_TIMEOUT] = "active_timeout",
        [FLOW_END_DETECTED] = "end_detected",
        [FLOW_END_FORCED] = "forced_end",
        [FLOW_END_LACK_OF_RESOURCES] = "lack_of_resources",
    };
    (void)member;
    return put_string(at, names[flow->end_reason]);
}

static char *put_tcp_state_name(char *at, const struct flow *flow, const void *member)
{
    static const char *const names[UINT8_MAX + 1] = {
        [TCP_CONNTRACK_NONE] = "none",         [TCP_CONNTRACK_SYN_SENT] = "syn_sent",
        [TCP_CONNTRACK_SYN_RECV] = "syn_recv", [TCP_CONNTRACK_ESTABLISHED] = "established",
        [TCP_CONNTRACK_FIN_WAIT] = "fin_wait", [TCP_CONNTRACK_CLOSE_WAIT] = "close_wait",
        [TCP_CONNTRACK_LAST_ACK] = "last_ack", [TCP_CONNTRACK_TIME_WAIT] = "time_wait",
        [TCP_CONNTRACK_CLOSE] = "close",       [TCP_CONNTRACK_SYN_SENT2] = "syn_sent2",
    };
    (void)member;
    return put_string(at, names[flow->tcp_state]);
}

/* A name, which may have any printable character. */
static char *put_quoted(char *at, const char *name)
{
    *at++ = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\')
            *at++ = '\\';
        *at++ = *name;
    }
    *at++ = '"';
    return at;
}

static char *put_counter_kind(char *at, const struct flow *flow, const void *member)
{
    (void)flow, (void)member;
    return put_string(at, "counter");
}

static char *put_source(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return put_string(at, text_source(flow->counter.source));
}

static char *put_counter_name(char *at, const struct flow *flow, const void *member)
{
    (void)member;
    return put_quoted(at, flow->counter.name);
}

/* An interface's name. */
static char *put_name(char *at, const struct interface_names *names, uint32_t number)
{
    const struct interface_name *name = interface_names_find(names, number);
    return name ? put_quoted(at, name->name) : NULL;
}

#define AT(member) offsetof(struct flow, member)

/* What the flow is of, beside the bits of enum flow_has. */
#define OF_CONNECTION (1U << 30)
#define OF_PACKETS    (1U << 31)

/* A key of a line. */
struct key {
    const char *name;
    put_value *put; /* NULL: the name of the interface that member is the number of */
    size_t offset;  /* of the member; 0 where put looks at the whole flow */
    unsigned has;   /* what it takes: of enum flow_has, or of the two above */
};

/* Every key of flows, in the order of the line. */
static const struct key keys[] = {
    {"kind", put_kind, 0, OF_PACKETS},
    {"start", put_time, AT(start_ns), FLOW_HAS_START},
    {"stop", put_time, AT(stop_ns), 0},
    {"duration_ns", put_duration, 0, FLOW_HAS_START},
    {"ip_version", put_ip_version, 0, 0},
    {"protocol", put_u8, AT(protocol), 0},
    {"protocol_name", put_protocol_name, 0, 0},
    {"src_address", put_address, AT(tuple[FLOW_ORIGINAL].src), 0},
    {"dst_address", put_address, AT(tuple[FLOW_ORIGINAL].dst), 0},
    {"src_port", put_port, AT(tuple[FLOW_ORIGINAL].src_port), 0},
    {"dst_port", put_port, AT(tuple[FLOW_ORIGINAL].dst_port), 0},
    {"icmp_type", put_icmp_u8, AT(tuple[FLOW_ORIGINAL].icmp_type), 0},
    {"icmp_code", put_icmp_u8, AT(tuple[FLOW_ORIGINAL].icmp_code), 0},
    {"icmp_id", put_icmp_id, AT(tuple[FLOW_ORIGINAL].icmp_id), OF_CONNECTION},
    {"packets", put_u64, AT(packets[FLOW_ORIGINAL]), FLOW_HAS_COUNTERS},
    {"octets", put_u64, AT(octets[FLOW_ORIGINAL]), FLOW_HAS_COUNTERS},
    {"in_interface", put_u32, AT(in_interface[FLOW_ORIGINAL]), FLOW_HAS_INTERFACES << FLOW_ORIGINAL},
    {"in_interface_name", NULL, AT(in_interface[FLOW_ORIGINAL]), FLOW_HAS_INTERFACES << FLOW_ORIGINAL},
    {"out_interface", put_u32, AT(out_interface[FLOW_ORIGINAL]), FLOW_HAS_INTERFACES << FLOW_ORIGINAL},
    {"out_interface_name", NULL, AT(out_interface[FLOW_ORIGINAL]), FLOW_HAS_INTERFACES << FLOW_ORIGINAL},
    {"egress", put_true, 0, OF_PACKETS | FLOW_EGRESS << FLOW_ORIGINAL},
    {"tos", put_u8, AT(tos[FLOW_ORIGINAL]), FLOW_HAS_TOS << FLOW_ORIGINAL},
    {"tcp_flags", put_u8, AT(tcp_flags[FLOW_ORIGINAL]), FLOW_HAS_TCP_FLAGS << FLOW_ORIGINAL},
    {"ttl_min", put_u8, AT(ttl.min), OF_PACKETS | FLOW_HAS_TTL},
    {"ttl_max", put_u8, AT(ttl.max), OF_PACKETS | FLOW_HAS_TTL},
    {"vlan", put_u16, AT(vlan[FLOW_ORIGINAL]), FLOW_HAS_VLAN << FLOW_ORIGINAL},
    {"src_mac", put_mac, AT(link_source[FLOW_ORIGINAL]), FLOW_HAS_LINK_SOURCE << FLOW_ORIGINAL},
    {"dst_mac", put_mac, AT(link_source[FLOW_REPLY]), OF_PACKETS | FLOW_HAS_LINK_SOURCE << FLOW_REPLY},
    {"reply_src_address", put_address, AT(tuple[FLOW_REPLY].src), OF_CONNECTION},
    {"reply_dst_address", put_address, AT(tuple[FLOW_REPLY].dst), OF_CONNECTION},
    {"reply_src_port", put_port, AT(tuple[FLOW_REPLY].src_port), OF_CONNECTION},
    {"reply_dst_port", put_port, AT(tuple[FLOW_REPLY].dst_port), OF_CONNECTION},
    {"reply_icmp_type", put_icmp_u8, AT(tuple[FLOW_REPLY].icmp_type), OF_CONNECTION},
    {"reply_icmp_code", put_icmp_u8, AT(tuple[FLOW_REPLY].icmp_code), OF_CONNECTION},
    {"reply_icmp_id", put_icmp_id, AT(tuple[FLOW_REPLY].icmp_id), OF_CONNECTION},
    {"reply_packets", put_u64, AT(packets[FLOW_REPLY]), OF_CONNECTION | FLOW_HAS_COUNTERS},
    {"reply_octets", put_u64, AT(octets[FLOW_REPLY]), OF_CONNECTION | FLOW_HAS_COUNTERS},
    {"reply_in_interface", put_u32, AT(in_interface[FLOW_REPLY]), FLOW_HAS_INTERFACES << FLOW_REPLY},
    {"reply_in_interface_name", NULL, AT(in_interface[FLOW_REPLY]), FLOW_HAS_INTERFACES << FLOW_REPLY},
    {"reply_out_interface", put_u32, AT(out_interface[FLOW_REPLY]), FLOW_HAS_INTERFACES << FLOW_REPLY},
    {"reply_out_interface_name", NULL, AT(out_interface[FLOW_REPLY]), FLOW_HAS_INTERFACES << FLOW_REPLY},
    {"translated", put_translated, 0, OF_CONNECTION},
    {"end_reason", put_u8, AT(end_reason), 0},
    {"end_reason_name", put_end_reason_name, 0, 0},
    {"tcp_state", put_u8, AT(tcp_state), FLOW_HAS_TCP_STATE},
    {"tcp_state_name", put_tcp_state_name, 0, FLOW_HAS_TCP_STATE},
    {"status", put_u32, AT(status), FLOW_HAS_STATUS},
    {"timeout_s", put_u32, AT(timeout_s), FLOW_HAS_TIMEOUT},
    {"requested", put_requested, 0, OF_CONNECTION},
    {"mark", put_u32, AT(mark), OF_CONNECTION},
    {"zone", put_zone, 0, OF_CONNECTION},
    {"original_zone", put_own_zone, 0, FLOW_ZONE_OF_ONE << FLOW_ORIGINAL},
    {"reply_zone", put_own_zone, 0, FLOW_ZONE_OF_ONE << FLOW_REPLY},
    {"id", put_u32, AT(id), OF_CONNECTION},
};

/* Those of named counters. */
static const struct key counter_keys[] = {
    {"kind", put_counter_kind, 0, 0},
    {"source", put_source, AT(counter.source), 0},
    {"name", put_counter_name, AT(counter.name), 0},
    {"number", put_u32, AT(id), 0},
    {"start", put_time, AT(start_ns), 0},
    {"stop", put_time, AT(stop_ns), 0},
    {"duration_ns", put_duration, 0, 0},
    {"packets", put_u64, AT(packets[FLOW_ORIGINAL]), 0},
    {"octets", put_u64, AT(octets[FLOW_ORIGINAL]), 0},
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]), COUNTER_KEYS = sizeof(counter_keys) / sizeof(counter_keys[0]) };

size_t json_flow(char *line, const struct flow *flow, const struct interface_names *names)
{
    unsigned has = (flow->has & ~(OF_CONNECTION | OF_PACKETS)) |
                   (flow->kind == FLOW_PACKETS ? OF_PACKETS : OF_CONNECTION);
    bool is_counter = flow->kind == FLOW_COUNTER;
    const struct key *key = is_counter ? counter_keys : keys;
    const struct key *end = key + (is_counter ? COUNTER_KEYS : KEYS);
    char *at = line;
    for (; key < end; key++) {
        if ((has & key->has) != key->has)
            continue;
        char *value = stpcpy(at, at == line ? "{\"" : ",\"");
        value = stpcpy(stpcpy(value, key->name), "\":");
        const void *member = (const char *)flow + key->offset;
        value = key->put ? key->put(value, flow, member) : put_name(value, names, *(const uint32_t *)member);
        if (value != NULL)
            at = value;
    }
    at = stpcpy(at, "}\n");
    return (size_t)(at - line);
}

const char *json_key(size_t number)
{
    if (number < KEYS)
        return keys[number].name;
    return number < KEYS + COUNTER_KEYS ? counter_keys[number - KEYS].name : NULL;
}
