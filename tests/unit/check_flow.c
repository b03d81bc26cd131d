/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow.h"

#include <arpa/inet.h>
#include <check.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

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

START_TEST(a_direction_exists_by_its_packets)
{
    struct flow flow = {.has = FLOW_HAS_COUNTERS | FLOW_HAS_STATUS, .status = IPS_SEEN_REPLY};

    ck_assert(!flow_has_direction(&flow, FLOW_ORIGINAL));
    ck_assert(!flow_has_direction(&flow, FLOW_REPLY));
    flow.packets[FLOW_REPLY] = 1;
    ck_assert(!flow_has_direction(&flow, FLOW_ORIGINAL));
    ck_assert(flow_has_direction(&flow, FLOW_REPLY));
    flow.packets[FLOW_ORIGINAL] = UINT64_C(1) << 32;
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

START_TEST(the_zone_of_both_directions_comes_first)
{
    struct flow flow = {.zone = 0};

    ck_assert_uint_eq(flow_zone(&flow), 0);
    flow.tuple[FLOW_REPLY].zone = 3;
    ck_assert_uint_eq(flow_zone(&flow), 0);
    flow.tuple[FLOW_ORIGINAL].zone = 2;
    ck_assert_uint_eq(flow_zone(&flow), 2);
    flow.zone = 1;
    ck_assert_uint_eq(flow_zone(&flow), 1);
}
END_TEST

START_TEST(end_reason_is_told_as_far_as_it_is_known)
{
    enum { TIMED = FLOW_HAS_TIMEOUT, TCP = FLOW_HAS_TCP_STATE, ASKED = FLOW_REQUESTED };
    static const struct {
        unsigned has;
        uint32_t timeout_s;
        uint8_t tcp_state;
        enum flow_end_reason reason;
    } cases[] = {
        {0, 0, 0, FLOW_END_IDLE_TIMEOUT},
        {TIMED, 0, 0, FLOW_END_IDLE_TIMEOUT},
        {TIMED, 1, 0, FLOW_END_FORCED},
        {ASKED, 0, 0, FLOW_END_FORCED},
        {ASKED | TIMED, 30, 0, FLOW_END_FORCED},
        /* TCP that nobody closed */
        {TCP, 0, TCP_CONNTRACK_NONE, FLOW_END_IDLE_TIMEOUT},
        {TCP, 0, TCP_CONNTRACK_SYN_SENT, FLOW_END_IDLE_TIMEOUT},
        {TCP, 0, TCP_CONNTRACK_SYN_RECV, FLOW_END_IDLE_TIMEOUT},
        {TCP, 0, TCP_CONNTRACK_ESTABLISHED, FLOW_END_IDLE_TIMEOUT},
        {TCP, 0, TCP_CONNTRACK_SYN_SENT2, FLOW_END_IDLE_TIMEOUT},
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

int main(void)
{
    Suite *suite = suite_create("flow");
    TCase *test = tcase_create("flow");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, test);
    tcase_add_loop_test(test, icmp_is_icmp_in_its_own_family_only, 0, 6);
    tcase_add_test(test, mirrored_tuples_are_no_translation);
    tcase_add_loop_test(test, any_other_address_or_port_is_a_translation, 0, 8);
    tcase_add_test(test, a_direction_exists_by_its_packets);
    tcase_add_test(test, without_counters_a_reply_exists_by_its_status);
    tcase_add_test(test, the_zone_of_both_directions_comes_first);
    tcase_add_test(test, end_reason_is_told_as_far_as_it_is_known);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
