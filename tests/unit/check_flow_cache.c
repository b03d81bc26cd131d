/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow_cache.h"

#include <check.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "run_suite.h"

#define BEGAN_NS    (UINT64_C(1000) * NS_PER_S)
#define WALL_NS     (UINT64_C(1700000000) * NS_PER_S)
#define INACTIVE_NS (15 * NS_PER_S)
#define ACTIVE_NS   (120 * NS_PER_S)

enum { CAPACITY = 1024, FLOWS_MAX = 100000, REASONS = 6 };

static struct flow_cache *cache;
static struct wall_clock clock_now;
static struct stats stats;
static struct flow last;
static uint64_t ended, ended_packets, ended_octets, ended_by[REASONS];
static uint64_t ended_of[FLOWS_MAX], packets_of[FLOWS_MAX]; /* by source address */

static void keep(void *context, const struct flow *flow)
{
    (void)context;
    uint32_t number = flow->tuple[FLOW_ORIGINAL].src.v4;
    last = *flow;
    ended++;
    ended_packets += flow->packets[FLOW_ORIGINAL];
    ended_octets += flow->octets[FLOW_ORIGINAL];
    ended_by[flow->end_reason]++;
    if (number < FLOWS_MAX) {
        ended_of[number]++;
        packets_of[number] += flow->packets[FLOW_ORIGINAL];
    }
}

static void set_clock(uint64_t after_ns)
{
    wall_clock_see(&clock_now, WALL_NS + after_ns, BEGAN_NS + after_ns);
}

static void open_cache(uint32_t capacity, uint64_t inactive_ns, uint64_t active_ns)
{
    const struct flow_cache_config config = {.capacity = capacity,
                                             .inactive_timeout_ns = inactive_ns,
                                             .active_timeout_ns = active_ns,
                                             .stats = &stats,
                                             .clock = &clock_now};
    flow_cache_close(cache);
    cache = NULL;
    ended = ended_packets = ended_octets = 0;
    memset(ended_by, 0, sizeof(ended_by));
    memset(ended_of, 0, sizeof(ended_of));
    memset(packets_of, 0, sizeof(packets_of));
    wall_clock_start_at(&clock_now, WALL_NS, BEGAN_NS);
    ck_assert_int_eq(flow_cache_open(&cache, &config, keep, NULL), 0);
}

static void setup(void)
{
    open_cache(CAPACITY, INACTIVE_NS, ACTIVE_NS);
}

static void teardown(void)
{
    flow_cache_close(cache);
    cache = NULL;
}

static struct flow_packet packet_of(uint32_t number)
{
    return (struct flow_packet){
        .key = {.src = {.v4 = number}, .family = AF_INET, .protocol = IPPROTO_UDP, .in_interface = 3},
        .octets = 100};
}

static void add_one(const struct flow_packet *packet)
{
    flow_cache_add(cache, packet, 1);
}

static void add(uint32_t number)
{
    const struct flow_packet packet = packet_of(number);
    add_one(&packet);
}

static void add_tcp(uint8_t flags)
{
    struct flow_packet packet = packet_of(1);
    packet.key.protocol = IPPROTO_TCP;
    packet.tcp_flags = flags;
    add_one(&packet);
}

/* As a source does: each second. */
static void run_until(uint64_t after_ns)
{
    for (uint64_t at_ns = 0; at_ns < after_ns; at_ns += NS_PER_S) {
        uint64_t boot_ns = BEGAN_NS + at_ns;
        if (boot_ns < clock_now.boot_ns)
            continue;
        set_clock(at_ns);
        flow_cache_run(cache, FLOWS_MAX);
    }
    set_clock(after_ns);
    flow_cache_run(cache, FLOWS_MAX);
}

