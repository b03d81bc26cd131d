/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/workers.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/flow/flow_ring.h"
#include "ctflow9/flow/table_size.h"
#include "ctflow9/flow/tracker.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/input/ct_events.h"
#include "ctflow9/input/ct_guard.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/netns.h"
#include "ctflow9/service/export_role.h"
#include "ctflow9/service/signals.h"
#include "ctflow9/service/troubles.h"

#define DRAIN_INTERVAL_NS NS_PER_MS
#define NETNS_CHECK_NS    NS_PER_S
#define IMPATIENCE_NS     NS_PER_S
#define LAST_LOOK_NS      (5 * NS_PER_S)
#define LAST_EVENTS_NS    (15 * NS_PER_S)
#define LAST_RETRY_NS     (1250 * NS_PER_MS)
#define LAST_COUNT_NS     NS_PER_S

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

struct worker {
    struct workers *all;
    unsigned index;
    pthread_t thread; /* not the first one's */
    struct ct_events *events;
    struct tracker *tracker;
    struct flow_ring *notes;     /* from the dump */
    struct flow_ring *questions; /* to the dump */
    struct flow_ring *flows;     /* to the exporter; NULL with one worker */
    struct wall_clock clock;
    uint64_t steps_told; /* of the clock */
    int wake_fd;         /* eventfd: notes are waiting, or it is time to end */
    uint64_t lost_seen;
    struct poll_set exporter_set; /* what the exporter waits for, when this worker was the last to run it */
    struct stats stats;
};

struct workers {
    struct export_role role;
    struct exporter *exporter; /* the holder's of the role */
    struct stats *totals;      /* the exporter counts in it too */
    struct ct_dump *dump;      /* NULL without --active-timeout */
    const char *netns;         /* --netns; empty = none */
    struct netns_id netns_id;  /* the one that is read */
    uint64_t netns_check_ns;   /* monotonic; POLL_SET_NEVER = none is to be watched */
    bool netns_is_gone;
    uint64_t told_ns; /* monotonic; when a signal said to end, 0 = none did yet */
    bool hurried;     /* and another one said to end sooner */
    struct rx_choice rx;
    int signals;
    struct troubles troubles;   /* the first worker's */
    _Atomic int error;          /* the exporter has nobody left to export to */
    _Atomic bool totals_wanted; /* by SIGUSR1 */
    _Atomic bool awaiting; /* events that did not fit: what makes room at once gets more of them at once */
    _Atomic bool stopping;
    unsigned count;
    struct worker worker[];
};

/* A tracker_report: into the ring, in which the drain has made sure of room. */
static void to_ring(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    const struct flow_note note = {.flow = *flow, .kind = FLOW_NOTE_FLOW};
    flow_ring_put(worker->flows, &note);
}

/* A tracker_report of the only worker. */
static void to_exporter(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    exporter_add(worker->all->exporter, flow);
}

