/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/tell_once.h"

#include <check.h>

#include "run_suite.h"

static const uint64_t start_ns = 1000 * NS_PER_S;

START_TEST(told_at_once_then_once_a_minute)
{
    struct tell_once trouble = {0};
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns), 0);
    ck_assert_uint_eq(tell_once_at_ns(&trouble), UINT64_MAX);

    tell_once_count(&trouble, 3);
    ck_assert_uint_le(tell_once_at_ns(&trouble), start_ns);
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns), 3);
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns), 0);

    tell_once_count(&trouble, 1);
    tell_once_count(&trouble, 4);
    ck_assert_uint_eq(tell_once_at_ns(&trouble), start_ns + 60 * NS_PER_S);
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns + 60 * NS_PER_S - 1), 0);
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns + 60 * NS_PER_S), 5);
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns + 1000 * NS_PER_S), 0);

    tell_once_count(&trouble, 1);
    ck_assert_uint_eq(tell_once_due(&trouble, start_ns + 1000 * NS_PER_S), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tell_once");
    TCase *tests = tcase_create("tell_once");
    tcase_add_test(tests, told_at_once_then_once_a_minute);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
