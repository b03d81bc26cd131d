/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a connection ends: DESTROYs and rows in whatever order, and no DESTROY at all. */
#include <linux/netfilter/nf_conntrack_tcp.h>

#include "tracker_rig.h"

START_TEST(a_row_behind_its_destroy_changes_nothing)
{
    start(2);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    begin(120);
    destroyed(flow_of(1, 0, 15), 121); /* was in the table */
    expect(1, 5, 60, 121, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(2, 0, 25), 121); /* was not */
    expect(2, 25, 0, 121, FLOW_END_IDLE_TIMEOUT);
    for (int times = 0; times < 2; times++) {
        row(flow_of(1, 0, 14));
        row(flow_of(2, 0, 24));
    }
    expect_nothing();
    ck_assert_uint_eq(stats.table_full, 0);
    end(FLOW_NOTE_DUMP_END);

    /* And it keeps no place. */
    begin(135);
    row(flow_of(3, 0, 1));
    row(flow_of(4, 0, 1));
    ck_assert_uint_eq(stats.table_full, 0);
}
END_TEST

/* The row was read when the connection had lived too short. */
START_TEST(a_short_connection_leaves_nothing_while_a_dump_goes_on)
{
    start(1);
    begin(120);
    destroyed(flow_of(1, 61, 5), 125);
    destroyed(flow_of(2, 124, 5), 125);
    expect(1, 5, 61, 125, FLOW_END_IDLE_TIMEOUT);
    expect(2, 5, 124, 125, FLOW_END_IDLE_TIMEOUT);
    row(flow_of(3, 0, 5));
    expect(3, 5, 0, 120, FLOW_END_ACTIVE_TIMEOUT);
}
END_TEST

/* The clock of the DESTROY's stop has nothing to do with it. */
START_TEST(a_dead_entry_does_not_depend_on_the_clock)
{
    start(1);
    begin(120);
    destroyed(flow_of(1, 50, 5), 51); /* set back in between */
    expect(1, 5, 50, 51, FLOW_END_IDLE_TIMEOUT);
    row(flow_of(1, 50, 4));
    expect_nothing();
}
END_TEST

START_TEST(without_room_for_the_dead_a_dump_brings_nobody_new)
{
    start(1);
    begin(60);
    row(flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(flow_of(2, 0, 25), 61);
    expect(2, 25, 0, 61, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(1, 0, 10), 61); /* dead itself: it does not make room */
    row(flow_of(2, 0, 24));
    row(flow_of(3, 0, 30));
    expect_nothing();
    ck_assert_uint_eq(stats.table_full, 2);
    end(FLOW_NOTE_DUMP_BROKEN);
    dump(75, flow_of(3, 0, 31));
    expect(3, 31, 0, 75, FLOW_END_ACTIVE_TIMEOUT);
}
END_TEST

START_TEST(a_destroy_that_comes_again_is_dropped)
{
    start(2);
    dump(60, flow_of(1, 0, 10));
    destroyed(flow_of(1, 0, 15), 65);
    destroyed(flow_of(2, 0, 25), 65);
    unsigned before = report_count;
    for (int times = 0; times < 3; times++) {
        destroyed(flow_of(1, 0, 15), 65);
        destroyed(flow_of(2, 0, 25), 65);
    }
    ck_assert_uint_eq(report_count, before);
    ck_assert_uint_eq(stats.repeated, 6);
    destroyed(flow_of(1, 1, 15), 65); /* the same tuple and id, another connection */
    ck_assert_uint_eq(report_count, before + 1);
}
END_TEST

static void drop(void *context, const struct flow *flow)
{
    (void)context;
    (void)flow;
}

START_TEST(a_dead_entry_tells_a_repeat_for_as_long_as_it_is_there)
{
    const struct tracker_config config = {.capacity = 2,
                                          .active_timeout_ns = TIMEOUT_S * NS_PER_S,
                                          .began_ns = BEGAN_NS,
                                          .stats = &stats,
                                          .clock = &clock_now};
    wall_clock_start_at(&clock_now, BEGAN_NS, BEGAN_NS);
    ck_assert_int_eq(tracker_open(&tracker, &config, drop, NULL), 0);
    begin(60);
    destroyed(flow_of(1, 0, 15), 65);
    for (uint32_t i = 0; i < 1000000; i++)
        destroyed(flow_of(2 + i, 64, 1), 65);
    ck_assert_uint_eq(stats.repeated, 0);
    destroyed(flow_of(1, 0, 15), 65);
    ck_assert_uint_eq(stats.repeated, 1);
}
END_TEST

/* A complete dump does not show 1, which is asked for. */
static void miss_1(int64_t s)
{
    begin(s);
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    ck_assert(look());
    expect_question(FLOW_NOTE_MISSING, 1);
    expect_question(FLOW_NOTE_DUMP_END, 0);
    ck_assert_ptr_null(flow_ring_peek(questions));
}

START_TEST(closes_what_is_gone_with_what_was_last_known)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    dump(75, flow_of(1, 0, 15));
    miss_1(90);
    expect_nothing();
    note(FLOW_NOTE_GONE, &reported[0]);
    expect_nothing(); /* its DESTROY may wait to be read */
    ck_assert_uint_eq(stats.gone, 0);
    ck_assert(look());
    expect(1, 5, 60, 75, FLOW_END_FORCED);
    ck_assert_uint_eq(stats.gone, 1);

    /* A DESTROY after all adds only the rest, once. */
    destroyed(flow_of(1, 0, 17), 80);
    expect(1, 2, 75, 80, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(1, 0, 17), 80);
    expect_nothing();
    ck_assert_uint_eq(stats.repeated, 1);
}
END_TEST

