/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow.h"

#include <arpa/inet.h>
#include <check.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"

#include "run_suite.h"

/* A UDP connection without translation. */
static struct flow plain_flow(uint8_t family)
{
    struct flow flow = {.family = family, .protocol = IPPROTO_UDP};
    struct flow_tuple *original = &flow.tuple[FLOW_ORIGINAL], *reply = &flow.tuple[FLOW_REPLY];

    ck_assert_int_eq(inet_pton(family, family == AF_INET ? "10.0.0.1" : "fd00::1", &original->src), 1);
    ck_assert_int_eq(inet_pton(family, family == AF_INET ? "10.0.0.2" : "fd00::2", &original->dst), 1);
    original->src_port = htons(4000);
    original->dst_port = htons(53);
    reply->src = original->dst;
    reply->dst = original->src;
    reply->src_port = original->dst_port;
    reply->dst_port = original->src_port;
    return flow;
}

START_TEST(icmp_is_icmp_in_its_own_family_only)
{
    static const struct {
        uint8_t family, protocol;
        bool icmp;
    } cases[] = {
        {AF_INET, IPPROTO_ICMP, true},    {AF_INET6, IPPROTO_ICMPV6, true}, {AF_INET6, IPPROTO_ICMP, false},
        {AF_INET, IPPROTO_ICMPV6, false}, {AF_INET, IPPROTO_UDP, false},    {AF_INET6, IPPROTO_TCP, false},
    };
    const struct flow flow = {.family = cases[_i].family, .protocol = cases[_i].protocol};

    ck_assert_int_eq(flow_is_icmp(&flow), cases[_i].icmp);
}
END_TEST

START_TEST(mirrored_tuples_are_no_translation)
{
    const struct flow ipv4 = plain_flow(AF_INET), ipv6 = plain_flow(AF_INET6);

    ck_assert(!flow_is_translated(&ipv4));
    ck_assert(!flow_is_translated(&ipv6));
}
END_TEST

START_TEST(any_other_address_or_port_is_a_translation)
{
    const uint8_t family = _i % 2 == 0 ? AF_INET : AF_INET6;
    struct flow flow = plain_flow(family);
    struct flow_tuple *reply = &flow.tuple[FLOW_REPLY];

    /* The last octet of each address, then each port. */
    const size_t last = family == AF_INET ? 3 : 15;
    switch (_i / 2) {
    case 0:
        reply->src.v6[last] ^= 1;
        break;
    case 1:
        reply->dst.v6[last] ^= 1;
        break;
    case 2:
        reply->src_port ^= 1;
        break;
    case 3:
        reply->dst_port ^= 1;
        break;
    }
    ck_assert(flow_is_translated(&flow));
}
END_TEST

START_TEST(a_direction_exists_by_its_counters)
{
    struct flow flow = {.has = FLOW_HAS_COUNTERS | FLOW_HAS_STATUS, .status = IPS_SEEN_REPLY};

    ck_assert(!flow_has_direction(&flow, FLOW_ORIGINAL));
    ck_assert(!flow_has_direction(&flow, FLOW_REPLY));
    flow.packets[FLOW_REPLY] = 1;
    ck_assert(!flow_has_direction(&flow, FLOW_ORIGINAL));
    ck_assert(flow_has_direction(&flow, FLOW_REPLY));
    flow.packets[FLOW_ORIGINAL] = UINT64_C(1) << 32;
    ck_assert(flow_has_direction(&flow, FLOW_ORIGINAL));
    /* The rest of a connection whose last packet was reported before its octets. */
    flow.packets[FLOW_ORIGINAL] = 0;
    flow.octets[FLOW_ORIGINAL] = 40;
    ck_assert(flow_has_direction(&flow, FLOW_ORIGINAL));
}
END_TEST

START_TEST(without_counters_a_reply_exists_by_its_status)
{
    struct flow flow = {.has = FLOW_HAS_STATUS, .status = (uint32_t)~IPS_SEEN_REPLY};

    ck_assert(flow_has_direction(&flow, FLOW_ORIGINAL));
    ck_assert(!flow_has_direction(&flow, FLOW_REPLY));
    flow.status = IPS_SEEN_REPLY;
    ck_assert(flow_has_direction(&flow, FLOW_ORIGINAL));
    ck_assert(flow_has_direction(&flow, FLOW_REPLY));
}
END_TEST

#define MEMBER(member) #member, offsetof(struct flow, member), sizeof(((struct flow *)NULL)->member)

