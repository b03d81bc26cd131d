/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/poll_set.h"

#define DRAIN_INTERVAL_NS NS_PER_MS

enum {
    DRAIN_LIMIT = 8192, /* events between two looks at everything else */
    NOTES_LIMIT = 1024, /* rows of a dump, likewise */
    LOOK_LIMIT = 16384, /* table entries, likewise */
    ROUNDS_MAX = 8,     /* of exporting, before another worker has to do it */
    CLOCK_EVERY = 1024, /* flows exported, between two looks at the clock */
    FLOWS_RING = 16384,
    NOTES_RING = 4096,
    QUESTIONS_RING = 1024
};

/* A flow_sink: into the ring, in which the drain has made sure of room. */
static void to_ring(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    const struct flow_note note = {.flow = *flow, .kind = FLOW_NOTE_FLOW};
    flow_ring_put(worker->flows, &note);
}

/* A flow_sink of the only worker. */
static void to_exporter(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    exporter_add(worker->all->exporter, flow);
}

/* A flow_sink. */
static void to_tracker(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    tracker_destroyed(worker->tracker, flow);
}

int worker_open(struct worker *worker, const struct options *options, uint64_t began_ns, uint32_t table_limit,
                struct table_size table_size)
{
    const struct workers *all = worker->all;
    const struct ct_events_config events = {
        .rcvbuf_octets = options->rcvbuf_octets,
        .reliable = !options->no_reliable,
        .rx = &worker->all->rx,
        .filter = {.mark = options->mark, .share = {.index = worker->index, .count = all->count}},
        .stats = &worker->stats,
        .clock = &worker->clock};
    const struct tracker_config tracker = {.capacity = table_size.capacity,
                                           .reserve = table_size.reserve,
                                           .repeats_max = (table_limit + all->count - 1) / all->count,
                                           .active_timeout_ns = options->active_timeout_s * NS_PER_S,
                                           .began_ns = began_ns,
                                           .adopt_full = options->adopt == ADOPT_FULL,
                                           .stats = &worker->stats,
                                           .clock = &worker->clock};
    wall_clock_start(&worker->clock);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int error = worker->wake_fd < 0 ? -errno : 0;
    if (!error)
        error = tracker_open(&worker->tracker, &tracker, all->count > 1 ? to_ring : to_exporter, worker);
    if (!error)
        error = flow_ring_open(&worker->notes, NOTES_RING);
    if (!error)
        error = flow_ring_open(&worker->questions, QUESTIONS_RING);
    if (!error && all->count > 1)
        error = flow_ring_open(&worker->flows, FLOWS_RING);
    if (!error)
        return ct_events_open(&worker->events, &events);
    if (error == -ENOMEM)
        log_error("no memory for a worker's table of %" PRIu32
                  " connections (--table-size) and for what recognises repeated events (nf_conntrack_max)",
                  table_size.capacity);
    else
        log_cannot(error, "set up a worker");
    return error;
}

void worker_close(struct worker *worker)
{
    ct_events_close(worker->events);
    tracker_close(worker->tracker);
    flow_ring_close(worker->notes);
    flow_ring_close(worker->questions);
    flow_ring_close(worker->flows);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
}

void worker_wake(struct worker *worker)
{
    const uint64_t one = 1;
    if (write(worker->wake_fd, &one, sizeof(one)) < 0)
        return; /* the count is full: it is awake */
}

static struct stats totals_of(const struct workers *workers)
{
    struct stats total = {0};
    stats_add(&total, workers->totals);
    for (unsigned i = 0; i < workers->count; i++)
        stats_add(&total, &workers->worker[i].stats);
    return total;
}

/* For the first worker. */
static void tell_clock_step(struct worker *worker)
{
    const struct wall_clock *clock = &worker->clock;
    if (clock->steps == worker->steps_told)
        return;
    worker->steps_told = clock->steps;
    bool is_back = clock->last_step_ns < 0;
    log_info("the clock was set %s by %.3f s: when connections began and ended is told by it as it is now",
             is_back ? "back" : "forward",
             (double)(is_back ? -clock->last_step_ns : clock->last_step_ns) / (double)NS_PER_S);
}

/* For the first worker. */
void worker_see_troubles(struct workers *workers, uint64_t now_ns)
{
    const struct stats total = totals_of(workers);
    troubles_see(&workers->troubles, &total, now_ns);
}

/* For the holder of the role. */
static void log_totals(const struct workers *workers)
{
    const struct stats total = totals_of(workers);
    stats_log(&total);
    exporter_log_stats(workers->exporter);
}

/* What waits when it begins: more may come as fast as it is taken. Delays and pace go by the clock. */
static void take_flows_of(struct worker *worker)
{
    struct exporter *exporter = worker->all->exporter;
    for (size_t left = flow_ring_waiting(worker->flows); left > 0; left--) {
        if (left % CLOCK_EVERY == 0)
            exporter_begin(exporter, instant_now());
        exporter_add(exporter, &flow_ring_peek(worker->flows)->flow);
        flow_ring_take(worker->flows);
    }
}

/* For the holder of the role. */
void worker_export_once(struct workers *workers)
{
    exporter_begin(workers->exporter, instant_now());
    for (unsigned i = 0; i < workers->count && workers->count > 1; i++)
        take_flows_of(&workers->worker[i]);
    int error = exporter_run(workers->exporter, instant_now());
    if (error) {
        atomic_store_explicit(&workers->error, error, memory_order_relaxed);
        worker_wake(&workers->worker[0]);
    }
    if (atomic_exchange_explicit(&workers->totals_wanted, false, memory_order_relaxed))
        log_totals(workers);
}

