/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading conntrack's events from the real kernel, in network namespaces of its own. Needs root. */
#include <inttypes.h>
#include <poll.h>
#include <sys/wait.h>

#include "ctflow9/input/ct_events.h"
#include "unit/ct_lab.h"

enum { DEADLINE_S = 60 };

/* Which of lab_make_flows()'s flows were seen, and how often. */
struct seen {
    uint8_t times[200000];
    unsigned flows;
    struct flow last;
};

static struct seen seen;
static struct stats stats;
static struct wall_clock wall_clock;
static struct rx_choice rx;

static void note_flow(void *context, const struct flow *flow)
{
    const struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    uint32_t number = (ntohl(tuple->dst.v4) - 0x7f010000) * 50000 + ntohs(tuple->dst_port) - 1;
    ck_assert_ptr_eq(context, &seen);
    ck_assert_uint_lt(number, sizeof(seen.times));
    seen.times[number]++;
    seen.flows++;
    seen.last = *flow;
}

static void expect_once_each(unsigned flows)
{
    ck_assert_uint_eq(seen.flows, flows);
    for (unsigned i = 0; i < flows; i++)
        ck_assert_msg(seen.times[i] == 1, "flow %u was seen %u times", i, seen.times[i]);
}

static struct ct_events *open_events(const struct ct_events_config *config)
{
    struct ct_events_config with_stats = *config;
    with_stats.stats = &stats;
    with_stats.clock = &wall_clock;
    wall_clock_start(&wall_clock);
    with_stats.rx = &rx;
    struct ct_events *events;
    ck_assert_int_eq(ct_events_open(&events, &with_stats), 0);
    return events;
}

static unsigned drain(struct ct_events *events)
{
    unsigned taken = ct_events_drain(events, 8192, note_flow, &seen);
    ct_events_run(events, instant_now());
    return taken;
}

static bool in_time(uint64_t start_ns)
{
    return instant_read_clock(CLOCK_MONOTONIC) < start_ns + DEADLINE_S * slow_factor() * NS_PER_S;
}

static void sleep_ms(unsigned ms)
{
    poll(NULL, 0, (int)ms);
}

/* Reads with pauses until that many flows came. */
static void drain_until(struct ct_events *events, unsigned flows, unsigned pause_ms)
{
    uint64_t start_ns = instant_read_clock(CLOCK_MONOTONIC);
    while (seen.flows < flows && in_time(start_ns)) {
        drain(events);
        sleep_ms(pause_ms);
    }
    ck_assert_uint_eq(drain(events), 0);
}

static const struct ct_events_config reliable = {.rcvbuf_octets = 16 << 20, .reliable = true};

START_TEST(hears_of_connections_that_a_program_removes)
{
    lab_enter();
    lab_track("");
    struct ct_events *events = open_events(&reliable);
    uint64_t before_ns = instant_now().wall_ns;
    lab_make_flows(100);
    lab_command("conntrack -F >/dev/null 2>&1");
    drain_until(events, 100, 1);
    expect_once_each(100);
    ck_assert_uint_eq(stats.events, 100);
    ck_assert_uint_eq(stats.malformed + stats.truncated + stats.ignored, 0);
    ck_assert(flow_has(&seen.last, FLOW_REQUESTED | FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP));
    ck_assert_int_eq(seen.last.end_reason, FLOW_END_FORCED);
    ck_assert_uint_eq(seen.last.packets[FLOW_ORIGINAL], 1);
    ck_assert_uint_eq(seen.last.octets[FLOW_ORIGINAL], 20 + 8 + 1);
    ck_assert_uint_ge(seen.last.start_ns + 10 * NS_PER_MS,
                      before_ns); /* the kernel's clock is a coarse one */
    ck_assert_uint_ge(seen.last.stop_ns, seen.last.start_ns);

    lab_make_flows(1);
    lab_command("conntrack -D -p udp >/dev/null 2>&1");
    drain_until(events, 101, 1);
    ck_assert(flow_has(&seen.last, FLOW_REQUESTED));
    ct_events_close(events);
}
END_TEST

static bool ignore(void *context, const struct nlmsghdr *message)
{
    (void)context;
    (void)message;
    return true;
}

