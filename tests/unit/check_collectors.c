/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/collectors.h"

#include "collectors_rig.h"
#include "run_suite.h"

static int receiver;

/* One collector on loopback that has got its first templates, sequence 0. */
static void open_one(void)
{
    receiver = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", rig_port(receiver));
    rig_open();
    rig_run();
    rig_expect_templates(receiver, 0);
}

START_TEST(templates_go_first_and_data_in_order)
{
    open_one();
    for (unsigned i = 0; i < 5; i++)
        rig_queue_sized(100 + i, 1);
    rig_run();
    for (unsigned i = 0; i < 5; i++)
        rig_expect_data(receiver, 1 + i, i);
    rig_expect_nothing(receiver);
    ck_assert_uint_eq(rig_collector(0)->records, 5);
    ck_assert_uint_eq(rig_collector(0)->datagrams, 6);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

START_TEST(data_queued_before_the_first_turn_waits_for_templates)
{
    receiver = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", rig_port(receiver));
    rig_open();
    rig_queue(20);
    rig_run();
    rig_expect_templates(receiver, 0);
    rig_expect_data(receiver, 1, 0);
}
END_TEST

/* Full and short datagrams mixed, more than any batch or turn takes; templates after each 20. */
START_TEST(long_runs_arrive_whole_and_in_order)
{
    if (!rig_holds_megabytes())
        return;
    enum { DATAGRAMS = 3000 };

    open_one();
    uint32_t sequence = 1;
    unsigned expected = 0;
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        rig_queue_sized(i % 7 == 6 ? 80 + i % 1000 : RIG_FULL_OCTETS, 1);
        if (i % 500 != 499)
            continue;
        rig_run();
        for (; expected <= i; expected++) {
            rig_expect_data(receiver, sequence++, expected);
            if (expected % 20 == 19)
                rig_expect_templates(receiver, sequence++);
        }
    }
    rig_expect_nothing(receiver);
    ck_assert_uint_eq(rig_collector(0)->records, DATAGRAMS);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

START_TEST(what_one_turn_leaves_is_sent_in_the_next)
{
    if (!rig_holds_megabytes())
        return;
    enum { DATAGRAMS = 6000 };

    rig_options.template_datagrams = 100000;
    open_one();
    for (unsigned i = 0; i < DATAGRAMS; i++)
        rig_queue_sized(64, 1);
    uint64_t turns = 0;
    for (unsigned expected = 0; expected < DATAGRAMS; turns++) {
        ck_assert_uint_le(rig_deadline_ns(), rig_now.monotonic_ns);
        rig_run();
        struct rig_datagram datagram;
        while (rig_receive(receiver, 0, &datagram))
            ck_assert_uint_eq(datagram.number, expected++);
    }
    ck_assert_uint_gt(turns, 1);
}
END_TEST

START_TEST(templates_come_again_by_time)
{
    open_one();
    ck_assert_uint_eq(rig_deadline_ns(), rig_now.monotonic_ns + 60 * NS_PER_S);
    rig_run_after(60 * NS_PER_S - 1);
    rig_expect_nothing(receiver);
    rig_run_after(1);
    rig_expect_templates(receiver, 1);
    rig_expect_nothing(receiver);
    ck_assert_uint_eq(rig_deadline_ns(), rig_now.monotonic_ns + 60 * NS_PER_S);
}
END_TEST

START_TEST(templates_of_several_datagrams_stay_together)
{
    if (!rig_holds_megabytes())
        return;
    rig_options.max_datagram = PACKET_OCTETS_MIN;
    rig_options.template_datagrams = 1;
    receiver = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", rig_port(receiver));
    rig_open();
    for (unsigned i = 0; i < 100; i++)
        rig_queue_sized(PACKET_OCTETS_MIN, 1);
    rig_run();

    uint32_t sequence = 0;
    unsigned set = 0; /* template datagrams before the first data */
    struct rig_datagram datagram;
    for (; datagram = rig_expect(receiver), datagram.templates; set++)
        ck_assert_uint_eq(datagram.sequence, sequence++);
    ck_assert_uint_gt(set, 1);
    for (unsigned i = 0; i < 100; i++) {
        if (i > 0)
            rig_expect_data(receiver, sequence, i);
        sequence++;
        for (unsigned j = 0; j < set; j++)
            rig_expect_templates(receiver, sequence++);
    }
    rig_expect_nothing(receiver);
}
END_TEST

static struct interface_names *names_of(size_t count)
{
    struct interface_names *names = interface_names_allocate(count);
    for (size_t i = 0; i < count; i++)
        names->each[i] = (struct interface_name){.number = 1 + (uint32_t)i, .name = "eth"};
    return names;
}

/* Templates that go once a second, until all is told. */
static void expect_names(uint32_t *sequence, unsigned turns)
{
    unsigned datagrams = 0;
    struct rig_datagram datagram;
    for (unsigned i = 0; i < turns; i++) {
        rig_expect_nothing(receiver);
        rig_run_after(NS_PER_S);
        while (rig_receive(receiver, 0, &datagram)) {
            ck_assert(datagram.templates);
            ck_assert_uint_eq(datagram.sequence, (*sequence)++);
            datagrams++;
        }
    }
    ck_assert_uint_eq(datagrams, 2 * turns);
    ck_assert_uint_eq(rig_deadline_ns(), rig_now.monotonic_ns + 60 * NS_PER_S);
}

START_TEST(names_of_interfaces_go_with_templates)
{
    struct interface_names *few = names_of(3), *many = names_of(2 * PACKET_NAMES_MAX + 1);
    uint32_t sequence = 1;
    open_one();
    packet_name_interfaces(rig_packet, few);
    ck_assert_uint_eq(rig_deadline_ns(), rig_now.monotonic_ns + NS_PER_S);
    rig_run();
    expect_names(&sequence, 1);
    packet_name_interfaces(rig_packet, many); /* they have changed */
    expect_names(&sequence, 3);

    /* A collector that may have been started anew is told all of them again. */
    uint16_t port = rig_port(receiver);
    close(receiver);
    rig_queue(10);
    rig_run_after(NS_PER_S);
    rig_queue(10);
    rig_run_after(NS_PER_S);
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);
    receiver = rig_receiver("127.0.0.1", port);
    unsigned datagrams = 0;
    struct rig_datagram datagram;
    for (unsigned i = 0; i < 4; i++) {
        rig_run_after(NS_PER_S);
        while (rig_receive(receiver, 0, &datagram))
            datagrams += datagram.templates;
    }
    ck_assert_uint_eq(datagrams, 3 * 2);
    free(few);
    free(many);
}
END_TEST

