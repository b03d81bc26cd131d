/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/configs.h"

#include <check.h>

#include "ctflow9/config/command_line.h"
#include "ctflow9/flow/table_size.h"
#include "ctflow9/netflow/fields.h"

#include "run_suite.h"

static struct options options;

#define PARSE(...) parse((const char *[]){"ctflow9", __VA_ARGS__, NULL})

static void parse(const char *const *arguments)
{
    static char words[32][64];
    char *argv[32] = {NULL};
    int argc = 0;
    for (; arguments[argc] != NULL; argc++) {
        snprintf(words[argc], sizeof(words[argc]), "%s", arguments[argc]);
        argv[argc] = words[argc];
    }
    ck_assert_int_eq(command_line_parse(&options, argc, argv), COMMAND_LINE_RUN);
}

START_TEST(what_is_exported_is_what_was_asked_for)
{
    PARSE("-c", "192.0.2.1:2055", "-c", "[2001:db8::1]:9995", "--source-id", "3", "--max-datagram", "1000",
          "--max-delay", "0.25", "--max-rate", "4", "--queue", "500", "--template-refresh", "6",
          "--template-datagrams", "7", "--fields", "zone", "--aggregate", "dport,proto",
          "--aggregate-interval", "80", "--table-size", "9000");
    struct exporter_config config;
    configs_of_export(&config, &options);
    ck_assert_uint_eq(config.collector_count, 2);
    ck_assert_str_eq(config.collectors[1].host, "2001:db8::1");
    ck_assert_uint_eq(config.collectors[1].port, 9995);
    ck_assert_uint_eq(config.source_id, 3);
    ck_assert_uint_eq(config.max_datagram, 1000);
    ck_assert_uint_eq(config.max_delay_ns, 250 * NS_PER_MS);
    ck_assert_uint_eq(config.each.max_rate, 4);
    ck_assert_uint_eq(config.each.queue, 500);
    ck_assert_uint_eq(config.each.template_refresh_s, 6);
    ck_assert_uint_eq(config.each.template_datagrams, 7);
    ck_assert_uint_eq(config.fields, FIELDS_ZONE);
    ck_assert_uint_eq(config.aggregate.keys, AGGREGATE_KEY_DPORT | AGGREGATE_KEY_PROTO);
    ck_assert_uint_eq(config.aggregate_interval_s, 80);
    ck_assert_uint_eq(config.aggregate_capacity, 9000);
    ck_assert(!config.print && !config.json && !config.json_socket);
    ck_assert_str_eq(config.each.source_address, "");

    PARSE("-c", "192.0.2.1:2055", "--source-address", "192.0.2.9", "--active-timeout", "30", "--json",
          "--json-socket", "/run/flows");
    configs_of_export(&config, &options);
    ck_assert_str_eq(config.each.source_address, "192.0.2.9");
    ck_assert_uint_eq(config.active_timeout_s, 30);
    ck_assert_uint_eq(config.aggregate_capacity, TABLE_SIZE_DEFAULT);
    ck_assert(!config.print && config.json);
    ck_assert_str_eq(config.json_socket, "/run/flows");

    PARSE("--print");
    configs_of_export(&config, &options);
    ck_assert_uint_eq(config.collector_count, 0);
    ck_assert(config.print && !config.json);
    ck_assert_uint_eq(config.idle_timeout_s, 0);
}
END_TEST

START_TEST(what_is_read_is_what_was_asked_for)
{
    struct reading_config config;
    PARSE("--print", "--workers", "3", "--netns", "left", "--mark", "0x10/0xf0", "--rcvbuf", "2M", "--rx",
          "recvmmsg", "--no-reliable", "--set-sysctls", "--active-timeout", "30", "--adopt", "full",
          "--table-size", "9000", "--mark-interface", "0xf0,0xf", "--mark-direction", "0x100");
    configs_of_reading(&config, &options);
    ck_assert_uint_eq(config.workers.count, 3);
    ck_assert_str_eq(config.workers.netns, "left");
    ck_assert_ptr_eq(config.workers.sources.conntrack, &config.conntrack);
    ck_assert_uint_eq(config.conntrack.mark.value, 0x10);
    ck_assert_uint_eq(config.conntrack.mark.mask, 0xf0);
    ck_assert_uint_eq(config.workers.marks.masks[0], 0xf0);
    ck_assert_uint_eq(config.workers.marks.masks[1], 0xf);
    ck_assert_uint_eq(config.workers.marks.egress_mask, 0x100);
    ck_assert_ptr_null(config.workers.interfaces.numbers);
    ck_assert_uint_eq(config.conntrack.rcvbuf_octets, 2 << 20);
    ck_assert_uint_eq(config.conntrack.rx, RX_RECVMMSG);
    ck_assert(!config.conntrack.reliable);
    ck_assert(config.conntrack.set_sysctls);
    ck_assert_uint_eq(config.conntrack.active_timeout_ns, 30 * NS_PER_S);
    ck_assert(config.conntrack.adopt_full);
    ck_assert_uint_eq(config.conntrack.table_size, 9000);

    PARSE("--print", "--active-timeout", "0", "--interface-index", "eth0=5");
    configs_of_reading(&config, &options);
    ck_assert_ptr_eq(config.workers.interfaces.numbers, &options.interface_numbers);
    ck_assert(!config.workers.interfaces.given_only);
    ck_assert(config.conntrack.reliable);
    ck_assert(!config.conntrack.set_sysctls);
    ck_assert(!config.conntrack.adopt_full);
    ck_assert_uint_eq(config.conntrack.active_timeout_ns, 0);
    ck_assert_uint_eq(config.conntrack.table_size, 0);

    PARSE("--print", "--mark-interface", "0xf0,0xf", "--interface-index", "eth0=5");
    configs_of_reading(&config, &options);
    ck_assert(config.workers.interfaces.given_only); /* the rules' numbers are no indexes */
}
END_TEST

