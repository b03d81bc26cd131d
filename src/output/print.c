// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/print.h"

#include <endian.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/output/text.h"

/* The columns in which left-aligned cells begin, and after which right-aligned ones end. */
enum {
    LASTED_END = 30,
    PROTOCOL = 31,
    FROM = 37,
    ARROW = 59,
    TO = 62,
    TO_END = 83, /* an IPv4 address with its port has 21 octets */
    PACKETS_END = 89,
    OCTETS_END = 97,
    REPLY_PACKETS_END = 104,
    REPLY_OCTETS_END = 112,
    END_REASON = 113,
    NAT = 121,
};

/* Goes to a column, or one space on when the text is already there. */
static char *go_to(const char *line, char *at, size_t column)
{
    do
        *at++ = ' ';
    while (at < line + column);
    return at;
}

/* One cell of a right-aligned column: the text from cell up to end. */
static char *put_right(const char *line, char *at, size_t column_end, const char *cell, const char *end)
{
    size_t length = (size_t)(end - cell);
    return mempcpy(go_to(line, at, column_end - length), cell, length);
}

static char *put_word(const char *line, char *at, size_t column, const char *word)
{
    return stpcpy(go_to(line, at, column), word);
}

static char *put_time(char *at, uint64_t time_ns)
{
    struct tm time;
    localtime_r(&(time_t){(time_t)(time_ns / NS_PER_S)}, &time);
    at = text_date_time(at, &time, ' ');
    *at++ = '.';
    return text_digits(at, time_ns / NS_PER_MS, 3);
}

/* In two units: 0.12s, 59.99s, 12m34s, 23h59m, 9d23h. */
static char *put_duration(char *at, uint64_t duration_ns)
{
    static const struct {
        uint64_t unit_ns, part_ns;
        char unit, part;
    } steps[] = {
        {86400 * NS_PER_S, 3600 * NS_PER_S, 'd', 'h'},
        {3600 * NS_PER_S, 60 * NS_PER_S, 'h', 'm'},
        {60 * NS_PER_S, NS_PER_S, 'm', 's'},
        {NS_PER_S, 10 * NS_PER_MS, '.', 's'},
    };
    size_t i = 0;
    while (i < 3 && duration_ns < steps[i].unit_ns)
        i++;
    at = text_number(at, duration_ns / steps[i].unit_ns);
    *at++ = steps[i].unit;
    at = text_digits(at, duration_ns % steps[i].unit_ns / steps[i].part_ns, 2);
    *at++ = steps[i].part;
    return at;
}

static char *put_lasted(const char *line, char *at, const struct flow *flow)
{
    char cell[24] = "-";
    char *end = cell + 1;
    if (flow_has(flow, FLOW_HAS_START))
        end = put_duration(cell, flow->stop_ns > flow->start_ns ? flow->stop_ns - flow->start_ns : 0);
    return put_right(line, at, LASTED_END, cell, end);
}

static char *put_protocol(char *at, uint8_t protocol)
{
    const char *name = text_protocol(protocol);
    return name != NULL ? stpcpy(at, name) : text_number(at, protocol);
}

/* ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. */
static char *put_end(char *at, const struct flow *flow, const union flow_address *address, be16 port)
{
    if (!text_has_ports(flow))
        return text_address(at, flow, address);
    if (flow->family == AF_INET6)
        *at++ = '[';
    at = text_address(at, flow, address);
    if (flow->family == AF_INET6)
        *at++ = ']';
    *at++ = ':';
    return text_number(at, be16toh(port));
}

/* What an ICMP request asked for: ECHO_REQUEST is type 8 of ICMP (RFC 792), 128 of ICMPv6 (RFC 4443). */
static char *put_icmp(char *at, const struct flow *flow)
{
    const struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    *at++ = ' ';
    if (tuple->icmp_type == (flow->family == AF_INET ? 8 : 128) && tuple->icmp_code == 0)
        return stpcpy(at, "echo");
    at = text_number(at, tuple->icmp_type);
    *at++ = '/';
    return text_number(at, tuple->icmp_code);
}

/* Five octets at most: 99999, 123k, 1.23M, 12.3M. The space, if any, goes before the unit. */
static char *put_scaled(char *at, uint64_t number, const char *space, const char *base_unit)
{
    static const char prefixes[] = "kMGTPE";
    const char *prefix = prefixes;
    uint64_t scale = 1000;

    if (number < 100000)
        return stpcpy(stpcpy(text_number(at, number), space), base_unit);
    for (; number / scale >= 1000; scale *= 1000)
        prefix++;
    at = text_number(at, number / scale);
    if (number / scale < 10)
        at = text_digits(stpcpy(at, "."), number / (scale / 100), 2);
    else if (number / scale < 100)
        at = text_digits(stpcpy(at, "."), number / (scale / 10), 1);
    at = stpcpy(at, space);
    *at++ = *prefix;
    return stpcpy(at, base_unit);
}

static char *put_counters(const char *line, char *at, const struct flow *flow, enum flow_direction direction,
                          size_t packets_end, size_t octets_end)
{
    char packets[16] = "-", octets[16] = "-";
    char *after_packets = packets + 1, *after_octets = octets + 1;
    bool is_known = direction == FLOW_ORIGINAL || flow->kind != FLOW_PACKETS;
    if (is_known && flow_has(flow, FLOW_HAS_COUNTERS)) {
        after_packets = put_scaled(packets, flow->packets[direction], "", "");
        after_octets = put_scaled(octets, flow->octets[direction], " ", "B");
    }
    at = put_right(line, at, packets_end, packets, after_packets);
    return put_right(line, at, octets_end, octets, after_octets);
}