/* Paced down to nothing, so that all but the first datagram wait. */
START_TEST(the_oldest_are_dropped_for_the_slow_one_alone)
{
    int fast = rig_receiver("127.0.0.1", 0);
    rig_options.queue = 100;
    rig_options.max_rate = 20;
    rig_add_collector("127.0.0.1", rig_port(fast));
    rig_open();
    for (unsigned i = 0; i < 10; i++)
        rig_queue(20);
    rig_run();
    rig_expect_templates(fast, 0);
    rig_expect_data(fast, 1, 0);
    rig_expect_nothing(fast);
    ck_assert_uint_eq(rig_collector(0)->records_dropped, 80);
    ck_assert_uint_eq(rig_collector(0)->datagrams_dropped, 4);

    /* 1..4 are gone: a gap of four, templates, and then the fifth. */
    rig_run_after(NS_PER_S);
    rig_expect_templates(fast, 6);
    rig_expect_data(fast, 7, 5);
    rig_expect_nothing(fast);
}
END_TEST

START_TEST(a_queue_shorter_than_a_datagram_holds_one)
{
    rig_options.queue = 1;
    rig_options.max_rate = 1;
    open_one();
    for (unsigned i = 0; i < 3; i++) {
        rig_queue(20);
        rig_run();
    }
    rig_expect_data(receiver, 1, 0);
    rig_run_after(20 * NS_PER_S);
    rig_expect_templates(receiver, 3);
    rig_expect_data(receiver, 4, 2);
    ck_assert_uint_eq(rig_collector(0)->datagrams_dropped, 1);
}
END_TEST

START_TEST(a_small_queue_loses_nothing_of_a_fast_collector)
{
    if (!rig_holds_megabytes())
        return;
    rig_options.queue = 10;
    rig_options.template_datagrams = 1000;
    open_one();
    for (unsigned i = 0; i < 500; i++)
        rig_queue(24);
    rig_run();
    for (unsigned i = 0; i < 500; i++)
        rig_expect_data(receiver, 1 + i, i);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0); /* no run was too long */
}
END_TEST