START_TEST(hears_of_connections_that_expire)
{
    char buffer[64];
    lab_enter();
    lab_track("");
    lab_set_sysctl("nf_conntrack_udp_timeout", 1);
    struct ct_events *events = open_events(&reliable);
    lab_make_flows(10);
    int fd = netlink_socket_open();
    uint64_t start_ns = instant_read_clock(CLOCK_MONOTONIC);
    while (seen.flows < 10 && in_time(start_ns)) {
        /* A dump makes the kernel remove what has expired. */
        struct nlmsghdr *dump = lab_request(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
        ck_assert_int_eq(netlink_socket_request(fd, dump, ignore, NULL), 0);
        drain(events);
        sleep_ms(50);
    }
    expect_once_each(10);
    ck_assert(!flow_has(&seen.last, FLOW_REQUESTED));
    /* Before 5.12 the event does not tell how much of its time was left. */
    ck_assert_int_eq(seen.last.end_reason, lab_has_linux(5, 12) ? FLOW_END_IDLE_TIMEOUT : FLOW_END_UNKNOWN);
    ck_assert_uint_ge(seen.last.stop_ns - seen.last.start_ns, NS_PER_S - 20 * NS_PER_MS);
    close(fd);
    ct_events_close(events);
}
END_TEST

/* The port id of the socket in this namespace that hears DESTROY events (/proc/net/netlink). */
static uint32_t find_port(void)
{
    char line[256];
    unsigned long port = 0;
    FILE *file = fopen("/proc/thread-self/net/netlink", "r");
    ck_assert_ptr_nonnull(file);
    while (port == 0 && fgets(line, sizeof(line), file) != NULL) {
        char *field = NULL;
        char *saved = NULL;
        unsigned long values[4] = {0};
        field = strtok_r(line, " ", &saved); /* sk, protocol, port, groups */
        for (int i = 1; i < 4 && field != NULL; i++) {
            field = strtok_r(NULL, " ", &saved);
            values[i] = field != NULL ? strtoul(field, NULL, i == 3 ? 16 : 10) : 0;
        }
        if (values[1] == NETLINK_NETFILTER && values[3] == 1UL << (NFNLGRP_CONNTRACK_DESTROY - 1))
            port = values[2];
    }
    fclose(file);
    ck_assert_uint_ne(port, 0);
    return (uint32_t)port;
}

/* What sending a message to a port id or a group comes to. */
static int try_to_send(uint32_t port, uint32_t groups)
{
    const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups};
    char message[64];
    int fd = netlink_socket_open();
    lab_request(message, IPCTNL_MSG_CT_DELETE, 0);
    ssize_t sent = sendto(fd, message, sizeof(message), 0, (const struct sockaddr *)&to, sizeof(to));
    int error = sent < 0 ? -errno : 0;
    close(fd);
    return error;
}

