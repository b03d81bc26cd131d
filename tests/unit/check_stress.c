/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real workers with conntrack as their source, its trackers and the dump's thread, and the exporter's
 * role moving between them, over a kernel of the test's own: millions of connections that grow, are dumped,
 * die, and are told at once, late, again or never. What goes in must come out, to the octet. CTFLOW9_STRESS_S
 * in the environment says how many seconds it takes, 10 by default.
 *
 * The test's functions take the place of those that speak with the kernel (ct_events.c, ct_request.c,
 * ct_decode.c, ct_setup.c, ct_guard.c), of the exporter, of the signals, and of the table's size.
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
#include "ctflow9/flow/table_size.h"
#include "ctflow9/input/conntrack.h"
#include "ctflow9/input/ct_decode.h"
#include "ctflow9/input/ct_events.h"
#include "ctflow9/input/ct_guard.h"
#include "ctflow9/input/ct_request.h"
#include "ctflow9/input/ct_setup.h"
#include "ctflow9/service/workers.h"
#include "no_reload.h"
#include "run_suite.h"
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
    struct flow_ring *events[WORKERS]; /* the workers' event sockets, */
    int event_fd[WORKERS];             /* readable when there was nothing in them */
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

/* The holder's of the role. */
struct exporter {
    struct sums out;
    uint64_t flows;
};

static struct exporter exporter;
static struct stats stats; /* of all workers, at the end */
static uint32_t table_capacity;
static _Atomic bool kernel_stopping, end_wanted;

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
    bool was_empty = flow_ring_is_drained(events);
    flow_ring_put(events, &(struct flow_note){.kind = FLOW_NOTE_FLOW, .flow = *flow});
    if (was_empty && eventfd_write(kernel.event_fd[flow->id % WORKERS], 1) != 0)
        abort();
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

/* The workers' event sockets: these take the place of ct_events.c. */

struct ct_events {
    unsigned worker;
    bool is_drained;
    struct wall_clock *clock;
};

int ct_events_open(struct ct_events **events, const struct ct_events_config *config)
{
    *events = malloc(sizeof(**events));
    **events = (struct ct_events){.worker = config->filter.share.index, .clock = config->clock};
    return 0;
}

void ct_events_close(struct ct_events *events)
{
    free(events);
}

unsigned ct_events_drain(struct ct_events *events, unsigned limit, flow_sink *sink, void *context)
{
    struct flow_ring *ring = kernel.events[events->worker];
    unsigned drained = 0;
    eventfd_t count;
    (void)eventfd_read(kernel.event_fd[events->worker], &count);
    wall_clock_watch(events->clock);
    for (const struct flow_note *note; drained < limit && (note = flow_ring_peek(ring)); drained++) {
        wall_clock_watch_for(events->clock, note->flow.start_ns);
        sink(context, &note->flow);
        flow_ring_take(ring);
    }
    events->is_drained = drained < limit;
    return drained;
}

bool ct_events_is_drained(const struct ct_events *events)
{
    return events->is_drained;
}

void ct_events_wants_event(const struct ct_events *events, struct poll_set *set)
{
    poll_set_add(set, kernel.event_fd[events->worker], POLLIN);
}

uint32_t ct_events_deferred(const struct ct_events *events)
{
    (void)events;
    return 0;
}

int ct_events_count_kept(struct ct_events *events, uint64_t most, uint64_t limit_ns, uint64_t *count)
{
    (void)events;
    (void)most;
    (void)limit_ns;
    *count = 0;
    return 0;
}

void ct_events_stop(struct ct_events *events)
{
    (void)events;
}

void ct_events_run(struct ct_events *events, struct instant now)
{
    (void)events;
    (void)now;
}

void ct_events_wants(const struct ct_events *events, struct poll_set *set)
{
    (void)events;
    (void)set;
}

/* What else conntrack and the workers ask. */

int ct_setup_check(bool set_sysctls, bool events)
{
    (void)set_sysctls;
    (void)events;
    return 0;
}

int ct_guard_ask(int fd, struct ct_guard_table *table)
{
    (void)fd;
    *table = (struct ct_guard_table){0};
    return 0;
}

