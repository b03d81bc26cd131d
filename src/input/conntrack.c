/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/conntrack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/flow/table_size.h"
#include "ctflow9/flow/tracker.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/input/ct_end.h"
#include "ctflow9/input/ct_events.h"
#include "ctflow9/input/ct_guard.h"
#include "ctflow9/input/ct_setup.h"
#include "ctflow9/input/first_packets.h"

/* What one worker has of it. */
struct part {
    struct source_worker worker;
    struct tracker *tracker;
    struct flow_ring *notes;     /* from the dump */
    struct flow_ring *questions; /* to the dump */
    uint64_t lost_seen;
    struct ways *ways;                 /* shared by all */
    struct first_packets_queue *queue; /* NULL without --interfaces=bpf */
    bool is_told;                      /* the tracker has handed on a flow since this was cleared */
    unsigned index;
};

struct conntrack {
    struct source source;
    struct conntrack_config config;
    struct rx_choice rx;
    struct ct_dump *dump; /* NULL without --active-timeout */
    struct ct_end end;
    struct ways *ways;                   /* NULL: interfaces are not looked for */
    struct first_packets *first_packets; /* NULL without --interfaces=bpf */
    unsigned workers;
    struct ct_events **events; /* of each worker */
    struct part part[];
};

static const struct conntrack_limits default_limits = {
    .notes_ring = 4096, .questions_ring = 1024, .notes = 1024, .looks = 16384};

static struct conntrack *of(struct source *source)
{
    return (struct conntrack *)(void *)source;
}

/* nf_conntrack_max; 0 when there is none or the kernel does not say. */
static uint32_t ask_table_limit(void)
{
    struct ct_guard_table table = {0};
    int fd = netlink_socket_open();
    if (fd < 0)
        return 0;
    int error = ct_guard_ask(fd, &table);
    close(fd);
    return error ? 0 : table.limit;
}

/* Without looks nothing gets into the tables. */
static struct table_size choose_table_size(const struct conntrack *conntrack, uint32_t table_limit)
{
    if (conntrack->config.active_timeout_ns == 0)
        return (struct table_size){.capacity = 1};
    return table_size_of_worker(conntrack->config.table_size, table_limit, conntrack->workers);
}

static int open_events(struct conntrack *conntrack, unsigned index)
{
    const struct conntrack_config *config = &conntrack->config;
    const struct source_worker *worker = &conntrack->part[index].worker;
    const struct ct_events_config events = {
        .rcvbuf_octets = config->rcvbuf_octets,
        .reliable = config->reliable,
        .rx = &conntrack->rx,
        .filter = {.mark = config->mark, .share = {.index = index, .count = conntrack->workers}},
        .stats = worker->stats,
        .clock = worker->clock};
    return ct_events_open(&conntrack->events[index], &events);
}

/* A flow_sink, of a tracker or a queue. */
static void to_outlet(void *context, const struct flow *flow)
{
    struct part *part = context;
    const struct flow_outlet *outlet = &part->worker.outlet;
    if (flow_has(flow, FLOW_HAS_INTERFACES)) {
        stats_count(&part->worker.stats->interfaces_noted, 1);
        outlet->sink(outlet->context, flow);
        return;
    }
    struct flow noted = *flow;
    if (ways_note(part->ways, part->index, &noted))
        outlet->sink(outlet->context, &noted);
}

/* A flow_sink, of a tracker. */
static void to_queue(void *context, const struct flow *flow)
{
    struct part *part = context;
    part->is_told = true;
    first_packets_queue_put(part->queue, flow, flow->end_reason != FLOW_END_ACTIVE_TIMEOUT);
}

static int open_tracker(struct part *part, const struct tracker_config *config)
{
    const struct flow_outlet *outlet = &part->worker.outlet;
    if (part->queue)
        return tracker_open(&part->tracker, config, to_queue, part);
    return part->ways ? tracker_open(&part->tracker, config, to_outlet, part)
                      : tracker_open(&part->tracker, config, outlet->sink, outlet->context);
}

