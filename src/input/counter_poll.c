/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/counter_poll.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/base/thread.h"
#include "ctflow9/base/utf8.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/flow/flow_ring.h"
#include "ctflow9/input/netlink_socket.h"

#define ROOM_WAIT_NS NS_PER_MS

enum { RING_FLOWS = 1024, READ_OUT_MS = 100 };

/* What the thread is to do; only ever more. */
enum order { ORDER_READ, ORDER_END, ORDER_LEAVE };

struct counter_poll {
    struct source source;
    struct counter_poll_config config;
    struct source_worker worker;
    int fd;                 /* the thread's, once it runs */
    int wake_fd;            /* wake.h: there is another order */
    struct flow_ring *ring; /* from the thread to the worker */
    bool is_running;
    pthread_t thread;
    _Atomic int order;
    _Atomic bool has_ended;                            /* the last reading is over */
    _Atomic uint64_t anew, full, lost;                 /* the thread's, for the worker to count */
    uint64_t anew_counted, full_counted, lost_counted; /* the worker's */

    /* The thread's. */
    struct counter_table *table;
    struct tell_once failures;
    struct instant now, last; /* when this reading and the last one began; monotonic_ns is boot time */
};

static struct counter_poll *of(struct source *source)
{
    return (struct counter_poll *)(void *)source;
}

static enum order order_of(const struct counter_poll *poll)
{
    return (enum order)atomic_load_explicit(&poll->order, memory_order_relaxed);
}

/* ---- the thread ---- */

/* Waits for an order, or until a time. */
static void wait_until(struct counter_poll *poll, uint64_t until_ns)
{
    struct poll_set set;
    poll_set_clear(&set);
    poll_set_add(&set, poll->wake_fd, POLLIN);
    poll_set_before(&set, until_ns);
    if (poll_set_wait(&set, instant_read_clock(CLOCK_MONOTONIC)) > 0)
        wake_take(poll->wake_fd);
}

/* The worker makes room in its turns. false: it has no more. */
static bool wait_for_room(struct counter_poll *poll)
{
    while (flow_ring_room(poll->ring) == 0 && order_of(poll) != ORDER_LEAVE) {
        wake(poll->worker.wake_fd);
        wait_until(poll, instant_read_clock(CLOCK_MONOTONIC) + ROOM_WAIT_NS);
    }
    return order_of(poll) != ORDER_LEAVE;
}

static void put(struct counter_poll *poll, const struct flow_note *note)
{
    if (wait_for_room(poll))
        flow_ring_put(poll->ring, note);
    else
        atomic_fetch_add_explicit(&poll->lost, 1, memory_order_relaxed);
}

/* A time between readings, by the clock as it is now; of the last reading as it was told then, unless the
 * clock was set since. */
static uint64_t wall_ns_of(const struct counter_poll *poll, uint64_t boot_ns)
{
    if (boot_ns == poll->last.monotonic_ns && !instant_is_stepped(poll->last, poll->now))
        return poll->last.wall_ns;
    return poll->now.wall_ns - (poll->now.monotonic_ns - boot_ns);
}

void counter_poll_see(struct counter_poll *poll, const struct counter_reading *reading,
                      enum flow_counter_source source, const char *name)
{
    struct counter_increase increase;
    if (!counter_table_see(poll->table, reading, poll->now.monotonic_ns, &increase)) {
        atomic_fetch_add_explicit(&poll->full, 1, memory_order_relaxed);
        return;
    }
    if (increase.anew)
        atomic_fetch_add_explicit(&poll->anew, 1, memory_order_relaxed);
    if (increase.packets == 0 && increase.octets == 0)
        return;
    struct flow_note note = {.kind = FLOW_NOTE_FLOW};
    struct flow *flow = &note.flow;
    flow->kind = FLOW_COUNTER;
    flow->has = FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP;
    flow->counter.identity = reading->identity;
    flow->counter.source = (uint8_t)source;
    utf8_copy(flow->counter.name, sizeof(flow->counter.name), name, strlen(name));
    flow->packets[FLOW_ORIGINAL] = increase.packets;
    flow->octets[FLOW_ORIGINAL] = increase.octets;
    flow->start_ns = wall_ns_of(poll, increase.since_ns);
    flow->stop_ns = poll->now.wall_ns;
    put(poll, &note);
}

static void tell_failure(struct counter_poll *poll, int error)
{
    tell_once_count(&poll->failures, error != 0);
    uint64_t count = tell_once_due(&poll->failures, instant_read_clock(CLOCK_MONOTONIC));
    if (count == 0)
        return;
    errno = -error;
    log_warn("reading %s failed, trying again (%" PRIu64 " times)", poll->config.what, count);
}

static void read_all(struct counter_poll *poll)
{
    poll->last = poll->now;
    poll->now = (struct instant){.wall_ns = instant_read_clock(CLOCK_REALTIME),
                                 .monotonic_ns = instant_read_clock(CLOCK_BOOTTIME)};
    counter_table_begin(poll->table, poll->now.monotonic_ns);
    int error = poll->config.read(poll->fd, poll);
    counter_table_end(poll->table, error == 0);
    if (error)
        netlink_socket_read_out(poll->fd, READ_OUT_MS * NS_PER_MS);
    tell_failure(poll, error);
    wake(poll->worker.wake_fd);
}

