/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_decode.h"

#include <arpa/inet.h>
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "run_suite.h"

enum spoil { NOTHING, LEAVE_OUT, LENGTHEN, SHORTEN };

/*
 * A message being built. Its leaves (attributes with a value) are counted, and one of them can be left out
 * or put in with another length than it should have.
 */
struct sample {
    alignas(struct nlmsghdr) uint8_t buffer[1024];
    struct nlmsghdr *message;
    int leaves;
    int chosen; /* the leaf to spoil */
    enum spoil spoil;
    bool chosen_is_required;
};

static void put(struct sample *sample, uint16_t type, const void *value, size_t octets, bool required)
{
    uint8_t longer[32] = {0};

    memcpy(longer, value, octets);
    if (sample->leaves++ == sample->chosen && sample->spoil != NOTHING) {
        sample->chosen_is_required = required;
        if (sample->spoil == LEAVE_OUT)
            return;
        octets = sample->spoil == LENGTHEN ? octets + 1 : octets - 1;
    }
    mnl_attr_put(sample->message, type, octets, longer);
}

static void put_u8(struct sample *sample, uint16_t type, uint8_t value)
{
    put(sample, type, &value, sizeof(value), false);
}

static void put_u16(struct sample *sample, uint16_t type, uint16_t value)
{
    put(sample, type, &(be16){htobe16(value)}, sizeof(be16), false);
}

static void put_u32(struct sample *sample, uint16_t type, uint32_t value)
{
    put(sample, type, &(be32){htobe32(value)}, sizeof(be32), false);
}

static void put_u64(struct sample *sample, uint16_t type, uint64_t value)
{
    put(sample, type, &(be64){htobe64(value)}, sizeof(be64), false);
}

/* 10.0.0.host or fd00::host */
static union flow_address address_of(uint8_t family, uint8_t host)
{
    union flow_address address = {.v6 = {0}};
    if (family == AF_INET) {
        address.v4 = htobe32(0x0a000000u | host);
    } else {
        address.v6[0] = 0xfd;
        address.v6[15] = host;
    }
    return address;
}

static void put_ip(struct sample *sample, uint8_t family, uint8_t src, uint8_t dst)
{
    const bool ipv4 = family == AF_INET;
    const size_t octets = ipv4 ? 4 : 16;
    struct nlattr *nest = mnl_attr_nest_start(sample->message, CTA_TUPLE_IP);
    const union flow_address addresses[] = {address_of(family, src), address_of(family, dst)};

    put(sample, ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, &addresses[0], octets, true);
    put(sample, ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, &addresses[1], octets, true);
    mnl_attr_nest_end(sample->message, nest);
}

static struct nlattr *begin_protocol(struct sample *sample, uint8_t protocol)
{
    struct nlattr *nest = mnl_attr_nest_start(sample->message, CTA_TUPLE_PROTO);
    put(sample, CTA_PROTO_NUM, &protocol, sizeof(protocol), true);
    return nest;
}

static void begin(struct sample *sample, uint16_t message_type, uint8_t family, uint32_t port_id)
{
    sample->message = mnl_nlmsg_put_header(sample->buffer);
    struct nfgenmsg *header = mnl_nlmsg_put_extra_header(sample->message, sizeof(*header));
    sample->message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | message_type);
    sample->message->nlmsg_pid = port_id;
    header->nfgen_family = family;
}

