/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/wall_clock.h"

#include <check.h>

#include "run_suite.h"

/* In seconds; the machine has been up for 1000 when the clock is watched first, at WALL. */
enum { UP = 1000, WALL = 2000000 };

static struct wall_clock wall_clock;

static uint64_t s(int64_t seconds)
{
    return (uint64_t)seconds * NS_PER_S;
}

static void see(int64_t wall_s, int64_t boot_s)
{
    wall_clock_see(&wall_clock, s(wall_s), s(boot_s));
}

static void start(void)
{
    wall_clock_start_at(&wall_clock, s(WALL), s(UP));
}

/* What a stamp can be; -1 = nothing. */
static void expect(int64_t stamp_s, int64_t earliest_s, int64_t latest_s)
{
    struct wall_clock copy = wall_clock;
    uint64_t latest_ns = wall_clock_latest(&copy, s(stamp_s), copy.boot_ns);
    uint64_t earliest_ns = wall_clock_earliest(&copy, s(stamp_s));
    ck_assert_uint_eq(earliest_ns, earliest_s < 0 ? WALL_CLOCK_UNKNOWN : s(earliest_s));
    ck_assert_uint_eq(latest_ns, latest_s < 0 ? WALL_CLOCK_UNKNOWN : s(latest_s));
    if (wall_clock_is_sure(&wall_clock, s(stamp_s))) {
        ck_assert_uint_eq(s(stamp_s) - wall_clock.present.offset_ns, earliest_ns);
        ck_assert_uint_eq(earliest_ns, latest_ns);
    }
}

static bool is_sure(int64_t stamp_s)
{
    return wall_clock_is_sure(&wall_clock, s(stamp_s));
}

START_TEST(while_nobody_sets_it_every_stamp_is_sure)
{
    start();
    for (int64_t i = 1; i < 100; i++)
        see(WALL + i, UP + i);
    ck_assert_uint_eq(wall_clock.steps, 0);
    for (int64_t i = 1 - UP; i < 100; i++) {
        ck_assert(is_sure(WALL + i));
        expect(WALL + i, UP + i, UP + i);
    }
    ck_assert_uint_eq(wall_clock_at(&wall_clock, s(UP + 50)), s(WALL + 50));
}
END_TEST

START_TEST(a_little_is_no_step)
{
    start();
    wall_clock_see(&wall_clock, s(WALL + 1) + 9 * NS_PER_MS, s(UP + 1));
    wall_clock_see(&wall_clock, s(WALL + 2) - 9 * NS_PER_MS, s(UP + 2));
    ck_assert_uint_eq(wall_clock.steps, 0);
    wall_clock_see(&wall_clock, s(WALL + 3) + 11 * NS_PER_MS, s(UP + 3));
    ck_assert_uint_eq(wall_clock.steps, 1);
    ck_assert_int_eq(wall_clock.last_step_ns, 11 * (int64_t)NS_PER_MS);
}
END_TEST

START_TEST(set_forward)
{
    start();
    see(WALL + 10, UP + 10);
    see(WALL + 3600 + 11, UP + 11);
    ck_assert_uint_eq(wall_clock.steps, 1);
    ck_assert_int_eq(wall_clock.last_step_ns, 3600 * (int64_t)NS_PER_S);
    expect(WALL - 500, UP - 500, UP - 500);
    expect(WALL + 10, UP + 10, UP + 10);
    expect(WALL + 3611, UP + 11, UP + 11);
    ck_assert(!is_sure(WALL + 10));
    ck_assert(is_sure(WALL + 3611));
    ck_assert(!is_sure(WALL + 1800));
    expect(WALL + 1800, -1, -1); /* the clock never showed that */
    /* By the clock as it is now. */
    ck_assert_uint_eq(wall_clock_at(&wall_clock, s(UP - 500)), s(WALL + 3600 - 500));
}
END_TEST