START_TEST(keeps_other_programs_from_sending)
{
    lab_enter();
    lab_track("");
    struct ct_events *events = open_events(&reliable);
    ck_assert_int_eq(try_to_send(find_port(), 0), -ECONNREFUSED);
    pid_t stranger = fork();
    if (stranger == 0) {
        lab_drop_capabilities();
        _exit(try_to_send(0, 1U << (NFNLGRP_CONNTRACK_DESTROY - 1)) == -EPERM ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(stranger, &status, 0), stranger);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(drain(events), 0);
    lab_make_flows(1);
    lab_flush();
    drain_until(events, 1, 1);
    expect_once_each(1);
    ct_events_close(events);
}
END_TEST

/* A program that may multicast to the group sends again what the kernel has sent, octet for octet. */
START_TEST(believes_the_kernel_alone)
{
    enum { TIMES = 10 };
    const struct sockaddr_nl group = {.nl_family = AF_NETLINK,
                                      .nl_groups = 1U << (NFNLGRP_CONNTRACK_DESTROY - 1)};
    _Alignas(struct nlmsghdr) char event[1024];
    lab_enter();
    lab_track("");
    struct ct_events *events = open_events(&reliable);
    int program = netlink_socket_open();
    ck_assert_int_eq(netlink_socket_join(program, NFNLGRP_CONNTRACK_DESTROY), 0);
    lab_make_flows(1);
    lab_flush();
    ssize_t octets = recv(program, event, sizeof(event), 0);
    ck_assert_int_gt(octets, 0);
    for (int i = 0; i < TIMES; i++)
        ck_assert_int_eq(
            sendto(program, event, (size_t)octets, 0, (const struct sockaddr *)&group, sizeof(group)),
            octets);
    ck_assert_uint_eq(drain(events), 1 + TIMES);
    expect_once_each(1);
    ck_assert_uint_eq(stats.events, 1);
    ck_assert_uint_eq(stats.foreign, TIMES);
    close(program);
    ct_events_close(events);
}
END_TEST

START_TEST(loses_nothing_to_a_sleeping_reader)
{
    const struct ct_events_config config = {.rcvbuf_octets = 1 << 20, .reliable = true};
    lab_enter();
    lab_track("");
    struct ct_events *events = open_events(&config);
    const unsigned flows = lab_many(100000);
    lab_make_flows(flows);
    lab_flush(); /* asleep meanwhile, and for 50 ms between drains */
    drain_until(events, flows, 50);
    expect_once_each(flows);
    sleep_ms(100); /* the look at the last drops is due */
    drain(events);
    ck_assert_uint_gt(stats.deferred, 0);
    ck_assert_uint_eq(stats.lost, 0);
    ck_assert_uint_eq(stats.guard_releases, 0);
    ct_events_close(events);
}
END_TEST

START_TEST(counts_and_tells_what_it_loses)
{
    enum { FLOWS = 20000 };
    const struct ct_events_config config = {.rcvbuf_octets = 256 << 10, .reliable = false};
    lab_enter();
    lab_track("");
    int captured = lab_capture_stderr();
    struct ct_events *events = open_events(&config);
    for (unsigned round = 1; round <= 2; round++) {
        lab_make_flows(FLOWS);
        lab_flush();
        while (drain(events) > 0)
            ;
    }
    ct_events_stop(events); /* looks at once */
    ck_assert_uint_eq(drain(events), 0);
    ck_assert_uint_gt(stats.lost, 0);
    ck_assert_uint_eq(stats.events + stats.lost, 2 * FLOWS);
    ck_assert_uint_eq(stats.deferred, 0);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "events were lost"));
    ct_events_close(events);
}
END_TEST

START_TEST(lets_go_when_the_table_fills_and_takes_back)
{
    enum { FLOWS = 20000, MORE = FLOWS / 4 };
    const struct ct_events_config config = {
        .rcvbuf_octets = 256 << 10, .reliable = true, .table_limit = FLOWS};
    lab_enter();
    lab_track("");
    int captured = lab_capture_stderr();
    struct ct_events *events = open_events(&config);
    uint64_t start_ns = instant_read_clock(CLOCK_MONOTONIC);
    unsigned flows = 0;
    do { /* on a slow machine too many may have been sent again by the time that the guard looks */
        drain_until(events, flows, 1);
        lab_make_flows(FLOWS);
        lab_flush(); /* nothing reads: nearly all stay in the table, to be sent again */
        flows += FLOWS;
        drain(events);
    } while (stats.guard_releases == 0 && in_time(start_ns));
    ck_assert_uint_eq(stats.guard_releases, 1);
    ck_assert_uint_gt(stats.deferred, 0);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "reliable delivery is off"));

    struct poll_set set;
    poll_set_clear(&set);
    ct_events_wants(events, &set);
    ck_assert_uint_ne(set.deadline_ns, POLL_SET_NEVER); /* it has to look again by itself */

    /* Now what does not fit is lost. */
    lab_make_flows(MORE);
    lab_flush();
    start_ns = instant_read_clock(CLOCK_MONOTONIC);
    while ((drain(events) > 0 || strstr(lab_stderr(captured), "reliable again") == NULL ||
            lab_sysctl("nf_conntrack_count") > 0) &&
           in_time(start_ns))
        sleep_ms(10);
    drain(events);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 3);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "events were lost"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "reliable again"));
    ck_assert_uint_eq(stats.guard_releases, 1);
    ck_assert_uint_lt(stats.events, flows + MORE);
    ck_assert_uint_ge(stats.events + stats.lost, flows + MORE);

    /* Reliable again indeed: a few more than the buffer holds all come. The limit is not reached. */
    uint64_t lost = stats.lost;
    memset(&seen, 0, sizeof(seen));
    lab_make_flows(MORE);
    lab_flush();
    drain_until(events, MORE, 1);
    expect_once_each(MORE);
    ck_assert_uint_eq(stats.lost, lost);
    ck_assert_uint_eq(stats.guard_releases, 1);
    ct_events_close(events);
}
END_TEST

