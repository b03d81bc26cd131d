/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Long-lived connections of the real kernel, in network namespaces of its own: events, dumps and trackers put
 * together as workers.c does, by one thread. What is reported of each connection must be what was sent. Needs
 * root.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "ctflow9/flow/tracker.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/input/ct_events.h"
#include "ctflow9/input/ct_request.h"
#include "unit/ct_lab.h"

enum {
    DEADLINE_S = 60,
    WORKERS_MAX = 4,
    PORTS = 5000,
    ZONES = 3,
    SOURCE_PORT = 40000,
    PAYLOAD = 100,
    PACKET_OCTETS = 20 + 8 + PAYLOAD
};

/* How a test differs from the others. */
struct setup {
    unsigned workers; /* 0 = 1 */
    uint64_t active_timeout_ms, interval_ms;
    uint64_t rcvbuf_octets; /* 0 = plenty */
    uint32_t table_size;    /* 0 = plenty */
    bool adopt_full;
    struct netlink_mark mark;
};

static struct worker {
    struct ct_events *events;
    struct tracker *tracker;
    struct wall_clock clock;
    struct flow_ring *notes, *questions;
    struct flow_ring *asked; /* on the way to questions, to be counted */
    bool dump_open;
    int wake_fd;
    struct stats stats;
} workers[WORKERS_MAX];
static unsigned worker_count;
static struct rx_choice rx = {.asked = RX_BPF}; /* or what CTFLOW9_RX in the environment says */
static struct ct_dump *dump;

/* What was seen, and what was sent: shared with the child that sends. */
static struct connection {
    uint64_t packets, octets;
    unsigned reports;
    uint8_t last_reason;
} seen[ZONES][PORTS];
static uint32_t (*sent)[PORTS];
static unsigned dumps, died_during_a_dump, questions;

static struct flow flow_to(uint16_t port)
{
    struct flow flow = {.family = AF_INET, .protocol = IPPROTO_UDP};
    flow.tuple[FLOW_ORIGINAL] = (struct flow_tuple){.src.v4 = htonl(INADDR_LOOPBACK),
                                                    .dst.v4 = htonl(0x7f010000),
                                                    .src_port = htons(SOURCE_PORT),
                                                    .dst_port = htons(port)};
    return flow;
}

static void see_report(void *context, const struct flow *flow)
{
    ck_assert_ptr_eq(context, workers);
    unsigned port = ntohs(flow->tuple[FLOW_ORIGINAL].dst_port), zone = flow_zone(flow);
    ck_assert_uint_lt(port, PORTS);
    ck_assert_uint_lt(zone, ZONES);
    ck_assert_uint_eq(flow->packets[FLOW_REPLY], 0);
    struct connection *connection = &seen[zone][port];
    connection->packets += flow->packets[FLOW_ORIGINAL];
    connection->octets += flow->octets[FLOW_ORIGINAL];
    connection->reports++;
    connection->last_reason = flow->end_reason;
}

static void see_event(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    died_during_a_dump += worker->dump_open;
    tracker_destroyed(worker->tracker, flow);
}

static void open_worker(struct worker *worker, unsigned index, const struct setup *setup, uint64_t began_ns)
{
    const struct ct_events_config events = {
        .rcvbuf_octets = setup->rcvbuf_octets ? setup->rcvbuf_octets : 16 << 20,
        .reliable = true,
        .rx = &rx,
        .filter = {.mark = setup->mark, .share = {.index = index, .count = worker_count}},
        .stats = &worker->stats,
        .clock = &worker->clock};
    const struct tracker_config tracker = {.capacity = setup->table_size ? setup->table_size : 100000,
                                           .active_timeout_ns = setup->active_timeout_ms * NS_PER_MS,
                                           .began_ns = began_ns,
                                           .adopt_full = setup->adopt_full,
                                           .stats = &worker->stats,
                                           .clock = &worker->clock};
    wall_clock_start(&worker->clock);
    ck_assert_int_eq(ct_events_open(&worker->events, &events), 0);
    ck_assert_int_eq(tracker_open(&worker->tracker, &tracker, see_report, workers), 0);
    ck_assert_int_eq(flow_ring_open(&worker->notes, 1024), 0);
    ck_assert_int_eq(flow_ring_open(&worker->questions, 64), 0);
    ck_assert_int_eq(flow_ring_open(&worker->asked, 64), 0);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(worker->wake_fd, 0);
}

