/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <check.h>

#include "ctflow9/netflow/epoch.h"

#include "run_suite.h"

#define NOW_MS UINT64_C(1790000000123)

START_TEST(leaves_room_for_flows_that_began_before)
{
    struct epoch epoch = epoch_at(NOW_MS);
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, NOW_MS), EPOCH_PAST_MS);
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, NOW_MS - EPOCH_PAST_MS + 5), 5);
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, NOW_MS - EPOCH_PAST_MS - 5), 0);
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, 0), 0);
}
END_TEST

START_TEST(never_wraps)
{
    struct epoch epoch = epoch_at(NOW_MS);
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, NOW_MS + 1000 * EPOCH_DAY_MS), EPOCH_MAX_MS);
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, UINT64_MAX), EPOCH_MAX_MS);
    struct epoch_stamp stamp = epoch_stamp(&epoch, NOW_MS + 1000 * EPOCH_DAY_MS, UINT64_MAX / 2);
    ck_assert_uint_ge(stamp.sys_uptime_ms, EPOCH_MAX_MS);
    ck_assert_uint_le(stamp.sys_uptime_ms, EPOCH_MAX_MS + 1000);
}
END_TEST

START_TEST(moves_when_the_present_leaves_the_window)
{
    struct epoch epoch = epoch_at(NOW_MS);
    ck_assert(!epoch_is_over(&epoch, NOW_MS));
    ck_assert(!epoch_is_over(&epoch, NOW_MS + 15 * EPOCH_DAY_MS));
    ck_assert(epoch_is_over(&epoch, NOW_MS + 15 * EPOCH_DAY_MS + 1));
    ck_assert(!epoch_is_over(&epoch, NOW_MS - 10 * EPOCH_DAY_MS));
    ck_assert(epoch_is_over(&epoch, NOW_MS - 10 * EPOCH_DAY_MS - 1));
}
END_TEST

START_TEST(is_stable_on_a_machine_without_a_clock)
{
    struct epoch epoch = epoch_at(30000); /* half a minute after 1970 began */
    ck_assert(!epoch_is_over(&epoch, 30000));
    ck_assert(!epoch_is_over(&epoch, 60000));
    ck_assert_uint_eq(epoch_uptime_ms(&epoch, 60000), 60000);
    ck_assert(epoch_is_over(&epoch, NOW_MS)); /* the time has come from the network */
}
END_TEST

START_TEST(stamp_names_one_instant_that_nothing_is_later_than)
{
    struct epoch epoch = epoch_at(NOW_MS);
    const uint64_t latest_ms[] = {0, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + 5000};
    for (size_t i = 0; i < sizeof(latest_ms) / sizeof(latest_ms[0]); i++) {
        struct epoch_stamp stamp = epoch_stamp(&epoch, NOW_MS, latest_ms[i]);
        ck_assert_uint_eq(stamp.unix_secs * UINT64_C(1000) - stamp.sys_uptime_ms, epoch.begin_ms);
        ck_assert_uint_ge(stamp.unix_secs * UINT64_C(1000), NOW_MS);
        ck_assert_uint_ge(stamp.sys_uptime_ms, epoch_uptime_ms(&epoch, latest_ms[i]));
    }
    /* A whole second stays as it is, anything more is the next. */
    ck_assert_uint_eq(epoch_stamp(&epoch, UINT64_C(1790000000000), 0).unix_secs, 1790000000);
    ck_assert_uint_eq(epoch_stamp(&epoch, UINT64_C(1790000000001), 0).unix_secs, 1790000001);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("epoch");
    TCase *tests = tcase_create("epoch");
    tcase_add_test(tests, leaves_room_for_flows_that_began_before);
    tcase_add_test(tests, never_wraps);
    tcase_add_test(tests, moves_when_the_present_leaves_the_window);
    tcase_add_test(tests, is_stable_on_a_machine_without_a_clock);
    tcase_add_test(tests, stamp_names_one_instant_that_nothing_is_later_than);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