START_TEST(a_destroy_that_was_still_to_be_read_ends_the_connection)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    miss_1(75);
    note(FLOW_NOTE_GONE, &reported[0]);
    destroyed(flow_of(1, 0, 12), 74);
    expect(1, 2, 60, 74, FLOW_END_IDLE_TIMEOUT);
    ck_assert(look());
    expect_nothing();
    ck_assert_uint_eq(stats.gone, 0);

    /* Its place is another one's now. */
    dump(130, flow_of(2, 0, 20));
    expect(2, 20, 0, 130, FLOW_END_ACTIVE_TIMEOUT);
    ck_assert_uint_eq(stats.gone, 0);
}
END_TEST

/* The only place is taken by what is gone: another connection does not get it. */
static void remember_gone(void)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    miss_1(75);
    note(FLOW_NOTE_GONE, &reported[0]);
    ck_assert(look());
}

START_TEST(remembers_what_is_gone_for_a_while)
{
    remember_gone();
    for (unsigned i = 1; i <= MEMORY_DUMPS; i++) {
        dump(75 + i * TIMEOUT_S, flow_of(2, 0, 20));
        ck_assert_uint_eq(stats.table_full, i);
    }
    dump(75 + (MEMORY_DUMPS + 1) * TIMEOUT_S, flow_of(2, 0, 20));
    ck_assert_uint_eq(stats.table_full, MEMORY_DUMPS);
    ck_assert_uint_eq(report_count, 2);
}
END_TEST

START_TEST(hurried_dumps_do_not_shorten_the_memory)
{
    remember_gone();
    for (unsigned i = 1; i <= 2 * MEMORY_DUMPS; i++) {
        dump(75 + i, flow_of(2, 0, 20));
        ck_assert_uint_eq(stats.table_full, i);
    }
    dump(60 + MEMORY_TIMEOUTS * TIMEOUT_S, flow_of(2, 0, 20));
    ck_assert_uint_eq(stats.table_full, 2 * MEMORY_DUMPS + 1);
    dump(61 + MEMORY_TIMEOUTS * TIMEOUT_S, flow_of(2, 0, 20));
    ck_assert_uint_eq(stats.table_full, 2 * MEMORY_DUMPS + 1);
    ck_assert_uint_eq(report_count, 2);
}
END_TEST

