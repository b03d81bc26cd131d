/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/recent.h"

#include <check.h>
#include <stdlib.h>

enum { CAPACITY = 1024, LATE = CAPACITY / 8, WAYS = 8 };

static struct recent *recent;

static void setup(void)
{
    ck_assert_int_eq(recent_open(&recent, CAPACITY), 0);
}

static void teardown(void)
{
    recent_close(recent);
}

/* splitmix64 */
static uint64_t number(uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The i-th connection, which ends at 1000 + 10 i. */
static bool seen(uint64_t i)
{
    return recent_seen(recent, 1000 + 10 * i, number(i));
}

START_TEST(tells_a_repeat_from_something_new)
{
    for (int round = 0; round < 3; round++)
        for (uint64_t i = 0; i < CAPACITY; i++)
            ck_assert_int_eq(seen(i), round > 0);
}
END_TEST

/* The kernel sends the first one that is not taken again and again, with new ones in between. */
START_TEST(tells_repeats_among_new_ones)
{
    for (uint64_t i = 0; i < CAPACITY; i++) {
        ck_assert(!seen(i));
        ck_assert(seen(i));
        ck_assert(seen(i / 2));
        ck_assert(seen(0));
    }
}
END_TEST

START_TEST(forgets_the_oldest)
{
    for (uint64_t i = 0; i < 2 * CAPACITY; i++)
        ck_assert(!seen(i));
    for (uint64_t i = CAPACITY; i < 2 * CAPACITY; i++)
        ck_assert(seen(i));
    ck_assert(!seen(CAPACITY - 1));
    ck_assert(!seen(0));
}
END_TEST

/* CPUs that end connections at the same time are heard in any order. */
START_TEST(knows_those_that_came_late)
{
    ck_assert(!seen(1000));
    for (uint64_t i = 0; i < LATE / 2; i++)
        ck_assert(!seen(i));
    for (uint64_t i = 0; i < LATE / 2; i++)
        ck_assert(seen(i));
    ck_assert(!recent_seen(recent, 1000 + 10 * 1000, number(7777))); /* at the same time as another */
    ck_assert(recent_seen(recent, 1000 + 10 * 1000, number(7777)));
    ck_assert(seen(1000));
}
END_TEST

/* Hashes of one line of those that came late: bits outside of those that choose the line, and bit 0, differ.
 */
static bool late_seen(uint64_t i)
{
    return recent_seen(recent, 5, UINT64_C(3) << 32 | i << 1);
}

START_TEST(forgets_the_late_one_that_it_has_not_seen_for_longest)
{
    seen(0);
    for (uint64_t i = 0; i < WAYS; i++)
        ck_assert(!late_seen(i));
    ck_assert(late_seen(0)); /* so 1 is the oldest */
    ck_assert(!late_seen(WAYS));
    ck_assert(late_seen(0));
    for (uint64_t i = 2; i <= WAYS; i++)
        ck_assert(late_seen(i));
    ck_assert(!late_seen(1));
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

/* Everything is late from then on, until the clock has caught up; repeats are still told. */
START_TEST(bears_a_clock_that_is_set_back)
{
    for (uint64_t i = 0; i < 2 * CAPACITY; i++)
        seen(1000000 + i);
    for (uint64_t i = 0; i < 100000; i++) {
        ck_assert(!seen(i));
        ck_assert(seen(i));
    }
    ck_assert(!seen(2000000));
    ck_assert(seen(2000000));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("recent");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, tells_a_repeat_from_something_new);
    tcase_add_test(tcase, tells_repeats_among_new_ones);
    tcase_add_test(tcase, forgets_the_oldest);
    tcase_add_test(tcase, knows_those_that_came_late);
    tcase_add_test(tcase, forgets_the_late_one_that_it_has_not_seen_for_longest);
    tcase_add_test(tcase, knows_the_smallest_numbers);
    tcase_add_test(tcase, bears_a_clock_that_is_set_back);
    Suite *suite = suite_create("recent");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
