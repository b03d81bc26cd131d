/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/exporter.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "collectors_rig.h"
#include "ctflow9/base/log.h"
#include "ctflow9/netflow/packet.h"
#include "run_suite.h"
#include "sample_flow.h"

enum { FLOWS_PER_DATAGRAM = 14 }; /* of two records of 48 octets, in 1,400 octets */

/* Each test is a process of its own. Standard output is a pipe that is read here, collectors are sockets. */
static struct exporter *exporter;
static struct exporter_config config;
static struct host_port peers[2];
static struct stats stats;
static struct instant now;
static struct flow flow;
static int log_fd, output_fd;

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(close(ends[1]), 0);
    output_fd = ends[0];
    log_fd = rig_capture_log();
    unsetenv("JOURNAL_STREAM");
    log_init(false);
    signal(SIGPIPE, SIG_IGN); /* as signals_open() does */
    config = (struct exporter_config){
        .collectors = peers,
        .each = {.queue = 65536, .template_refresh_s = 3600, .template_datagrams = 1000000},
        .max_datagram = 1400,
        .max_delay_ns = NS_PER_S,
        .aggregate_interval_s = 10,
        .aggregate_capacity = 1024};
    now = instant_now();
    flow = sample_flow(IPPROTO_UDP, "0.0.0.7", 1000, "192.0.2.2", 53);
    flow.stop_ns = now.wall_ns;
    flow.start_ns = now.wall_ns - NS_PER_S;
}

static void teardown(void)
{
    exporter_close(exporter);
}

static int add_collector(void)
{
    int receiver = rig_receiver("127.0.0.1", 0);
    struct host_port *peer = &peers[config.collector_count++];
    snprintf(peer->host, sizeof(peer->host), "127.0.0.1");
    peer->port = rig_port(receiver);
    return receiver;
}