static void begin(const struct setup *setup)
{
    uint64_t began_ns = instant_read_clock(CLOCK_BOOTTIME);
    struct ct_dump_config config = {.interval_min_ns = setup->interval_ms * NS_PER_MS,
                                    .interval_max_ns = setup->interval_ms * NS_PER_MS,
                                    .stats = &workers[0].stats,
                                    .active_timeout_ns = setup->active_timeout_ms * NS_PER_MS,
                                    .began_ns = began_ns,
                                    .mark = setup->mark};
    worker_count = setup->workers ? setup->workers : 1;
    config.workers = worker_count;
    for (unsigned i = 0; i < worker_count; i++) {
        open_worker(&workers[i], i, setup, began_ns);
        config.worker[i] = (struct ct_dump_worker){
            .notes = workers[i].notes, .questions = workers[i].questions, .wake_fd = workers[i].wake_fd};
    }
    ck_assert_int_eq(ct_dump_open(&dump, &config), 0);
    ck_assert_int_eq(ct_dump_start(dump), 0);
}

static void end(void)
{
    ct_dump_stop(dump);
    ct_dump_close(dump);
    for (unsigned i = 0; i < worker_count; i++) {
        ct_events_close(workers[i].events);
        tracker_close(workers[i].tracker);
        flow_ring_close(workers[i].notes);
        flow_ring_close(workers[i].questions);
        flow_ring_close(workers[i].asked);
        close(workers[i].wake_fd);
    }
}

static void take_notes(struct worker *worker)
{
    wall_clock_watch(&worker->clock);
    for (const struct flow_note *note; (note = flow_ring_peek(worker->notes));
         flow_ring_take(worker->notes)) {
        if (note->kind == FLOW_NOTE_DUMP_BEGIN)
            worker->dump_open = true;
        else if (note->kind != FLOW_NOTE_ROW)
            worker->dump_open = false;
        dumps += note->kind == FLOW_NOTE_DUMP_END;
        wall_clock_watch_for(&worker->clock, note->flow.start_ns);
        tracker_note(worker->tracker, note);
    }
}

static void pass_questions(struct worker *worker)
{
    for (const struct flow_note *note;
         flow_ring_room(worker->questions) > 0 && (note = flow_ring_peek(worker->asked));
         flow_ring_take(worker->asked)) {
        questions += note->kind == FLOW_NOTE_MISSING;
        flow_ring_put(worker->questions, note);
    }
}

static void turn(void)
{
    enum { LIMIT = 8192 };
    for (unsigned i = 0; i < worker_count; i++) {
        struct worker *worker = &workers[i];
        ct_events_drain(worker->events, LIMIT, see_event, worker);
        if (ct_events_is_drained(worker->events))
            tracker_look(worker->tracker, worker->asked, LIMIT);
        pass_questions(worker);
        take_notes(worker);
        ct_events_run(worker->events, instant_now());
    }
}

/* Turns until the condition holds. */
#define WAIT_UNTIL(condition)                                                            \
    do {                                                                                 \
        uint64_t start_ns = instant_read_clock(CLOCK_MONOTONIC);                         \
        while (!(condition)) {                                                           \
            ck_assert_msg(instant_read_clock(CLOCK_MONOTONIC) <                          \
                              start_ns + DEADLINE_S * slow_factor() * NS_PER_S,          \
                          "not after %u s: %s", DEADLINE_S * slow_factor(), #condition); \
            turn();                                                                      \
            poll(NULL, 0, 1);                                                            \
        }                                                                                \
    } while (0)

static uint64_t total(size_t counter)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < worker_count; i++)
        sum += *(const _Atomic uint64_t *)(const void *)((const char *)&workers[i].stats + counter);
    return sum;
}

#define TOTAL(counter) total(offsetof(struct stats, counter))

static bool is_seen(uint16_t ports)
{
    for (uint16_t port = 1; port <= ports; port++)
        if (seen[0][port].packets < (*sent)[port])
            return false;
    return true;
}

static void expect_exactly(uint16_t ports)
{
    for (uint16_t port = 1; port <= ports; port++) {
        ck_assert_msg(seen[0][port].packets == (*sent)[port], "port %u: %" PRIu64 " packets instead of %u",
                      port, seen[0][port].packets, (*sent)[port]);
        ck_assert_uint_eq(seen[0][port].octets, seen[0][port].packets * PACKET_OCTETS);
    }
}

static int open_sender(void)
{
    const struct sockaddr_in from = {
        .sin_family = AF_INET, .sin_port = htons(SOURCE_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
    return fd;
}

static void send_one(int fd, uint16_t port)
{
    static const char payload[PAYLOAD];
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f010000)};
    ck_assert_msg(sendto(fd, payload, PAYLOAD, 0, (const struct sockaddr *)&to, sizeof(to)) == PAYLOAD,
                  "port %u: %s", port, strerror(errno));
    (*sent)[port]++;
}

