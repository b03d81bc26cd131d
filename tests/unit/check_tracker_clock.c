/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wall clock is set while connections live. The times given to the rig are boot times; what is reported
 * is told by the clock as it is then, so that it lies off by all steps until then.
 */
#include "tracker_rig.h"

enum { HOUR = 3600, YEARS = 56 * 365 * 86400 };

/* As the kernel stamps it, who began before the clock was set. */
static struct flow from_before(uint32_t id, int64_t start_s, uint64_t packets)
{
    return flow_of(id, start_s, packets);
}

static struct flow from_now(uint32_t id, int64_t start_s, uint64_t packets)
{
    struct flow flow = flow_of(id, start_s, packets);
    flow.start_ns += (uint64_t)clock_offset_ns;
    return flow;
}

START_TEST(set_back_parts_go_on)
{
    start(10);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    step(-HOUR);
    dump(75, from_before(1, 0, 15));
    expect_nothing();
    dump(120, from_before(1, 0, 20));
    expect(1, 10, 60 - HOUR, 120 - HOUR, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(from_before(1, 0, 21), 130);
    expect(1, 1, 120 - HOUR, 130 - HOUR, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

/* Its start lies in the future by then. */
START_TEST(set_back_who_began_before_is_reported_in_time)
{
    start(10);
    dump(10, flow_of(9, 5, 1));
    see_time(at(20));
    step(-HOUR);
    dump(79, from_before(1, 20, 10));
    expect_nothing();
    dump(80, from_before(1, 20, 10));
    expect(1, 10, 20 - HOUR, 80 - HOUR, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(from_before(2, 19, 5), 85);
    expect(2, 5, 19 - HOUR, 85 - HOUR, FLOW_END_IDLE_TIMEOUT);
    /* When the same times come again it is known still. */
    destroyed(from_before(1, 20, 12), HOUR + 40);
    expect(1, 2, 80 - HOUR, 40, FLOW_END_IDLE_TIMEOUT);
    expect_nothing();
}
END_TEST

/* The rows of short ones come too, since they may have begun an hour before. */
START_TEST(set_back_short_ones_take_no_place)
{
    start(1);
    dump(100, flow_of(9, 95, 1));
    step(-HOUR);
    begin(HOUR / 2);
    for (uint32_t id = 1; id <= 5; id++)
        row(from_now(id, HOUR / 2 - 30, 10));
    ck_assert_uint_eq(stats.table_full, 0);
    end(FLOW_NOTE_DUMP_END);
    destroyed(from_now(1, HOUR / 2 - 30, 10), HOUR / 2 + 20);
    expect(1, 10, -HOUR / 2 - 30, -HOUR / 2 + 20, FLOW_END_IDLE_TIMEOUT);
    expect_nothing();
}
END_TEST

/* Whichever comes first. */
static void find_report(uint32_t id)
{
    report_next = 0;
    while (report_next < report_count && reported[report_next].id != id)
        report_next++;
}

START_TEST(set_back_the_last_look_tells_of_all)
{
    start(10);
    dump(10, flow_of(9, 5, 1));
    see_time(at(15));
    step(-HOUR);
    begin_last(20);
    row(from_before(1, 12, 10));
    row(from_now(2, 17, 20));
    see_time(at(21));
    row(from_now(3, 21, 30)); /* began while the dump went on */
    end(FLOW_NOTE_DUMP_END);
    see_time(at(22));
    while (tracker_finish(tracker, 100))
        continue;
    ck_assert_uint_eq(report_count, 3);
    find_report(1);
    expect(1, 10, 12 - HOUR, 20 - HOUR, FLOW_END_ACTIVE_TIMEOUT);
    find_report(2);
    expect(2, 20, 17 - HOUR, 20 - HOUR, FLOW_END_ACTIVE_TIMEOUT);
    find_report(3);
    expect(3, 30, 21 - HOUR, 21 - HOUR, FLOW_END_ACTIVE_TIMEOUT);
}
END_TEST

START_TEST(set_forward_from_1970)
{
    start(10);
    dump(10, flow_of(9, 5, 1));
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    step(YEARS);
    dump(75, from_before(1, 0, 15));
    expect_nothing();
    destroyed(from_before(2, 50, 5), 76);
    expect(2, 5, YEARS + 50, YEARS + 76, FLOW_END_IDLE_TIMEOUT);
    dump(120, from_before(1, 0, 20));
    expect(1, 10, YEARS + 60, YEARS + 120, FLOW_END_ACTIVE_TIMEOUT);
    destroyed(from_before(1, 0, 21), 130);
    expect(1, 1, YEARS + 120, YEARS + 130, FLOW_END_IDLE_TIMEOUT);
    destroyed(from_now(3, 125, 3), 135);
    expect(3, 3, YEARS + 125, YEARS + 135, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

/* Before ctflow9 began, so that nobody knows by how much. */
START_TEST(set_back_before_the_start)
{
    start(10);
    dump(1, flow_of(1, HOUR, 100)); /* the future: older than we are */
    ck_assert_uint_eq(stats.adopted, 1);
    dump(61, flow_of(1, HOUR, 110));
    expect(1, 10, 0, 61, FLOW_END_ACTIVE_TIMEOUT);
    /* As young as that, a connection is not looked for otherwise. */
    destroyed(flow_of(1, HOUR, 111), HOUR + 10);
    expect(1, 1, 61, HOUR + 10, FLOW_END_IDLE_TIMEOUT);
    expect_nothing();
}
END_TEST

/* The machine had been up for some time. Only what it told is reported. */
START_TEST(set_forward_before_the_start)
{
    const struct tracker_config full = {
        .capacity = 2, .active_timeout_ns = TIMEOUT_S * NS_PER_S, .adopt_full = true};
    start_with(&full);
    wall_clock_start_at(&clock_now, at(YEARS), BEGAN_NS);
    clock_offset_ns = YEARS * (int64_t)NS_PER_S;
    destroyed(from_before(1, 0, 10), 30);
    ck_assert_uint_eq(report_count, 1);
    ck_assert(!flow_has(&reported[0], FLOW_HAS_START));
    expect(1, 10, YEARS + 30, YEARS + 30, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

START_TEST(a_destroy_that_comes_again_after_the_clock_was_set_is_dropped)
{
    start(2);
    dump(60, flow_of(1, 0, 10));
    expect(1, 10, 0, 60, FLOW_END_ACTIVE_TIMEOUT);
    struct flow ends[2] = {flow_of(1, 0, 15), flow_of(2, 55, 25)};
    for (int i = 0; i < 2; i++)
        destroyed(ends[i], 65);
    step(-HOUR);
    destroyed(from_now(3, 66, 1), 67);
    unsigned before = report_count;
    for (int i = 0; i < 2; i++) {
        ends[i].stop_ns = at(65);
        ends[i].has |= FLOW_HAS_STOP;
        tracker_destroyed(tracker, &ends[i]);
    }
    destroyed(from_now(3, 66, 1), 67);
    ck_assert_uint_eq(report_count, before);
    ck_assert_uint_eq(stats.repeated, 3);
}
END_TEST

/* The event's two stamps are of two eras. */
START_TEST(no_start_is_later_than_its_stop)
{
    start(2);
    dump(10, flow_of(9, 5, 1));
    see_time(at(20));
    step(-5);
    destroyed(from_before(1, 19, 1), 22);
    expect(1, 1, 14, 17, FLOW_END_IDLE_TIMEOUT);
    step(10);
    destroyed(from_before(2, 19, 1), 23);
    expect(2, 1, 24, 28, FLOW_END_IDLE_TIMEOUT);

    /* Set to and fro, and nobody has seen it. */
    struct flow flow = from_now(3, 24, 1);
    flow.start_ns += 100 * NS_PER_S;
    destroyed(flow, 25);
    ck_assert(!flow_has(&reported[2], FLOW_HAS_START));
    expect(3, 1, 30, 30, FLOW_END_IDLE_TIMEOUT);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("clock");
    tcase_add_test(tcase, set_back_parts_go_on);
    tcase_add_test(tcase, set_back_who_began_before_is_reported_in_time);
    tcase_add_test(tcase, set_back_short_ones_take_no_place);
    tcase_add_test(tcase, set_back_the_last_look_tells_of_all);
    tcase_add_test(tcase, set_forward_from_1970);
    tcase_add_test(tcase, set_back_before_the_start);
    tcase_add_test(tcase, set_forward_before_the_start);
    tcase_add_test(tcase, a_destroy_that_comes_again_after_the_clock_was_set_is_dropped);
    tcase_add_test(tcase, no_start_is_later_than_its_stop);
    return run(tcase);
}
