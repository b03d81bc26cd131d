/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics_write.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/flow/flow.h"
#include "run_suite.h"

static struct metrics_sample sample;
static char *text;
static json_t *object;

static void setup(void)
{
    sample = (struct metrics_sample){
        .total = {.events = 1,
                  .looks_cpu_us = 2500001,
                  .flows_by = {[0] = {[FLOW_END_DETECTED] = 3}, [2] = {[FLOW_END_IDLE_TIMEOUT] = 4}},
                  .tracked = 5,
                  .lines_lost = UINT64_MAX},
        .collector_count = 2,
        .collector = {{.name = "192.0.2.1:2055", .stats = {.octets = 6, .records_dropped = 7, .up = 1}},
                      {.name = "[fe80::1%a\"b\\c]:9995", .stats = {.octets = 8}}}};
    stats_observe(&sample.total.drain, 0);
    stats_observe(&sample.total.drain, stats_limit_ns(0));
    stats_observe(&sample.total.drain, stats_limit_ns(0) + 1);
    stats_observe(&sample.total.drain, UINT64_C(20000000000));
}

static void write_both(void)
{
    size_t octets;
    FILE *out = open_memstream(&text, &octets);
    metrics_write_text(&sample, out);
    ck_assert_int_eq(fclose(out), 0);
    object = metrics_json(&sample);
    ck_assert_ptr_nonnull(object);
}

static void teardown(void)
{
    free(text);
    json_decref(object);
}

/* A whole line. */
static bool has_line(const char *line)
{
    size_t octets = strlen(line);
    for (const char *at = text; (at = strstr(at, line)); at += octets)
        if ((at == text || at[-1] == '\n') && at[octets] == '\n')
            return true;
    return false;
}

static const struct {
    const char *line;
} lines[] = {
    {"# HELP ctflow9_build_info 1: its label tells the version."},
    {"# HELP ctflow9_events_total Events of ended connections that the kernel sent and ctflow9 received."},
    {"# TYPE ctflow9_events_total counter"},
    {"ctflow9_events_total 1"},
    {"ctflow9_looks_cpu_seconds_total 2.500001"},
    {"ctflow9_flows_total{protocol=\"tcp\",end_reason=\"end\"} 3"},
    {"ctflow9_flows_total{protocol=\"icmp\",end_reason=\"idle\"} 4"},
    {"ctflow9_flows_total{protocol=\"other\",end_reason=\"resources\"} 0"},
    {"# TYPE ctflow9_tracked_connections gauge"},
    {"ctflow9_tracked_connections 5"},
    {"ctflow9_lines_lost_total 18446744073709551615"},
    {"# TYPE ctflow9_drain_seconds histogram"},
    {"ctflow9_drain_seconds_bucket{le=\"0.0001\"} 2"},
    {"ctflow9_drain_seconds_bucket{le=\"0.00025\"} 3"},
    {"ctflow9_drain_seconds_bucket{le=\"10\"} 3"},
    {"ctflow9_drain_seconds_bucket{le=\"+Inf\"} 4"},
    {"ctflow9_drain_seconds_sum 20.000200001"},
    {"ctflow9_drain_seconds_count 4"},
    {"ctflow9_collector_up{collector=\"192.0.2.1:2055\"} 1"},
    {"ctflow9_collector_bytes_total{collector=\"192.0.2.1:2055\"} 6"},
    {"ctflow9_collector_dropped_total{collector=\"192.0.2.1:2055\",reason=\"queue\"} 7"},
    {"ctflow9_collector_bytes_total{collector=\"[fe80::1%a\\\"b\\\\c]:9995\"} 8"},
};

START_TEST(a_line)
{
    write_both();
    ck_assert_msg(has_line(lines[_i].line), "'%s' is missing in\n%s", lines[_i].line, text);
}
END_TEST

/* Each metric is announced once, before its values, and is a key of the object; nothing else is. */
START_TEST(text_and_json_have_the_same)
{
    size_t announced = 0;
    write_both();
    for (const char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128], type[16];
        if (sscanf(line, "# TYPE %127s %15s", name, type) != 2)
            continue;
        announced++;
        ck_assert_msg(json_object_get(object, name), "%s is not in the object", name);
    }
    ck_assert_uint_eq(announced, json_object_size(object));
    ck_assert_uint_gt(announced, 30);
}
END_TEST

/* Every row is told, but for the sum that its parts tell. */
START_TEST(every_row_is_a_metric)
{
    const struct stats_row *row;
    char name[128];
    write_both();
    for (size_t i = 0; (row = stats_row(i)) || (row = stats_collector_row(i)); i++) {
        if (!row->metric) {
            ck_assert_str_eq(row->name, "flows");
            continue;
        }
        snprintf(name, sizeof(name), "ctflow9_%s", row->metric);
        ck_assert_msg(json_object_get(object, name), "%s is missing", name);
    }
}
END_TEST

START_TEST(the_object)
{
    write_both();
    ck_assert_int_eq(json_integer_value(json_object_get(object, "ctflow9_events_total")), 1);
    ck_assert_double_eq(json_real_value(json_object_get(object, "ctflow9_looks_cpu_seconds_total")),
                        2.500001);
    const json_t *flows = json_object_get(object, "ctflow9_flows_total");
    ck_assert_uint_eq(json_array_size(flows), STATS_PROTOCOLS * STATS_END_REASONS);
    const char *protocol, *reason;
    json_int_t value;
    ck_assert_int_eq(json_unpack(json_array_get(flows, 3), "{s:s, s:s, s:I !}", "protocol", &protocol,
                                 "end_reason", &reason, "value", &value),
                     0);
    ck_assert_str_eq(protocol, "tcp");
    ck_assert_str_eq(reason, "end");
    ck_assert_int_eq(value, 3);

    json_int_t none, few, all, count;
    double sum;
    ck_assert_int_eq(json_unpack(object, "{s:{s:{s:I, s:I, s:I}, s:f, s:I !}}", "ctflow9_drain_seconds",
                                 "buckets", "0.0001", &none, "10", &few, "+Inf", &all, "sum", &sum, "count",
                                 &count),
                     0);
    ck_assert_int_eq(none, 2);
    ck_assert_int_eq(few, 3);
    ck_assert_int_eq(all, 4);
    ck_assert_int_eq(count, 4);
    ck_assert_double_eq(sum, 20.000200001);
    ck_assert_str_eq(json_string_value(json_object_get(
                         json_array_get(json_object_get(object, "ctflow9_collector_up"), 1), "collector")),
                     "[fe80::1%a\"b\\c]:9995");
}
END_TEST

START_TEST(no_collector)
{
    sample.collector_count = 0;
    write_both();
    ck_assert_ptr_null(strstr(text, "collector"));
    ck_assert(has_line("ctflow9_events_total 1"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics_write");
    TCase *tests = tcase_create("metrics_write");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_line, 0, sizeof(lines) / sizeof(lines[0]));
    tcase_add_test(tests, text_and_json_have_the_same);
    tcase_add_test(tests, every_row_is_a_metric);
    tcase_add_test(tests, the_object);
    tcase_add_test(tests, no_collector);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
