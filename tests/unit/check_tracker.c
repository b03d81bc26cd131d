/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is reported of a connection while it lives. How it ends is in check_tracker_ends.c. */
#include "ctflow9/flow/row_rule.h"
#include "tracker_rig.h"

START_TEST(a_short_connection_passes_through)
{
    start(1);
    dump(10, flow_of(9, 0, 1)); /* so that adoption is over */
    struct flow flow = flow_of(1, 20, 3);
    flow.mark = 7;
    destroyed(flow, 21);
    expect(1, 3, 20, 21, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(reported[0].mark, 7);
    ck_assert_uint_eq(reported[0].packets[FLOW_REPLY], 1);
    expect_nothing();
}
END_TEST

START_TEST(parts_add_up)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    dump(75, flow_of(1, 0, 20));
    dump(119, flow_of(1, 0, 30));
    expect_nothing();
    dump(120, flow_of(1, 0, 40));
    expect(1, 30, 60, 120, FLOW_END_ACTIVE_TIMEOUT);
    dump(135, flow_of(1, 0, 50));
    destroyed(flow_of(1, 0, 52), 140);
    expect(1, 12, 120, 140, FLOW_END_IDLE_TIMEOUT);
    expect_nothing();
    uint64_t replies = 0;
    for (unsigned i = 0; i < report_count; i++)
        replies += reported[i].packets[FLOW_REPLY];
    ck_assert_uint_eq(replies, 26);
}
END_TEST

/* The fewer looks there are, the earlier and the later. */
START_TEST(what_is_due_is_the_dumps_business)
{
    start(1);
    due_age_s = 30;
    dump(29, flow_of(1, 0, 10));
    expect_nothing();
    dump(30, flow_of(1, 0, 10));
    expect(1, 10, 0, 30, FLOW_END_ACTIVE_TIMEOUT);
    dump(90, flow_of(1, 0, 20));
    expect(1, 10, 30, 90, FLOW_END_ACTIVE_TIMEOUT);
    expect_nothing();
}
END_TEST

/* One that was due early has an entry, also when the later looks show the old alone. */
START_TEST(what_was_due_early_is_known_at_its_end)
{
    start(1);
    due_age_s = 30;
    dump(31, flow_of(1, 0, 10));
    expect(1, 10, 0, 31, FLOW_END_ACTIVE_TIMEOUT);
    due_age_s = 50;
    dump(40, flow_of(1, 0, 11));
    destroyed(flow_of(1, 0, 12), 48);
    expect(1, 2, 31, 48, FLOW_END_IDLE_TIMEOUT);
    expect_nothing();
}
END_TEST