/* Flows that there are are seen to as well: some at a time, and what was to be in an hour is due soon. */
START_TEST(other_timeouts_hold_for_what_there_is)
{
    open_cache(CAPACITY, 3600 * NS_PER_S, 3600 * NS_PER_S);
    for (uint32_t number = 0; number < CAPACITY; number++)
        add(number);
    set_clock(2 * NS_PER_S);
    flow_cache_run(cache, FLOWS_MAX);
    flow_cache_set_timeouts(cache, 3600 * NS_PER_S, 3600 * NS_PER_S);
    ck_assert(!flow_cache_see_timeouts(cache));
    flow_cache_set_timeouts(cache, 5 * NS_PER_S, 3600 * NS_PER_S);
    ck_assert(flow_cache_see_timeouts(cache));
    ck_assert_uint_eq(flow_cache_due_ns(cache), 0);
    ck_assert(flow_cache_run(cache, 1));
    while (flow_cache_run(cache, 1))
        ;
    ck_assert_uint_eq(ended, 0);
    ck_assert_uint_le(flow_cache_due_ns(cache), BEGAN_NS + 6 * NS_PER_S);
    add(0);
    run_until(6 * NS_PER_S);
    ck_assert_uint_eq(ended, CAPACITY - 1);
    ck_assert_uint_eq(ended_by[FLOW_END_IDLE_TIMEOUT], CAPACITY - 1);
    flow_cache_set_timeouts(cache, 3600 * NS_PER_S, 3 * NS_PER_S);
    ck_assert(flow_cache_see_timeouts(cache));
    run_until(7 * NS_PER_S);
    ck_assert_uint_eq(ended_by[FLOW_END_ACTIVE_TIMEOUT], 1);
    ck_assert_uint_eq(ended_packets, CAPACITY + 1);
}
END_TEST