static int open_part(struct conntrack *conntrack, unsigned index, uint64_t began_ns, uint32_t table_limit)
{
    const struct conntrack_config *config = &conntrack->config;
    const struct table_size table_size = choose_table_size(conntrack, table_limit);
    struct part *part = &conntrack->part[index];
    const struct source_worker *worker = &part->worker;
    const struct tracker_config tracker = {.capacity = table_size.capacity,
                                           .reserve = table_size.reserve,
                                           .repeats_max =
                                               (table_limit + conntrack->workers - 1) / conntrack->workers,
                                           .active_timeout_ns = config->active_timeout_ns,
                                           .began_ns = began_ns,
                                           .adopt_full = config->adopt_full,
                                           .stats = worker->stats,
                                           .clock = worker->clock};
    stats_set(&worker->stats->tracked_limit, (uint64_t)table_size.capacity + table_size.reserve);
    part->index = index;
    part->ways = conntrack->ways;
    int error = 0;
    if (conntrack->first_packets)
        error = first_packets_queue_open(&part->queue, first_packets_table(conntrack->first_packets),
                                         to_outlet, part);
    if (!error)
        error = open_tracker(part, &tracker);
    if (!error)
        error = flow_ring_open(&part->notes, config->limits.notes_ring);
    if (!error)
        error = flow_ring_open(&part->questions, config->limits.questions_ring);
    if (!error)
        return open_events(conntrack, index);
    if (error == -ENOMEM)
        log_error("no memory for a worker's table of %" PRIu32
                  " connections (--table-size) and for what recognises repeated events (nf_conntrack_max)",
                  table_size.capacity);
    else
        log_cannot(error, "set up a worker");
    return error;
}

static int open_dump(struct conntrack *conntrack, uint64_t began_ns)
{
    const uint64_t active_timeout_ns = conntrack->config.active_timeout_ns;
    if (active_timeout_ns == 0)
        return 0;
    struct ct_dump_config config = {.stats = conntrack->part[0].worker.stats,
                                    .began_ns = began_ns,
                                    .mark = conntrack->config.mark,
                                    .workers = conntrack->workers};
    ct_dump_config_timeout(&config, active_timeout_ns);
    for (unsigned i = 0; i < conntrack->workers; i++)
        config.worker[i] = (struct ct_dump_worker){.notes = conntrack->part[i].notes,
                                                   .questions = conntrack->part[i].questions,
                                                   .wake_fd = conntrack->part[i].worker.wake_fd};
    return ct_dump_open(&conntrack->dump, &config);
}

static int open_first_packets(struct conntrack *conntrack, uint32_t table_limit)
{
    if (conntrack->config.ways != WAYS_BPF)
        return 0;
    int error = first_packets_open(&conntrack->first_packets, table_limit);
    if (error)
        log_error("cannot have a BPF program note interfaces: %s; --interfaces=route does without",
                  first_packets_reason(error));
    else
        log_info("interfaces are noted by a BPF program, of connections that begin from now on");
    return error;
}

static int open_ways(struct conntrack *conntrack)
{
    struct ways_worker *worker = calloc(conntrack->workers, sizeof(*worker));
    if (!worker)
        return -ENOMEM;
    for (unsigned i = 0; i < conntrack->workers; i++)
        worker[i] = (struct ways_worker){.stats = conntrack->part[i].worker.stats,
                                         .wake_fd = conntrack->part[i].worker.wake_fd};
    int error = ways_open(&conntrack->ways, conntrack->config.ways, worker, conntrack->workers);
    free(worker);
    return error;
}

static void conntrack_close(struct source *source)
{
    struct conntrack *conntrack = of(source);
    ct_dump_close(conntrack->dump);
    ways_close(conntrack->ways);
    for (unsigned i = 0; i < conntrack->workers; i++) {
        struct part *part = &conntrack->part[i];
        if (conntrack->events)
            ct_events_close(conntrack->events[i]);
        tracker_close(part->tracker);
        first_packets_queue_close(part->queue);
        flow_ring_close(part->notes);
        flow_ring_close(part->questions);
    }
    first_packets_close(conntrack->first_packets);
    free(conntrack->events);
    free(conntrack);
}