/* A ct_events_handler. */
static void to_tracker(void *context, const struct flow *flow)
{
    struct worker *worker = context;
    tracker_destroyed(worker->tracker, flow);
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

static int open_worker(struct worker *worker, const struct options *options, uint64_t began_ns,
                       uint32_t table_limit, struct table_size table_size)
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

static void close_worker(struct worker *worker)
{
    ct_events_close(worker->events);
    tracker_close(worker->tracker);
    flow_ring_close(worker->notes);
    flow_ring_close(worker->questions);
    flow_ring_close(worker->flows);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
}

static int open_dump(struct workers *workers, const struct options *options, uint64_t began_ns)
{
    enum { DUMPS_PER_TIMEOUT = 4 };

    if (options->active_timeout_s == 0)
        return 0;
    struct ct_dump_config config = {.interval_ns = options->active_timeout_s * NS_PER_S / DUMPS_PER_TIMEOUT,
                                    .active_timeout_ns = options->active_timeout_s * NS_PER_S,
                                    .began_ns = began_ns,
                                    .mark = options->mark,
                                    .workers = workers->count};
    for (unsigned i = 0; i < workers->count; i++)
        config.worker[i] = (struct ct_dump_worker){.notes = workers->worker[i].notes,
                                                   .questions = workers->worker[i].questions,
                                                   .wake_fd = workers->worker[i].wake_fd};
    return ct_dump_open(&workers->dump, &config);
}

/* Without --active-timeout nothing gets into the tables. */
static struct table_size choose_table_size(const struct options *options, uint32_t table_limit,
                                           unsigned workers)
{
    if (options->active_timeout_s == 0)
        return (struct table_size){.capacity = 1};
    return table_size_of_worker(options->table_size, table_limit, workers);
}

/* What --workers comes to. */
static unsigned count_workers(const struct options *options)
{
    enum { AUTO_MAX = 8 };

    if (options->workers != 0)
        return options->workers;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores < AUTO_MAX ? (unsigned)cores : AUTO_MAX;
}

int workers_open(struct workers **workers, const struct options *options)
{
    unsigned count = count_workers(options);
    struct workers *new = memory_allocate(sizeof(*new), count, sizeof(new->worker[0]));
    if (!new)
        return -ENOMEM;
    new->count = count;
    new->rx.asked = options->rx;
    new->netns = options->netns;
    new->netns_check_ns = options->netns[0] == '\0' ? POLL_SET_NEVER : 0;
    uint64_t began_ns = instant_read_clock(CLOCK_BOOTTIME);
    uint32_t table_limit = ask_table_limit();
    struct table_size table_size = choose_table_size(options, table_limit, count);
    int error = options->netns[0] == '\0' ? 0 : netns_identify("/proc/thread-self/ns/net", &new->netns_id);
    if (error)
        log_cannot(error, "tell which network namespace this is");
    for (unsigned i = 0; i < new->count; i++)
        new->worker[i] = (struct worker){.all = new, .index = i, .wake_fd = -1};
    for (unsigned i = 0; i < new->count && !error; i++)
        error = open_worker(&new->worker[i], options, began_ns, table_limit, table_size);
    if (!error)
        error = open_dump(new, options, began_ns);
    if (error) {
        workers_close(new);
        return error;
    }
    *workers = new;
    return 0;
}

void workers_close(struct workers *workers)
{
    if (!workers)
        return;
    ct_dump_close(workers->dump);
    for (unsigned i = 0; i < workers->count; i++)
        close_worker(&workers->worker[i]);
    free(workers);
}

static void wake(int fd)
{
    const uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0)
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
static void see_troubles(struct workers *workers, uint64_t now_ns)
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
static void export_once(struct workers *workers)
{
    exporter_begin(workers->exporter, instant_now());
    for (unsigned i = 0; i < workers->count && workers->count > 1; i++)
        take_flows_of(&workers->worker[i]);
    int error = exporter_run(workers->exporter, instant_now());
    if (error) {
        atomic_store_explicit(&workers->error, error, memory_order_relaxed);
        wake(workers->worker[0].wake_fd);
    }
    if (atomic_exchange_explicit(&workers->totals_wanted, false, memory_order_relaxed))
        log_totals(workers);
}

/*
 * Exports what all workers have, unless another does so already, who then goes on until all is done; but not
 * for ever, for it has events of its own to read: after some rounds the next worker is woken to go on.
 */
static void export(struct worker *worker)
{
    struct workers *workers = worker->all;
    poll_set_clear(&worker->exporter_set);
    if (!export_role_take(&workers->role))
        return;
    for (int rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        export_role_begin(&workers->role);
        export_once(workers);
        poll_set_clear(&worker->exporter_set);
        exporter_wants(workers->exporter, &worker->exporter_set);
        if (export_role_release(&workers->role))
            return;
    }
    export_role_give_up(&workers->role);
    wake(workers->worker[(worker->index + 1) % workers->count].wake_fd);
}

/* How soon the next turn has to be. */
enum pace { AT_REST, ON_EVENT, ON_INTERVAL, AT_ONCE };

/* The last one to have run the exporter waits for what the exporter waits for, too. */
static void wait_for_work(struct worker *worker, enum pace pace)
{
    struct poll_set *set = &worker->exporter_set;
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    struct pollfd *wake_fd = &set->fds[set->count];
    poll_set_add(set, worker->wake_fd, POLLIN);
    if (worker->index == 0) {
        poll_set_add(set, worker->all->signals, POLLIN);
        poll_set_before(set, worker->all->netns_check_ns);
    }
    ct_events_wants(worker->events, set);
    if (pace <= ON_EVENT)
        ct_events_wants_event(worker->events, set);
    if (pace != AT_REST)
        poll_set_before(set, pace == AT_ONCE ? 0 : now_ns + DRAIN_INTERVAL_NS);
    uint64_t count;
    if (poll_set_wait(set, now_ns) > 0 && wake_fd->revents &&
        read(worker->wake_fd, &count, sizeof(count)) < 0)
        return; /* another wake-up took it */
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
static enum pace turn(struct worker *worker)
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
        see_troubles(worker->all, instant_read_clock(CLOCK_MONOTONIC));
    if (worker->index == 0)
        tell_clock_step(worker);
    export(worker);
    if (drained == DRAIN_LIMIT)
        return AT_ONCE;
    if (atomic_load_explicit(&worker->all->awaiting, memory_order_relaxed))
        return ON_EVENT;
    return more || drained > 0 ? ON_INTERVAL : AT_REST;
}

/* Ctrl-C on a terminal may reach a script as well, which passes it on: what comes within a second of the
 * first is the same wish. */
static void take_signals(struct workers *workers)
{
    unsigned wishes = signals_take(workers->signals);
    if ((wishes & SIGNALS_TOTALS) != 0)
        atomic_store_explicit(&workers->totals_wanted, true, memory_order_relaxed);
    if ((wishes & SIGNALS_END) == 0)
        return;
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    if (workers->told_ns == 0)
        workers->told_ns = now_ns;
    else if (now_ns - workers->told_ns >= IMPATIENCE_NS)
        workers->hurried = true;
}

static bool is_told_to_end(struct workers *workers)
{
    take_signals(workers);
    return workers->told_ns != 0;
}

static bool is_hurried(struct workers *workers)
{
    take_signals(workers);
    return workers->hurried;
}

static bool has_failed(struct workers *workers)
{
    return atomic_load_explicit(&workers->error, memory_order_relaxed) != 0;
}

/* Whether another namespace has the name by now. The one that is read stays as long as our sockets. */
static bool has_netns_moved(struct workers *workers)
{
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    if (now_ns < workers->netns_check_ns)
        return false;
    workers->netns_check_ns = now_ns + NETNS_CHECK_NS;
    struct netns_id present;
    int error = netns_identify(workers->netns, &present);
    if (error && !workers->netns_is_gone)
        log_warnx("network namespace %s was removed (%s): reading what is left of it, until there is one of "
                  "that name again",
                  workers->netns, strerror(-error));
    workers->netns_is_gone = error != 0;
    if (error || netns_is_same(&present, &workers->netns_id))
        return false;
    log_info("network namespace %s is another one now: going over to it", workers->netns);
    return true;
}

/* Hears no more, and hands on what the kernel has already sent, and what is known of connections that last.
 */
static void finish_worker(struct worker *worker)
{
    ct_events_stop(worker->events);
    do {
        ct_events_drain(worker->events, room(worker, DRAIN_LIMIT), to_tracker, worker);
        export(worker);
    } while (!ct_events_is_drained(worker->events));
    while (tracker_finish(worker->tracker, room(worker, LOOK_LIMIT)))
        export(worker);
    ct_events_run(worker->events, instant_now());
}

/* true: because the namespace has moved. */
static bool run_worker(struct worker *worker)
{
    struct workers *workers = worker->all;
    enum pace pace = AT_REST;
    export(worker); /* templates leave before the first flow */
    while (!atomic_load_explicit(&workers->stopping, memory_order_relaxed)) {
        wait_for_work(worker, pace);
        if (worker->index == 0 && (is_told_to_end(workers) || has_failed(workers)))
            break;
        if (worker->index == 0 && has_netns_moved(workers))
            return true;
        pace = turn(worker);
    }
    return false;
}

/* A turn of the first worker while the end waits for something. false: another signal, or too long a wait,
 * ends that. */
static bool go_on(struct workers *workers, uint64_t end_ns)
{
    wait_for_work(&workers->worker[0], ON_EVENT);
    if (is_hurried(workers) || has_failed(workers) || instant_read_clock(CLOCK_MONOTONIC) >= end_ns)
        return false;
    turn(&workers->worker[0]);
    return true;
}

/* Modulo 2^32. */
static uint32_t count_deferred(const struct workers *workers)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < workers->count; i++)
        count += ct_events_deferred(workers->worker[i].events);
    return count;
}