/* Round and round in the ring, with a collector that never takes anything. */
START_TEST(a_collector_that_is_gone_stops_no_other)
{
    rig_options.queue = 1000;
    rig_options.template_datagrams = 1000000;
    rig_add_collector("fe80::1%nowhere0", 2055);
    receiver = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", rig_port(receiver));
    rig_open();
    rig_run();
    rig_expect_templates(receiver, 0);
    for (unsigned i = 0; i < 5000; i++) {
        rig_queue_sized(40 + i % 1000, 10);
        rig_run();
        rig_expect_data(receiver, 1 + i, i);
    }
    ck_assert_uint_eq(rig_collector(0)->records, 0);
    ck_assert_uint_eq(rig_collector(0)->records_dropped, 50000 - 1000);
    ck_assert_uint_eq(rig_collector(1)->records_dropped, 0);
    ck_assert(!collectors_pending(rig_udp));
    collectors_abandon(rig_udp);
    ck_assert_uint_eq(rig_collector(0)->records_dropped, 50000);
    ck_assert_uint_eq(rig_collector(0)->datagrams_dropped, 5000);
}
END_TEST

START_TEST(records_are_paced_smoothly)
{
    enum { RATE = 10000, RECORDS = 25, WINDOW_MS = 10 };

    rig_options.max_rate = RATE;
    rig_options.template_datagrams = 100000;
    open_one();
    for (unsigned i = 0; i < 1000; i++)
        rig_queue(RECORDS);

    unsigned window[WINDOW_MS] = {0}, total = 0;
    for (unsigned ms = 0; ms < 1000; ms++) {
        unsigned before = (unsigned)rig_collector(0)->records;
        rig_run_after(NS_PER_MS);
        window[ms % WINDOW_MS] = (unsigned)rig_collector(0)->records - before;
        total += window[ms % WINDOW_MS];
        unsigned in_window = 0;
        for (unsigned i = 0; i < WINDOW_MS; i++)
            in_window += window[i];
        ck_assert_uint_le(in_window, 2 * RATE * WINDOW_MS / 1000 + RECORDS);
        if (ms >= WINDOW_MS * 2)
            ck_assert_uint_ge(in_window, RATE * WINDOW_MS / 1000 - RECORDS);
    }
    ck_assert_uint_ge(total, RATE - RECORDS);
    ck_assert_uint_le(total, RATE + RATE * WINDOW_MS / 1000 + RECORDS);
    ck_assert(collectors_pending(rig_udp));

    /* The last one waited for a second, and so did some for every time below that. */
    const struct stats_histogram *delay = &rig_collector(0)->delay;
    uint64_t observed = 0;
    for (unsigned i = 0; i <= STATS_LIMITS; i++) {
        observed += delay->count[i];
        ck_assert(delay->count[i] == 0 || i == STATS_LIMITS || stats_limit_ns(i) <= NS_PER_S);
    }
    ck_assert_uint_eq(observed * RECORDS, rig_collector(0)->records);
    ck_assert_uint_gt(delay->sum_ns, observed * NS_PER_S / 3);
    ck_assert_uint_lt(delay->sum_ns, observed * NS_PER_S * 2 / 3);
}
END_TEST

START_TEST(a_paced_datagram_goes_at_its_deadline)
{
    rig_options.max_rate = 1000;
    open_one();
    for (unsigned i = 0; i < 3; i++)
        rig_queue(40);
    rig_run();
    rig_expect_data(receiver, 1, 0);
    rig_expect_nothing(receiver);
    for (unsigned i = 1; i < 3; i++) {
        uint64_t wait_ns = rig_deadline_ns() - rig_now.monotonic_ns;
        ck_assert_uint_le(wait_ns, 40 * NS_PER_MS);
        rig_run_after(wait_ns - 1);
        rig_expect_nothing(receiver);
        rig_run_after(1);
        rig_expect_data(receiver, 1 + i, i);
        rig_expect_nothing(receiver);
    }
}
END_TEST