/* Both tuples without a zone; ports[] are the source's and the destination's in the original direction. */
static void put_tuples_with_ports(struct sample *sample, uint8_t family, uint8_t protocol,
                                  const uint16_t ports[2])
{
    for (int reply = 0; reply < 2; reply++) {
        struct nlattr *tuple = mnl_attr_nest_start(sample->message, reply ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
        put_ip(sample, family, reply ? 2 : 1, reply ? 1 : 2);
        struct nlattr *nest = begin_protocol(sample, protocol);
        put_u16(sample, CTA_PROTO_SRC_PORT, ports[reply]);
        put_u16(sample, CTA_PROTO_DST_PORT, ports[!reply]);
        mnl_attr_nest_end(sample->message, nest);
        mnl_attr_nest_end(sample->message, tuple);
    }
}

/* Both tuples of a ping, one with a zone: IPv4 the original, IPv6 the reply. request is its type, the
 * answer's is reply. */
static void put_tuples_of_ping(struct sample *sample, uint8_t family, uint8_t request, uint8_t reply)
{
    const bool ipv4 = family == AF_INET;

    for (int answer = 0; answer < 2; answer++) {
        struct nlattr *tuple =
            mnl_attr_nest_start(sample->message, answer ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
        put_ip(sample, family, answer ? 2 : 1, answer ? 1 : 2);
        struct nlattr *nest = begin_protocol(sample, ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
        put_u16(sample, ipv4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, 0x1234);
        put_u8(sample, ipv4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, answer ? reply : request);
        put_u8(sample, ipv4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, answer ? 6 : 5);
        mnl_attr_nest_end(sample->message, nest);
        if (ipv4 == !answer)
            put_u16(sample, CTA_TUPLE_ZONE, 301);
        mnl_attr_nest_end(sample->message, tuple);
    }
}

static void put_counters(struct sample *sample, uint16_t type, uint64_t packets, uint64_t octets)
{
    struct nlattr *nest = mnl_attr_nest_start(sample->message, type);
    put_u64(sample, CTA_COUNTERS_PACKETS, packets);
    put_u64(sample, CTA_COUNTERS_BYTES, octets);
    mnl_attr_nest_end(sample->message, nest);
}

static void put_counters32(struct sample *sample, uint16_t type, uint32_t packets, uint32_t octets)
{
    struct nlattr *nest = mnl_attr_nest_start(sample->message, type);
    put_u32(sample, CTA_COUNTERS32_PACKETS, packets);
    put_u32(sample, CTA_COUNTERS32_BYTES, octets);
    mnl_attr_nest_end(sample->message, nest);
}

static void put_stamps(struct sample *sample, uint64_t start_ns, uint64_t stop_ns)
{
    struct nlattr *nest = mnl_attr_nest_start(sample->message, CTA_TIMESTAMP);
    put_u64(sample, CTA_TIMESTAMP_START, start_ns);
    put_u64(sample, CTA_TIMESTAMP_STOP, stop_ns);
    mnl_attr_nest_end(sample->message, nest);
}

static const uint16_t ports[2] = {40000, 53};

/* DESTROY of UDP over IPv4, with all that the kernel can tell of it. */
static void build_udp(struct sample *sample)
{
    begin(sample, IPCTNL_MSG_CT_DELETE, AF_INET, 0);
    put_tuples_with_ports(sample, AF_INET, IPPROTO_UDP, ports);
    put_counters(sample, CTA_COUNTERS_ORIG, UINT64_C(0x100000002), UINT64_C(0x300000004));
    put_counters(sample, CTA_COUNTERS_REPLY, 5, 6);
    put_stamps(sample, UINT64_C(1700000000123456789), UINT64_C(1700000030987654321));
    put_u16(sample, CTA_ZONE, 300);
    put_u32(sample, CTA_TIMEOUT, 29);
    put_u32(sample, CTA_MARK, 0x12345678);
    put_u32(sample, CTA_ID, 0x9abcdef0);
    put_u32(sample, CTA_STATUS, 0x18e);
}

static void build_tcp(struct sample *sample)
{
    begin(sample, IPCTNL_MSG_CT_NEW, AF_INET6, 0);
    put_tuples_with_ports(sample, AF_INET6, IPPROTO_TCP, ports);
    struct nlattr *protoinfo = mnl_attr_nest_start(sample->message, CTA_PROTOINFO);
    struct nlattr *tcp = mnl_attr_nest_start(sample->message, CTA_PROTOINFO_TCP);
    put_u8(sample, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_TIME_WAIT);
    mnl_attr_nest_end(sample->message, tcp);
    mnl_attr_nest_end(sample->message, protoinfo);
}

static void build_icmp(struct sample *sample)
{
    begin(sample, IPCTNL_MSG_CT_DELETE, AF_INET, 0);
    put_tuples_of_ping(sample, AF_INET, 8, 0);
    put_counters32(sample, CTA_COUNTERS_ORIG, 1, UINT32_MAX);
}

static void build_icmpv6(struct sample *sample)
{
    begin(sample, IPCTNL_MSG_CT_DELETE, AF_INET6, 0);
    put_tuples_of_ping(sample, AF_INET6, 128, 129);
    put_counters32(sample, CTA_COUNTERS_REPLY, 7, 8);
}

static void (*const builders[])(struct sample *) = {build_udp, build_tcp, build_icmp, build_icmpv6};
enum { BUILDER_COUNT = sizeof(builders) / sizeof(builders[0]) };

/* The message is good until the next one is built. */
static struct sample *build_spoilt(int builder, int chosen, enum spoil spoil)
{
    static struct sample sample;
    sample = (struct sample){.chosen = chosen, .spoil = spoil};
    builders[builder](&sample);
    return &sample;
}

static struct nlmsghdr *build(int builder)
{
    return build_spoilt(builder, 0, NOTHING)->message;
}

static struct ct_decoder *new_decoder(void)
{
    struct ct_decoder *decoder;
    ck_assert_int_eq(ct_decoder_open(&decoder), 0);
    return decoder;
}

/* Decodes a copy that ends where the message says, so that AddressSanitizer sees any octet read after it. */
static int decode_with(struct ct_decoder *decoder, const struct nlmsghdr *message, struct flow *flow)
{
    size_t octets = message->nlmsg_len;
    if (octets < sizeof(*message))
        octets = sizeof(*message);
    struct nlmsghdr *copy = malloc(octets);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, message, octets);
    memset(flow, 0xff, sizeof(*flow));
    const int result = ct_decode(decoder, copy, flow);
    free(copy);
    return result;
}

/* By a decoder that has seen nothing yet. */
static int decode(const struct nlmsghdr *message, struct flow *flow)
{
    struct ct_decoder *decoder = new_decoder();
    const int result = decode_with(decoder, message, flow);
    ct_decoder_close(decoder);
    return result;
}

/* Every member, so that one that the decoder forgets, and leaves as decode() had it, is seen. */
static void assert_same(const struct flow *flow, const struct flow *expected)
{
    for (int i = 0; i < 2; i++) {
        const struct flow_tuple *tuple = &flow->tuple[i], *wanted = &expected->tuple[i];
        ck_assert_mem_eq(&tuple->src, &wanted->src, sizeof(tuple->src));
        ck_assert_mem_eq(&tuple->dst, &wanted->dst, sizeof(tuple->dst));
        ck_assert_uint_eq(be16toh(tuple->src_port), be16toh(wanted->src_port));
        ck_assert_uint_eq(be16toh(tuple->dst_port), be16toh(wanted->dst_port));
        ck_assert_uint_eq(be16toh(tuple->icmp_id), be16toh(wanted->icmp_id));
        ck_assert_uint_eq(tuple->icmp_type, wanted->icmp_type);
        ck_assert_uint_eq(tuple->icmp_code, wanted->icmp_code);
        ck_assert_uint_eq(flow->packets[i], expected->packets[i]);
        ck_assert_uint_eq(flow->octets[i], expected->octets[i]);
    }
    ck_assert_uint_eq(flow->start_ns, expected->start_ns);
    ck_assert_uint_eq(flow->stop_ns, expected->stop_ns);
    ck_assert_uint_eq(flow->status, expected->status);
    ck_assert_uint_eq(flow->mark, expected->mark);
    ck_assert_uint_eq(flow->id, expected->id);
    ck_assert_uint_eq(flow->timeout_s, expected->timeout_s);
    ck_assert_uint_eq(flow->zone, expected->zone);
    ck_assert_uint_eq(flow->family, expected->family);
    ck_assert_uint_eq(flow->protocol, expected->protocol);
    ck_assert_uint_eq(flow->tcp_state, expected->tcp_state);
    ck_assert_uint_eq(flow->end_reason, expected->end_reason);
    ck_assert_uint_eq(flow->has, expected->has);
}

static struct flow expected_flow(uint8_t family, uint8_t protocol)
{
    const union flow_address client = address_of(family, 1), server = address_of(family, 2);
    return (struct flow){.family = family,
                         .protocol = protocol,
                         .tuple = {{.src = client, .dst = server}, {.src = server, .dst = client}}};
}

static struct flow expected_flow_with_ports(uint8_t family, uint8_t protocol)
{
    struct flow flow = expected_flow(family, protocol);
    flow.tuple[0].src_port = flow.tuple[1].dst_port = htobe16(ports[0]);
    flow.tuple[0].dst_port = flow.tuple[1].src_port = htobe16(ports[1]);
    return flow;
}

static void expect_ping(struct flow *flow, uint8_t request, uint8_t reply, enum flow_direction zone)
{
    for (int i = 0; i < 2; i++) {
        flow->tuple[i].icmp_id = htobe16(0x1234);
        flow->tuple[i].icmp_type = i ? reply : request;
        flow->tuple[i].icmp_code = (uint8_t)(5 + i);
    }
    flow->zone = 301;
    flow->has = FLOW_HAS_COUNTERS | (uint32_t)FLOW_ZONE_OF_ONE << zone;
}

static struct flow expected(int builder)
{
    struct flow flow;

    switch (builder) {
    case 0:
        flow = expected_flow_with_ports(AF_INET, IPPROTO_UDP);
        flow.packets[0] = UINT64_C(0x100000002);
        flow.octets[0] = UINT64_C(0x300000004);
        flow.packets[1] = 5;
        flow.octets[1] = 6;
        flow.start_ns = UINT64_C(1700000000123456789);
        flow.stop_ns = UINT64_C(1700000030987654321);
        flow.zone = 300;
        flow.timeout_s = 29;
        flow.mark = 0x12345678;
        flow.id = 0x9abcdef0;
        flow.status = 0x18e;
        flow.has = FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP | FLOW_HAS_TIMEOUT | FLOW_HAS_STATUS;
        break;
    case 1:
        flow = expected_flow_with_ports(AF_INET6, IPPROTO_TCP);
        flow.tcp_state = TCP_CONNTRACK_TIME_WAIT;
        flow.has = FLOW_HAS_TCP_STATE;
        break;
    case 2:
        flow = expected_flow(AF_INET, IPPROTO_ICMP);
        expect_ping(&flow, 8, 0, FLOW_ORIGINAL);
        flow.packets[0] = 1;
        flow.octets[0] = UINT32_MAX;
        break;
    default:
        flow = expected_flow(AF_INET6, IPPROTO_ICMPV6);
        expect_ping(&flow, 128, 129, FLOW_REPLY);
        flow.packets[1] = 7;
        flow.octets[1] = 8;
    }
    return flow;
}

START_TEST(a_message_becomes_a_flow)
{
    const struct flow wanted = expected(_i);
    struct flow flow;

    ck_assert_int_eq(decode(build(_i), &flow), 0);
    assert_same(&flow, &wanted);
}
END_TEST

START_TEST(only_a_delete_with_a_port_id_was_requested)
{
    static const struct {
        uint16_t type;
        uint32_t port_id;
        bool requested;
    } cases[] = {
        {IPCTNL_MSG_CT_DELETE, 0, false},
        {IPCTNL_MSG_CT_DELETE, 1234, true},
        {IPCTNL_MSG_CT_NEW, 1234, false},
    };
    struct flow flow;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample sample = {.spoil = NOTHING};
        begin(&sample, cases[i].type, AF_INET, cases[i].port_id);
        put_tuples_with_ports(&sample, AF_INET, IPPROTO_UDP, ports);
        ck_assert_int_eq(decode(sample.message, &flow), 0);
        ck_assert_uint_eq(flow.has, cases[i].requested ? FLOW_REQUESTED : 0);
    }
}
END_TEST

/* The first attribute of that type among those of a message or of a nest. */
static struct nlattr *find(void *first, const void *end, int type)
{
    struct nlattr *attribute = first;
    while (mnl_attr_ok(attribute, (int)((const char *)end - (char *)attribute)) &&
           mnl_attr_get_type(attribute) != type)
        attribute = mnl_attr_next(attribute);
    ck_assert((const void *)attribute < end);
    return attribute;
}

static struct nlattr *find_in_message(const struct nlmsghdr *message, int type)
{
    return find(mnl_nlmsg_get_payload_offset(message, sizeof(struct nfgenmsg)),
                mnl_nlmsg_get_payload_tail(message), type);
}

static struct nlattr *find_in_nest(const struct nlattr *nest, int type)
{
    return find(mnl_attr_get_payload(nest), (const char *)nest + mnl_attr_get_len(nest), type);
}

START_TEST(flags_in_a_type_do_not_matter)
{
    struct nlmsghdr *message = build(0);
    const struct flow wanted = expected(0);
    struct flow flow;

    /* libmnl sets NLA_F_NESTED as new kernels do; older ones did not. */
    find_in_message(message, CTA_COUNTERS_ORIG)->nla_type &= (uint16_t)NLA_TYPE_MASK;
    find_in_message(message, CTA_MARK)->nla_type |= NLA_F_NET_BYTEORDER;
    struct nlattr *stamps = find_in_message(message, CTA_TIMESTAMP);
    find_in_nest(stamps, CTA_TIMESTAMP_START)->nla_type |= NLA_F_NET_BYTEORDER;
    struct nlattr *tuple = find_in_message(message, CTA_TUPLE_ORIG);
    tuple->nla_type &= (uint16_t)NLA_TYPE_MASK;
    find_in_nest(tuple, CTA_TUPLE_IP)->nla_type &= (uint16_t)NLA_TYPE_MASK;
    ck_assert_int_eq(decode(message, &flow), 0);
    assert_same(&flow, &wanted);
}
END_TEST

START_TEST(unknown_attributes_are_skipped)
{
    enum { UNKNOWN = 4000 };
    struct sample sample = {.spoil = NOTHING};
    const struct flow wanted = expected_flow(AF_INET, 89);
    struct flow flow;

    begin(&sample, IPCTNL_MSG_CT_DELETE, AF_INET, 0);
    mnl_attr_put(sample.message, UNKNOWN, 0, NULL);
    for (uint16_t reply = 0; reply < 2; reply++) {
        struct nlattr *tuple = mnl_attr_nest_start(sample.message, CTA_TUPLE_ORIG + reply);
        mnl_attr_put_u32(sample.message, UNKNOWN, 1);
        struct nlattr *nest = mnl_attr_nest_start(sample.message, CTA_TUPLE_PROTO);
        mnl_attr_put_u8(sample.message, UNKNOWN, 1);
        mnl_attr_put_u8(sample.message, CTA_PROTO_NUM, 89);
        mnl_attr_nest_end(sample.message, nest);
        nest = mnl_attr_nest_start(sample.message, CTA_TUPLE_IP);
        mnl_attr_put_u32(sample.message, UNKNOWN, 1);
        mnl_attr_put_u32(sample.message, CTA_IP_V4_DST, address_of(AF_INET, reply ? 1 : 2).v4);
        mnl_attr_put_u32(sample.message, CTA_IP_V4_SRC, address_of(AF_INET, reply ? 2 : 1).v4);
        mnl_attr_nest_end(sample.message, nest);
        mnl_attr_nest_end(sample.message, tuple);
    }
    /* SCTP's state, and a nest that is known but not asked for. */
    struct nlattr *nest = mnl_attr_nest_start(sample.message, CTA_PROTOINFO);
    mnl_attr_put_u64(sample.message, CTA_PROTOINFO_SCTP, 1);
    mnl_attr_nest_end(sample.message, nest);
    mnl_attr_put_u8(sample.message, CTA_TUPLE_MASTER, 1);
    ck_assert_int_eq(decode(sample.message, &flow), 0);
    assert_same(&flow, &wanted);
}
END_TEST

START_TEST(what_is_required_cannot_be_left_out)
{
    const int leaves = build_spoilt(_i, 0, NOTHING)->leaves;
    struct flow flow;

    for (int leaf = 0; leaf < leaves; leaf++) {
        const struct sample *sample = build_spoilt(_i, leaf, LEAVE_OUT);
        ck_assert_msg(decode(sample->message, &flow) == (sample->chosen_is_required ? -EBADMSG : 0),
                      "leaf %d", leaf);
    }
}
END_TEST

START_TEST(a_known_attribute_has_one_length)
{
    const int leaves = build_spoilt(_i, 0, NOTHING)->leaves;
    struct flow flow;

    for (int leaf = 0; leaf < leaves; leaf++) {
        ck_assert_msg(decode(build_spoilt(_i, leaf, LENGTHEN)->message, &flow) == -EBADMSG, "leaf %d, longer",
                      leaf);
        ck_assert_msg(decode(build_spoilt(_i, leaf, SHORTEN)->message, &flow) == -EBADMSG, "leaf %d, shorter",
                      leaf);
    }
}
END_TEST

START_TEST(a_nest_cannot_be_left_out)
{
    const int tuple_type = _i % 2 ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG;
    struct nlmsghdr *message = build(0);
    struct nlattr *tuple = find_in_message(message, tuple_type);
    struct flow flow;

    switch (_i / 2) {
    case 0:
        tuple->nla_type = CTA_TUPLE_MASTER;
        break;
    case 1:
        find_in_nest(tuple, CTA_TUPLE_IP)->nla_type = 4000;
        break;
    case 2:
        find_in_nest(tuple, CTA_TUPLE_PROTO)->nla_type = 4000;
        break;
    }
    ck_assert_int_eq(decode(message, &flow), -EBADMSG);
}
END_TEST

START_TEST(attributes_stay_inside_their_nest)
{
    static const uint16_t nests[] = {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY,
                                     CTA_TIMESTAMP};
    struct flow flow;

    for (size_t i = 0; i < sizeof(nests) / sizeof(nests[0]); i++) {
        struct nlmsghdr *message = build(0);
        find_in_message(message, nests[i])->nla_len -= 4;
        ck_assert_msg(decode(message, &flow) == -EBADMSG, "nest %u", nests[i]);
    }
    struct nlmsghdr *message = build(1);
    struct nlattr *tcp = find_in_nest(find_in_message(message, CTA_PROTOINFO), CTA_PROTOINFO_TCP);
    tcp->nla_len += 4;
    ck_assert_int_eq(decode(message, &flow), -EBADMSG);
    tcp->nla_len -= 8;
    ck_assert_int_eq(decode(message, &flow), -EBADMSG);
}
END_TEST

START_TEST(an_attribute_is_not_shorter_than_its_header)
{
    for (uint16_t length = 0; length < sizeof(struct nlattr); length++) {
        struct nlmsghdr *message = build(0);
        struct flow flow;
        find_in_message(message, CTA_MARK)->nla_len = length;
        ck_assert_int_eq(decode(message, &flow), -EBADMSG);
    }
}
END_TEST

/* A message cut short is whole only where a top-level attribute ends, its padding aside, after both tuples.
 */
START_TEST(a_message_cut_short_is_noticed)
{
    struct nlmsghdr *message = build(_i);
    const uint32_t whole = message->nlmsg_len;
    const char *start = (const char *)message;
    bool complete[sizeof(struct sample)] = {false};
    const struct nlattr *attribute = find_in_message(message, CTA_TUPLE_REPLY);

    while ((const char *)attribute < start + whole) {
        const struct nlattr *following = mnl_attr_next(attribute);
        for (const char *end = (const char *)attribute + attribute->nla_len; end <= (const char *)following;
             end++)
            complete[end - start] = true;
        attribute = following;
    }
    for (uint32_t octets = 0; octets <= whole; octets++) {
        struct flow flow;
        message->nlmsg_len = octets;
        ck_assert_msg(decode(message, &flow) == (complete[octets] ? 0 : -EBADMSG), "%u octets", octets);
    }
}
END_TEST

START_TEST(the_family_is_that_of_the_addresses)
{
    static const struct {
        int builder; /* 0 has IPv4 addresses, 1 has IPv6 */
        uint8_t family;
    } cases[] = {{0, AF_INET6},  {1, AF_INET},   {0, AF_UNSPEC}, {1, AF_UNSPEC},
                 {0, AF_BRIDGE}, {1, AF_BRIDGE}, {0, 255},       {1, 255}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nlmsghdr *message = build(cases[i].builder);
        struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
        struct flow flow;
        header->nfgen_family = cases[i].family;
        ck_assert_msg(decode(message, &flow) == -EBADMSG, "case %zu", i);
    }
}
END_TEST

START_TEST(an_address_of_the_other_family_is_malformed)
{
    struct sample sample = {.spoil = NOTHING};
    struct flow flow;

    begin(&sample, IPCTNL_MSG_CT_DELETE, AF_INET, 0);
    put_tuples_with_ports(&sample, AF_INET, IPPROTO_UDP, ports);
    struct nlattr *tuple = mnl_attr_nest_start(sample.message, CTA_TUPLE_ORIG);
    struct nlattr *ip = mnl_attr_nest_start(sample.message, CTA_TUPLE_IP);
    for (uint16_t type = CTA_IP_V4_SRC; type <= CTA_IP_V4_DST; type++)
        mnl_attr_put_u32(sample.message, type, address_of(AF_INET, 1).v4);
    const union flow_address other = address_of(AF_INET6, 1);
    struct nlattr *wrong = mnl_nlmsg_get_payload_tail(sample.message);
    mnl_attr_put(sample.message, CTA_IP_V6_SRC, sizeof(other), &other);
    mnl_attr_nest_end(sample.message, ip);
    struct nlattr *nest = mnl_attr_nest_start(sample.message, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(sample.message, CTA_PROTO_NUM, IPPROTO_UDP);
    mnl_attr_nest_end(sample.message, nest);
    mnl_attr_nest_end(sample.message, tuple);
    ck_assert_int_eq(decode(sample.message, &flow), -EBADMSG);
    wrong->nla_type = 4000;
    ck_assert_int_eq(decode(sample.message, &flow), 0);
}
END_TEST

/* Whatever a decoder saw before: it comes to the same as one that has seen nothing. */
static void assert_memory_is_harmless(struct ct_decoder *decoder, const struct nlmsghdr *message)
{
    struct flow flow, wanted;
    const int result = decode(message, &wanted);
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(decode_with(decoder, message, &flow), result);
        if (result == 0)
            assert_same(&flow, &wanted);
    }
}

START_TEST(kinds_may_alternate)
{
    struct ct_decoder *decoder = new_decoder();

    for (int round = 0; round < 3; round++)
        for (int builder = 0; builder < BUILDER_COUNT; builder++)
            assert_memory_is_harmless(decoder, build(builder));
    ct_decoder_close(decoder);
}
END_TEST

START_TEST(a_layout_seen_before_hides_no_changed_octet)
{
    struct nlmsghdr *message = build(_i);
    struct ct_decoder *decoder = new_decoder();
    uint8_t *octets = (uint8_t *)message;

    for (uint32_t at = sizeof(message->nlmsg_len); at < message->nlmsg_len; at++) {
        const uint8_t change = (uint8_t)(1 << at % 8);
        assert_memory_is_harmless(decoder, message);
        octets[at] ^= change;
        assert_memory_is_harmless(decoder, message);
        octets[at] ^= change;
    }
    ct_decoder_close(decoder);
}
END_TEST

START_TEST(a_layout_seen_before_is_that_of_one_length)
{
    struct nlmsghdr *message = build(_i);
    struct ct_decoder *decoder = new_decoder();
    const uint32_t whole = message->nlmsg_len;

    for (uint32_t octets = 0; octets <= whole; octets++) {
        message->nlmsg_len = whole;
        assert_memory_is_harmless(decoder, message);
        message->nlmsg_len = octets;
        assert_memory_is_harmless(decoder, message);
    }
    ct_decoder_close(decoder);
}
END_TEST

START_TEST(values_cannot_be_there_many_times)
{
    struct sample sample = {.spoil = NOTHING};
    struct flow flow;

    begin(&sample, IPCTNL_MSG_CT_DELETE, AF_INET, 0);
    put_tuples_with_ports(&sample, AF_INET, IPPROTO_UDP, ports);
    put_u32(&sample, CTA_MARK, 1);
    put_u32(&sample, CTA_MARK, 2);
    ck_assert_int_eq(decode(sample.message, &flow), 0);
    ck_assert_uint_eq(flow.mark, 2);
    for (int i = 0; i < 50; i++)
        put_u32(&sample, CTA_MARK, 3);
    ck_assert_int_eq(decode(sample.message, &flow), -EBADMSG);
}
END_TEST

START_TEST(a_long_message_is_decoded_each_time)
{
    struct sample sample = {.spoil = NOTHING};
    struct ct_decoder *decoder = new_decoder();

    begin(&sample, IPCTNL_MSG_CT_DELETE, AF_INET, 0);
    for (int i = 0; i < 60; i++)
        mnl_attr_put_u32(sample.message, 4000, 1);
    put_tuples_with_ports(&sample, AF_INET, IPPROTO_UDP, ports);
    for (int i = 0; i < 3; i++)
        assert_memory_is_harmless(decoder, sample.message);
    ct_decoder_close(decoder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ct_decode");
    TCase *test = tcase_create("ct_decode");

    suite_add_tcase(suite, test);
    tcase_add_loop_test(test, a_message_becomes_a_flow, 0, BUILDER_COUNT);
    tcase_add_test(test, only_a_delete_with_a_port_id_was_requested);
    tcase_add_test(test, flags_in_a_type_do_not_matter);
    tcase_add_test(test, unknown_attributes_are_skipped);
    tcase_add_loop_test(test, what_is_required_cannot_be_left_out, 0, BUILDER_COUNT);
    tcase_add_loop_test(test, a_known_attribute_has_one_length, 0, BUILDER_COUNT);
    tcase_add_loop_test(test, a_nest_cannot_be_left_out, 0, 6);
    tcase_add_test(test, attributes_stay_inside_their_nest);
    tcase_add_test(test, an_attribute_is_not_shorter_than_its_header);
    tcase_add_loop_test(test, a_message_cut_short_is_noticed, 0, BUILDER_COUNT);
    tcase_add_test(test, the_family_is_that_of_the_addresses);
    tcase_add_test(test, an_address_of_the_other_family_is_malformed);
    tcase_add_test(test, kinds_may_alternate);
    tcase_add_loop_test(test, a_layout_seen_before_hides_no_changed_octet, 0, BUILDER_COUNT);
    tcase_add_loop_test(test, a_layout_seen_before_is_that_of_one_length, 0, BUILDER_COUNT);
    tcase_add_test(test, values_cannot_be_there_many_times);
    tcase_add_test(test, a_long_message_is_decoded_each_time);
    return run_suite(suite);
}