static void send_all(int fd, uint16_t ports, unsigned packets)
{
    for (uint16_t port = 1; port <= ports; port++)
        for (unsigned i = 0; i < packets; i++)
            send_one(fd, port);
}

static void enter(const char *rules)
{
    lab_enter();
    lab_track(rules);
    sent = mmap(NULL, sizeof(*sent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(sent, MAP_FAILED);
}

START_TEST(parts_add_up)
{
    enum { FLOWS = 500 };
    const struct setup setup = {.workers = _i == 0 ? 1 : 3, .active_timeout_ms = 100, .interval_ms = 25};
    enter("");
    if (_i == 2)
        lab_set_sysctl("nf_conntrack_timestamp", 0);
    int fd = open_sender();
    begin(&setup);
    WAIT_UNTIL(dumps == worker_count); /* without stamps, what the first one shows may be older */
    for (unsigned round = 1; seen[0][1].reports < 4; round++) {
        send_all(fd, FLOWS, round % 5);
        for (int i = 0; i < 20; i++, poll(NULL, 0, 1))
            turn();
    }
    lab_flush();
    WAIT_UNTIL(TOTAL(events) == FLOWS);
    expect_exactly(FLOWS);
    for (unsigned port = 1; port <= FLOWS; port++)
        ck_assert_uint_ge(seen[0][port].reports, 3);
    ck_assert_uint_eq(TOTAL(gone) + TOTAL(repeated) + TOTAL(table_full) + TOTAL(lost), 0);
    end();
    close(fd);
}
END_TEST

/* Connections of which the kernel will not tell the end. (With nf_conntrack_events at 2 it is the same when
 * nobody listens, on the whole machine.) */
static int make_unheard(uint16_t flows, unsigned packets)
{
    int fd = open_sender();
    lab_set_sysctl("nf_conntrack_events", 0);
    send_all(fd, flows, packets);
    lab_set_sysctl("nf_conntrack_events", 1);
    return fd;
}

START_TEST(adopts_what_was_there)
{
    enum { FLOWS = 1000 };
    const struct setup setup = {.active_timeout_ms = 50, .interval_ms = 10, .adopt_full = _i == 1};
    enter("");
    int fd = make_unheard(FLOWS, 5);
    if (!setup.adopt_full)
        memset(sent, 0, sizeof(*sent));
    begin(&setup);
    WAIT_UNTIL(TOTAL(adopted) == FLOWS);
    send_all(fd, FLOWS, 3);
    WAIT_UNTIL(is_seen(FLOWS));
    expect_exactly(FLOWS);

    /* They end without an event, and are noticed missing. */
    lab_flush();
    WAIT_UNTIL(TOTAL(gone) == FLOWS);
    expect_exactly(FLOWS);
    ck_assert_uint_eq(TOTAL(events), 0);
    ck_assert_uint_eq(TOTAL(adopted), FLOWS);

    /* Those that come now are others, with events. */
    send_all(fd, FLOWS, 1);
    lab_flush();
    WAIT_UNTIL(TOTAL(events) == FLOWS);
    expect_exactly(FLOWS);
    ck_assert_uint_eq(TOTAL(gone), FLOWS);
    end();
    close(fd);
}
END_TEST

START_TEST(closes_with_what_was_last_known)
{
    enum { FLOWS = 300 };
    const struct setup setup = {.active_timeout_ms = 100000, .interval_ms = 10};
    enter("");
    lab_set_sysctl("nf_conntrack_udp_timeout", 2);
    int fd = make_unheard(FLOWS, 5);
    memset(sent, 0, sizeof(*sent));
    begin(&setup);
    WAIT_UNTIL(TOTAL(adopted) == FLOWS);
    send_all(fd, FLOWS, 4);
    WAIT_UNTIL(TOTAL(gone) == FLOWS); /* they expire */
    expect_exactly(FLOWS);
    for (unsigned port = 1; port <= FLOWS; port++) {
        ck_assert_uint_eq(seen[0][port].reports, 1);
        ck_assert_uint_eq(seen[0][port].last_reason, FLOW_END_FORCED);
    }
    ck_assert_uint_eq(TOTAL(events), 0);
    end();
    close(fd);
}
END_TEST

/* Sends to random ports, and removes connections as it goes. */
static void send_and_remove(unsigned steps, uint16_t ports)
{
    int sender = open_sender(), requests = netlink_socket_open();
    ck_assert_int_ge(requests, 0);
    srand(1);
    for (unsigned i = 0; i < steps; i++) {
        uint16_t port = (uint16_t)(1 + rand() % ports);
        const struct flow flow = flow_to(port);
        if (rand() % 5 == 0)
            ct_request_entry(requests, IPCTNL_MSG_CT_DELETE, &flow, NULL, NULL);
        else
            send_one(sender, port);
    }
    lab_flush();
}

START_TEST(counts_once_what_dies_during_a_dump)
{
    enum { STEPS = 200000, FLOWS = 3000 };
    const struct setup setup = {.workers = _i == 0 ? 1 : 3, .active_timeout_ms = 1};
    enter("");
    begin(&setup);
    pid_t child = fork();
    if (child == 0) {
        send_and_remove(STEPS, FLOWS);
        _exit(0);
    }
    int status;
    WAIT_UNTIL(waitpid(child, &status, WNOHANG) == child);
    ck_assert_int_eq(status, 0);
    WAIT_UNTIL(is_seen(FLOWS));
    expect_exactly(FLOWS);
    ck_assert_uint_gt(died_during_a_dump, 3000);
    ck_assert_uint_gt(TOTAL(events), FLOWS);
    ck_assert_uint_eq(TOTAL(gone) + TOTAL(repeated) + TOTAL(table_full) + TOTAL(lost), 0);
    end();
}
END_TEST

/* DESTROYs that do not fit into the receive buffer: the connections are in no dump, and not gone. */
START_TEST(waits_for_what_is_still_to_be_sent)
{
    enum { FLOWS = 4000 };
    const struct setup setup = {.active_timeout_ms = 50, .interval_ms = 10, .rcvbuf_octets = 32768};
    enter("");
    int fd = open_sender();
    begin(&setup);
    /* On a slow machine a look may miss every connection that is to be sent again. */
    unsigned rounds = 0;
    while (rounds < 5 || (questions == 0 && rounds < 100)) {
        send_all(fd, FLOWS, 2);
        WAIT_UNTIL(is_seen(FLOWS));
        lab_flush();
        send_all(fd, FLOWS, 1);
        rounds++;
        WAIT_UNTIL(TOTAL(events) == rounds * FLOWS);
    }
    ck_assert_uint_gt(TOTAL(deferred), 0);
    ck_assert_uint_gt(questions, 0);
    lab_flush();
    WAIT_UNTIL(is_seen(FLOWS));
    WAIT_UNTIL(TOTAL(events) == (rounds + 1) * FLOWS);
    expect_exactly(FLOWS);
    ck_assert_uint_eq(TOTAL(gone), 0);
    end();
    close(fd);
}
END_TEST

START_TEST(counts_once_what_comes_again)
{
    enum { FLOWS = 1000 };
    const struct setup setup = {.active_timeout_ms = 50, .interval_ms = 10};
    enter("");
    int fd = open_sender(), stuck = netlink_socket_open();
    ck_assert_int_gt(netlink_socket_set_rcvbuf(stuck, 4096), 0);
    ck_assert_int_eq(netlink_socket_set_reliable(stuck, true), 0);
    ck_assert_int_eq(netlink_socket_join(stuck, NFNLGRP_CONNTRACK_DESTROY), 0);
    begin(&setup);
    send_all(fd, FLOWS, 2);
    WAIT_UNTIL(is_seen(FLOWS / 2));
    lab_flush();
    WAIT_UNTIL(TOTAL(repeated) > 10 && is_seen(FLOWS));
    close(stuck);
    WAIT_UNTIL(lab_sysctl("nf_conntrack_count") == 0);
    turn();
    expect_exactly(FLOWS);
    ck_assert_uint_eq(TOTAL(events), FLOWS + TOTAL(repeated));
    ck_assert_uint_eq(TOTAL(gone), 0);
    end();
    close(fd);
}
END_TEST

START_TEST(sees_only_the_mark)
{
    enum { FLOWS = 10 };
    const struct setup setup = {.active_timeout_ms = 20,
                                .interval_ms = 5,
                                .adopt_full = true,
                                .mark = {.given = true, .value = 0x20, .mask = 0xf0}};
    enter("ct mark set udp dport map { 2 : 0x21, 3 : 0x12, 5 : 0x20 }");
    int fd = open_sender();
    send_all(fd, FLOWS, 3); /* before and after the beginning */
    begin(&setup);
    WAIT_UNTIL(TOTAL(adopted) == 2);
    for (int round = 0; round < 5; round++) {
        send_all(fd, FLOWS, 2);
        WAIT_UNTIL(seen[0][2].packets == (*sent)[2] && seen[0][5].packets == (*sent)[5]);
    }
    lab_flush();
    WAIT_UNTIL(TOTAL(events) == 2);
    for (uint16_t port = 1; port <= FLOWS; port++)
        if (port != 2 && port != 5)
            ck_assert_uint_eq(seen[0][port].reports, 0);
    ck_assert_uint_ge(seen[0][2].reports, 5);
    ck_assert_uint_eq(TOTAL(adopted), 2);
    end();
    close(fd);
}
END_TEST

/*
 * Zone 0 is none, zone 2 one of the original direction alone. The first two have the same tuple; the third
 * could not, because the replies would be in no zone.
 */
static const uint16_t port_of_zone[ZONES] = {7, 7, 8};

static void send_in_zone(int fd, int zone, int packets)
{
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_MARK, &zone, sizeof(zone)), 0);
    while (packets-- > 0)
        send_one(fd, port_of_zone[zone]);
}

