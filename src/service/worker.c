/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/service/configs.h"

#define DRAIN_INTERVAL_NS NS_PER_MS

/* Between two looks at the clock, while flows are exported. */
enum { CLOCK_EVERY = 1024 };

static bool has_to_note(const struct workers *workers)
{
    return workers->are_renumbered || interface_marks_are_given(&workers->marks);
}

static void renumber(const struct workers *workers, struct flow *flow)
{
    for (int direction = 0; direction < 2; direction++) {
        flow->in_interface[direction] = interfaces_number(workers->interfaces, flow->in_interface[direction]);
        flow->out_interface[direction] =
            interfaces_number(workers->interfaces, flow->out_interface[direction]);
    }
}

/* What marks say wins, and has its own numbers. */
static void note_interfaces(const struct workers *workers, struct flow *flow)
{
    if (workers->are_renumbered && (flow->has & FLOW_HAS_WAY) != 0)
        renumber(workers, flow);
    if (interface_marks_are_given(&workers->marks))
        interface_marks_note(&workers->marks, flow);
}

/* A flow_sink: into the ring, in which the source has made sure of room. */
static void to_ring(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    struct flow_note note = {.flow = *flow, .kind = FLOW_NOTE_FLOW};
    if (has_to_note(worker->all))
        note_interfaces(worker->all, &note.flow);
    flow_ring_put(worker->outlet.ring, &note);
}

/* A flow_sink of the only worker. */
static void to_exporter(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    exporter_add(worker->all->exporter, flow);
}

/* The same where something has to be noted of the flow, which is only lent. */
static void to_exporter_noted(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    struct flow noted = *flow;
    note_interfaces(worker->all, &noted);
    exporter_add(worker->all->exporter, &noted);
}

static flow_sink *sink_of(const struct workers *workers)
{
    if (workers->count > 1)
        return to_ring;
    return has_to_note(workers) ? to_exporter_noted : to_exporter;
}

int worker_open(struct worker *worker)
{
    bool is_alone = worker->all->count == 1;
    wall_clock_start(&worker->clock);
    worker->outlet = (struct flow_outlet){.sink = sink_of(worker->all), .context = worker};
    worker->wake_fd = wake_open();
    if (worker->wake_fd < 0)
        return worker->wake_fd;
    return is_alone ? 0 : flow_ring_open(&worker->outlet.ring, worker->all->limits.flows_ring);
}

void worker_close(struct worker *worker)
{
    flow_ring_close(worker->outlet.ring);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
}

void worker_wake(struct worker *worker)
{
    wake(worker->wake_fd);
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
static void fill_sample(const struct workers *workers, struct metrics_sample *sample)
{
    sample->total = totals_of(workers);
    exporter_sample(workers->exporter, sample);
}

/* For the holder of the role. */
static void log_totals(const struct workers *workers)
{
    struct metrics_sample *sample = calloc(1, sizeof(*sample));
    const struct stats total = totals_of(workers);
    stats_log(&total);
    exporter_log_stats(workers->exporter);
    if (!sample)
        return;
    fill_sample(workers, sample);
    metrics_log(sample);
    free(sample);
}

/* For the holder of the role. */
static void answer_metrics(const struct workers *workers)
{
    struct metrics_sample *sample = metrics_wished(workers->metrics);
    if (!sample)
        return;
    fill_sample(workers, sample);
    metrics_filled(workers->metrics);
}

/* Whether each worker has had a turn since this was last asked: one that hangs has none. */
static bool have_all_turned(struct workers *workers)
{
    bool all = true;
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->worker[i];
        uint64_t turns = atomic_load_explicit(&worker->turns, memory_order_relaxed);
        all &= turns != worker->turns_told;
        worker->turns_told = turns;
    }
    return all;
}

/* For the first worker. */
static void pulse(struct workers *workers)
{
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    if (now_ns < notify_next_ns(workers->notify))
        return;
    const struct stats total = totals_of(workers);
    notify_pulse(workers->notify, now_ns, &total, exporter_records_dropped(workers->exporter),
                 have_all_turned(workers));
}