struct table_size table_size_of_worker(uint32_t given, uint32_t table_limit, unsigned workers)
{
    (void)given;
    (void)table_limit;
    (void)workers;
    return (struct table_size){.capacity = table_capacity}; /* nothing in reserve */
}

bool signals_take(struct signals *signals, uint64_t now_ns)
{
    if (atomic_load(&end_wanted) && signals->end_ns == 0)
        signals->end_ns = now_ns;
    return false;
}

void exporter_name_interfaces(struct exporter *own, struct interface_names *names)
{
    (void)own;
    (void)names;
    abort(); /* there are none here */
}

void exporter_begin(struct exporter *own, struct instant now)
{
    (void)own;
    (void)now;
}

void exporter_add(void *context, const struct flow *flow)
{
    struct exporter *own = context;
    add(&own->out, sums_of(flow));
    if (flow->mark != 0)
        add(&followed[flow->mark].out, sums_of(flow));
    own->flows++;
}

int exporter_run(struct exporter *own, struct instant now)
{
    (void)own;
    (void)now;
    return 0;
}

void exporter_wants(const struct exporter *own, struct poll_set *set)
{
    (void)own;
    (void)set;
}

uint64_t exporter_records_dropped(struct exporter *own)
{
    (void)own;
    return 0;
}

void exporter_sample(struct exporter *sampled, struct metrics_sample *sample)
{
    (void)sampled;
    sample->collector_count = 0;
}

void exporter_log_stats(const struct exporter *own)
{
    (void)own;
}

/* The test. */

static uint64_t total(size_t counter)
{
    return *(const _Atomic uint64_t *)(const void *)((const char *)&stats + counter);
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

static void open_kernel(void)
{
    uint64_t wall_ns = instant_read_clock(CLOCK_REALTIME);
    pthread_mutex_init(&kernel.lock, NULL);
    for (unsigned i = 0; i < OLDER; i++)
        be_older(i, wall_ns - NS_PER_S - i);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(flow_ring_open(&kernel.events[i], EVENTS_RING), 0);
        kernel.event_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        ck_assert_int_ge(kernel.event_fd[i], 0);
    }
}

static void close_kernel(void)
{
    for (int i = 0; i < WORKERS; i++) {
        flow_ring_close(kernel.events[i]);
        close(kernel.event_fd[i]);
    }
}

static struct workers *open_workers(void)
{
    const struct conntrack_config conntrack = {.active_timeout_ns = TIMEOUT_NS,
                                               .limits = {.notes_ring = NOTES_RING,
                                                          .questions_ring = QUESTIONS_RING,
                                                          .notes = NOTES_LIMIT,
                                                          .looks = LOOK_LIMIT}};
    const struct workers_config config = {
        .count = WORKERS,
        .netns = "",
        .sources = {.conntrack = &conntrack},
        .limits = {.drain = DRAIN_LIMIT, .flows_ring = FLOWS_RING, .rounds = ROUNDS_MAX}};
    struct workers *workers;
    ck_assert_int_eq(workers_open(&workers, &config), 0);
    return workers;
}

static struct signals signals;

static void *run_workers(void *workers)
{
    ck_assert_int_eq(workers_run(workers, &exporter, &stats, &signals), 0);
    return NULL;
}

static void run_for(unsigned ms, uint32_t capacity)
{
    pthread_t kernel_thread, workers_thread;
    table_capacity = capacity;
    open_kernel();
    struct workers *workers = open_workers();
    signals.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    start(&kernel_thread, run_kernel, NULL);
    start(&workers_thread, run_workers, workers);
    poll(NULL, 0, (int)ms);
    pthread_mutex_lock(&kernel.lock);
    kernel.ending = true;
    pthread_mutex_unlock(&kernel.lock);
    wait_until(are_all_dead, "all dead");
    atomic_store(&kernel_stopping, true);
    pthread_join(kernel_thread, NULL);
    wait_until(is_all_read, "all read and closed");
    atomic_store(&end_wanted, true);
    ck_assert_int_eq(eventfd_write(signals.fd, 1), 0);
    pthread_join(workers_thread, NULL);

    workers_close(workers);
    close(signals.fd);
    close_kernel();
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
    return run_suite(suite);
}
