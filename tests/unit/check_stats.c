/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/stats.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"

#include "run_suite.h"

static int reader;
static char text[4096];

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(close(ends[1]), 0);
    reader = ends[0];
    log_init(false);
}

static const char *written(void)
{
    ssize_t octets = read(reader, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

START_TEST(every_counter_under_its_name)
{
    const struct stats stats = {.events = 1,
                                .lost = 2,
                                .malformed = 3,
                                .truncated = 4,
                                .ignored = 5,
                                .foreign = 22,
                                .deferred = 6,
                                .guard_releases = 7,
                                .repeated = 8,
                                .adopted = 9,
                                .table_full = 10,
                                .looks = 24,
                                .looks_cpu_us = 25,
                                .gone = 11,
                                .empty = 19,
                                .counters_reset = 20,
                                .uncounted = 21,
                                .interfaces_noted = 39,
                                .notes_evicted = 40,
                                .interfaces_known = 36,
                                .interfaces_asked = 37,
                                .interfaces_unknown = 38,
                                .packets = 30,
                                .packets_lost = 31,
                                .packets_other = 32,
                                .packets_malformed = 33,
                                .packets_unsized = 34,
                                .cache_full = 35,
                                .flows = 12,
                                .flows_no_counters = 13,
                                .named_counters = 36,
                                .named_counters_anew = 37,
                                .named_counters_full = 38,
                                .named_counters_lost = 39,
                                .records = 14,
                                .datagrams = 15,
                                .aggregates_early = 16,
                                .lines = 17,
                                .lines_lost = 18,
                                .readers = 26,
                                .readers_refused = 27,
                                .reader_lines = 28,
                                .reader_lines_lost = 29,
                                .left_behind = 23};
    stats_log(&stats);
    ck_assert_str_eq(
        written(),
        "ctflow9: totals: events 1, lost 2, malformed 3, truncated 4, ignored 5, foreign 22, deferred 6, "
        "left_behind 23, "
        "guard_releases 7, repeated 8, adopted 9, table_full 10, looks 24, looks_cpu_us 25, gone 11, empty "
        "19, counters_reset 20, "
        "uncounted 21, interfaces_noted 39, notes_evicted 40, interfaces_known 36, interfaces_asked 37, "
        "interfaces_unknown 38, packets 30, "
        "packets_lost 31, packets_other 32, packets_malformed 33, packets_unsized "
        "34, "
        "cache_full 35, flows 12, "
        "flows_no_counters 13, named_counters 36, named_counters_anew 37, named_counters_full 38, "
        "named_counters_lost 39, records 14, datagrams 15, aggregates_early 16, lines 17, lines_lost 18, "
        "readers 26, readers_refused 27, reader_lines 28, reader_lines_lost 29\n");
}
END_TEST

START_TEST(adds_every_counter)
{
    struct stats total = {.events = 1, .lines_lost = 2};
    const struct stats more = {.events = 10, .gone = 20, .lines_lost = 30};
    stats_add(&total, &more);
    stats_count(&total.gone, 4);
    ck_assert_uint_eq(total.events, 11);
    ck_assert_uint_eq(total.gone, 24);
    ck_assert_uint_eq(total.lines_lost, 32);
    ck_assert_uint_eq(total.records, 0);
}
END_TEST

/* What counted has ended: what it was at present it is no more. */
START_TEST(adds_what_has_ended)
{
    struct stats total = {.flows_by = {{1}}};
    const struct stats more = {.events = 1, .flows_by = {{2}}, .tracked = 3, .tracked_limit = 4};
    stats_add(&total, &more);
    ck_assert_uint_eq(total.tracked, 3);
    stats_add_ended(&total, &more);
    ck_assert_uint_eq(total.events, 2);
    ck_assert_uint_eq(total.flows_by[0][0], 5);
    ck_assert_uint_eq(total.tracked, 0);
    ck_assert_uint_eq(total.tracked_limit, 0);
}
END_TEST

START_TEST(a_time_is_counted_below_its_limit)
{
    struct stats_histogram histogram = {0};
    for (unsigned i = 0; i < STATS_LIMITS; i++) {
        ck_assert(i == 0 || stats_limit_ns(i) > stats_limit_ns(i - 1));
        stats_observe(&histogram, stats_limit_ns(i));
        ck_assert_uint_eq(histogram.count[i], 1);
    }
    stats_observe(&histogram, UINT64_C(1) << 60);
    ck_assert_uint_eq(histogram.count[STATS_LIMITS], 1);
    ck_assert_uint_gt(histogram.sum_ns, UINT64_C(1) << 60);
}
END_TEST

START_TEST(every_counter_of_a_collector)
{
    const struct collector_stats stats = {.records = 1,
                                          .datagrams = 2,
                                          .octets = 3,
                                          .records_dropped = 4,
                                          .datagrams_dropped = 5,
                                          .send_errors = 6,
                                          .unreachable = 7,
                                          .reconnects = 8,
                                          .lookups_failed = 9,
                                          .flows_passed_over = 10};
    stats_log_collector("[2001:db8::1]:2055", &stats);
    ck_assert_str_eq(
        written(),
        "ctflow9: totals of [2001:db8::1]:2055: records 1, datagrams 2, octets 3, records_dropped 4, "
        "datagrams_dropped 5, send_errors 6, unreachable 7, reconnects 8, lookups_failed 9, "
        "flows_passed_over 10\n");
}
END_TEST

START_TEST(the_largest_numbers_fit)
{
    struct stats stats;
    struct collector_stats collector;
    char name[256];
    memset(&stats, 0xff, sizeof(stats));
    memset(&collector, 0xff, sizeof(collector));
    stats_log(&stats);
    ck_assert_ptr_nonnull(strstr(written(), "reader_lines_lost 18446744073709551615\n"));
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    stats_log_collector(name, &collector);
    ck_assert_ptr_nonnull(strstr(written(), "flows_passed_over 18446744073709551615\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stats");
    TCase *tests = tcase_create("stats");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, every_counter_under_its_name);
    tcase_add_test(tests, adds_every_counter);
    tcase_add_test(tests, adds_what_has_ended);
    tcase_add_test(tests, a_time_is_counted_below_its_limit);
    tcase_add_test(tests, every_counter_of_a_collector);
    tcase_add_test(tests, the_largest_numbers_fit);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