/* The latest time of the next turn, for the pulse. */
static uint64_t pulse_ns(const struct worker *worker, uint64_t now_ns)
{
    const struct notify *notify = worker->all->notify;
    if (worker->index == 0)
        return notify_next_ns(notify);
    uint64_t interval_ns = notify_interval_ns(notify);
    return interval_ns == POLL_SET_NEVER ? POLL_SET_NEVER : now_ns + interval_ns;
}

/* What waits when it begins: more may come as fast as it is taken. Delays and pace go by the clock. */
static void take_flows_of(struct worker *worker)
{
    struct exporter *exporter = worker->all->exporter;
    struct flow_ring *flows = worker->outlet.ring;
    for (size_t left = flow_ring_waiting(flows); left > 0; left--) {
        if (left % CLOCK_EVERY == 0)
            exporter_begin(exporter, instant_now());
        exporter_add(exporter, &flow_ring_peek(flows)->flow);
        flow_ring_take(flows);
    }
}

/* For the holder of the role. */
static void take_names(struct workers *workers)
{
    struct interface_names *names = workers->interfaces ? interfaces_take(workers->interfaces) : NULL;
    if (names)
        exporter_name_interfaces(workers->exporter, names);
}

/* For the holder of the role. */
void worker_export_once(struct workers *workers)
{
    take_names(workers);
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
    answer_metrics(workers);
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
    for (unsigned rounds = 0; rounds < workers->limits.rounds; rounds++) {
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
        metrics_wants(worker->all->metrics, set);
        poll_set_before(set, worker->all->netns_check_ns);
        if (worker->all->reload)
            reload_wants(worker->all->reload, set);
    }
    poll_set_before(set, pulse_ns(worker, now_ns));
    sources_want(&worker->all->sources, worker->index, set);
    if (pace <= ON_EVENT)
        sources_want_events(&worker->all->sources, worker->index, set);
    if (pace != AT_REST)
        poll_set_before(set, pace == AT_ONCE ? 0 : now_ns + DRAIN_INTERVAL_NS);
    if (poll_set_wait(set, now_ns) > 0 && wake_fd->revents)
        wake_take(worker->wake_fd);
    set->count = exporter_count;
    set->deadline_ns = exporter_deadline_ns;
}

enum pace worker_turn(struct worker *worker)
{
    struct workers *workers = worker->all;
    struct instant begin = instant_now();
    if (workers->count == 1)
        exporter_begin(workers->exporter, begin);
    unsigned drained = sources_drain(&workers->sources, worker->index, workers->limits.drain);
    struct instant now = instant_now();
    if (drained > 0)
        stats_observe(&worker->stats.drain, now.monotonic_ns - begin.monotonic_ns);
    bool more = sources_run(&workers->sources, worker->index, now);
    stats_count(&worker->turns, 1);
    if (worker->index == 0) {
        worker_see_troubles(workers, instant_read_clock(CLOCK_MONOTONIC));
        tell_clock_step(worker);
        pulse(workers);
    }
    worker_export(worker);
    if (drained == workers->limits.drain)
        return AT_ONCE;
    if (atomic_load_explicit(&workers->awaiting, memory_order_relaxed))
        return ON_EVENT;
    return more || drained > 0 ? ON_INTERVAL : AT_REST;
}

void worker_finish(struct worker *worker)
{
    struct sources *sources = &worker->all->sources;
    sources_stop(sources, worker->index);
    do {
        sources_drain(sources, worker->index, worker->all->limits.drain);
        worker_export(worker);
    } while (!sources_are_drained(sources, worker->index));
    while (sources_finish(sources, worker->index))
        worker_export(worker);
}

/* What is read; the exporter has taken its part already. */
static void take_options(struct workers *workers)
{
    struct reading_config config;
    configs_of_reading(&config, reload_options(workers->reload));
    sources_change(&workers->sources, &config.workers.sources);
}

static void see_signals(struct workers *workers)
{
    if (signals_take(workers->signals, instant_read_clock(CLOCK_MONOTONIC)))
        atomic_store_explicit(&workers->totals_wanted, true, memory_order_relaxed);
    if (!workers->reload)
        return;
    if (workers->signals->reload && workers->signals->end_ns == 0)
        reload_ask(workers->reload, workers->exporter);
    workers->signals->reload = false;
    if (reload_run(workers->reload))
        take_options(workers);
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