/* Nothing of its config is there any more when it is open. */
static int try_open(void)
{
    struct lent {
        struct exporter_config config;
        struct host_port peers[2];
    };
    struct lent *lent = mmap(NULL, sizeof(*lent), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(lent, MAP_FAILED);
    lent->config = config;
    lent->config.collectors = lent->peers;
    memcpy(lent->peers, peers, sizeof(peers));
    int error = exporter_open(&exporter, &lent->config, &stats, now);
    ck_assert_int_eq(mprotect(lent, sizeof(*lent), PROT_NONE), 0);
    return error;
}

/* And has sent its templates. */
static void open_exporter(void)
{
    ck_assert_int_eq(try_open(), 0);
    ck_assert_int_eq(exporter_run(exporter, now), 0);
}

static int run_after(uint64_t ns)
{
    now.wall_ns += ns;
    now.monotonic_ns += ns;
    return exporter_run(exporter, now);
}

static void add(unsigned count)
{
    exporter_begin(exporter, now);
    while (count-- > 0)
        exporter_add(exporter, &flow);
}

/* What standard output got since the last call. */
static const char *output(void)
{
    static char text[1 << 16];
    ssize_t octets = read(output_fd, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

static unsigned times_logged(const char *part)
{
    unsigned times = 0;
    for (const char *at = rig_log(log_fd); (at = strstr(at, part)) != NULL; at++)
        times++;
    return times;
}

START_TEST(a_flow_is_counted_once)
{
    add_collector(), add_collector();
    config.print = true;
    open_exporter();
    add(3);
    flow.has &= (uint32_t)~FLOW_HAS_COUNTERS;
    add(2);
    ck_assert_uint_eq(stats.flows, 5);
    ck_assert_uint_eq(stats.flows_no_counters, 2);
    ck_assert_uint_eq(stats.flows_by[stats_protocol(IPPROTO_UDP)][flow.end_reason], 5);
    flow.end_reason = 77; /* no source may bring this about */
    flow.protocol = IPPROTO_GRE;
    add(1);
    ck_assert_uint_eq(stats.flows_by[stats_protocol(IPPROTO_GRE)][FLOW_END_UNKNOWN], 1);
    ck_assert_uint_eq(stats.flows, 6);
    run_after(NS_PER_S);
    ck_assert_uint_eq(stats.flows, 6);
    ck_assert_uint_eq(stats.lines, 6);
    ck_assert_uint_ge(stats.records, 6);
}
END_TEST

START_TEST(a_sample_has_every_collector)
{
    static struct metrics_sample sample = {.collector_count = 7};
    add_collector(), add_collector();
    open_exporter();
    exporter_sample(exporter, &sample);
    ck_assert_uint_eq(sample.collector_count, 2);
    ck_assert_uint_eq(sample.collector[1].stats.up, 1);
    ck_assert_uint_eq(sample.collector[1].stats.datagrams, 1);
    ck_assert_uint_eq(sample.collector[1].stats.queued_records, 0);
    ck_assert_ptr_nonnull(strstr(sample.collector[1].name, "127.0.0.1:"));
    add(FLOWS_PER_DATAGRAM);
    exporter_sample(exporter, &sample);
    ck_assert_uint_eq(sample.collector[0].stats.queued_records, 2 * FLOWS_PER_DATAGRAM);
}
END_TEST

/* Without any wish flows are printed where there is no collector, and sent where there is one. */
START_TEST(flows_go_to_every_output_that_is_wanted)
{
    bool has_collector = _i & 1;
    config.print = _i & 2;
    config.json = _i & 4;
    int receiver = has_collector ? add_collector() : -1;
    open_exporter();
    if (has_collector)
        rig_expect_templates(receiver, 0);
    add(1);
    ck_assert_int_eq(run_after(NS_PER_S), 0);

    const char *text = output();
    ck_assert_int_eq(text[0] != '\0', config.print || config.json || !has_collector);
    ck_assert_int_eq(text[0] == '{', config.json);
    ck_assert_uint_eq(stats.lines, text[0] != '\0');
    ck_assert_uint_eq(stats.records, has_collector ? 2 : 0);
    if (has_collector) {
        rig_expect_data(receiver, 1, 7); /* the flow's address */
        rig_expect_nothing(receiver);
    }
}
END_TEST

START_TEST(interfaces_are_named_in_every_output)
{
    int receiver = add_collector();
    config.print = true;
    open_exporter();
    rig_expect_templates(receiver, 0);
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    for (unsigned i = 0; i < 2; i++) { /* the second table takes the place of the first */
        struct interface_names *names = interface_names_allocate(1);
        names->each[0] = (struct interface_name){.number = 3, .name = "eth0"};
        names->each[0].name[3] = (char)('0' + i);
        exporter_name_interfaces(exporter, names);
        add(1);
        ck_assert_int_eq(run_after(NS_PER_S), 0);
        ck_assert_ptr_nonnull(strstr(output(), i == 0 ? " via eth0>0" : " via eth1>0"));
        rig_expect_templates(receiver, 1 + 3 * i);
        rig_expect_templates(receiver, 2 + 3 * i); /* where the names have room */
        rig_expect_data(receiver, 3 + 3 * i, 7);
        rig_expect_nothing(receiver);
    }
}
END_TEST

START_TEST(a_record_waits_as_long_as_it_may)
{
    int receiver = add_collector();
    config.max_delay_ns = 250 * NS_PER_MS;
    open_exporter();
    rig_expect_templates(receiver, 0);
    now.wall_ns += NS_PER_MS;
    now.monotonic_ns += NS_PER_MS;
    add(1);
    struct poll_set set;
    poll_set_clear(&set);
    exporter_wants(exporter, &set);
    ck_assert_uint_eq(set.deadline_ns, now.monotonic_ns + 250 * NS_PER_MS);
    run_after(250 * NS_PER_MS - 1);
    rig_expect_nothing(receiver);
    run_after(1);
    rig_expect_data(receiver, 1, 7);
}
END_TEST

/* A drain may bring more than is sent at a time. */
START_TEST(a_long_drain_sends_in_between)
{
    enum { DATAGRAMS = 130 };

    int receiver = add_collector();
    open_exporter();
    rig_expect_templates(receiver, 0);
    add(DATAGRAMS * FLOWS_PER_DATAGRAM + 1);
    ck_assert_uint_eq(stats.datagrams, DATAGRAMS);
    unsigned came = 0;
    for (struct rig_datagram datagram; rig_receive(receiver, 0, &datagram); came++)
        ck_assert(!datagram.templates);
    ck_assert_uint_eq(came, 128);
    run_after(0);
    rig_expect_data(receiver, 129, 7);
    rig_expect_data(receiver, 130, 7);
    rig_expect_nothing(receiver);
}
END_TEST

START_TEST(collectors_get_what_was_configured)
{
    int receiver = add_collector();
    snprintf(config.each.source_address, sizeof(config.each.source_address), "127.0.0.7");
    config.source_id = 0x01020304;
    config.active_timeout_s = _i == 0 ? 60 : UINT16_MAX + 10;
    open_exporter();

    uint8_t data[PACKET_OCTETS_MAX];
    struct sockaddr_in from = {0};
    socklen_t from_octets = sizeof(from);
    ssize_t octets = recvfrom(receiver, data, sizeof(data), 0, (struct sockaddr *)&from, &from_octets);
    ck_assert_int_gt(octets, 0);
    ck_assert_uint_eq(from.sin_addr.s_addr, inet_addr("127.0.0.7"));
    ck_assert_mem_eq(data + 16, "\1\2\3\4", 4);
    const uint8_t *totals = memmem(data, (size_t)octets, "\1\x11\0\x24", 4); /* 273, 36 octets */
    ck_assert_ptr_nonnull(totals);
    uint16_t active_timeout_s;
    memcpy(&active_timeout_s, totals + 4 + 28, sizeof(active_timeout_s));
    ck_assert_uint_eq(be16toh(active_timeout_s), _i == 0 ? 60 : UINT16_MAX); /* as much as fits */
}
END_TEST

START_TEST(flows_are_merged_when_asked)
{
    int receiver = add_collector();
    config.aggregate = (struct aggregate_by){.keys = AGGREGATE_KEY_PROTO};
    open_exporter();
    rig_expect_templates(receiver, 0);
    add(100);
    run_after(9 * NS_PER_S);
    ck_assert_uint_eq(stats.records, 0);
    run_after(2 * NS_PER_S);
    ck_assert_uint_eq(stats.flows, 100);
    ck_assert_uint_eq(stats.records, 1);
}
END_TEST

START_TEST(without_a_reader_and_a_collector_nobody_is_left)
{
    open_exporter();
    close(output_fd);
    add(1);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(run_after(NS_PER_S), -EPIPE);
    ck_assert_uint_eq(times_logged("its reader is gone), and there is no other output: ending"), 1);
    ck_assert_uint_eq(stats.lines_lost, 1);
}
END_TEST

START_TEST(collectors_are_sent_to_without_a_reader)
{
    int receiver = add_collector();
    config.json = true;
    open_exporter();
    rig_expect_templates(receiver, 0);
    close(output_fd);
    for (unsigned i = 0; i < 3; i++) {
        add(1);
        ck_assert_int_eq(run_after(NS_PER_S), 0);
        rig_expect_data(receiver, 1 + i, 7);
    }
    ck_assert_uint_eq(times_logged("its reader is gone), going on without"), 1);
    ck_assert_uint_eq(stats.lines_lost, 3);
}
END_TEST

static int connect_reader(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int reader = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(reader, (struct sockaddr *)&address, sizeof(address)), 0);
    return reader;
}

/* A socket is an output like others: alone nothing is printed, and it goes on without standard output. */
START_TEST(readers_of_the_socket_are_written_to)
{
    char path[] = "/tmp/check_exporter.XXXXXX", text[4096] = "";
    ck_assert_ptr_nonnull(mkdtemp(path));
    ck_assert_int_eq(rmdir(path), 0);
    config.json_socket = path;
    config.print = _i == 1;
    open_exporter();
    int reader = connect_reader(path);
    struct poll_set set;
    poll_set_clear(&set);
    exporter_wants(exporter, &set);
    ck_assert_int_eq(poll(set.fds, set.count, 0), 1);
    ck_assert_int_eq(run_after(0), 0);
    close(output_fd);
    add(2);
    ck_assert_int_eq(run_after(0), 0);
    ck_assert_int_gt(read(reader, text, sizeof(text) - 1), 0);
    ck_assert_int_eq(text[0], '{');
    ck_assert_str_eq(strchr(text, '\n') + strlen(strchr(text, '\n')) - 2, "}\n");
    ck_assert_uint_eq(stats.reader_lines, 2);
    ck_assert_uint_eq(stats.lines_lost, _i == 1 ? 2 : 0);
    add(1000);
    exporter_finish(exporter); /* which waits for the reader */
    ck_assert_uint_gt(stats.reader_lines_lost, 0);
    ck_assert_uint_eq(stats.reader_lines + stats.reader_lines_lost, 1002);
    close(reader);
}
END_TEST

START_TEST(a_socket_that_cannot_be_is_told)
{
    config.json_socket = "/dev/null";
    ck_assert_int_eq(try_open(), -ENOTSOCK);
    rig_expect_log(log_fd, "/dev/null is there already and is no socket");
}
END_TEST

/* What waits for others, and what waits for its turn. */
START_TEST(the_end_sends_all_that_is_held)
{
    int receiver = add_collector();
    config.print = true;
    config.each.max_rate = 1000;
    config.max_delay_ns = 3600 * NS_PER_S;
    open_exporter();
    rig_expect_templates(receiver, 0);
    add(100);
    exporter_finish(exporter);
    unsigned datagrams = 0;
    for (struct rig_datagram datagram; rig_receive(receiver, 0, &datagram); datagrams++)
        ck_assert(!datagram.templates);
    ck_assert_uint_eq(datagrams, 100 / FLOWS_PER_DATAGRAM + 1);
    ck_assert_uint_eq(stats.records, 200);
    ck_assert_uint_eq(stats.lines, 100);
    exporter_log_stats(exporter);
    rig_expect_log(log_fd, "records 200, datagrams 9, ");
    rig_expect_log(log_fd, "records_dropped 0, ");
}
END_TEST

/* A collector that gets a record in half an hour, and a reader that reads no more. */
START_TEST(the_end_waits_two_seconds_at_most)
{
    add_collector();
    config.print = true;
    config.each.max_rate = 1;
    open_exporter();
    add(5 * FLOWS_PER_DATAGRAM + 2000);
    uint64_t began_ns = instant_read_clock(CLOCK_MONOTONIC);
    exporter_finish(exporter);
    uint64_t took_ns = instant_read_clock(CLOCK_MONOTONIC) - began_ns;
    ck_assert_uint_ge(took_ns, 2 * NS_PER_S);
    ck_assert_uint_lt(took_ns, 10 * slow_factor() * NS_PER_S);
    ck_assert_uint_gt(stats.lines_lost, 0);
    ck_assert_uint_eq(stats.lines + stats.lines_lost, stats.flows);
    exporter_log_stats(exporter);
    uint64_t records, dropped;
    const char *totals = strstr(rig_log(log_fd), "totals of 127.0.0.1:");
    ck_assert_ptr_nonnull(totals);
    ck_assert_int_eq(sscanf(strstr(totals, "records "), "records %" SCNu64, &records), 1);
    ck_assert_int_eq(sscanf(strstr(totals, "records_dropped "), "records_dropped %" SCNu64, &dropped), 1);
    ck_assert_uint_gt(dropped, 0);
    ck_assert_uint_eq(records + dropped, stats.records);
    ck_assert_uint_eq(exporter_records_dropped(exporter), dropped);
}
END_TEST

START_TEST(each_collector_has_its_totals)
{
    add_collector(), add_collector();
    open_exporter();
    exporter_log_stats(exporter);
    char name[64];
    for (unsigned i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "totals of 127.0.0.1:%u: ", peers[i].port);
        ck_assert_uint_eq(times_logged(name), 1);
    }
    exporter_close(exporter);
    config.collector_count = 0;
    open_exporter();
    exporter_log_stats(exporter);
    ck_assert_uint_eq(times_logged("totals of "), 2);
    ck_assert_uint_eq(exporter_records_dropped(exporter), 0);
}
END_TEST

/* Whatever was opened before is closed. */
START_TEST(standard_output_that_takes_nothing_is_told)
{
    if (_i == 1)
        add_collector();
    config.print = true;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(try_open(), -EBADF);
    ck_assert_ptr_null(exporter);
    rig_expect_log(log_fd, "standard output is closed: give a collector");
}
END_TEST

/* Address space for little more than there is already. */
START_TEST(want_of_memory_is_told)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    unsigned long pages;
    FILE *statm = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(statm);
    ck_assert_int_eq(fscanf(statm, "%lu", &pages), 1);
    fclose(statm);
    const struct rlimit little = {pages * (rlim_t)sysconf(_SC_PAGESIZE) + (64 << 20), limit.rlim_max};

    add_collector();
    config.aggregate = (struct aggregate_by){.keys = AGGREGATE_KEY_PROTO};
    config.aggregate_capacity = 1 << 30;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &little), 0);
    int error = try_open();
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(error, -ENOMEM);
    ck_assert_ptr_null(exporter);
    rig_expect_log(log_fd, "no memory for a table of 1073741824 aggregates, give a smaller --table-size");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("exporter");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_flow_is_counted_once);
    tcase_add_test(tests, a_sample_has_every_collector);
    tcase_add_loop_test(tests, flows_go_to_every_output_that_is_wanted, 0, 8);
    tcase_add_test(tests, interfaces_are_named_in_every_output);
    tcase_add_test(tests, a_record_waits_as_long_as_it_may);
    tcase_add_test(tests, a_long_drain_sends_in_between);
    tcase_add_loop_test(tests, collectors_get_what_was_configured, 0, 2);
    tcase_add_test(tests, flows_are_merged_when_asked);
    tcase_add_test(tests, without_a_reader_and_a_collector_nobody_is_left);
    tcase_add_test(tests, collectors_are_sent_to_without_a_reader);
    tcase_add_loop_test(tests, readers_of_the_socket_are_written_to, 0, 2);
    tcase_add_test(tests, a_socket_that_cannot_be_is_told);
    tcase_add_test(tests, the_end_sends_all_that_is_held);
    tcase_add_test(tests, the_end_waits_two_seconds_at_most);
    tcase_add_test(tests, each_collector_has_its_totals);
    tcase_add_loop_test(tests, standard_output_that_takes_nothing_is_told, 0, 2);
    tcase_add_test(tests, want_of_memory_is_told);

    Suite *suite = suite_create("exporter");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
