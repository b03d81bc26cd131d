// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/text.h"

#include <check.h>

#include "run_suite.h"
#include "sample_flow.h"

static char text[64];

static const char *number(uint64_t value)
{
    *text_number(text, value) = '\0';
    return text;
}

static const char *digits(uint64_t value, unsigned width)
{
    *text_digits(text, value, width) = '\0';
    return text;
}

static const char *address(const char *given)
{
    struct flow flow = sample_flow(6, given, 1, given, 1);
    *text_address(text, &flow, &flow.tuple[FLOW_ORIGINAL].src) = '\0';
    return text;
}

START_TEST(numbers)
{
    ck_assert_str_eq(number(0), "0");
    ck_assert_str_eq(number(9), "9");
    ck_assert_str_eq(number(10), "10");
    ck_assert_str_eq(number(UINT64_MAX), "18446744073709551615");
    ck_assert_str_eq(digits(7, 3), "007");
    ck_assert_str_eq(digits(1234, 3), "234");
}
END_TEST

START_TEST(addresses)
{
    ck_assert_str_eq(address("255.254.253.252"), "255.254.253.252");
    ck_assert_str_eq(address("2001:DB8:0:0:0:0:0:1"), "2001:db8::1");
    ck_assert_str_eq(address("::"), "::");
    ck_assert_str_eq(address("::ffff:255.255.255.255"), "::ffff:255.255.255.255");
}
END_TEST

START_TEST(date_time)
{
    struct tm time = {.tm_year = 126, .tm_mon = 0, .tm_mday = 2, .tm_hour = 3, .tm_min = 4, .tm_sec = 5};
    *text_date_time(text, &time, 'T') = '\0';
    ck_assert_str_eq(text, "2026-01-02T03:04:05");
}
END_TEST

START_TEST(protocols)
{
    ck_assert_str_eq(text_protocol(6), "tcp");
    ck_assert_str_eq(text_protocol(58), "icmp6");
    ck_assert_ptr_eq(text_protocol(255), NULL);
}
END_TEST

START_TEST(ports)
{
    struct flow flow = sample_flow(6, "10.0.0.1", 0, "10.0.0.2", 0);
    ck_assert(!text_has_ports(&flow));
    flow.tuple[FLOW_REPLY].dst_port = htobe16(256);
    ck_assert(text_has_ports(&flow));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("text");
    tcase_add_test(tests, numbers);
    tcase_add_test(tests, addresses);
    tcase_add_test(tests, date_time);
    tcase_add_test(tests, protocols);
    tcase_add_test(tests, ports);

    Suite *suite = suite_create("text");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