static const char *end_word(uint8_t end_reason)
{
    static const char *const words[] = {
        [FLOW_END_IDLE_TIMEOUT] = "idle",      [FLOW_END_ACTIVE_TIMEOUT] = "active",
        [FLOW_END_DETECTED] = "closed",        [FLOW_END_FORCED] = "forced",
        [FLOW_END_LACK_OF_RESOURCES] = "lack",
    };
    bool known = end_reason > 0 && end_reason < sizeof(words) / sizeof(words[0]);
    return known ? words[end_reason] : "-";
}

/* The other side's name for an end, where a translation changed it. */
static char *put_nat(const char *line, char *at, const struct flow *flow)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL];
    const struct flow_tuple *reply = &flow->tuple[FLOW_REPLY];

    if (memcmp(&original->src, &reply->dst, sizeof(reply->dst)) != 0 || original->src_port != reply->dst_port)
        at = put_end(put_word(line, at, NAT, "snat "), flow, &reply->dst, reply->dst_port);
    if (memcmp(&original->dst, &reply->src, sizeof(reply->src)) != 0 || original->dst_port != reply->src_port)
        at = put_end(put_word(line, at, NAT, "dnat "), flow, &reply->src, reply->src_port);
    return at;
}

static char *put_interface(char *at, const struct interface_names *names, uint32_t number)
{
    const struct interface_name *name = interface_names_find(names, number);
    return name ? stpcpy(at, name->name) : text_number(at, number);
}

static char *put_interfaces(char *at, const struct interface_names *names, uint32_t in, uint32_t out)
{
    at = put_interface(at, names, in);
    *at++ = '>';
    return put_interface(at, names, out);
}

/* The way back is told where it is another one than the way there. */
static char *put_ways(const char *line, char *at, const struct flow *flow,
                      const struct interface_names *names)
{
    uint32_t in, out, back_in, back_out;
    if (!flow_interfaces(flow, FLOW_ORIGINAL, &in, &out))
        return at;
    at = put_interfaces(put_word(line, at, NAT, "via "), names, in, out);
    flow_interfaces(flow, FLOW_REPLY, &back_in, &back_out);
    if (back_in != out || back_out != in)
        at = put_interfaces(put_word(line, at, NAT, "back "), names, back_in, back_out);
    return at;
}

/* As nft and ip show it. */
static char *put_mark(char *at, uint32_t mark)
{
    return at + sprintf(at, "mark 0x%" PRIx32, mark);
}

/* A named counter: where it is kept stands for the protocol, its name for the ends. */
static size_t print_counter(char *line, const struct flow *flow)
{
    const char *base = line;
    char *at = put_time(line, flow->stop_ns);
    at = put_lasted(base, at, flow);
    at = put_word(base, at, PROTOCOL, text_source(flow->counter.source));
    at = put_word(base, at, FROM, flow->counter.name);
    if (at > base + TO_END)
        base = at - TO_END;
    at = put_counters(base, at, flow, FLOW_ORIGINAL, PACKETS_END, OCTETS_END);
    *at++ = '\n';
    return (size_t)(at - line);
}

size_t print_flow(char *line, const struct flow *flow, const struct interface_names *names)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL];
    const char *base = line; /* what columns are counted from */

    if (flow->kind == FLOW_COUNTER)
        return print_counter(line, flow);
    char *at = put_time(line, flow->stop_ns);
    at = put_lasted(base, at, flow);
    at = put_protocol(go_to(base, at, PROTOCOL), flow->protocol);
    at = put_end(go_to(base, at, FROM), flow, &original->src, original->src_port);
    at = put_word(base, at, ARROW, "->");
    at = put_end(go_to(base, at, TO), flow, &original->dst, original->dst_port);
    if (flow_is_icmp(flow))
        at = put_icmp(at, flow);
    /* Long ends move the rest of the line as a whole, so that its columns keep their widths. */
    if (at > base + TO_END)
        base = at - TO_END;
    at = put_counters(base, at, flow, FLOW_ORIGINAL, PACKETS_END, OCTETS_END);
    at = put_counters(base, at, flow, FLOW_REPLY, REPLY_PACKETS_END, REPLY_OCTETS_END);
    at = put_word(base, at, END_REASON, end_word(flow->end_reason));
    at = put_ways(base, at, flow, names);
    at = put_nat(base, at, flow);
    if (flow->mark != 0)
        at = put_mark(go_to(base, at, NAT), flow->mark);
    if (flow_zone(flow) != 0)
        at = text_number(put_word(base, at, NAT, "zone "), flow_zone(flow));
    *at++ = '\n';
    return (size_t)(at - line);
}

size_t print_heading(char *line)
{
    static const struct {
        size_t column;
        const char *name;
    } names[] = {
        {LASTED_END - 6, "LASTED"},
        {PROTOCOL, "PROTO"},
        {FROM, "FROM"},
        {TO, "TO"},
        {PACKETS_END - 6, "->PKTS"},
        {OCTETS_END - 6, "OCTETS"},
        {REPLY_PACKETS_END - 6, "<-PKTS"},
        {REPLY_OCTETS_END - 6, "OCTETS"},
        {END_REASON, "END"},
        {NAT, "NAT"},
    };
    char *at = stpcpy(line, "ENDED");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        at = put_word(line, at, names[i].column, names[i].name);
    *at++ = '\n';
    return (size_t)(at - line);
}