START_TEST(tells_all_that_packets_tell)
{
    struct flow_packet packet = {.key = {.src = {.v4 = 1},
                                         .dst = {.v4 = 2},
                                         .src_port = 3,
                                         .dst_port = 4,
                                         .in_interface = 5,
                                         .out_interface = 6,
                                         .vlan = 7,
                                         .family = AF_INET,
                                         .protocol = IPPROTO_TCP,
                                         .tos = 8,
                                         .is_egress = 1},
                                 .octets = 1500,
                                 .tcp_flags = TH_SYN,
                                 .ttl = 64,
                                 .has_link = true,
                                 .link_source = {2, 0, 0, 0, 0, 1},
                                 .link_destination = {2, 0, 0, 0, 0, 2}};
    add_one(&packet);
    set_clock(3 * NS_PER_S);
    packet.tcp_flags = TH_ACK;
    packet.octets = 40;
    packet.ttl = 61;
    add_one(&packet);
    packet.octets = 0;
    packet.ttl = 63;
    add_one(&packet);
    run_until(20 * NS_PER_S);
    ck_assert_uint_eq(ended, 1);
    ck_assert_int_eq(last.kind, FLOW_PACKETS);
    ck_assert_int_eq(last.end_reason, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(last.packets[FLOW_ORIGINAL], 3);
    ck_assert_uint_eq(last.octets[FLOW_ORIGINAL], 1540);
    ck_assert_uint_eq(last.packets[FLOW_REPLY], 0);
    ck_assert_uint_eq(last.start_ns, WALL_NS);
    ck_assert_uint_eq(last.stop_ns, WALL_NS + 3 * NS_PER_S);
    ck_assert_uint_eq(last.tcp_flags[FLOW_ORIGINAL], TH_SYN | TH_ACK);
    ck_assert_uint_eq(last.tos[FLOW_ORIGINAL], 8);
    ck_assert_uint_eq(last.ttl.min, 61);
    ck_assert_uint_eq(last.ttl.max, 64);
    ck_assert_uint_eq(last.vlan[FLOW_ORIGINAL], 7);
    ck_assert_uint_eq(last.in_interface[FLOW_ORIGINAL], 5);
    ck_assert_uint_eq(last.out_interface[FLOW_ORIGINAL], 6);
    ck_assert_mem_eq(last.link_source[FLOW_ORIGINAL], packet.link_source, 6);
    ck_assert_mem_eq(last.link_source[FLOW_REPLY], packet.link_destination, 6);
    ck_assert_uint_eq(last.tuple[FLOW_ORIGINAL].src_port, 3);
    ck_assert(!flow_is_translated(&last));
    ck_assert(flow_has_direction(&last, FLOW_ORIGINAL) && !flow_has_direction(&last, FLOW_REPLY));
    ck_assert_uint_eq(last.has, FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP | FLOW_HAS_INTERFACES |
                                    FLOW_HAS_TOS | FLOW_HAS_TTL | FLOW_HAS_TCP_FLAGS | FLOW_HAS_VLAN |
                                    3 * FLOW_HAS_LINK_SOURCE | FLOW_EGRESS);
}
END_TEST

START_TEST(tells_icmp_by_type_and_code)
{
    struct flow_packet packet = packet_of(1);
    packet.key.protocol = IPPROTO_ICMP;
    memcpy(&packet.key.dst_port, "\x03\x01", 2);
    add_one(&packet);
    flow_cache_finish(cache, 1);
    ck_assert_uint_eq(last.tuple[FLOW_ORIGINAL].icmp_type, 3);
    ck_assert_uint_eq(last.tuple[FLOW_ORIGINAL].icmp_code, 1);
    ck_assert_uint_eq(last.tuple[FLOW_ORIGINAL].dst_port, 0);
    ck_assert_int_eq(last.end_reason, FLOW_END_FORCED);
}
END_TEST

/* Each octet of the key but those that are never set. */
START_TEST(keeps_apart_whatever_differs)
{
    for (unsigned i = 0; i < offsetof(struct flow_key, none); i++) {
        struct flow_packet packet = packet_of(0);
        ((uint8_t *)&packet.key)[i] ^= 0x80;
        add_one(&packet);
        add_one(&packet);
        ck_assert_uint_eq(flow_cache_count(cache), i + 1);
    }
}
END_TEST

START_TEST(ends_what_is_idle)
{
    add(1);
    run_until(14 * NS_PER_S);
    add(1);
    run_until(28 * NS_PER_S);
    ck_assert_uint_eq(ended, 0);
    ck_assert_uint_le(flow_cache_due_ns(cache), BEGAN_NS + 30 * NS_PER_S);
    run_until(30 * NS_PER_S);
    ck_assert_uint_eq(ended_by[FLOW_END_IDLE_TIMEOUT], 1);
    ck_assert_uint_eq(ended_packets, 2);
    ck_assert_uint_eq(flow_cache_due_ns(cache), UINT64_MAX);
}
END_TEST

START_TEST(ends_what_is_active)
{
    for (unsigned second = 0; second <= 200; second++) {
        run_until(second * NS_PER_S);
        add(1);
    }
    ck_assert_uint_eq(ended, 1);
    ck_assert_uint_eq(ended_by[FLOW_END_ACTIVE_TIMEOUT], 1);
    ck_assert_uint_ge(ended_packets, 120);
    ck_assert_uint_le(ended_packets, 122);
}
END_TEST

START_TEST(lingers_after_fin_and_rst)
{
    add_tcp(TH_SYN);
    set_clock(NS_PER_S);
    add_tcp(_i == 0 ? TH_FIN | TH_ACK : TH_RST);
    set_clock(2 * NS_PER_S);
    add_tcp(TH_ACK);
    run_until(3 * NS_PER_S);
    ck_assert_uint_eq(ended, 0);
    run_until(6 * NS_PER_S);
    ck_assert_uint_eq(ended_by[FLOW_END_DETECTED], 1);
    ck_assert_uint_eq(ended_packets, 3);
}
END_TEST

START_TEST(tells_a_new_connection_from_one_that_ended)
{
    add_tcp(TH_FIN);
    add_tcp(TH_SYN);
    ck_assert_uint_eq(ended_by[FLOW_END_DETECTED], 1);
    ck_assert_uint_eq(last.tcp_flags[FLOW_ORIGINAL], TH_FIN);
    run_until(5 * NS_PER_S);
    ck_assert_uint_eq(ended, 1);
    run_until(17 * NS_PER_S);
    ck_assert_uint_eq(ended_by[FLOW_END_IDLE_TIMEOUT], 1);
}
END_TEST

START_TEST(ends_no_more_than_it_may)
{
    for (uint32_t i = 1; i <= CAPACITY; i++)
        add(i);
    set_clock(100 * NS_PER_S);
    ck_assert(flow_cache_run(cache, 100));
    ck_assert_uint_eq(ended, 100);
    ck_assert(!flow_cache_run(cache, CAPACITY));
    ck_assert_uint_eq(ended, CAPACITY);
    for (uint32_t i = 1; i <= CAPACITY; i++)
        add(i);
    ck_assert(flow_cache_finish(cache, CAPACITY - 1));
    ck_assert_uint_eq(stats.packet_flows, 1);
    ck_assert(!flow_cache_finish(cache, 1));
    ck_assert_uint_eq(ended, 2 * CAPACITY);
    ck_assert_uint_eq(stats.packet_flows, 0);
}
END_TEST

START_TEST(has_the_one_that_is_due_soonest_leave)
{
    for (uint32_t i = 1; i <= CAPACITY; i++) {
        set_clock(i * NS_PER_S / 100);
        add(i);
    }
    add(CAPACITY + 1);
    ck_assert_uint_eq(flow_cache_count(cache), CAPACITY);
    ck_assert_uint_eq(ended_by[FLOW_END_LACK_OF_RESOURCES], 1);
    ck_assert_uint_eq(stats.cache_full, 1);
    ck_assert_uint_eq(stats.packet_flows, CAPACITY);
    ck_assert_uint_eq(stats.packet_flows_limit, CAPACITY);
    ck_assert_uint_eq(last.tuple[FLOW_ORIGINAL].src.v4, 1);
}
END_TEST

/*
 * What 7,000,000 flows of one packet are to 1,000 established ones in a cache of 262,144, a tenth of it: in
 * ten seconds; each established one has a packet in 10,000.
 */
START_TEST(keeps_what_is_established_in_a_flood)
{
    enum { ESTABLISHED = 100, EVERY = 100, FLOOD = 700000 };

    open_cache(26214, INACTIVE_NS, 0);
    for (uint32_t i = 0; i < 2 * ESTABLISHED; i++)
        add(i % ESTABLISHED);
    for (uint32_t i = 0; i < FLOOD; i++) {
        if (i % EVERY == 0) {
            set_clock(i * UINT64_C(15000));
            add(i / EVERY % ESTABLISHED);
            flow_cache_run(cache, FLOWS_MAX);
        }
        add(FLOWS_MAX + i);
    }
    for (uint32_t i = 0; i < ESTABLISHED; i++)
        ck_assert_uint_eq(ended_of[i], 0);
    while (flow_cache_finish(cache, FLOWS_MAX)) {
    }
    ck_assert_uint_eq(ended_packets, 2 * ESTABLISHED + FLOOD + FLOOD / EVERY);
    for (uint32_t i = 0; i < ESTABLISHED; i++)
        ck_assert_uint_eq(packets_of[i], 2 + FLOOD / EVERY / ESTABLISHED);
}
END_TEST

/* The wheel goes round, also when nobody looks for a long time. */
START_TEST(bears_long_timeouts_and_long_sleep)
{
    open_cache(CAPACITY, 100000 * NS_PER_S, 0);
    add(1);
    run_until(99999 * NS_PER_S);
    ck_assert_uint_eq(ended, 0);
    set_clock(3000000 * NS_PER_S);
    flow_cache_run(cache, FLOWS_MAX);
    ck_assert_uint_eq(ended_by[FLOW_END_IDLE_TIMEOUT], 1);
}
END_TEST

START_TEST(may_be_tiny)
{
    open_cache(1, INACTIVE_NS, 0);
    for (uint32_t i = 1; i <= 100; i++) {
        set_clock(i * NS_PER_S / 2);
        add(i);
        add(i);
    }
    ck_assert_uint_eq(ended_by[FLOW_END_LACK_OF_RESOURCES], 99);
    ck_assert_uint_eq(ended_packets, 198);
}
END_TEST

/*
 * Against an array: flows begin, go on and end as the header says, at random times; with room for all of
 * them, each has just the packets of the array when it ends, and ends in the second after it is due.
 */
enum { MODEL_FLOWS = 500, MODEL_STEPS = 200000 };

struct modelled {
    uint64_t packets, first_ns, last_ns;
    bool closing;
};

static struct modelled model[MODEL_FLOWS];

static uint64_t model_idle_ns(const struct modelled *flow)
{
    return flow->last_ns + (flow->closing ? FLOW_CACHE_LINGER_NS : INACTIVE_NS);
}

static void compare(void *context, const struct flow *flow)
{
    const uint64_t *now_ns = context;
    struct modelled *of = &model[flow->tuple[FLOW_ORIGINAL].src.v4];
    ended++;
    ck_assert_uint_gt(of->packets, 0);
    ck_assert_uint_eq(flow->packets[FLOW_ORIGINAL], of->packets);
    ck_assert_uint_eq(flow->start_ns, WALL_NS + of->first_ns);
    ck_assert_uint_eq(flow->stop_ns, WALL_NS + of->last_ns);
    uint64_t active_ns = of->first_ns + ACTIVE_NS;
    uint64_t due_ns = model_idle_ns(of) < active_ns ? model_idle_ns(of) : active_ns;
    if (flow->end_reason == FLOW_END_DETECTED)
        ck_assert(of->closing);
    else
        ck_assert_uint_ge(*now_ns, due_ns);
    ck_assert_uint_le(*now_ns, due_ns + 2 * NS_PER_S);
    of->packets = 0;
}

static void model_packet(uint64_t now_ns)
{
    uint32_t number = (uint32_t)rand() % MODEL_FLOWS;
    number = rand() % 4 ? number % 20 : number;
    struct flow_packet packet = packet_of(number);
    packet.key.protocol = IPPROTO_TCP;
    packet.tcp_flags = rand() % 50 == 0 ? TH_FIN : rand() % 20 == 0 ? TH_SYN : TH_ACK;
    add_one(&packet);
    struct modelled *of = &model[number];
    if (of->packets == 0)
        *of = (struct modelled){.first_ns = now_ns};
    of->packets++;
    of->last_ns = now_ns;
    of->closing |= packet.tcp_flags == TH_FIN;
}

START_TEST(agrees_with_a_model)
{
    uint64_t now_ns = 0;
    const struct flow_cache_config config = {.capacity = MODEL_FLOWS,
                                             .inactive_timeout_ns = INACTIVE_NS,
                                             .active_timeout_ns = ACTIVE_NS,
                                             .stats = &stats,
                                             .clock = &clock_now};
    flow_cache_close(cache);
    ck_assert_int_eq(flow_cache_open(&cache, &config, compare, &now_ns), 0);
    memset(model, 0, sizeof(model));
    srand(9);
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        now_ns += (uint64_t)rand() % (30 * NS_PER_MS);
        set_clock(now_ns);
        flow_cache_run(cache, FLOWS_MAX);
        model_packet(now_ns);
        uint32_t count = 0;
        for (unsigned i = 0; i < MODEL_FLOWS && step % 100 == 0; i++)
            count += model[i].packets > 0;
        if (step % 100 == 0)
            ck_assert_uint_eq(flow_cache_count(cache), count);
    }
    ck_assert_uint_gt(ended, MODEL_STEPS / 100);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("flow_cache");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, tells_all_that_packets_tell);
    tcase_add_test(tcase, other_timeouts_hold_for_what_there_is);
    tcase_add_test(tcase, tells_icmp_by_type_and_code);
    tcase_add_test(tcase, keeps_apart_whatever_differs);
    tcase_add_test(tcase, ends_what_is_idle);
    tcase_add_test(tcase, ends_what_is_active);
    tcase_add_loop_test(tcase, lingers_after_fin_and_rst, 0, 2);
    tcase_add_test(tcase, tells_a_new_connection_from_one_that_ended);
    tcase_add_test(tcase, ends_no_more_than_it_may);
    tcase_add_test(tcase, has_the_one_that_is_due_soonest_leave);
    tcase_add_test(tcase, keeps_what_is_established_in_a_flood);
    tcase_add_test(tcase, bears_long_timeouts_and_long_sleep);
    tcase_add_test(tcase, may_be_tiny);
    tcase_add_test(tcase, agrees_with_a_model);
    Suite *suite = suite_create("flow_cache");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