START_TEST(a_span_without_packets_is_not_reported)
{
    start(1);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    dump(120, flow_of(1, 0, 10));
    dump(180, flow_of(1, 0, 10));
    expect_nothing();
    dump(240, flow_of(1, 0, 11));
    expect(1, 1, 180, 240, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(flow_of(1, 0, 11), 250);
    expect_nothing();
}
END_TEST

/* Nobody has sent a packet: a program made it, or set its counters to 0. */
START_TEST(a_connection_without_packets_is_not_reported)
{
    start(2);
    destroyed(flow_of(1, 1, 0), 2);
    ck_assert_uint_eq(stats.empty, 1);
    dump(60, flow_of(2, 0, 0));
    dump(120, flow_of(2, 0, 0));
    destroyed(flow_of(2, 0, 0), 125);
    ck_assert_uint_eq(stats.empty, 2);
    expect_nothing();
    struct flow uncounted = flow_of(3, 1, 0); /* nobody knows */
    uncounted.has = FLOW_HAS_START;
    destroyed(uncounted, 126);
    expect(3, 0, 1, 126, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(stats.empty, 2);
}
END_TEST

static struct flow offloaded(uint32_t id, uint64_t packets)
{
    struct flow flow = flow_of(id, 0, packets);
    flow.status = IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED | IPS_OFFLOAD;
    return flow;
}

/* A flowtable would have let go of it. */
START_TEST(notices_a_flowtable_that_does_not_count)
{
    start(9);
    dump(100, offloaded(1, 2));
    dump(120, offloaded(1, 2));
    dump(139, offloaded(1, 2));
    ck_assert_uint_eq(stats.uncounted, 0);
    dump(141, offloaded(1, 2));
    ck_assert_uint_eq(stats.uncounted, 1);
    dump(500, offloaded(1, 2));
    dump(501, offloaded(1, 3));
    dump(900, offloaded(1, 3));
    ck_assert_uint_eq(stats.uncounted, 1); /* each is counted once */

    struct flow hardware = offloaded(2, 2);
    hardware.status = IPS_HW_OFFLOAD;
    begin(910);
    row(offloaded(1, 3));
    row(hardware);
    end(FLOW_NOTE_DUMP_END);
    begin(60000);
    row(offloaded(1, 3));
    row(hardware);
    end(FLOW_NOTE_DUMP_END);
    ck_assert_uint_eq(stats.uncounted, 2);
}
END_TEST

START_TEST(other_connections_may_stand_still)
{
    start(9);
    begin(100);
    row(offloaded(1, 2)); /* counts now and then */
    row(offloaded(2, 2)); /* is let go of */
    row(flow_of(3, 0, 2));
    row(flow_of(4, 0, 2));
    end(FLOW_NOTE_DUMP_END);
    begin(130);
    row(offloaded(1, 2));
    row(flow_of(2, 0, 2));
    row(flow_of(3, 0, 2));
    row(flow_of(4, 0, 2));
    end(FLOW_NOTE_DUMP_END);
    begin(150);
    row(offloaded(1, 3));
    row(offloaded(2, 3));
    row(offloaded(3, 2)); /* just now */
    row(flow_of(4, 0, 2));
    end(FLOW_NOTE_DUMP_END);
    begin(180);
    row(offloaded(1, 3));
    row(offloaded(2, 3));
    row(offloaded(3, 2));
    row(flow_of(4, 0, 2));
    end(FLOW_NOTE_DUMP_END);
    ck_assert_uint_eq(stats.uncounted, 0);
}
END_TEST

/* The kernel counts a packet, then its octets; a dump reads in between. */
START_TEST(octets_wait_for_a_packet)
{
    struct flow early = flow_of(1, 0, 10);
    early.octets[FLOW_ORIGINAL] -= 100;
    start(1);
    dump(60, early);
    ck_assert_uint_eq(report_count, 1);
    ck_assert_uint_eq(reported[0].packets[FLOW_ORIGINAL], 10);
    ck_assert_uint_eq(reported[0].octets[FLOW_ORIGINAL], 900);
    dump(120, flow_of(1, 0, 10));
    ck_assert_uint_eq(report_count, 1);
    dump(180, flow_of(1, 0, 11));
    ck_assert_uint_eq(report_count, 2);
    ck_assert_uint_eq(reported[1].packets[FLOW_ORIGINAL], 1);
    ck_assert_uint_eq(reported[1].octets[FLOW_ORIGINAL], 200);

    /* At the end they wait no more. */
    early = flow_of(1, 0, 20);
    early.octets[FLOW_ORIGINAL] -= 100;
    dump(240, early);
    destroyed(flow_of(1, 0, 20), 250);
    ck_assert_uint_eq(report_count, 4);
    ck_assert_uint_eq(reported[3].packets[FLOW_ORIGINAL], 0);
    ck_assert_uint_eq(reported[3].octets[FLOW_ORIGINAL], 100);
}
END_TEST

START_TEST(adopts_older_connections)
{
    start(2);
    dump(1, flow_of(1, -500, 1000));
    ck_assert_uint_eq(stats.adopted, 1);
    expect_nothing();
    dump(59, flow_of(1, -500, 1010));
    expect_nothing();
    dump(60, flow_of(1, -500, 1020));
    expect(1, 20, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(flow_of(1, -500, 1023), 61);
    expect(1, 3, 60, 61, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(stats.adopted, 1);
}
END_TEST

START_TEST(adopts_in_full)
{
    const struct tracker_config full = {
        .capacity = 2, .active_timeout_ns = TIMEOUT_S * NS_PER_S, .adopt_full = true};
    start_with(&full);
    begin(1);
    destroyed(flow_of(2, -5, 7), 1); /* before its row could come */
    expect(2, 7, -5, 1, FLOW_END_IDLE_TIMEOUT);
    row(flow_of(1, -500, 1000));
    expect(1, 1000, -500, 1, FLOW_END_ACTIVE_TIMEOUT);
    end(FLOW_NOTE_DUMP_END);
    destroyed(flow_of(1, -500, 1003), 2);
    expect(1, 3, 1, 2, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(stats.adopted, 1);
}
END_TEST

/* Nobody knows what it carried before us. */
START_TEST(drops_what_ends_before_it_could_be_adopted)
{
    start(10);
    destroyed(flow_of(1, -5, 100), 0);
    destroyed(flow_of(9, -5, 100), -1); /* timed out before us, and was found just now */
    begin(1);
    destroyed(flow_of(2, -5, 100), 1);
    row(flow_of(2, -5, 99));
    ck_assert_uint_eq(stats.adopted, 3);
    expect_nothing();

    struct flow kept = flow_of(10, -5, 100); /* was removed before us, and its event not delivered */
    kept.has |= FLOW_HAS_TIMEOUT;
    kept.timeout_s = 30;
    destroyed(kept, -1);
    expect(10, 100, -5, -1, FLOW_END_IDLE_TIMEOUT);
    kept =
        flow_of(11, -5, 100); /* and its time has run out since, which its event tells when it comes again */
    kept.has |= FLOW_REQUESTED;
    destroyed(kept, -1);
    expect(11, 100, -5, -1, FLOW_END_IDLE_TIMEOUT);

    destroyed(flow_of(3, 0, 1), 1); /* a new one */
    expect(3, 1, 0, 1, FLOW_END_IDLE_TIMEOUT);
    struct flow uncounted = flow_of(4, -5, 0); /* nothing can have been counted */
    uncounted.has = FLOW_HAS_START;
    destroyed(uncounted, 1);
    expect(4, 0, -5, 1, FLOW_END_IDLE_TIMEOUT);

    /* The dump was not complete: there is another one. */
    end(FLOW_NOTE_DUMP_BROKEN);
    destroyed(flow_of(5, -5, 100), 2);
    begin(3);
    row(flow_of(6, -5, 100));
    end(FLOW_NOTE_DUMP_END);
    ck_assert_uint_eq(stats.adopted, 5);
    expect_nothing();

    /* Then there was no room for it, or it was overlooked. */
    destroyed(flow_of(7, -5, 100), 4);
    expect(7, 100, -5, 4, FLOW_END_IDLE_TIMEOUT);
    begin(5);
    row(flow_of(6, -5, 101));
    row(flow_of(8, -5, 100));
    end(FLOW_NOTE_DUMP_END);
    destroyed(flow_of(6, -5, 102), 6);
    expect(6, 2, 0, 6, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(8, -5, 101), 6);
    expect(8, 101, -5, 6, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(stats.adopted, 5);
}
END_TEST

START_TEST(a_full_table_keeps_the_whole_for_the_end)
{
    start(2);
    begin(100);
    row(flow_of(1, 0, 10));
    row(flow_of(2, 0, 20));
    row(flow_of(3, 0, 30));
    end(FLOW_NOTE_DUMP_END);
    expect(1, 10, 0, 100, FLOW_END_ACTIVE_TIMEOUT);
    expect(2, 20, 0, 100, FLOW_END_ACTIVE_TIMEOUT);
    expect_nothing();
    ck_assert_uint_eq(stats.table_full, 1);
    destroyed(flow_of(3, 0, 33), 110);
    expect(3, 33, 0, 110, FLOW_END_IDLE_TIMEOUT);

    /* Room again. */
    destroyed(flow_of(1, 0, 11), 111);
    expect(1, 1, 100, 111, FLOW_END_IDLE_TIMEOUT);
    begin(115);
    row(flow_of(2, 0, 20));
    row(flow_of(4, 0, 40));
    end(FLOW_NOTE_DUMP_END);
    expect(4, 40, 0, 115, FLOW_END_ACTIVE_TIMEOUT);
    ck_assert_uint_eq(stats.table_full, 1);
    expect_nothing();
}
END_TEST

START_TEST(what_could_not_be_adopted_is_reported_whole)
{
    start(1);
    begin(1);
    row(flow_of(1, -5, 100));
    row(flow_of(2, -5, 100));
    ck_assert_uint_eq(stats.adopted, 1);
    ck_assert_uint_eq(stats.table_full, 1);
    destroyed(flow_of(2, -5, 101), 2);
    expect(2, 101, -5, 2, FLOW_END_IDLE_TIMEOUT);
    end(FLOW_NOTE_DUMP_END);
    destroyed(flow_of(1, -5, 101), 2);
    expect(1, 1, 0, 2, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

/* With reserve for the older ones, what they carried before is known of all. */
START_TEST(the_older_have_places_beyond_a_full_table)
{
    const struct tracker_config config = {
        .capacity = 1, .reserve = 2, .active_timeout_ns = TIMEOUT_S * NS_PER_S};
    start_with(&config);
    begin(60);
    row(flow_of(1, -5, 100));
    row(flow_of(2, -5, 100));
    row(flow_of(3, 0, 30));
    destroyed(flow_of(4, -5, 100), 61); /* takes a place: its row could be adopted */
    row(flow_of(4, -5, 99));
    end(FLOW_NOTE_DUMP_END);
    expect_nothing();
    ck_assert_uint_eq(stats.adopted, 3);
    ck_assert_uint_eq(stats.table_full, 1);
    destroyed(flow_of(2, -5, 101), 62);
    expect(2, 1, 60, 62, FLOW_END_IDLE_TIMEOUT);
    begin(63);
    row(flow_of(1, -5, 100));
    row(flow_of(5, 0, 50)); /* it is for nobody else */
    end(FLOW_NOTE_DUMP_END);
    expect_nothing();
    ck_assert_uint_eq(stats.table_full, 2);
    destroyed(flow_of(1, -5, 101), 64);
    expect(1, 1, 60, 64, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(3, 0, 31), 64);
    expect(3, 31, 0, 64, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

START_TEST(the_last_dump_has_places_beyond_a_full_table)
{
    const struct tracker_config config = {
        .capacity = 1, .reserve = 5, .active_timeout_ns = TIMEOUT_S * NS_PER_S};
    start_with(&config);
    begin(100);
    row(flow_of(1, 0, 10));
    row(flow_of(2, 0, 20));
    end(FLOW_NOTE_DUMP_END);
    expect(1, 10, 0, 100, FLOW_END_ACTIVE_TIMEOUT);
    ck_assert_uint_eq(stats.table_full, 1);
    begin_last(110);
    row(flow_of(1, 0, 11));
    row(flow_of(2, 0, 21));
    expect(2, 21, 0, 110, FLOW_END_ACTIVE_TIMEOUT);
    row(flow_of(3, 105, 30));
    destroyed(flow_of(3, 105, 31), 111);
    expect(3, 31, 105, 111, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(4, 106, 41), 111); /* before its row comes */
    expect(4, 41, 106, 111, FLOW_END_IDLE_TIMEOUT);
    row(flow_of(4, 106, 40));
    row(flow_of(5, 107, 50));
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    destroyed(flow_of(5, 107, 51), 112); /* after it */
    expect(5, 51, 107, 112, FLOW_END_IDLE_TIMEOUT);
    while (tracker_finish(tracker, 1))
        continue;
    expect(1, 1, 100, 110, FLOW_END_ACTIVE_TIMEOUT);
    expect_nothing();
    ck_assert_uint_eq(stats.table_full, 1);
}
END_TEST

START_TEST(what_has_no_place_in_the_end_passes_through_whole)
{
    start(1);
    dump(1, flow_of(1, -5, 100));
    begin_last(110);
    row(flow_of(4, 20, 0));
    row(flow_of(1, -5, 101));
    expect(1, 1, 0, 110, FLOW_END_ACTIVE_TIMEOUT);
    row(flow_of(2, 0, 20));
    expect(2, 20, 0, 110, FLOW_END_ACTIVE_TIMEOUT);
    row(flow_of(3, -5, 30)); /* a run before may have reported some of it */
    ck_assert_uint_eq(stats.table_full, 3);
    end(FLOW_NOTE_DUMP_BROKEN);
    begin_last(111);
    row(flow_of(1, -5, 101));
    row(flow_of(2, 0, 21)); /* passed through already */
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    while (tracker_finish(tracker, 1))
        continue;
    expect_nothing();
}
END_TEST

START_TEST(repeated_rows_change_nothing)
{
    start(2);
    begin(60);
    for (int times = 0; times < 3; times++)
        row(flow_of(1, 0, 10));
    row(flow_of(1, 0, 12)); /* read again a little later */
    end(FLOW_NOTE_DUMP_END);
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    expect_nothing();
    destroyed(flow_of(1, 0, 12), 70);
    expect(1, 2, 60, 70, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

START_TEST(without_start_stamps_as_exactly_as_can_be)
{
    start(3);
    begin(1);
    row(unstamped(1, 100));
    row(unstamped(2, 0));
    end(FLOW_NOTE_DUMP_END);
    ck_assert_uint_eq(stats.adopted, 2); /* they may be older */
    begin(60);
    row(unstamped(1, 110));
    row(unstamped(2, 0));
    row(unstamped(3, 1));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    end(FLOW_NOTE_DUMP_END);

    struct flow flow = unstamped(3, 2); /* with what ct_events makes of a missing stamp */
    flow.start_ns = at(70);
    destroyed(flow, 70);
    expect(3, 2, 60, 70, FLOW_END_IDLE_TIMEOUT);

    /* Nothing tells a repeat from another connection, dump or not. */
    destroyed(flow, 70);
    expect(3, 2, 70, 70, FLOW_END_IDLE_TIMEOUT);
    begin(75);
    destroyed(flow, 76);
    destroyed(flow, 76);
    expect(3, 2, 70, 76, FLOW_END_IDLE_TIMEOUT);
    expect(3, 2, 70, 76, FLOW_END_IDLE_TIMEOUT);
    row(unstamped(3, 2));
    expect_nothing();
    ck_assert_uint_eq(stats.repeated, 0);

    /* The same identity again: its counters begin again. */
    row(unstamped(1, 7));
    destroyed(unstamped(1, 8), 80);
    expect(1, 8, 60, 80, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

START_TEST(counters_set_to_0_lose_nothing)
{
    start(1);
    dump(60, flow_of(1, 0, 100));
    expect(1, 100, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    dump(75, flow_of(1, 0, 150));
    dump(90, flow_of(1, 0, 4)); /* set to 0, and counted on */
    dump(120, flow_of(1, 0, 6));
    expect(1, 56, 60, 120, FLOW_END_ACTIVE_TIMEOUT);
    dump(125, flow_of(1, 0, 50));
    dump(130, flow_of(1, 0, 0)); /* and again, twice, and at the end */
    dump(135, flow_of(1, 0, 30));
    dump(140, flow_of(1, 0, 2));
    destroyed(flow_of(1, 0, 0), 150);
    expect(1, 44 + 30 + 2, 120, 150, FLOW_END_IDLE_TIMEOUT);
    ck_assert_uint_eq(stats.counters_reset, 4);
}
END_TEST

START_TEST(without_active_timeout_everything_passes_through)
{
    const struct tracker_config off = {.capacity = 1};
    start_with(&off);
    ck_assert(look());
    ck_assert_ptr_null(flow_ring_peek(questions));
    destroyed(flow_of(1, -500, 100), 5000);
    expect(1, 100, -500, 5000, FLOW_END_IDLE_TIMEOUT);
    destroyed(flow_of(1, -500, 100), 5000);
    expect_nothing();
    ck_assert_uint_eq(stats.repeated, 1);
}
END_TEST

START_TEST(the_end_tells_what_is_known)
{
    start(10);
    begin(100);
    row(flow_of(1, 0, 50)); /* reported up to here */
    row(flow_of(2, 0, 60));
    row(flow_of(3, 30, 70));
    end(FLOW_NOTE_DUMP_END);
    expect(1, 50, 0, 100, FLOW_END_ACTIVE_TIMEOUT);
    expect(2, 60, 0, 100, FLOW_END_ACTIVE_TIMEOUT);
    expect(3, 70, 30, 100, FLOW_END_ACTIVE_TIMEOUT);
    begin(115);
    row(flow_of(1, 0, 51));
    row(flow_of(2, 0, 60));
    row(flow_of(3, 30, 72));
    end(FLOW_NOTE_DUMP_END);
    destroyed(flow_of(3, 30, 73), 116);
    expect(3, 3, 100, 116, FLOW_END_IDLE_TIMEOUT);
    while (tracker_finish(tracker, 1))
        ck_assert_uint_le(report_count - report_next, 1);
    expect(1, 1, 100, 115, FLOW_END_ACTIVE_TIMEOUT);
    expect_nothing();
}
END_TEST

/* The last dump has rows of every age. */
START_TEST(the_last_dump_tells_of_the_young_too)
{
    start(10);
    dump(100, flow_of(1, 0, 50));
    expect(1, 50, 0, 100, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(flow_of(2, 95, 5), 102); /* before it, as ever */
    expect(2, 5, 95, 102, FLOW_END_IDLE_TIMEOUT);
    begin_last(110);
    row(flow_of(1, 0, 51));
    row(flow_of(3, 105, 30));
    destroyed(flow_of(4, 106, 40), 111); /* before its row comes */
    expect(4, 40, 106, 111, FLOW_END_IDLE_TIMEOUT);
    row(flow_of(4, 106, 39));
    row(flow_of(5, 107, 50));
    destroyed(flow_of(5, 107, 51), 112);
    expect(5, 51, 107, 112, FLOW_END_IDLE_TIMEOUT);
    row(flow_of(6, 108, 60));
    note(FLOW_NOTE_DUMP_END, &(struct flow){0});
    destroyed(flow_of(6, 108, 61), 113); /* after it */
    expect(6, 61, 108, 113, FLOW_END_IDLE_TIMEOUT);
    expect_nothing();
    while (tracker_finish(tracker, 1))
        continue;
    expect(1, 1, 100, 110, FLOW_END_ACTIVE_TIMEOUT);
    expect(3, 30, 105, 110, FLOW_END_ACTIVE_TIMEOUT);
    expect_nothing();
}
END_TEST

static uint64_t start_of(const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_START) ? flow->start_ns : WALL_CLOCK_UNKNOWN;
}

START_TEST(wants_rows_that_it_can_use)
{
    const struct row_rule rule = {.began_ns = BEGAN_NS, .age_ns = TIMEOUT_S * NS_PER_S, .dump_ns = at(100)};
    const struct {
        struct flow flow;
        bool wanted;
    } cases[] = {
        {flow_of(1, 40, 1), true},   {flow_of(1, 41, 1), false}, {flow_of(1, 100, 1), false},
        {flow_of(1, 101, 1), false}, /* began after the dump */
        {flow_of(1, 0, 0), true},    {flow_of(1, -1, 1), true},  {unstamped(1, 1), true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flow flow = cases[i].flow;
        ck_assert_msg(row_rule_wants(&rule, &flow, start_of(&flow)) == cases[i].wanted, "case %zu", i);
        flow.has &= ~(uint32_t)FLOW_HAS_COUNTERS;
        ck_assert(!row_rule_wants(&rule, &flow, start_of(&flow)));
    }
    const struct flow older = flow_of(1, -1, 1);
    const struct row_rule first = {.began_ns = BEGAN_NS, .age_ns = rule.age_ns, .dump_ns = at(0)};
    ck_assert(row_rule_wants(&first, &older, start_of(&older)));
    const struct flow young = flow_of(1, 100, 1);
    const struct row_rule last = {.began_ns = BEGAN_NS, .age_ns = 0, .dump_ns = at(100)};
    ck_assert(row_rule_wants(&last, &young, start_of(&young)));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("parts");
    tcase_add_test(tcase, a_short_connection_passes_through);
    tcase_add_test(tcase, parts_add_up);
    tcase_add_test(tcase, what_is_due_is_the_dumps_business);
    tcase_add_test(tcase, what_was_due_early_is_known_at_its_end);
    tcase_add_test(tcase, a_span_without_packets_is_not_reported);
    tcase_add_test(tcase, a_connection_without_packets_is_not_reported);
    tcase_add_test(tcase, notices_a_flowtable_that_does_not_count);
    tcase_add_test(tcase, other_connections_may_stand_still);
    tcase_add_test(tcase, octets_wait_for_a_packet);
    tcase_add_test(tcase, adopts_older_connections);
    tcase_add_test(tcase, adopts_in_full);
    tcase_add_test(tcase, drops_what_ends_before_it_could_be_adopted);
    tcase_add_test(tcase, a_full_table_keeps_the_whole_for_the_end);
    tcase_add_test(tcase, what_could_not_be_adopted_is_reported_whole);
    tcase_add_test(tcase, the_older_have_places_beyond_a_full_table);
    tcase_add_test(tcase, the_last_dump_has_places_beyond_a_full_table);
    tcase_add_test(tcase, what_has_no_place_in_the_end_passes_through_whole);
    tcase_add_test(tcase, repeated_rows_change_nothing);
    tcase_add_test(tcase, without_start_stamps_as_exactly_as_can_be);
    tcase_add_test(tcase, counters_set_to_0_lose_nothing);
    tcase_add_test(tcase, without_active_timeout_everything_passes_through);
    tcase_add_test(tcase, the_end_tells_what_is_known);
    tcase_add_test(tcase, the_last_dump_tells_of_the_young_too);
    tcase_add_test(tcase, wants_rows_that_it_can_use);
    return run(tcase);
}