/* Until data comes that waits at most a second for templates; what was sent while closed is lost, no more. */
START_TEST(a_closed_port_that_opens_again_gets_templates)
{
    int closed = rig_receiver("127.0.0.1", 0);
    uint16_t port = rig_port(closed);
    receiver = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", port);
    rig_add_collector("127.0.0.1", rig_port(receiver));
    rig_open();
    rig_queue(10);
    rig_run();
    rig_expect_templates(closed, 0);
    struct rig_datagram before = rig_expect(closed);
    ck_assert(!before.templates);
    close(closed);

    for (unsigned i = 0; i < 30; i++) {
        rig_queue(10);
        rig_run_after(100 * NS_PER_MS);
    }
    const struct collector_stats *stats = rig_collector(0);
    ck_assert_uint_gt(stats->unreachable, 0);
    ck_assert_uint_eq(stats->records_dropped, 0);
    ck_assert_uint_ge(stats->records, 200); /* a closed port is sent to all the same */
    ck_assert_uint_le(stats->datagrams - stats->records / 10, 1 + 4);

    closed = rig_receiver("127.0.0.1", port);
    unsigned first = rig_queue(10);
    for (unsigned i = 0; i < 11; i++)
        rig_run_after(100 * NS_PER_MS);
    struct rig_datagram datagram = rig_expect(closed);
    ck_assert(datagram.templates);
    ck_assert_mem_eq(&datagram.from, &before.from, sizeof(before.from));
    uint32_t sequence = datagram.sequence;
    do {
        datagram = rig_expect(closed);
        ck_assert(!datagram.templates);
        ck_assert_uint_eq(datagram.sequence, ++sequence);
    } while (datagram.number < first);
    ck_assert_uint_eq(datagram.number, first);
    ck_assert_uint_eq(stats->records, 320);
    ck_assert_uint_eq(stats->reconnects, 0);

    rig_run_after(20 * NS_PER_S);
    uint64_t unreachable = stats->unreachable;
    rig_queue(10);
    rig_run_after(NS_PER_S);
    rig_expect_data(closed, sequence + 1, first + 1);
    rig_expect_nothing(closed);
    ck_assert_uint_eq(stats->unreachable, unreachable);

    /* The other one never noticed. */
    ck_assert_uint_eq(rig_collector(1)->records, 330);
    ck_assert_uint_eq(rig_collector(1)->send_errors, 0);
}
END_TEST

/* Whoever can send from the collector's address and port must not fill the socket that nobody reads: there
 * would be no room for ICMP errors. */
START_TEST(what_the_collector_sends_takes_no_room)
{
    receiver = rig_receiver("127.0.0.1", 0);
    uint16_t port = rig_port(receiver);
    rig_add_collector("127.0.0.1", port);
    rig_open();
    rig_run();
    struct rig_datagram first = rig_expect(receiver);
    for (unsigned i = 0; i < 30; i++) {
        rig_flood(receiver, &first.from);
        close(receiver);
        for (unsigned j = 0; j < 200; j++)
            rig_queue(1);
        rig_run_after(100 * NS_PER_MS);
        receiver = rig_receiver("127.0.0.1", port);
    }
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);
    ck_assert_uint_ge(rig_collector(0)->records, 4000); /* of 6000, as to any closed port */
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);

    unsigned last = rig_queue(10);
    for (unsigned i = 0; i < 11; i++)
        rig_run_after(100 * NS_PER_MS);
    struct rig_datagram datagram;
    do
        datagram = rig_expect(receiver);
    while (datagram.number < last);
}
END_TEST

/* Data waits for it from the first error on, and templates ask once a second whether it is there again. */
START_TEST(one_that_is_probed_is_waited_for)
{
    receiver = rig_receiver("127.0.0.1", 0);
    uint16_t port = rig_port(receiver);
    rig_add_collector("127.0.0.1", port);
    rig_probe = true;
    rig_open();
    rig_queue(10);
    rig_run();
    rig_expect_templates(receiver, 0);
    rig_expect_data(receiver, 1, 0);
    close(receiver);
    rig_queue(10); /* is lost, and tells */
    rig_run();
    ck_assert_uint_eq(collectors_unreachable_ns(rig_udp), 0);
    rig_queue(10);
    rig_run();
    uint64_t since_ns = rig_now.monotonic_ns;
    ck_assert_uint_eq(collectors_unreachable_ns(rig_udp), since_ns);
    ck_assert(!collectors_pending(rig_udp));
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_uint_le(rig_deadline_ns(), rig_now.monotonic_ns + NS_PER_S);
        rig_run_after(NS_PER_S);
        ck_assert_uint_eq(collectors_unreachable_ns(rig_udp), since_ns);
    }
    ck_assert_uint_eq(rig_collector(0)->records, 20);

    receiver = rig_receiver("127.0.0.1", port);
    unsigned seconds = 0;
    for (; collectors_unreachable_ns(rig_udp) != 0; seconds++)
        rig_run_after(NS_PER_S);
    ck_assert_uint_le(seconds, 4);
    rig_run_after(NS_PER_S);
    struct rig_datagram datagram;
    do
        datagram = rig_expect(receiver);
    while (datagram.templates);
    ck_assert_uint_eq(datagram.number, 2);
    ck_assert_uint_eq(rig_collector(0)->records_dropped, 0);
    ck_assert_uint_eq(rig_deadline_ns() > rig_now.monotonic_ns + 50 * NS_PER_S, true);
}
END_TEST