static struct conntrack *take_memory(const struct conntrack_config *config,
                                     const struct source_worker *worker, unsigned workers)
{
    struct conntrack *taken = memory_allocate(sizeof(*taken), workers, sizeof(taken->part[0]));
    if (!taken)
        return NULL;
    taken->source.ops = &conntrack_source;
    taken->config = *config;
    if (config->limits.notes == 0)
        taken->config.limits = default_limits;
    taken->rx.asked = config->rx;
    taken->workers = workers;
    for (unsigned i = 0; i < workers; i++)
        taken->part[i].worker = worker[i];
    taken->events = calloc(workers, sizeof(struct ct_events *));
    if (taken->events)
        return taken;
    conntrack_close(&taken->source);
    return NULL;
}

static int conntrack_open(struct source **source, const void *config, const struct source_worker *worker,
                          unsigned workers)
{
    struct conntrack *opened = take_memory(config, worker, workers);
    if (!opened) {
        log_error("no memory for reading connection tracking");
        return -ENOMEM;
    }
    int error = ct_setup_check(opened->config.set_sysctls, opened->config.rx != RX_FENTRY);
    uint64_t began_ns = instant_read_clock(CLOCK_BOOTTIME);
    uint32_t table_limit = ask_table_limit();
    if (!error)
        error = open_first_packets(opened, table_limit);
    if (!error)
        error = open_ways(opened);
    for (unsigned i = 0; i < workers && !error; i++)
        error = open_part(opened, i, began_ns, table_limit);
    if (!error)
        error = open_dump(opened, began_ns);
    if (error) {
        conntrack_close(&opened->source);
        return error;
    }
    opened->end = (struct ct_end){.events = opened->events,
                                  .workers = workers,
                                  .dump = opened->dump,
                                  .stats = opened->part[0].worker.stats};
    *source = &opened->source;
    return 0;
}

static int conntrack_start(struct source *source)
{
    struct conntrack *conntrack = of(source);
    int error = ways_start(conntrack->ways);
    return !error && conntrack->dump ? ct_dump_start(conntrack->dump) : error;
}

/* Trackers are told by each dump what is due. */
static void conntrack_change(struct source *source, const void *config)
{
    const struct conntrack_config *wanted = config;
    struct conntrack *conntrack = of(source);
    if (conntrack->dump && wanted->active_timeout_ns != conntrack->config.active_timeout_ns)
        ct_dump_set_timeout(conntrack->dump, wanted->active_timeout_ns);
    conntrack->config.active_timeout_ns = wanted->active_timeout_ns;
}

/* A flow_sink. */
static void to_tracker(void *tracker, const struct flow *flow)
{
    tracker_destroyed(tracker, flow);
}

/* The same, with a queue: what was noted of a connection is given free, whether or not it is reported. */
static void to_tracker_and_queue(void *context, const struct flow *flow)
{
    struct part *part = context;
    part->is_told = false;
    tracker_destroyed(part->tracker, flow);
    if (!part->is_told)
        first_packets_queue_forget(part->queue, flow);
}

static unsigned drain_with_queue(struct conntrack *conntrack, unsigned worker, unsigned room)
{
    struct part *part = &conntrack->part[worker];
    first_packets_see_clock(conntrack->first_packets);
    unsigned taken = ct_events_drain(conntrack->events[worker], room, to_tracker_and_queue, part);
    first_packets_queue_flush(part->queue);
    return taken;
}

static unsigned conntrack_drain(struct source *source, unsigned worker, unsigned limit)
{
    struct conntrack *conntrack = of(source);
    struct part *part = &conntrack->part[worker];
    unsigned room = flow_outlet_room(&part->worker.outlet, limit);
    ways_begin(conntrack->ways, worker);
    if (part->queue)
        return drain_with_queue(conntrack, worker, room);
    return ct_events_drain(conntrack->events[worker], room, to_tracker, part->tracker);
}

static bool conntrack_is_drained(const struct source *source, unsigned worker)
{
    const struct conntrack *conntrack = (const void *)source;
    return ct_events_is_drained(conntrack->events[worker]);
}