START_TEST(what_is_shown_again_goes_on)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    miss_1(75);
    note(FLOW_NOTE_GONE, &reported[0]);
    ck_assert(look());
    dump(90, flow_of(1, 0, 14));
    dump(120, flow_of(1, 0, 15));
    expect(1, 5, 60, 120, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(flow_of(1, 0, 16), 130);
    expect(1, 1, 120, 130, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

START_TEST(a_broken_dump_proves_nothing)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    begin(75);
    end(FLOW_NOTE_DUMP_BROKEN);
    note(FLOW_NOTE_GONE, &(struct flow){.id = 99}); /* nobody knows it */
    dump(90, flow_of(1, 0, 10));
    note(FLOW_NOTE_GONE, &reported[0]); /* it was shown */
    ck_assert(look());
    ck_assert_uint_eq(stats.gone, 0);
}
END_TEST

START_TEST(asks_for_each_once_as_room_allows)
{
    enum { FLOWS = 10 * QUESTIONS };
    start(FLOWS);
    begin(60);
    for (uint32_t i = 0; i < FLOWS; i++)
        row(flow_of(1 + i, 0, 10));
    end(FLOW_NOTE_DUMP_END);
    begin(75);
    row(flow_of(1, 0, 11));
    destroyed(flow_of(2, 0, 11), 75);
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    for (uint32_t id = 3; id <= FLOWS - 2;) {
        ck_assert(!look());
        for (int i = 0; i < QUESTIONS; i++)
            expect_question(FLOW_NOTE_MISSING, id++);
        ck_assert_ptr_null(flow_ring_peek(questions));
    }
    ck_assert(look());
    expect_question(FLOW_NOTE_MISSING, FLOWS - 1);
    expect_question(FLOW_NOTE_MISSING, FLOWS);
    expect_question(FLOW_NOTE_DUMP_END, 0);
    ck_assert(look());
    ck_assert_ptr_null(flow_ring_peek(questions));
}
END_TEST

START_TEST(looks_in_small_steps)
{
    enum { FLOWS = 100 };
    start(FLOWS);
    begin(60);
    for (uint32_t i = 0; i < FLOWS; i++)
        row(flow_of(1 + i, 0, 10));
    end(FLOW_NOTE_DUMP_END);
    report_count = 0;
    begin(75);
    for (uint32_t i = 0; i < FLOWS; i++)
        if (i % 10 != 0)
            row(flow_of(1 + i, 0, 11));
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    unsigned steps = 0, asked = 0;
    for (bool more = true; more; steps++) {
        more = tracker_look(tracker, questions, 3);
        for (const struct flow_note *question; (question = flow_ring_peek(questions));
             flow_ring_take(questions)) {
            if (question->kind == FLOW_NOTE_DUMP_END)
                continue;
            note(FLOW_NOTE_GONE, &question->flow);
            asked++;
        }
    }
    ck_assert_uint_eq(asked, FLOWS / 10);
    ck_assert_uint_ge(steps, FLOWS / 3);
    for (bool more = true; more;) {
        unsigned before = report_count;
        more = tracker_look(tracker, questions, 3);
        ck_assert_uint_le(report_count - before, 3);
    }
    ck_assert_uint_eq(stats.gone, FLOWS / 10);
}
END_TEST

/* Kernels before 5.12: a row is what tells. */
START_TEST(remembers_what_a_row_told_of_the_end)
{
    start(3);
    begin(60);
    for (uint32_t id = 1; id <= 3; id++) {
        struct flow flow = flow_of(id, 0, 10);
        flow.has |= FLOW_HAS_TIMEOUT | FLOW_HAS_TCP_STATE;
        flow.timeout_s = 20;
        flow.tcp_state = id == 3 ? TCP_CONNTRACK_TIME_WAIT : TCP_CONNTRACK_ESTABLISHED;
        row(flow);
        expect(id, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    }
    end(FLOW_NOTE_DUMP_END);
    ended(flow_of(1, 0, 11), 70);
    expect(1, 1, 60, 70, FLOW_END_UNKNOWN);
    ended(flow_of(2, 0, 10), 80); /* idle; there is nothing to report */
    ended(flow_of(3, 0, 12), 65);
    expect(3, 2, 60, 65, FLOW_END_DETECTED);
    ended(flow_of(4, 70, 1), 71); /* no row */
    expect(4, 1, 70, 71, FLOW_END_UNKNOWN);
    expect_nothing();
}
END_TEST

/* Whether it timed out is not known: it may be one whose event the kernel has kept. */
START_TEST(does_not_drop_an_old_end_that_tells_nothing)
{
    start(1);
    ended(flow_of(1, -50, 10), -5);
    expect(1, 10, -50, -5, FLOW_END_UNKNOWN);
    ended(flow_of(2, -50, 10), 5);
    expect_nothing();
    ck_assert_uint_eq(stats.adopted, 1);
}
END_TEST

static void expect_kind(uint32_t id, uint64_t packets, enum flow_kind kind)
{
    ck_assert_uint_lt(report_next, report_count);
    const struct flow *flow = &reported[report_next++];
    ck_assert_uint_eq(flow->id, id);
    ck_assert_uint_eq(flow->packets[FLOW_ORIGINAL], packets);
    ck_assert_int_eq(flow->kind, kind);
}

START_TEST(what_is_of_a_span_is_a_part)
{
    start(2);
    dump(1, flow_of(1, -5, 100)); /* what it had then was before us */
    destroyed(flow_of(1, -5, 110), 2);
    expect_kind(1, 10, FLOW_PART);
    dump(60, flow_of(2, 0, 10));
    expect_kind(2, 10, FLOW_PART);
    destroyed(flow_of(2, 0, 15), 65);
    expect_kind(2, 5, FLOW_PART);
    dump(120, flow_of(3, 50, 0));
    expect_nothing();
    destroyed(flow_of(3, 50, 5), 125); /* all that it carried, but its first span was over */
    expect_kind(3, 5, FLOW_PART);

    begin(200);
    row(flow_of(4, 100, 10));
    row(flow_of(5, 100, 20));
    end(FLOW_NOTE_DUMP_END);
    expect_kind(4, 10, FLOW_PART);
    expect_kind(5, 20, FLOW_PART);
    begin_last(210);
    row(flow_of(4, 100, 11));
    row(flow_of(6, 205, 30)); /* has no place */
    expect_kind(6, 30, FLOW_PART);
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    while (tracker_finish(tracker, 1))
        continue;
    expect_kind(4, 1, FLOW_PART);
    expect_nothing();
}
END_TEST

/* Also when it had an entry. */
START_TEST(what_is_reported_whole_is_a_connection)
{
    const struct tracker_config full = {
        .capacity = 2, .active_timeout_ns = TIMEOUT_S * NS_PER_S, .adopt_full = true};
    start_with(&full);
    destroyed(flow_of(3, 5, 30), 10);
    expect_kind(3, 30, FLOW_CONNECTION);
    begin(20);
    row(flow_of(1, -5, 10));
    row(flow_of(2, -5, 20));
    end(FLOW_NOTE_DUMP_END);
    expect_nothing();
    destroyed(flow_of(2, -5, 25), 25);
    expect_kind(2, 25, FLOW_CONNECTION);
    miss_1(30);
    const struct flow gone = flow_of(1, -5, 10);
    note(FLOW_NOTE_GONE, &gone);
    ck_assert(look());
    expect_kind(1, 10, FLOW_CONNECTION); /* as far as is known */
    destroyed(flow_of(1, -5, 12), 31);
    expect_kind(1, 2, FLOW_PART);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ends");
    tcase_add_test(tcase, a_row_behind_its_destroy_changes_nothing);
    tcase_add_test(tcase, a_short_connection_leaves_nothing_while_a_dump_goes_on);
    tcase_add_test(tcase, a_dead_entry_does_not_depend_on_the_clock);
    tcase_add_test(tcase, without_room_for_the_dead_a_dump_brings_nobody_new);
    tcase_add_test(tcase, a_destroy_that_comes_again_is_dropped);
    tcase_add_test(tcase, a_dead_entry_tells_a_repeat_for_as_long_as_it_is_there);
    tcase_add_test(tcase, closes_what_is_gone_with_what_was_last_known);
    tcase_add_test(tcase, a_destroy_that_was_still_to_be_read_ends_the_connection);
    tcase_add_test(tcase, remembers_what_is_gone_for_a_while);
    tcase_add_test(tcase, hurried_dumps_do_not_shorten_the_memory);
    tcase_add_test(tcase, what_is_shown_again_goes_on);
    tcase_add_test(tcase, a_broken_dump_proves_nothing);
    tcase_add_test(tcase, asks_for_each_once_as_room_allows);
    tcase_add_test(tcase, looks_in_small_steps);
    tcase_add_test(tcase, remembers_what_a_row_told_of_the_end);
    tcase_add_test(tcase, does_not_drop_an_old_end_that_tells_nothing);
    tcase_add_test(tcase, what_is_of_a_span_is_a_part);
    tcase_add_test(tcase, what_is_reported_whole_is_a_connection);
    return run(tcase);
}