static void tell_left_behind(struct workers *workers, uint64_t count, const char *at_least)
{
    stats_count(&workers->worker[0].stats.left_behind, count);
    log_warnx(
        "the end came while the kernel still kept the events of %s%" PRIu64 " ended connections: what was "
        "not reported of them before is lost unless ctflow9 starts again within a second; raise --rcvbuf",
        at_least, count);
}

/* The wait was too long: what the kernel still has is lost when nobody listens any more. */
static void leave_behind(struct workers *workers)
{
    uint64_t count;
    int error = ct_events_count_kept(workers->worker[0].events, UINT64_MAX, LAST_COUNT_NS, &count);
    if (error || count > 0)
        tell_left_behind(workers, count, error ? "at least " : "");
}

static bool keeps_none(struct workers *workers)
{
    uint64_t count;
    return ct_events_count_kept(workers->worker[0].events, 1, 0, &count) == 0 && count == 0;
}

/*
 * At the end: events that did not fit. The kernel throws them away once nobody listens. It tries to send them
 * a second after the first of them did not fit, and then every 10 ms, until one does not fit
 * (net/netfilter/nf_conntrack_ecache.c). When all did for longer than a second it has no more, unless it is
 * still about it or has not come to it: its list of them tells, but reading it holds up the sending, so it is
 * asked for only then.
 *
 * settled is the count of those that did not fit when the kernel had none before, end_ns when to give up.
 * false: it was given up.
 */