START_TEST(reads_only_the_mark)
{
    const struct ct_events_config config = {.rcvbuf_octets = 16 << 20,
                                            .reliable = true,
                                            .filter.mark = {.given = true, .value = 0x20, .mask = 0xf0}};
    lab_enter();
    lab_track("ct mark set udp dport map { 2 : 0x21, 3 : 0x12, 5 : 0x20 }");
    struct ct_events *events = open_events(&config);
    lab_make_flows(10);
    lab_flush();
    drain_until(events, 2, 1);
    ck_assert_uint_eq(seen.flows, 2);
    ck_assert_uint_eq(seen.times[1], 1);
    ck_assert_uint_eq(seen.times[4], 1);
    ck_assert_uint_eq(seen.last.mark & 0xf0, 0x20);
    ck_assert_uint_eq(stats.deferred, 0);
    ct_events_close(events);
}
END_TEST

START_TEST(stops_with_what_has_arrived)
{
    lab_enter();
    lab_track("");
    struct ct_events *events = open_events(&reliable);
    lab_make_flows(100);
    lab_flush();
    ct_events_stop(events);
    lab_make_flows(50);
    lab_flush();
    ck_assert_uint_eq(drain(events), 100);
    ck_assert_uint_eq(drain(events), 0);
    ct_events_close(events);
}
END_TEST

START_TEST(says_that_the_receive_buffer_is_smaller)
{
    const struct ct_events_config config = {.rcvbuf_octets = 1 << 30, .reliable = true};
    /* In a user namespace CAP_NET_ADMIN is not that of the initial one: enough to hear, not to force. */
    ck_assert_msg(unshare(CLONE_NEWUSER) == 0, "a user namespace: %s", strerror(errno));
    lab_enter();
    int captured = lab_capture_stderr();
    rx.asked = rx.asked == RX_BPF ? RX_RECVMMSG : rx.asked; /* nor is there BPF in one */
    struct ct_events *events = open_events(&config);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "net.core.rmem_max"));
    ct_events_close(events);
}
END_TEST

START_TEST(says_what_it_lacks)
{
    struct ct_events *events = NULL;
    struct rx_choice recvmmsg = {.asked = RX_RECVMMSG};
    const struct ct_events_config config = {
        .rcvbuf_octets = 65536, .rx = &recvmmsg, .stats = &stats, .clock = &wall_clock};
    lab_enter();
    lab_drop_capabilities();
    int captured = lab_capture_stderr();
    ck_assert_int_eq(ct_events_open(&events, &config), -EPERM);
    ck_assert_ptr_null(events);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "CAP_NET_ADMIN"));
}
END_TEST

static void use_bpf(void)
{
    rx.asked = RX_BPF;
}

static void use_recvmmsg(void)
{
    rx.asked = RX_RECVMMSG;
}

static void use_uring(void)
{
    rx.asked = RX_URING;
}

static TCase *all_tests(const char *name, SFun setup)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_set_timeout(tcase, 3 * DEADLINE_S);
    tcase_add_test(tcase, hears_of_connections_that_a_program_removes);
    tcase_add_test(tcase, hears_of_connections_that_expire);
    tcase_add_test(tcase, believes_the_kernel_alone);
    tcase_add_test(tcase, keeps_other_programs_from_sending);
    tcase_add_test(tcase, loses_nothing_to_a_sleeping_reader);
    tcase_add_test(tcase, counts_and_tells_what_it_loses);
    tcase_add_test(tcase, lets_go_when_the_table_fills_and_takes_back);
    tcase_add_test(tcase, reads_only_the_mark);
    tcase_add_test(tcase, stops_with_what_has_arrived);
    tcase_add_test(tcase, says_that_the_receive_buffer_is_smaller);
    tcase_add_test(tcase, says_what_it_lacks);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("input");
    suite_add_tcase(suite, all_tests("bpf", use_bpf));
    suite_add_tcase(suite, all_tests("recvmmsg", use_recvmmsg));
    if (lab_has_uring())
        suite_add_tcase(suite, all_tests("uring", use_uring));
    return run_suite(suite);
}