START_TEST(an_idle_closed_port_wakes_nobody)
{
    int closed = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", rig_port(closed));
    close(closed);
    rig_open();
    for (unsigned i = 0; i < 3; i++)
        rig_queue(10);
    rig_run();
    rig_run_after(NS_PER_S);
    rig_run_after(NS_PER_S);
    ck_assert_uint_eq(rig_collector(0)->records, 30);
    rig_run_after(60 * NS_PER_S);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(rig_deadline_ns(), rig_now.monotonic_ns + 60 * NS_PER_S);
        rig_run_after(60 * NS_PER_S);
    }
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);
}
END_TEST

START_TEST(ipv6_works_alike)
{
    if (!rig_holds_megabytes())
        return;
    receiver = rig_receiver("::1", 0);
    rig_options.template_datagrams = 1000;
    rig_add_collector("::1", rig_port(receiver));
    snprintf(rig_options.source_address, sizeof(rig_options.source_address), "::1");
    rig_open();
    for (unsigned i = 0; i < 300; i++)
        rig_queue(20);
    rig_run();
    rig_expect_templates(receiver, 0);
    for (unsigned i = 0; i < 300; i++)
        rig_expect_data(receiver, 1 + i, i);
}
END_TEST

START_TEST(the_source_address_is_used)
{
    snprintf(rig_options.source_address, sizeof(rig_options.source_address), "127.0.0.7");
    receiver = rig_receiver("127.0.0.1", 0);
    rig_add_collector("127.0.0.1", rig_port(receiver));
    rig_open();
    rig_run();
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert_uint_eq(((struct sockaddr_in *)(void *)&datagram.from)->sin_addr.s_addr,
                      inet_addr("127.0.0.7"));
}
END_TEST

START_TEST(collectors_are_named_as_they_are_given)
{
    rig_add_collector("192.0.2.1", 2055);
    rig_add_collector("2001:db8::1", 9995);
    rig_add_collector("fe80::1%lo", 1);
    rig_add_collector("collector.example", 65535);
    rig_open();
    ck_assert_uint_eq(collectors_count(rig_udp), 4);
    ck_assert_str_eq(collectors_name(rig_udp, 0), "192.0.2.1:2055");
    ck_assert_str_eq(collectors_name(rig_udp, 1), "[2001:db8::1]:9995");
    ck_assert_str_eq(collectors_name(rig_udp, 2), "[fe80::1%lo]:1");
    ck_assert_str_eq(collectors_name(rig_udp, 3), "collector.example:65535");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("udp");
    tcase_add_checked_fixture(tests, rig_setup, rig_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, templates_go_first_and_data_in_order);
    tcase_add_test(tests, data_queued_before_the_first_turn_waits_for_templates);
    tcase_add_test(tests, long_runs_arrive_whole_and_in_order);
    tcase_add_test(tests, what_one_turn_leaves_is_sent_in_the_next);
    tcase_add_test(tests, templates_come_again_by_time);
    tcase_add_test(tests, templates_of_several_datagrams_stay_together);
    tcase_add_test(tests, names_of_interfaces_go_with_templates);
    tcase_add_test(tests, the_oldest_are_dropped_for_the_slow_one_alone);
    tcase_add_test(tests, a_queue_shorter_than_a_datagram_holds_one);
    tcase_add_test(tests, a_small_queue_loses_nothing_of_a_fast_collector);
    tcase_add_test(tests, a_collector_that_is_gone_stops_no_other);
    tcase_add_test(tests, records_are_paced_smoothly);
    tcase_add_test(tests, a_paced_datagram_goes_at_its_deadline);
    tcase_add_test(tests, a_closed_port_that_opens_again_gets_templates);
    tcase_add_test(tests, what_the_collector_sends_takes_no_room);
    tcase_add_test(tests, one_that_is_probed_is_waited_for);
    tcase_add_test(tests, an_idle_closed_port_wakes_nobody);
    tcase_add_test(tests, ipv6_works_alike);
    tcase_add_test(tests, the_source_address_is_used);
    tcase_add_test(tests, collectors_are_named_as_they_are_given);

    Suite *suite = suite_create("udp");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
