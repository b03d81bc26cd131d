/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/utf8.h"

#include <check.h>
#include <string.h>

#include "run_suite.h"

static char copied[64];

static const char *copy(const char *from, size_t size)
{
    memset(copied, 'x', sizeof(copied));
    utf8_copy(copied, size, from, strlen(from));
    ck_assert_uint_lt(strlen(copied), size);
    ck_assert_int_eq(copied[size], 'x');
    return copied;
}

START_TEST(characters_stay)
{
    ck_assert_str_eq(copy("", 1), "");
    ck_assert_str_eq(copy("up \"link\" \\ ~", 32), "up \"link\" \\ ~");
    ck_assert_str_eq(copy("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8c\x8d \xf4\x8f\xbf\xbf", 32),
                     "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8c\x8d \xf4\x8f\xbf\xbf");
}
END_TEST

START_TEST(others_are_replaced_octet_for_octet)
{
    ck_assert_str_eq(copy("a\x1b[2J\n\t\x7f", 32), "a?[2J???");
    ck_assert_str_eq(copy("\xc2\x9b", 32), "??");                /* CSI, in one character */
    ck_assert_str_eq(copy("\xff\xc3 \xa4", 32), "?? ?");         /* none at all; cut short; no beginning */
    ck_assert_str_eq(copy("\xc0\xaf\xe0\x80\xaf", 32), "?????"); /* '/' in too many octets */
    ck_assert_str_eq(copy("\xed\xa0\x80", 32), "???");           /* a surrogate */
    ck_assert_str_eq(copy("\xf4\x90\x80\x80\xf5", 32), "?????");
    ck_assert_str_eq(copy("\xe2\x82", 32), "??"); /* the end came first */
}
END_TEST

START_TEST(it_is_cut_behind_a_whole_character)
{
    ck_assert_str_eq(copy("abc", 3), "ab");
    ck_assert_str_eq(copy("a\xe2\x82\xac", 4), "a");
    ck_assert_str_eq(copy("a\xe2\x82\xac", 5), "a\xe2\x82\xac");
    ck_assert_str_eq(copy("\xe2\x82\xac", 1), "");
}
END_TEST

START_TEST(it_ends_at_nul_or_without)
{
    utf8_copy(copied, sizeof(copied), "ab\0cd", 5);
    ck_assert_str_eq(copied, "ab");
    utf8_copy(copied, sizeof(copied), "abcd", 3);
    ck_assert_str_eq(copied, "abc");
    utf8_copy(copied, sizeof(copied), "a\xc3\xa4", 2);
    ck_assert_str_eq(copied, "a?");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("utf8");
    TCase *tests = tcase_create("utf8");
    tcase_add_test(tests, characters_stay);
    tcase_add_test(tests, others_are_replaced_octet_for_octet);
    tcase_add_test(tests, it_is_cut_behind_a_whole_character);
    tcase_add_test(tests, it_ends_at_nul_or_without);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