/* The next multiple of the interval: one that took longer leaves some out. */
static uint64_t next_ns(const struct counter_poll *poll, uint64_t last_ns, uint64_t now_ns)
{
    uint64_t interval_ns = poll->config.interval_ns;
    return last_ns + ((now_ns - last_ns) / interval_ns + 1) * interval_ns;
}

static void *run(void *context)
{
    struct counter_poll *poll = context;
    uint64_t due_ns = instant_read_clock(CLOCK_MONOTONIC);
    while (order_of(poll) == ORDER_READ) {
        uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
        if (now_ns >= due_ns) {
            read_all(poll);
            due_ns = next_ns(poll, due_ns, instant_read_clock(CLOCK_MONOTONIC));
        }
        wait_until(poll, due_ns);
    }
    if (order_of(poll) == ORDER_END)
        read_all(poll);
    /* Release pairs with the acquire in counter_poll_await(): what the ring has. */
    atomic_store_explicit(&poll->has_ended, true, memory_order_release);
    wake(poll->worker.wake_fd);
    return NULL;
}

/* ---- for the workers ---- */

int counter_poll_start(struct source *source)
{
    struct counter_poll *poll = of(source);
    int error = thread_start(&poll->thread, run, poll);
    poll->is_running = error == 0;
    return error;
}

static void give_order(struct counter_poll *poll, enum order order)
{
    if (order_of(poll) >= order)
        return;
    atomic_store_explicit(&poll->order, order, memory_order_relaxed);
    wake(poll->wake_fd);
}

bool counter_poll_await(struct source *source, bool hurried)
{
    struct counter_poll *poll = of(source);
    if (!poll->is_running)
        return false;
    give_order(poll, hurried ? ORDER_LEAVE : ORDER_END);
    return !hurried && !atomic_load_explicit(&poll->has_ended, memory_order_acquire);
}

void counter_poll_halt(struct source *source)
{
    struct counter_poll *poll = of(source);
    if (!poll->is_running)
        return;
    give_order(poll, ORDER_LEAVE);
    pthread_join(poll->thread, NULL);
    poll->is_running = false;
}

/* What the thread has come to since it was last counted. */
static void count_up(_Atomic uint64_t *counter, const _Atomic uint64_t *seen, uint64_t *counted)
{
    uint64_t now = atomic_load_explicit(seen, memory_order_relaxed);
    stats_count(counter, now - *counted);
    *counted = now;
}

unsigned counter_poll_drain(struct source *source, unsigned worker, unsigned limit)
{
    struct counter_poll *poll = of(source);
    if (worker != 0)
        return 0;
    struct stats *stats = poll->worker.stats;
    const struct flow_outlet *outlet = &poll->worker.outlet;
    const struct flow_note *note = NULL;
    unsigned taken = 0;
    unsigned room = flow_outlet_room(outlet, limit);
    for (; taken < room && (note = flow_ring_peek(poll->ring)) != NULL; taken++) {
        outlet->sink(outlet->context, &note->flow);
        flow_ring_take(poll->ring);
    }
    count_up(&stats->named_counters_anew, &poll->anew, &poll->anew_counted);
    count_up(&stats->named_counters_full, &poll->full, &poll->full_counted);
    count_up(&stats->named_counters_lost, &poll->lost, &poll->lost_counted);
    return taken;
}

bool counter_poll_is_drained(const struct source *source, unsigned worker)
{
    const struct counter_poll *poll = (const void *)source;
    return worker != 0 || flow_ring_waiting(poll->ring) == 0;
}

/* ---- opening ---- */

int counter_poll_fd(const struct source *source)
{
    return ((const struct counter_poll *)(const void *)source)->fd;
}

void counter_poll_close(struct source *source)
{
    struct counter_poll *poll = of(source);
    counter_table_close(poll->table);
    flow_ring_close(poll->ring);
    if (poll->wake_fd >= 0)
        close(poll->wake_fd);
    if (poll->fd >= 0)
        close(poll->fd);
    free(poll);
}

static int open_parts(struct counter_poll *poll)
{
    poll->fd = netlink_socket_open();
    if (poll->fd < 0)
        return poll->fd;
    poll->wake_fd = wake_open();
    if (poll->wake_fd < 0)
        return poll->wake_fd;
    int error = flow_ring_open(&poll->ring, RING_FLOWS);
    return error ? error : counter_table_open(&poll->table);
}

int counter_poll_open(struct source **source, const struct source_ops *ops,
                      const struct counter_poll_config *config, const struct source_worker *worker)
{
    struct counter_poll *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->source.ops = ops;
    opened->config = *config;
    opened->worker = worker[0];
    opened->fd = opened->wake_fd = -1;
    int error = open_parts(opened);
    if (error) {
        log_cannot(error, "set up the reading of %s", config->what);
        counter_poll_close(&opened->source);
        return error;
    }
    *source = &opened->source;
    return 0;
}
