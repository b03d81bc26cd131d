/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/name_numbers.h"

#include <check.h>

#include "run_suite.h"

static struct name_numbers *numbers;

static void setup(void)
{
    ck_assert_int_eq(name_numbers_open(&numbers), 0);
}

static void teardown(void)
{
    name_numbers_close(numbers);
}

START_TEST(a_name_keeps_its_number)
{
    ck_assert_uint_eq(name_numbers_count(numbers), 0);
    ck_assert_uint_eq(name_numbers_of(numbers, 77, "one"), 1);
    ck_assert_uint_eq(name_numbers_of(numbers, 88, "one"), 2); /* which only looks the same */
    ck_assert_uint_eq(name_numbers_of(numbers, 77, "one"), 1);
    ck_assert_uint_eq(name_numbers_count(numbers), 2);
    ck_assert_str_eq(name_numbers_name(numbers, 2), "one");
}
END_TEST

START_TEST(names_are_cut_and_can_be_shown)
{
    char name[FLOW_NAME_MAX + 9], expected[FLOW_NAME_MAX + 1];
    memset(name, 'x', sizeof(name));
    name[0] = '\x1b';
    name[sizeof(name) - 1] = '\0';
    memset(expected, 'x', sizeof(expected));
    expected[0] = '?';
    expected[FLOW_NAME_MAX] = '\0';
    ck_assert_str_eq(name_numbers_name(numbers, name_numbers_of(numbers, 1, name)), expected);
}
END_TEST

START_TEST(those_without_a_number_share_0)
{
    unsigned wrong = 0;
    for (uint64_t i = 0; i < NAME_NUMBERS_MAX; i++)
        wrong += name_numbers_of(numbers, i, "x") != i + 1;
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(name_numbers_of(numbers, NAME_NUMBERS_MAX, "y"), 0);
    ck_assert_uint_eq(name_numbers_of(numbers, 4, "x"), 5);
    ck_assert_uint_eq(name_numbers_count(numbers), NAME_NUMBERS_MAX);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("name_numbers");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_name_keeps_its_number);
    tcase_add_test(tests, names_are_cut_and_can_be_shown);
    tcase_add_test(tests, those_without_a_number_share_0);

    Suite *suite = suite_create("name_numbers");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