static uint64_t seen_in_zone(int zone)
{
    return seen[zone][port_of_zone[zone]].packets;
}

START_TEST(keeps_zones_apart)
{
    const struct setup setup = {.active_timeout_ms = 20, .interval_ms = 5};
    enter("");
    lab_command("nft 'add chain inet lab raw { type filter hook output priority -300; }; "
                "add rule inet lab raw meta mark 1 ct zone set 1; "
                "add rule inet lab raw meta mark 2 ct original zone set 2'");
    lab_set_sysctl("nf_conntrack_events", 0);
    int fd = open_sender();
    for (int zone = 0; zone < ZONES; zone++)
        send_in_zone(fd, zone, 1);
    begin(&setup);
    WAIT_UNTIL(TOTAL(adopted) == ZONES);
    for (int zone = 0; zone < ZONES; zone++)
        send_in_zone(fd, zone, 1 + zone);
    WAIT_UNTIL(seen_in_zone(0) == 1 && seen_in_zone(1) == 2 && seen_in_zone(2) == 3);
    lab_command("conntrack -D --zone 1 >/dev/null 2>&1");
    WAIT_UNTIL(TOTAL(gone) == 1);
    lab_command("conntrack -D --orig-zone 2 >/dev/null 2>&1");
    WAIT_UNTIL(TOTAL(gone) == 2);
    send_in_zone(fd, 0, 1); /* it is still there */
    WAIT_UNTIL(seen_in_zone(0) == 2);
    ck_assert_uint_eq(TOTAL(gone), 2);
    end();
    close(fd);
}
END_TEST