START_TEST(metrics_are_told_where_it_was_asked_for)
{
    struct metrics_config config;
    PARSE("--print");
    configs_of_metrics(&config, &options);
    ck_assert_uint_eq(config.address.port, 0);
    ck_assert_str_eq(config.file, "");
    PARSE("--print", "--metrics", "[::1]:9469", "--metrics-file", "/tmp/a.prom");
    configs_of_metrics(&config, &options);
    ck_assert_str_eq(config.address.host, "::1");
    ck_assert_uint_eq(config.address.port, 9469);
    ck_assert_str_eq(config.file, "/tmp/a.prom");
}
END_TEST

#if CTFLOW9_NFACCT
START_TEST(counters_are_read_as_was_asked_for)
{
    struct reading_config config;
    struct exporter_config exporter;
    PARSE("--print");
    configs_of_reading(&config, &options);
    configs_of_export(&exporter, &options);
    ck_assert_ptr_null(config.workers.sources.nfacct);
    ck_assert(!exporter.has_counters);

    PARSE("--nfacct", "15", "--no-conntrack");
    configs_of_reading(&config, &options);
    configs_of_export(&exporter, &options);
    ck_assert_ptr_null(config.workers.sources.conntrack);
    ck_assert_ptr_eq(config.workers.sources.nfacct, &config.nfacct);
    ck_assert_uint_eq(config.nfacct.interval_ns, 15 * NS_PER_S);
    ck_assert(exporter.has_counters);
}
END_TEST
#endif

#if CTFLOW9_NFLOG
START_TEST(packets_are_read_as_was_asked_for)
{
    struct reading_config config;
    struct exporter_config exporter;
    PARSE("--print");
    configs_of_reading(&config, &options);
    ck_assert_ptr_null(config.workers.sources.nflog);

    PARSE("--nflog", "7,8", "--nflog-size", "256", "--flow-cache", "1000", "--inactive-timeout", "20",
          "--active-timeout", "30", "--rcvbuf", "2M");
    configs_of_reading(&config, &options);
    ck_assert_ptr_nonnull(config.workers.sources.conntrack);
    ck_assert_ptr_eq(config.workers.sources.nflog, &config.nflog);
    ck_assert_uint_eq(config.nflog.groups.count, 2);
    ck_assert_uint_eq(config.nflog.groups.group[1], 8);
    ck_assert_uint_eq(config.nflog.size_octets, 256);
    ck_assert_uint_eq(config.nflog.flow_cache, 1000);
    ck_assert_uint_eq(config.nflog.inactive_timeout_ns, 20 * NS_PER_S);
    ck_assert_uint_eq(config.nflog.active_timeout_ns, 30 * NS_PER_S);
    ck_assert_uint_eq(config.nflog.rcvbuf_octets, 2 << 20);
    configs_of_export(&exporter, &options);
    ck_assert_uint_eq(exporter.idle_timeout_s, 20);

    PARSE("--nflog", "7", "--no-conntrack");
    configs_of_reading(&config, &options);
    ck_assert_ptr_null(config.workers.sources.conntrack);
    ck_assert_ptr_nonnull(config.workers.sources.nflog);
}
END_TEST
#endif

#if CTFLOW9_NFQUEUE
START_TEST(queues_are_read_as_was_asked_for)
{
    struct reading_config config;
    struct exporter_config exporter;
    PARSE("--print");
    configs_of_reading(&config, &options);
    ck_assert_ptr_null(config.workers.sources.nfqueue);

    PARSE("--nfqueue", "7-8", "--nfqueue-verdict", "repeat", "--nfqueue-mark", "1/3", "--flow-cache", "1000",
          "--inactive-timeout", "20", "--active-timeout", "30", "--rcvbuf", "2M");
    configs_of_reading(&config, &options);
    ck_assert_ptr_nonnull(config.workers.sources.conntrack);
    ck_assert_ptr_eq(config.workers.sources.nfqueue, &config.nfqueue);
    ck_assert_uint_eq(config.nfqueue.queues.first, 7);
    ck_assert_uint_eq(config.nfqueue.queues.count, 2);
    ck_assert_uint_eq(config.nfqueue.verdict, NFQUEUE_REPEAT);
    ck_assert_uint_eq(config.nfqueue.mark.value, 1);
    ck_assert_uint_eq(config.nfqueue.mark.mask, 3);
    ck_assert_uint_eq(config.nfqueue.flow_cache, 1000);
    ck_assert_uint_eq(config.nfqueue.inactive_timeout_ns, 20 * NS_PER_S);
    ck_assert_uint_eq(config.nfqueue.active_timeout_ns, 30 * NS_PER_S);
    ck_assert_uint_eq(config.nfqueue.rcvbuf_octets, 2 << 20);
    configs_of_export(&exporter, &options);
    ck_assert_uint_eq(exporter.idle_timeout_s, 20);
}
END_TEST
#endif

int main(void)
{
    TCase *tests = tcase_create("configs");
    tcase_add_test(tests, what_is_exported_is_what_was_asked_for);
    tcase_add_test(tests, what_is_read_is_what_was_asked_for);
    tcase_add_test(tests, metrics_are_told_where_it_was_asked_for);
#if CTFLOW9_NFACCT
    tcase_add_test(tests, counters_are_read_as_was_asked_for);
#endif
#if CTFLOW9_NFLOG
    tcase_add_test(tests, packets_are_read_as_was_asked_for);
#endif
#if CTFLOW9_NFQUEUE
    tcase_add_test(tests, queues_are_read_as_was_asked_for);
#endif

    Suite *suite = suite_create("configs");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