START_TEST(set_back)
{
    start();
    see(WALL + 10, UP + 10);
    see(WALL - 3600 + 11, UP + 11);
    expect(WALL + 5, UP + 5, UP + 5); /* the future by now */
    expect(WALL - 4000 + 3600, UP - 400, UP - 400);
    expect(WALL - 3590, UP + 10, UP + 10); /* before the machine began, or now */
    ck_assert(!is_sure(WALL - 3589));

    see(WALL, UP + 3600);
    expect(WALL - 100, UP - 100, UP + 3500); /* twice */
    expect(WALL + 5, UP + 5, UP + 5);
    ck_assert(!is_sure(WALL - 100));

    /* The stop is what says that it began before. */
    ck_assert_uint_eq(wall_clock_latest(&wall_clock, s(WALL - 100), s(UP + 20)), s(UP - 100));

    see(WALL + 100, UP + 3700);
    expect(WALL + 5, UP + 5, UP + 3605);
    ck_assert(!is_sure(WALL + 11));
    ck_assert(is_sure(WALL + 12));
    expect(WALL + 12, UP + 3612, UP + 3612);
}
END_TEST

START_TEST(a_stamp_of_the_future_tells_of_a_step_before)
{
    start();
    see(WALL + 1, UP + 1);
    ck_assert(is_sure(WALL));
    ck_assert_uint_eq(wall_clock_latest(&wall_clock, s(WALL + 3600), s(UP + 1)), WALL_CLOCK_UNKNOWN);
    ck_assert(!is_sure(WALL));
    see(WALL + 3601, UP + 3601);
    ck_assert(!is_sure(WALL + 3600));
    ck_assert(is_sure(WALL + 3601));
}
END_TEST

START_TEST(a_stamp_from_before_the_machine_began)
{
    start();
    ck_assert(!is_sure(30)); /* 1970 */
    expect(30, -1, -1);
    expect(WALL - UP - 1, -1, -1);
    ck_assert(!is_sure(0));
    expect(INT64_MAX / (int64_t)NS_PER_S, -1, -1);
}
END_TEST

START_TEST(starts_in_1970)
{
    wall_clock_start_at(&wall_clock, s(20), s(5000)); /* set so, after a while */
    see(30, 5010);
    ck_assert(is_sure(25));
    expect(25, 5005, 5005);
    see(WALL, 5011);
    expect(25, 5005, 5005);
    expect(WALL, 5011, 5011);
    ck_assert_uint_eq(wall_clock_at(&wall_clock, s(5005)), s(WALL - 6));
}
END_TEST

START_TEST(remembers_so_many_steps)
{
    start();
    for (int64_t i = 1; i <= WALL_CLOCK_ERAS + 1; i++) {
        see(WALL + 1000000 * (i - 1) + i, UP + i);
        see(WALL + 1000000 * i + i, UP + i);
    }
    ck_assert_uint_eq(wall_clock.past_count, WALL_CLOCK_ERAS);
    ck_assert_uint_eq(wall_clock.steps, WALL_CLOCK_ERAS + 1);
    expect(WALL, -1, -1);
    for (int64_t i = 1; i <= WALL_CLOCK_ERAS; i++)
        expect(WALL + 1000000 * i + i, UP + i, UP + i);
    ck_assert(!is_sure(WALL));
}
END_TEST

/* Of this machine, whose clock nobody sets while this runs. */
START_TEST(reads_the_clocks)
{
    enum { TIMES = 100000 };
    wall_clock_start(&wall_clock);
    for (int i = 0; i < TIMES; i++) {
        uint64_t before_ns = instant_read_clock(CLOCK_REALTIME);
        wall_clock_watch(&wall_clock);
        ck_assert(wall_clock_is_sure(&wall_clock, before_ns));
    }
    ck_assert_uint_eq(wall_clock.steps, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("wall_clock");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, while_nobody_sets_it_every_stamp_is_sure);
    tcase_add_test(tcase, a_little_is_no_step);
    tcase_add_test(tcase, set_forward);
    tcase_add_test(tcase, set_back);
    tcase_add_test(tcase, a_stamp_of_the_future_tells_of_a_step_before);
    tcase_add_test(tcase, a_stamp_from_before_the_machine_began);
    tcase_add_test(tcase, starts_in_1970);
    tcase_add_test(tcase, remembers_so_many_steps);
    tcase_add_test(tcase, reads_the_clocks);
    Suite *suite = suite_create("wall_clock");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