START_TEST(goes_on_when_counters_are_set_to_0)
{
    enum { FLOWS = 50 };
    const struct setup setup = {.active_timeout_ms = 20, .interval_ms = 5};
    enter("");
    int fd = open_sender();
    begin(&setup);
    for (unsigned round = 1; round <= 4; round++) {
        send_all(fd, FLOWS, 10 - round); /* fewer than what a dump showed last */
        WAIT_UNTIL(is_seen(FLOWS));
        lab_command("conntrack -L -z >/dev/null 2>&1");
    }
    send_all(fd, FLOWS, 2);
    lab_flush();
    WAIT_UNTIL(TOTAL(events) == FLOWS);
    expect_exactly(FLOWS);
    end();
    close(fd);
}
END_TEST

int main(void)
{
    const char *wanted = getenv("CTFLOW9_RX");
    if (wanted != NULL && strcmp(wanted, "uring") == 0)
        rx.asked = RX_URING;
    if (wanted != NULL && strcmp(wanted, "recvmmsg") == 0)
        rx.asked = RX_RECVMMSG;
    TCase *tcase = tcase_create("dump");
    tcase_set_timeout(tcase, 3 * DEADLINE_S);
    tcase_add_loop_test(tcase, parts_add_up, 0, 3);
    tcase_add_loop_test(tcase, adopts_what_was_there, 0, 2);
    tcase_add_test(tcase, closes_with_what_was_last_known);
    tcase_add_loop_test(tcase, counts_once_what_dies_during_a_dump, 0, 2);
    tcase_add_test(tcase, waits_for_what_is_still_to_be_sent);
    tcase_add_test(tcase, counts_once_what_comes_again);
    tcase_add_test(tcase, sees_only_the_mark);
    tcase_add_test(tcase, keeps_zones_apart);
    tcase_add_test(tcase, goes_on_when_counters_are_set_to_0);
    Suite *suite = suite_create("dump");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
