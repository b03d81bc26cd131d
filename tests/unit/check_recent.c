/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/recent.h"

#include <check.h>

#include "run_suite.h"

enum { CAPACITY = 1024 };

static struct recent *recent;

static void setup(void)
{
    ck_assert_int_eq(recent_open(&recent, CAPACITY), 0);
}

static void teardown(void)
{
    recent_close(recent);
}

/*
 * The i-th connection. Each test runs twice, _i is 0 and 1: with connections that end one after the other,
 * and with some that come late, two at the same time, whose ends run backwards.
 */
static bool seen(int late, uint64_t i)
{
    const uint64_t now = 1000000000;
    if (!late)
        return recent_seen(recent, now + 10 * i, 77);
    recent_seen(recent, now, 0);
    return recent_seen(recent, now - 1 - i / 2, i);
}

START_TEST(tells_a_repeat_from_something_new)
{
    for (int round = 0; round < 3; round++)
        for (uint64_t i = 0; i < CAPACITY; i++)
            ck_assert_int_eq(seen(_i, i), round > 0);
}
END_TEST

/* The kernel sends the first one that is not taken again and again, with new ones in between. */
START_TEST(tells_repeats_among_new_ones)
{
    for (uint64_t i = 0; i < 10 * CAPACITY; i++) {
        ck_assert(!seen(_i, i));
        ck_assert(seen(_i, i));
        ck_assert(seen(_i, i - i % (CAPACITY / 2)));
    }
}
END_TEST

/* However many came before, and in either direction. */
START_TEST(remembers_the_last_ones)
{
    uint64_t next = 0;
    for (unsigned round = 0; round < 50; round++) {
        for (uint64_t end = next + CAPACITY + round * 37; next < end; next++)
            ck_assert(!seen(_i, next));
        for (uint64_t i = 1; i <= CAPACITY; i++)
            ck_assert(seen(_i, round % 2 ? next - i : next - CAPACITY - 1 + i));
    }
}
END_TEST

START_TEST(forgets_the_oldest)
{
    for (uint64_t i = 0; i < 3 * CAPACITY; i++)
        ck_assert(!seen(_i, i));
    ck_assert(!seen(_i, 0));
    ck_assert(!seen(_i, CAPACITY - 1));
}
END_TEST

/* CPUs that end connections at the same time are heard in any order. */
START_TEST(keeps_both_apart)
{
    for (uint64_t i = 0; i < CAPACITY; i++) {
        ck_assert(!recent_seen(recent, 1000 + 10 * i, i));
        ck_assert(!recent_seen(recent, 1000 + 10 * i, i + 1)); /* at the same time as another */
        ck_assert(!recent_seen(recent, 995 + 10 * i, i));
    }
    for (uint64_t i = CAPACITY * 3 / 4; i < CAPACITY; i++) {
        ck_assert(recent_seen(recent, 1000 + 10 * i, i));
        ck_assert(recent_seen(recent, 1000 + 10 * i, i + 1));
        ck_assert(recent_seen(recent, 995 + 10 * i, i));
        ck_assert(!recent_seen(recent, 994 + 10 * i, i));
    }
}
END_TEST

/* Everything is late from then on, until the clock has caught up; repeats are still told. */
START_TEST(bears_a_clock_that_is_set_back)
{
    for (uint64_t i = 0; i < 2 * CAPACITY; i++)
        seen(0, 1000000 + i);
    for (uint64_t i = 0; i < 100000; i++) {
        ck_assert(!seen(0, i));
        ck_assert(seen(0, i));
    }
    ck_assert(!seen(0, 2000000));
    ck_assert(seen(0, 2000000));
}
END_TEST

START_TEST(knows_the_smallest_numbers)
{
    ck_assert(!recent_seen(recent, 0, 0));
    ck_assert(recent_seen(recent, 0, 0));
    ck_assert(!recent_seen(recent, 1, 0));
    ck_assert(!recent_seen(recent, 0, 2));
    ck_assert(recent_seen(recent, 0, 0));
    ck_assert(recent_seen(recent, 0, 2));
}
END_TEST

START_TEST(may_be_tiny)
{
    struct recent *tiny;
    ck_assert_int_eq(recent_open(&tiny, 1), 0);
    for (uint64_t i = 1; i < 100; i++) {
        ck_assert(!recent_seen(tiny, 1000 * i, i));
        ck_assert(recent_seen(tiny, 1000 * i, i));
        ck_assert(!recent_seen(tiny, i, i));
        ck_assert(recent_seen(tiny, i, i));
    }
    recent_close(tiny);
    recent_close(NULL);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("recent");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, tells_a_repeat_from_something_new, 0, 2);
    tcase_add_loop_test(tcase, tells_repeats_among_new_ones, 0, 2);
    tcase_add_loop_test(tcase, remembers_the_last_ones, 0, 2);
    tcase_add_loop_test(tcase, forgets_the_oldest, 0, 2);
    tcase_add_test(tcase, keeps_both_apart);
    tcase_add_test(tcase, bears_a_clock_that_is_set_back);
    tcase_add_test(tcase, knows_the_smallest_numbers);
    tcase_add_test(tcase, may_be_tiny);
    Suite *suite = suite_create("recent");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