static bool take_deferred(struct workers *workers, uint32_t *settled, uint64_t end_ns)
{
    uint64_t ask_ns = instant_read_clock(CLOCK_MONOTONIC) + LAST_RETRY_NS;
    for (uint32_t deferred = count_deferred(workers); deferred != *settled;) {
        if (!go_on(workers, end_ns)) {
            leave_behind(workers);
            return false;
        }
        uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
        uint32_t before = deferred;
        deferred = count_deferred(workers);
        if (deferred == before && now_ns < ask_ns)
            continue;
        ask_ns = now_ns + LAST_RETRY_NS;
        if (deferred == before && keeps_none(workers))
            *settled = deferred;
    }
    return true;
}

/* At the end: what connections have carried that was not reported yet, so that the next start can take all of
 * it as reported. Returns how long it took. */
static uint64_t look_once_more(struct workers *workers)
{
    uint64_t begin_ns = instant_read_clock(CLOCK_MONOTONIC);
    bool goes_on = true;
    ct_dump_finish(workers->dump);
    while (goes_on && !ct_dump_is_over(workers->dump))
        goes_on = go_on(workers, begin_ns + LAST_LOOK_NS);
    if (!goes_on)
        log_warnx("the last look at the conntrack table was cut short: what some connections that last "
                  "have carried since the one before is not reported");
    return instant_read_clock(CLOCK_MONOTONIC) - begin_ns;
}

/*
 * While events are awaited, connections that last go on: so the look comes after that, and after the look,
 * during which events may have been deferred, those are awaited too. false: something was left behind, and
 * was counted.
 */
static bool end(struct workers *workers, uint32_t *settled)
{
    uint64_t end_ns = instant_read_clock(CLOCK_MONOTONIC) + LAST_EVENTS_NS;
    atomic_store_explicit(&workers->awaiting, true, memory_order_relaxed);
    bool all = take_deferred(workers, settled, end_ns);
    if (workers->dump)
        end_ns += look_once_more(workers);
    return all && take_deferred(workers, settled, end_ns);
}

static void *run_thread(void *context)
{
    run_worker(context);
    finish_worker(context);
    return NULL;
}

/* How many threads run, the calling one included. */
static unsigned start_threads(struct workers *workers)
{
    unsigned running = 1;
    for (; running < workers->count; running++) {
        struct worker *worker = &workers->worker[running];
        errno = pthread_create(&worker->thread, NULL, run_thread, worker);
        if (errno != 0)
            break;
    }
    return running;
}

static void stop_threads(struct workers *workers, unsigned running)
{
    atomic_store_explicit(&workers->stopping, true, memory_order_relaxed);
    for (unsigned i = 1; i < running; i++)
        wake(workers->worker[i].wake_fd);
    for (unsigned i = 1; i < running; i++)
        pthread_join(workers->worker[i].thread, NULL);
}

/* Ends the reading: first with all that the kernel has, then whatever has come meanwhile. */
static void finish(struct workers *workers, unsigned running, bool dumping)
{
    uint32_t settled = 0;
    workers->netns_check_ns = POLL_SET_NEVER;
    bool is_counted = has_failed(workers) || !end(workers, &settled); /* or there is nobody to report to */
    if (dumping)
        ct_dump_stop(workers->dump);
    finish_worker(&workers->worker[0]);
    stop_threads(workers, running);
    uint32_t left_behind = count_deferred(workers) - settled;
    if (!is_counted && left_behind > 0)
        tell_left_behind(workers, left_behind, "");
}

int workers_run(struct workers *workers, struct exporter *exporter, struct stats *totals, int signals)
{
    workers->exporter = exporter;
    workers->totals = totals;
    workers->signals = signals;

    unsigned running = start_threads(workers);
    int outcome = running < workers->count ? -errno : 0;
    bool dumping = !outcome && workers->dump;
    if (dumping)
        outcome = ct_dump_start(workers->dump);
    if (outcome) {
        log_cannot(outcome, "start a thread");
        stop_threads(workers, running);
    } else {
        bool moved = run_worker(&workers->worker[0]);
        finish(workers, running, dumping);
        outcome = moved && workers->told_ns == 0 ? WORKERS_MOVED : 0;
    }
    export_once(workers);
    see_troubles(workers, UINT64_MAX);
    for (unsigned i = 0; i < workers->count; i++)
        stats_add(totals, &workers->worker[i].stats);
    int error = atomic_load_explicit(&workers->error, memory_order_relaxed);
    return error ? error : outcome;
}
