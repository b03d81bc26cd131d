/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several workers with their trackers, the dump's thread, and the exporter's role moving between the workers,
 * as in workers.c, under a kernel of the test's own: millions of connections that grow, are dumped, die, and
 * are told at once, late, again or never. What goes in must come out, to the octet. CTFLOW9_STRESS_S in the
 * environment says how many seconds it takes, 10 by default.
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/flow/tracker.h"
#include "ctflow9/input/ct_decode.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/input/ct_request.h"
#include "ctflow9/service/export_role.h"
#include "slow.h"

#define TIMEOUT_NS (20 * NS_PER_MS)

enum {
    WORKERS = 3,
    SLOTS = 6000, /* connections at a time */
    OLDER = 500,  /* of them, those that began before ctflow9 */
    EVENTS_RING = 1024,
    FLOWS_RING = 2048,
    NOTES_RING = 256,
    QUESTIONS_RING = 32,
    DRAIN_LIMIT = 512,
    NOTES_LIMIT = 100,
    LOOK_LIMIT = 1000,
    ROUNDS_MAX = 2,
    LOCKED_STEPS = 64,      /* of the kernel, between two looks of the dump */
    DUMP_ROWS = 32,         /* rows read at once */
    FOLLOWED_MAX = 1 << 20, /* nobody is SILENT after that many */
    LAST_DUMPS = 8,         /* after the last death; MISSED_MAX of a worker's are closed in each */
    PATIENCE_S = 60
};

struct sums {
    uint64_t packets[2], octets[2];
};

enum kind { SHORT, LONG, OLD, SILENT };

struct connection {
    enum { FREE, ALIVE, SENT, DYING } state; /* SENT: told, but still in the table */
    enum kind kind;
    struct flow flow;
    bool frozen; /* SILENT: has its last counters, since frozen_ns */
    uint64_t frozen_ns;
};

static struct kernel {
    pthread_mutex_t lock;
    struct connection slots[SLOTS];
    struct flow_ring *events[WORKERS]; /* the workers' event sockets */
    struct sums in;
    uint64_t ended, silent, repeats;
    uint64_t lost, whole;  /* see settle() */
    bool ending;           /* nobody is born, everybody dies */
    unsigned living;       /* slots that are not free */
    uint32_t followed;     /* the last mark that was given */
    uint64_t dumps;        /* complete ones */
    uint64_t last_dump;    /* of them, when the test may end */
    uint64_t dump_end_ns;  /* wall clock; of the last complete one */
    uint64_t all_shown_ns; /* … of the one before: whatever was ripe then was shown since */
    uint64_t random;
} kernel;

/* SILENT and OLD ones, by their mark: what is to come out depends on their finding a place in the table. */
static struct followed {
    struct sums before, in; /* the kernel's: when ctflow9 began, and at the end */
    struct sums out;        /* the exporter's */
} followed[FOLLOWED_MAX + 1];

static struct worker {
    struct flow_ring *notes, *questions, *flows;
    struct tracker *tracker;
    struct wall_clock clock;
    struct stats stats;
    int wake_fd;
    pthread_t thread;
} workers[WORKERS];

/* The holder's of the role. */
static struct exporter {
    struct sums out;
    uint64_t flows;
} exporter;

static struct export_role role;
static _Atomic bool kernel_stopping, workers_stopping;

/* splitmix64 */
static unsigned below(unsigned limit)
{
    uint64_t x = kernel.random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((x ^ (x >> 31)) % limit);
}

static struct sums sums_of(const struct flow *flow)
{
    return (struct sums){.packets = {flow->packets[0], flow->packets[1]},
                         .octets = {flow->octets[0], flow->octets[1]}};
}

static void add(struct sums *sums, struct sums more)
{
    for (int direction = 0; direction < 2; direction++) {
        sums->packets[direction] += more.packets[direction];
        sums->octets[direction] += more.octets[direction];
    }
}