START_TEST(identity_is_tuple_zones_id_and_start)
{
    static const struct {
        const char *name;
        size_t offset, octets;
        bool identifies;
    } members[] = {
        {MEMBER(tuple[FLOW_ORIGINAL].src), true},
        {MEMBER(tuple[FLOW_ORIGINAL].dst), true},
        {MEMBER(tuple[FLOW_ORIGINAL].src_port), true},
        {MEMBER(tuple[FLOW_ORIGINAL].dst_port), true},
        {MEMBER(tuple[FLOW_ORIGINAL].icmp_id), true},
        {MEMBER(tuple[FLOW_ORIGINAL].icmp_type), true},
        {MEMBER(tuple[FLOW_ORIGINAL].icmp_code), true},
        {MEMBER(tuple[FLOW_REPLY].src), false},
        {MEMBER(tuple[FLOW_REPLY].dst_port), false},
        {MEMBER(zone), true},
        {MEMBER(family), true},
        {MEMBER(protocol), true},
        {MEMBER(id), true},
        {MEMBER(start_ns), true},
        {MEMBER(stop_ns), false},
        {MEMBER(packets), false},
        {MEMBER(octets), false},
        {MEMBER(status), false},
        {MEMBER(mark), false},
        {MEMBER(timeout_s), false},
        {MEMBER(tcp_state), false},
        {MEMBER(end_reason), false},
    };
    struct flow a, b;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        for (size_t bit = 0; bit < members[i].octets * 8; bit++) {
            memset(&a, 0x5a, sizeof(a));
            b = a;
            a.has = b.has = FLOW_HAS_START;
            ((uint8_t *)&b)[members[i].offset + bit / 8] ^= (uint8_t)(1 << bit % 8);
            bool same = !members[i].identifies;
            ck_assert_msg(flow_is_same(&a, &b) == same, "bit %zu of %s", bit, members[i].name);
            ck_assert_msg((flow_hash(&a) == flow_hash(&b)) == same, "bit %zu of %s", bit, members[i].name);
            ck_assert_msg(((uint32_t)flow_hash(&a) == (uint32_t)flow_hash(&b)) == same, "the lower half");
        }
}
END_TEST

/* What the source does not tell, others may set as they like. */
START_TEST(a_start_that_is_not_told_identifies_nothing)
{
    struct flow told = {.id = 7, .start_ns = 5, .has = FLOW_HAS_START}, untold = {.id = 7, .start_ns = 5};
    struct flow other = {.id = 7, .start_ns = 9, .has = FLOW_HAS_COUNTERS};

    ck_assert(!flow_is_same(&told, &untold));
    ck_assert(flow_is_same(&untold, &other));
    ck_assert_uint_eq(flow_hash(&untold), flow_hash(&other));
    ck_assert_uint_ne(flow_hash(&told), flow_hash(&untold));
}
END_TEST

static void check_zone(struct flow flow, unsigned shown, unsigned both, unsigned original, unsigned reply)
{
    ck_assert_uint_eq(flow_zone(&flow), shown);
    ck_assert_uint_eq(flow_zone_of_both(&flow), both);
    ck_assert_uint_eq(flow_zone_of(&flow, FLOW_ORIGINAL), original);
    ck_assert_uint_eq(flow_zone_of(&flow, FLOW_REPLY), reply);
}

START_TEST(the_zone_is_of_both_directions_or_of_one)
{
    check_zone((struct flow){.zone = 0}, 0, 0, 0, 0);
    check_zone((struct flow){.zone = 7}, 7, 7, 0, 0);
    check_zone((struct flow){.zone = 7, .has = FLOW_ZONE_OF_ONE << FLOW_ORIGINAL}, 7, 0, 7, 0);
    check_zone((struct flow){.zone = 7, .has = FLOW_ZONE_OF_ONE << FLOW_REPLY}, 0, 0, 0, 7);
}
END_TEST

START_TEST(the_direction_of_a_zone_identifies)
{
    struct flow flows[] = {{.zone = 7},
                           {.zone = 7, .has = FLOW_ZONE_OF_ONE << FLOW_ORIGINAL},
                           {.zone = 7, .has = FLOW_ZONE_OF_ONE << FLOW_REPLY}};
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            ck_assert(flow_is_same(&flows[a], &flows[b]) == (a == b));
            ck_assert((flow_hash(&flows[a]) == flow_hash(&flows[b])) == (a == b));
        }
}
END_TEST