/*
 * Exports what all workers have, unless another does so already, who then goes on until all is done; but not
 * for ever, for it has events of its own to read: after some rounds the next worker is woken to go on.
 */
void worker_export(struct worker *worker)
{
    struct workers *workers = worker->all;
    poll_set_clear(&worker->exporter_set);
    if (!export_role_take(&workers->role))
        return;
    for (int rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        export_role_begin(&workers->role);
        worker_export_once(workers);
        poll_set_clear(&worker->exporter_set);
        exporter_wants(workers->exporter, &worker->exporter_set);
        if (export_role_release(&workers->role))
            return;
    }
    export_role_give_up(&workers->role);
    worker_wake(&workers->worker[(worker->index + 1) % workers->count]);
}

/* The last one to have run the exporter waits for what the exporter waits for, too. */
void worker_wait(struct worker *worker, enum pace pace)
{
    struct poll_set *set = &worker->exporter_set;
    const nfds_t exporter_count = set->count;
    const uint64_t exporter_deadline_ns = set->deadline_ns;
    const struct pollfd *wake_fd = &set->fds[set->count];
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    poll_set_add(set, worker->wake_fd, POLLIN);
    if (worker->index == 0) {
        poll_set_add(set, worker->all->signals->fd, POLLIN);
        poll_set_before(set, worker->all->netns_check_ns);
    }
    ct_events_wants(worker->events, set);
    if (pace <= ON_EVENT)
        ct_events_wants_event(worker->events, set);
    if (pace != AT_REST)
        poll_set_before(set, pace == AT_ONCE ? 0 : now_ns + DRAIN_INTERVAL_NS);
    uint64_t wakes;
    if (poll_set_wait(set, now_ns) > 0 && wake_fd->revents)
        (void)!read(worker->wake_fd, &wakes, sizeof(wakes));
    set->count = exporter_count;
    set->deadline_ns = exporter_deadline_ns;
}

/* How many flows there is room for. */
static unsigned room(const struct worker *worker, unsigned limit)
{
    size_t room = worker->flows ? flow_ring_room(worker->flows) : limit;
    return room < limit ? (unsigned)room : limit;
}

/* Returns whether there were any: what follows from them is looked at in the next turn. */
static bool take_notes(struct worker *worker)
{
    const struct flow_note *note = flow_ring_peek(worker->notes);
    bool any = note != NULL;
    if (any)
        wall_clock_watch(&worker->clock);
    for (unsigned left = room(worker, NOTES_LIMIT); note && left > 0; left--) {
        wall_clock_watch_for(&worker->clock, note->flow.start_ns);
        tracker_note(worker->tracker, note);
        flow_ring_take(worker->notes);
        note = flow_ring_peek(worker->notes);
    }
    return any;
}

static void see_losses(struct worker *worker)
{
    uint64_t lost = worker->stats.lost;
    if (lost != worker->lost_seen && worker->all->dump)
        ct_dump_hurry(worker->all->dump);
    worker->lost_seen = lost;
}

/* Everything that can be done now. What the last dump did not show is looked at only after the socket was
 * read empty. */
enum pace worker_turn(struct worker *worker)
{
    if (!worker->flows)
        exporter_begin(worker->all->exporter, instant_now());
    unsigned drained = ct_events_drain(worker->events, room(worker, DRAIN_LIMIT), to_tracker, worker);
    bool more = !ct_events_is_drained(worker->events);
    if (!more)
        more = tracker_look(worker->tracker, worker->questions, room(worker, LOOK_LIMIT));
    more |= take_notes(worker);
    ct_events_run(worker->events, instant_now());
    see_losses(worker);
    if (worker->index == 0)
        worker_see_troubles(worker->all, instant_read_clock(CLOCK_MONOTONIC));
    if (worker->index == 0)
        tell_clock_step(worker);
    worker_export(worker);
    if (drained == DRAIN_LIMIT)
        return AT_ONCE;
    if (atomic_load_explicit(&worker->all->awaiting, memory_order_relaxed))
        return ON_EVENT;
    return more || drained > 0 ? ON_INTERVAL : AT_REST;
}

/* Hears no more, and hands on what the kernel has already sent, and what is known of connections that last.
 */
void worker_finish(struct worker *worker)
{
    ct_events_stop(worker->events);
    do {
        ct_events_drain(worker->events, room(worker, DRAIN_LIMIT), to_tracker, worker);
        worker_export(worker);
    } while (!ct_events_is_drained(worker->events));
    while (tracker_finish(worker->tracker, room(worker, LOOK_LIMIT)))
        worker_export(worker);
    ct_events_run(worker->events, instant_now());
}

static void see_signals(struct workers *workers)
{
    if (signals_take(workers->signals, instant_read_clock(CLOCK_MONOTONIC)))
        atomic_store_explicit(&workers->totals_wanted, true, memory_order_relaxed);
}

bool worker_told_to_end(struct workers *workers)
{
    see_signals(workers);
    return workers->signals->end_ns != 0;
}

bool worker_hurried(struct workers *workers)
{
    see_signals(workers);
    return workers->signals->hurried;
}