/* Returns whether there were any: what follows from them is looked at in the next turn. */
static bool take_notes(struct part *part, unsigned limit)
{
    struct wall_clock *clock = part->worker.clock;
    const struct flow_note *note = flow_ring_peek(part->notes);
    bool any = note != NULL;
    if (any)
        wall_clock_watch(clock);
    for (unsigned left = flow_outlet_room(&part->worker.outlet, limit); note && left > 0; left--) {
        wall_clock_watch_for(clock, note->flow.start_ns);
        tracker_note(part->tracker, note);
        flow_ring_take(part->notes);
        note = flow_ring_peek(part->notes);
    }
    return any;
}

static void see_losses(const struct conntrack *conntrack, struct part *part)
{
    uint64_t lost = part->worker.stats->lost;
    if (lost != part->lost_seen && conntrack->dump)
        ct_dump_hurry(conntrack->dump);
    part->lost_seen = lost;
}

/* What the tracker has handed on outside of a drain. */
static void flush_queue(const struct conntrack *conntrack, struct part *part)
{
    if (!part->queue)
        return;
    first_packets_queue_flush(part->queue);
    if (part->index == 0)
        stats_set(&part->worker.stats->notes_evicted, first_packets_evicted(conntrack->first_packets));
}

/* What the last dump did not show is looked at only after the socket was read empty. */
static bool conntrack_run(struct source *source, unsigned worker, struct instant now)
{
    struct conntrack *conntrack = of(source);
    struct part *part = &conntrack->part[worker];
    const struct conntrack_limits *limits = &conntrack->config.limits;
    bool more = !ct_events_is_drained(conntrack->events[worker]);
    if (!more)
        more = tracker_look(part->tracker, part->questions,
                            flow_outlet_room(&part->worker.outlet, limits->looks));
    more |= take_notes(part, limits->notes);
    flush_queue(conntrack, part);
    more |= ways_take(conntrack->ways, worker, &part->worker.outlet, limits->looks);
    ct_events_run(conntrack->events[worker], now);
    see_losses(conntrack, part);
    stats_set(&part->worker.stats->tracked, tracker_count(part->tracker));
    return more;
}

static void conntrack_wants(const struct source *source, unsigned worker, struct poll_set *set)
{
    const struct conntrack *conntrack = (const void *)source;
    ct_events_wants(conntrack->events[worker], set);
}

static void conntrack_wants_event(const struct source *source, unsigned worker, struct poll_set *set)
{
    const struct conntrack *conntrack = (const void *)source;
    ct_events_wants_event(conntrack->events[worker], set);
}

static bool conntrack_await(struct source *source, bool hurried)
{
    return ct_end_await(&of(source)->end, hurried);
}

static void conntrack_halt(struct source *source)
{
    ct_dump_stop(of(source)->dump);
}

static void conntrack_stop(struct source *source, unsigned worker)
{
    ct_events_stop(of(source)->events[worker]);
}

static bool conntrack_finish(struct source *source, unsigned worker)
{
    struct conntrack *conntrack = of(source);
    struct part *part = &conntrack->part[worker];
    unsigned room = flow_outlet_room(&part->worker.outlet, conntrack->config.limits.looks);
    bool more = tracker_finish(part->tracker, room);
    flush_queue(conntrack, part);
    more |= ways_finish(conntrack->ways, worker, &part->worker.outlet, conntrack->config.limits.looks);
    if (!more)
        ct_events_run(conntrack->events[worker], instant_now()); /* counts the last drops */
    return more;
}

static void conntrack_ended(struct source *source)
{
    ct_end_see_left_behind(&of(source)->end);
}

const struct source_ops conntrack_source = {
    .name = "conntrack",
    .open = conntrack_open,
    .close = conntrack_close,
    .start = conntrack_start,
    .change = conntrack_change,
    .drain = conntrack_drain,
    .is_drained = conntrack_is_drained,
    .run = conntrack_run,
    .wants = conntrack_wants,
    .wants_event = conntrack_wants_event,
    .await = conntrack_await,
    .halt = conntrack_halt,
    .stop = conntrack_stop,
    .finish = conntrack_finish,
    .ended = conntrack_ended,
};
