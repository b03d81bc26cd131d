/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/troubles.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"

#include "run_suite.h"

/* Standard error is a pipe, whose other end is read here. Each test is a process of its own. */
static int reader;

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(close(ends[1]), 0);
    reader = ends[0];
    ck_assert_int_eq(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
    unsetenv("JOURNAL_STREAM");
    log_init(false);
}

static const char *written(void)
{
    static char text[4 * LOG_LINE_MAX];
    ssize_t octets = read(reader, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

START_TEST(told_when_a_counter_grows)
{
    static struct troubles troubles;
    static struct stats total;
    const uint64_t start_ns = 5 * NS_PER_S;

    troubles_see(&troubles, &total, start_ns);
    ck_assert_str_eq(written(), "");
    stats_count(&total.events, 1000);
    stats_count(&total.table_full, 3);
    troubles_see(&troubles, &total, start_ns);
    const char *text = written();
    ck_assert_ptr_nonnull(strstr(text, "raise --table-size (table_full: 3)\n"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    stats_count(&total.table_full, 4);
    troubles_see(&troubles, &total, start_ns + NS_PER_S);
    stats_count(&total.table_full, 5);
    troubles_see(&troubles, &total, start_ns + 2 * NS_PER_S);
    ck_assert_str_eq(written(), "");
    troubles_see(&troubles, &total, start_ns + TELL_ONCE_INTERVAL_NS);
    ck_assert_ptr_nonnull(strstr(written(), "(table_full: 9)\n"));

    stats_count(&total.table_full, 1);
    troubles_see(&troubles, &total, UINT64_MAX); /* the end */
    ck_assert_ptr_nonnull(strstr(written(), "(table_full: 1)\n"));
    troubles_see(&troubles, &total, UINT64_MAX);
    ck_assert_str_eq(written(), "");
}
END_TEST

START_TEST(each_has_its_line)
{
    static struct troubles troubles;
    static struct stats total;
    stats_count(&total.table_full, 1);
    troubles_see(&troubles, &total, 1);
    ck_assert_ptr_nonnull(strstr(written(), "(table_full: 1)\n"));
    stats_count(&total.counters_reset, 2);
    troubles_see(&troubles, &total, 2);
    ck_assert_ptr_nonnull(strstr(written(), "sets the counters of connections to 0"));
    stats_count(&total.uncounted, 1);
    troubles_see(&troubles, &total, 3);
    ck_assert_ptr_nonnull(strstr(written(), "add 'counter' to the flowtable"));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("troubles");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, told_when_a_counter_grows);
    tcase_add_test(tcase, each_has_its_line);
    Suite *suite = suite_create("troubles");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