static void subtract(struct sums *sums, struct sums less)
{
    for (int direction = 0; direction < 2; direction++) {
        sums->packets[direction] -= less.packets[direction];
        sums->octets[direction] -= less.octets[direction];
    }
}

static bool is_equal(struct sums a, struct sums b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* The kernel's thread; everything of it is under its lock. */

static void grow(struct connection *connection)
{
    for (int direction = 0; direction < 2; direction++) {
        uint64_t packets = below(5);
        connection->flow.packets[direction] += packets;
        connection->flow.octets[direction] += packets * (40 + below(1400));
    }
}

static void be_born(unsigned slot, enum kind kind, uint64_t start_ns)
{
    struct connection *connection = &kernel.slots[slot];
    *connection = (struct connection){.state = ALIVE,
                                      .kind = kind,
                                      .flow = {.family = AF_INET,
                                               .protocol = IPPROTO_UDP,
                                               .id = slot,
                                               .packets = {1, 0},
                                               .octets = {40, 0},
                                               .start_ns = start_ns,
                                               .has = FLOW_HAS_COUNTERS | FLOW_HAS_START}};
    kernel.living++;
    grow(connection);
    if (kind == SILENT || kind == OLD)
        connection->flow.mark = ++kernel.followed;
}

static void be_older(unsigned slot, uint64_t start_ns)
{
    const struct flow *flow = &kernel.slots[slot].flow;
    be_born(slot, OLD, start_ns);
    followed[flow->mark].before = sums_of(flow);
    subtract(&kernel.in, sums_of(flow));
}

/* false when the event socket is full. */
static bool send_event(const struct flow *flow)
{
    struct flow_ring *events = kernel.events[flow->id % WORKERS];
    if (flow_ring_room(events) == 0)
        return false;
    flow_ring_put(events, &(struct flow_note){.kind = FLOW_NOTE_FLOW, .flow = *flow});
    return true;
}

static void be_freed(struct connection *connection)
{
    connection->state = FREE;
    kernel.living--;
}

static void die(struct connection *connection)
{
    struct flow *flow = &connection->flow;
    add(&kernel.in, sums_of(flow));
    if (flow->mark != 0)
        followed[flow->mark].in = sums_of(flow);
    kernel.ended++;
    if (connection->kind == SILENT) {
        kernel.silent++;
        be_freed(connection);
        return;
    }
    flow->stop_ns = instant_read_clock(CLOCK_REALTIME);
    flow->status |= IPS_DYING;
    flow->has |= FLOW_HAS_STOP;
    connection->state = below(20) != 0 && send_event(flow) ? SENT : DYING;
    if (connection->state == SENT && below(50) == 0)
        kernel.repeats += send_event(flow);
}

static void live_silently(struct connection *connection)
{
    if (!connection->frozen && below(10) == 0) {
        connection->frozen = true;
        connection->frozen_ns = instant_read_clock(CLOCK_REALTIME);
    } else if (!connection->frozen) {
        grow(connection);
    } else if (kernel.all_shown_ns > connection->frozen_ns + TIMEOUT_NS) {
        die(connection);
    }
}

static void live(struct connection *connection)
{
    if (connection->kind == OLD && kernel.dumps < 2)
        return; /* what it has now is taken as reported */
    if (connection->kind == SILENT)
        live_silently(connection);
    else if (connection->kind == SHORT || kernel.ending || below(200) == 0)
        die(connection);
    else
        grow(connection);
}

static void step(void)
{
    unsigned slot = below(SLOTS);
    struct connection *connection = &kernel.slots[slot];
    switch (connection->state) {
    case FREE:
        if (!kernel.ending) {
            unsigned kind = below(100);
            be_born(slot,
                    kind == 0 && kernel.followed < FOLLOWED_MAX ? SILENT
                    : kind < 20                                 ? LONG
                                                                : SHORT,
                    instant_read_clock(CLOCK_REALTIME));
        }
        break;
    case ALIVE:
        live(connection);
        break;
    case SENT:
        be_freed(connection);
        break;
    case DYING: /* long enough to be missed by a dump */
        if ((kernel.ending || below(100) == 0) && send_event(&connection->flow))
            be_freed(connection);
        break;
    }
}

static void *run_kernel(void *context)
{
    (void)context;
    while (!atomic_load_explicit(&kernel_stopping, memory_order_relaxed)) {
        pthread_mutex_lock(&kernel.lock);
        for (int i = 0; i < LOCKED_STEPS; i++)
            step();
        pthread_mutex_unlock(&kernel.lock);
    }
    return NULL;
}

/* The kernel's answers to ct_dump.c: these take the place of ct_request.c and ct_decode.c. */

struct message {
    struct nlmsghdr header;
    struct flow flow;
};

int ct_decoder_open(struct ct_decoder **decoder)
{
    *decoder = NULL;
    return 0;
}

void ct_decoder_close(struct ct_decoder *decoder)
{
    (void)decoder;
}

int ct_decode(struct ct_decoder *decoder, const struct nlmsghdr *message, struct flow *flow)
{
    (void)decoder;
    *flow = ((const struct message *)(const void *)message)->flow;
    return 0;
}

/* false: not to be shown. */
static bool read_row(const struct connection *connection, uint8_t type, struct message *message)
{
    bool is_shown = type == IPCTNL_MSG_CT_GET_DYING ? connection->state == DYING
                                                    : connection->state == ALIVE || connection->state == SENT;
    *message = (struct message){.header = {.nlmsg_len = sizeof(*message)}, .flow = connection->flow};
    return is_shown;
}

/* As when the kernel's table is resized. Not those that nothing but a dump will tell of. */
static bool is_overlooked(const struct connection *connection, uint8_t type)
{
    return type == IPCTNL_MSG_CT_GET && connection->kind == LONG && below(50) == 0;
}

/* Some rows, at one moment. Returns the next slot. */
static unsigned read_rows(unsigned slot, uint8_t type, struct message *rows, unsigned *count)
{
    *count = 0;
    pthread_mutex_lock(&kernel.lock);
    for (; slot < SLOTS && *count < DUMP_ROWS; slot++)
        if (!is_overlooked(&kernel.slots[slot], type))
            *count += read_row(&kernel.slots[slot], type, &rows[*count]);
    pthread_mutex_unlock(&kernel.lock);
    return slot;
}

/*
 * Some tables are read only in part, some rows twice. Of two lists of the dying one ends early and does not
 * say so, as the kernel's does when the entry that it got to leaves it.
 */
int ct_request_dump(int fd, uint8_t type, const struct netlink_mark *mark,
                    netlink_socket_on_message *on_message, void *context)
{
    (void)fd;
    (void)mark;
    static unsigned dumps, lists;
    bool is_table = type == IPCTNL_MSG_CT_GET;
    bool breaks = is_table ? ++dumps % 16 == 7 : ++lists % 2 == 1;
    struct message rows[DUMP_ROWS];
    unsigned count;
    for (unsigned slot = 0; slot < (breaks ? SLOTS / 2 : SLOTS);) {
        slot = read_rows(slot, type, rows, &count);
        if (breaks && is_table)
            rows[0].header.nlmsg_flags = NLM_F_DUMP_INTR;
        for (unsigned i = 0; i < count; i++)
            if (!on_message(context, &rows[i].header))
                return -ECANCELED;
        if (count > 0 && slot % 7 == 0)
            on_message(context, &rows[count - 1].header);
    }
    if (!is_table || breaks)
        return 0;
    pthread_mutex_lock(&kernel.lock);
    kernel.dumps++;
    kernel.all_shown_ns = kernel.dump_end_ns;
    kernel.dump_end_ns = instant_read_clock(CLOCK_REALTIME);
    pthread_mutex_unlock(&kernel.lock);
    return 0;
}

int ct_request_entry(int fd, uint8_t type, const struct flow *flow, netlink_socket_on_message *on_message,
                     void *context)
{
    (void)fd;
    struct message row;
    pthread_mutex_lock(&kernel.lock);
    bool is_there = read_row(&kernel.slots[flow->id], type, &row);
    pthread_mutex_unlock(&kernel.lock);
    if (is_there)
        on_message(context, &row.header);
    return is_there ? 0 : -ENOENT;
}

/* The workers, as in workers.c. */

static void to_ring(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    if (flow_ring_room(worker->flows) == 0)
        abort(); /* the worker has not looked for room */
    flow_ring_put(worker->flows, &(struct flow_note){.kind = FLOW_NOTE_FLOW, .flow = *flow});
}

static unsigned room(const struct worker *worker, unsigned limit)
{
    size_t room = flow_ring_room(worker->flows);
    return room < limit ? (unsigned)room : limit;
}

static unsigned drain(struct worker *worker, unsigned limit)
{
    struct flow_ring *events = kernel.events[worker - workers];
    unsigned drained = 0;
    wall_clock_watch(&worker->clock);
    for (const struct flow_note *note; drained < limit && (note = flow_ring_peek(events)); drained++) {
        wall_clock_watch_for(&worker->clock, note->flow.start_ns);
        tracker_destroyed(worker->tracker, &note->flow);
        flow_ring_take(events);
    }
    return drained;
}

static void take_notes(struct worker *worker)
{
    const struct flow_note *note;
    wall_clock_watch(&worker->clock);
    for (unsigned left = room(worker, NOTES_LIMIT); left > 0 && (note = flow_ring_peek(worker->notes));
         left--) {
        wall_clock_watch_for(&worker->clock, note->flow.start_ns);
        tracker_note(worker->tracker, note);
        flow_ring_take(worker->notes);
    }
}

static void export_flows_of(struct worker *worker)
{
    for (size_t left = flow_ring_waiting(worker->flows); left > 0; left--) {
        const struct flow_note *note = flow_ring_peek(worker->flows);
        add(&exporter.out, sums_of(&note->flow));
        if (note->flow.mark != 0)
            add(&followed[note->flow.mark].out, sums_of(&note->flow));
        exporter.flows++;
        flow_ring_take(worker->flows);
    }
}

static void export(struct worker *worker)
{
    if (!export_role_take(&role))
        return;
    for (int rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        export_role_begin(&role);
        for (int i = 0; i < WORKERS; i++)
            export_flows_of(&workers[i]);
        if (export_role_release(&role))
            return;
    }
    export_role_give_up(&role);
    const uint64_t one = 1;
    if (write(workers[(worker - workers + 1) % WORKERS].wake_fd, &one, sizeof(one)) < 0)
        abort();
}

static void *run_worker(void *context)
{
    struct worker *worker = context;
    while (!atomic_load_explicit(&workers_stopping, memory_order_relaxed)) {
        unsigned limit = room(worker, DRAIN_LIMIT);
        unsigned drained = drain(worker, limit);
        bool more = drained == limit;
        if (drained < limit)
            more = tracker_look(worker->tracker, worker->questions, room(worker, LOOK_LIMIT));
        take_notes(worker);
        export(worker);
        struct pollfd fd = {.fd = worker->wake_fd, .events = POLLIN};
        uint64_t count;
        if (!more && poll(&fd, 1, 1) > 0 && read(worker->wake_fd, &count, sizeof(count)) < 0)
            abort();
    }
    return NULL;
}

/* The test. */

static void open_worker(struct worker *worker, uint32_t table_capacity, uint64_t began_ns)
{
    const struct tracker_config config = {.capacity = table_capacity,
                                          .active_timeout_ns = TIMEOUT_NS,
                                          .began_ns = began_ns,
                                          .stats = &worker->stats,
                                          .clock = &worker->clock};
    wall_clock_start(&worker->clock);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(worker->wake_fd, 0);
    ck_assert_int_eq(flow_ring_open(&kernel.events[worker - workers], EVENTS_RING), 0);
    ck_assert_int_eq(flow_ring_open(&worker->notes, NOTES_RING), 0);
    ck_assert_int_eq(flow_ring_open(&worker->questions, QUESTIONS_RING), 0);
    ck_assert_int_eq(flow_ring_open(&worker->flows, FLOWS_RING), 0);
    ck_assert_int_eq(tracker_open(&worker->tracker, &config, to_ring, worker), 0);
}

static void close_worker(struct worker *worker)
{
    tracker_close(worker->tracker);
    flow_ring_close(worker->flows);
    flow_ring_close(worker->questions);
    flow_ring_close(worker->notes);
    flow_ring_close(kernel.events[worker - workers]);
    close(worker->wake_fd);
}

static struct ct_dump *open_dump(uint64_t began_ns)
{
    struct ct_dump_config config = {.interval_ns = TIMEOUT_NS / 4,
                                    .active_timeout_ns = TIMEOUT_NS,
                                    .began_ns = began_ns,
                                    .workers = WORKERS};
    for (int i = 0; i < WORKERS; i++)
        config.worker[i] = (struct ct_dump_worker){
            .notes = workers[i].notes, .questions = workers[i].questions, .wake_fd = workers[i].wake_fd};
    struct ct_dump *dump;
    ck_assert_int_eq(ct_dump_open(&dump, &config), 0);
    return dump;
}

static uint64_t total(size_t counter)
{
    uint64_t sum = 0;
    for (int i = 0; i < WORKERS; i++)
        sum += *(const _Atomic uint64_t *)(const void *)((const char *)&workers[i].stats + counter);
    return sum;
}

static bool are_all_dead(void)
{
    pthread_mutex_lock(&kernel.lock);
    bool all = kernel.living == 0;
    kernel.last_dump = kernel.dumps + LAST_DUMPS;
    pthread_mutex_unlock(&kernel.lock);
    return all;
}

/* With the kernel's thread gone, this one is the rings' producer. Some dumps later everything is closed that
 * ended silently; what was not by then shows in the sums. */
static bool is_all_read(void)
{
    for (int i = 0; i < WORKERS; i++)
        if (!flow_ring_is_drained(kernel.events[i]))
            return false;
    pthread_mutex_lock(&kernel.lock);
    bool is_closed = kernel.dumps >= kernel.last_dump;
    pthread_mutex_unlock(&kernel.lock);
    return is_closed;
}

static void wait_until(bool (*condition)(void), const char *what)
{
    uint64_t start_ns = instant_read_clock(CLOCK_MONOTONIC);
    while (!condition()) {
        ck_assert_msg(instant_read_clock(CLOCK_MONOTONIC) < start_ns + PATIENCE_S * slow_factor() * NS_PER_S,
                      "not %s after %u s", what, PATIENCE_S * slow_factor());
        poll(NULL, 0, 1);
    }
}

static void start(pthread_t *thread, void *(*run)(void *), void *context)
{
    ck_assert_int_eq(pthread_create(thread, NULL, run, context), 0);
}

/*
 * Reports of a followed one come to all that it carried since ctflow9 began. Exceptions are those that found
 * no place in the table: an OLD one is reported whole, a SILENT one is lost.
 */
static void settle(const struct followed *one)
{
    struct sums since = one->in;
    subtract(&since, one->before);
    if (is_equal(one->out, since))
        return;
    bool is_old = !is_equal(one->before, (struct sums){0});
    struct sums expected = is_old ? one->in : (struct sums){0};
    ck_assert_msg(is_equal(one->out, expected), "connection %td: %" PRIu64 " octets in, %" PRIu64 " out",
                  one - followed, one->in.octets[0], one->out.octets[0]);
    if (is_old)
        kernel.whole++;
    else
        kernel.lost++;
    subtract(&kernel.in, since);
    add(&kernel.in, one->out);
}

static void run_for(unsigned ms, uint32_t table_capacity)
{
    uint64_t began_ns = instant_read_clock(CLOCK_BOOTTIME), wall_ns = instant_read_clock(CLOCK_REALTIME);
    pthread_t thread;
    pthread_mutex_init(&kernel.lock, NULL);
    for (unsigned i = 0; i < OLDER; i++)
        be_older(i, wall_ns - NS_PER_S - i);
    for (int i = 0; i < WORKERS; i++)
        open_worker(&workers[i], table_capacity, began_ns);
    struct ct_dump *dump = open_dump(began_ns);

    start(&thread, run_kernel, NULL);
    for (int i = 0; i < WORKERS; i++)
        start(&workers[i].thread, run_worker, &workers[i]);
    ck_assert_int_eq(ct_dump_start(dump), 0);
    poll(NULL, 0, (int)ms);
    pthread_mutex_lock(&kernel.lock);
    kernel.ending = true;
    pthread_mutex_unlock(&kernel.lock);
    wait_until(are_all_dead, "all dead");
    atomic_store(&kernel_stopping, true);
    pthread_join(thread, NULL);
    wait_until(is_all_read, "all read and closed");
    ct_dump_stop(dump);
    atomic_store(&workers_stopping, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    export(&workers[0]);

    ct_dump_close(dump);
    for (int i = 0; i < WORKERS; i++)
        close_worker(&workers[i]);
}

/* Each of two tests takes half of the time. */
static unsigned test_ms(void)
{
    const char *seconds = getenv("CTFLOW9_STRESS_S");
    return (unsigned)(seconds ? strtoul(seconds, NULL, 10) : 10) * 500;
}

static void expect_sums(void)
{
    for (uint32_t mark = 1; mark <= kernel.followed; mark++)
        settle(&followed[mark]);
    printf("%" PRIu64 " connections, %" PRIu64 " of them silent, %" PRIu64 " reports, %" PRIu64
           " repeats, %" PRIu64 " complete dumps, %" PRIu64 " times no room: %" PRIu64 " lost, %" PRIu64
           " whole\n",
           kernel.ended, kernel.silent, exporter.flows, kernel.repeats, kernel.dumps,
           total(offsetof(struct stats, table_full)), kernel.lost, kernel.whole);
    for (int direction = 0; direction < 2; direction++) {
        ck_assert_uint_eq(exporter.out.packets[direction], kernel.in.packets[direction]);
        ck_assert_uint_eq(exporter.out.octets[direction], kernel.in.octets[direction]);
    }
    ck_assert_uint_eq(total(offsetof(struct stats, repeated)), kernel.repeats);
    ck_assert_uint_eq(total(offsetof(struct stats, gone)), kernel.silent - kernel.lost);
    ck_assert_uint_eq(total(offsetof(struct stats, adopted)), OLDER - kernel.whole);
    ck_assert_uint_gt(total(offsetof(struct stats, gone)), 0);
    ck_assert_uint_ge(kernel.last_dump - LAST_DUMPS, 3); /* however slow the machine is */
}

START_TEST(what_goes_in_comes_out)
{
    run_for(test_ms(), 1 << 16);
    expect_sums();
    ck_assert_uint_eq(total(offsetof(struct stats, table_full)), 0);
    ck_assert_uint_eq(kernel.lost + kernel.whole, 0);
}
END_TEST

START_TEST(what_goes_in_comes_out_of_a_full_table)
{
    run_for(test_ms(), 50);
    expect_sums();
    ck_assert_uint_gt(total(offsetof(struct stats, table_full)), 0);
    ck_assert_uint_gt(kernel.lost, 0);
    ck_assert_uint_gt(kernel.whole, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("stress");
    tcase_set_timeout(tcase, test_ms() / 1000 + 3 * PATIENCE_S);
    tcase_add_test(tcase, what_goes_in_comes_out);
    tcase_add_test(tcase, what_goes_in_comes_out_of_a_full_table);
    Suite *suite = suite_create("stress");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