START_TEST(end_reason_is_told_as_far_as_it_is_known)
{
    enum { TOLD = FLOW_END_TOLD, TIMED = FLOW_HAS_TIMEOUT, TCP = FLOW_HAS_TCP_STATE, ASKED = FLOW_REQUESTED };
    static const struct {
        unsigned has;
        uint32_t timeout_s;
        uint8_t tcp_state;
        enum flow_end_reason reason;
    } cases[] = {
        {0, 0, 0, FLOW_END_UNKNOWN},
        {TOLD, 0, 0, FLOW_END_IDLE_TIMEOUT},
        {TOLD | TIMED, 0, 0, FLOW_END_IDLE_TIMEOUT},
        {TIMED, 1, 0, FLOW_END_FORCED},
        {ASKED, 0, 0, FLOW_END_FORCED},
        {ASKED | TIMED, 30, 0, FLOW_END_FORCED},
        /* TCP that nobody closed */
        {TOLD | TCP, 0, TCP_CONNTRACK_NONE, FLOW_END_IDLE_TIMEOUT},
        {TOLD | TCP, 0, TCP_CONNTRACK_SYN_SENT, FLOW_END_IDLE_TIMEOUT},
        {TOLD | TCP, 0, TCP_CONNTRACK_SYN_RECV, FLOW_END_IDLE_TIMEOUT},
        {TOLD | TCP, 0, TCP_CONNTRACK_ESTABLISHED, FLOW_END_IDLE_TIMEOUT},
        {TOLD | TCP, 0, TCP_CONNTRACK_SYN_SENT2, FLOW_END_IDLE_TIMEOUT},
        {TCP | TIMED, 432000, TCP_CONNTRACK_ESTABLISHED, FLOW_END_FORCED},
        /* TCP that was closing, whether or not time was left */
        {TCP, 0, TCP_CONNTRACK_FIN_WAIT, FLOW_END_DETECTED},
        {TCP, 0, TCP_CONNTRACK_CLOSE_WAIT, FLOW_END_DETECTED},
        {TCP, 0, TCP_CONNTRACK_LAST_ACK, FLOW_END_DETECTED},
        {TCP, 0, TCP_CONNTRACK_TIME_WAIT, FLOW_END_DETECTED},
        {TCP, 0, TCP_CONNTRACK_CLOSE, FLOW_END_DETECTED},
        {TCP | TIMED, 100, TCP_CONNTRACK_TIME_WAIT, FLOW_END_DETECTED},
        /* a request comes before all */
        {TCP | TIMED | ASKED, 100, TCP_CONNTRACK_TIME_WAIT, FLOW_END_FORCED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct flow flow = {
            .has = (uint16_t)cases[i].has, .timeout_s = cases[i].timeout_s, .tcp_state = cases[i].tcp_state};
        ck_assert_msg(flow_end_reason(&flow) == cases[i].reason, "case %zu: %d", i, flow_end_reason(&flow));
    }
}
END_TEST

START_TEST(what_an_end_does_not_tell_an_earlier_look_may)
{
    enum { COUNTED = FLOW_HAS_COUNTERS, TIMED = FLOW_HAS_TIMEOUT, TCP = FLOW_HAS_TCP_STATE };
    static const struct {
        unsigned has; /* of the row, which is 30 s older than the end */
        uint32_t timeout_s;
        uint8_t tcp_state;
        uint64_t packets[2]; /* since */
        enum flow_end_reason reason;
    } cases[] = {
        {COUNTED | TIMED, 30, 0, {0, 0}, FLOW_END_IDLE_TIMEOUT},
        {COUNTED | TIMED, 31, 0, {0, 0}, FLOW_END_UNKNOWN},
        {COUNTED | TIMED, 10, 0, {1, 0}, FLOW_END_UNKNOWN},
        {COUNTED | TIMED, 10, 0, {0, 1}, FLOW_END_UNKNOWN},
        {COUNTED, 0, 0, {0, 0}, FLOW_END_UNKNOWN},
        {TIMED, 10, 0, {0, 0}, FLOW_END_UNKNOWN},
        {COUNTED | TIMED | TCP, 432000, TCP_CONNTRACK_ESTABLISHED, {0, 0}, FLOW_END_UNKNOWN},
        {COUNTED | TIMED | TCP, 100, TCP_CONNTRACK_TIME_WAIT, {1, 1}, FLOW_END_DETECTED},
        {COUNTED | TIMED | TCP, 10, TCP_CONNTRACK_LAST_ACK, {0, 0}, FLOW_END_DETECTED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct flow row = {.has = (uint16_t)cases[i].has,
                                 .timeout_s = cases[i].timeout_s,
                                 .tcp_state = cases[i].tcp_state,
                                 .packets = {5, 3},
                                 .stop_ns = 1000 * NS_PER_S};
        const struct flow end = {.has = FLOW_HAS_COUNTERS,
                                 .packets = {5 + cases[i].packets[0], 3 + cases[i].packets[1]},
                                 .stop_ns = 1030 * NS_PER_S};
        ck_assert_msg(flow_end_reason_since(&row, &end) == cases[i].reason, "case %zu: %d", i,
                      flow_end_reason_since(&row, &end));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flow");
    TCase *test = tcase_create("flow");

    suite_add_tcase(suite, test);
    tcase_add_loop_test(test, icmp_is_icmp_in_its_own_family_only, 0, 6);
    tcase_add_test(test, mirrored_tuples_are_no_translation);
    tcase_add_loop_test(test, any_other_address_or_port_is_a_translation, 0, 8);
    tcase_add_test(test, a_direction_exists_by_its_counters);
    tcase_add_test(test, without_counters_a_reply_exists_by_its_status);
    tcase_add_test(test, identity_is_tuple_zones_id_and_start);
    tcase_add_test(test, a_start_that_is_not_told_identifies_nothing);
    tcase_add_test(test, the_zone_is_of_both_directions_or_of_one);
    tcase_add_test(test, the_direction_of_a_zone_identifies);
    tcase_add_test(test, end_reason_is_told_as_far_as_it_is_known);
    tcase_add_test(test, what_an_end_does_not_tell_an_earlier_look_may);
    return run_suite(suite);
}
