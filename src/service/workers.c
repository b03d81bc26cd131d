/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/workers.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctflow9/ct_dump.h"
#include "ctflow9/ct_events.h"
#include "ctflow9/ct_guard.h"
#include "ctflow9/export_role.h"
#include "ctflow9/flow_ring.h"
#include "ctflow9/log.h"
#include "ctflow9/memory.h"
#include "ctflow9/netlink_socket.h"
#include "ctflow9/poll_set.h"
#include "ctflow9/table_size.h"
#include "ctflow9/tracker.h"
#include "ctflow9/troubles.h"

#define DRAIN_INTERVAL_NS NS_PER_MS
#define LAST_LOOK_NS      (5 * NS_PER_S)
#define LAST_EVENTS_NS    (5 * NS_PER_S)
#define LAST_RETRY_NS     (1250 * NS_PER_MS)

enum {
    DRAIN_LIMIT = 8192, /* events between two looks at everything else */
    NOTES_LIMIT = 1024, /* rows of a dump, likewise */
    LOOK_LIMIT = 16384, /* table entries, likewise */
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
    int wake_fd;                 /* eventfd: notes are waiting, or it is time to end */
    uint64_t lost_seen;
    struct poll_set exporter_set; /* what the exporter waits for, when this worker was the last to run it */
    struct stats stats;
};

struct workers {
    struct export_role role;
    struct exporter *exporter; /* the holder's of the role */
    const struct stats *exporter_stats;
    struct ct_dump *dump; /* NULL without --active-timeout */
    enum rx_kind rx;
    int signals;
    struct troubles troubles;   /* the first worker's */
    _Atomic int error;          /* the exporter has nobody left to export to */
    _Atomic bool totals_wanted; /* by SIGUSR1 */
    _Atomic bool stopping;
    unsigned count;
    struct worker worker[];
};

int workers_open_signals(void)
{
    sigset_t handled;
    sigemptyset(&handled);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGUSR1);
    /* What they tell is an errno of write(): EPIPE, and EFBIG beyond RLIMIT_FSIZE. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
        sigprocmask(SIG_BLOCK, &handled, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

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
        .rx = worker->all->rx,
        .filter = {.mark = options->mark, .share = {.index = worker->index, .count = all->count}},
        .stats = &worker->stats};
    const struct tracker_config tracker = {.capacity = table_size.capacity,
                                           .reserve = table_size.reserve,
                                           .repeats_max = (table_limit + all->count - 1) / all->count,
                                           .active_timeout_ns = options->active_timeout_s * NS_PER_S,
                                           .began_ns = began_ns,
                                           .adopt_full = options->adopt == ADOPT_FULL,
                                           .stats = &worker->stats};
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
    new->rx = options->rx;
    uint64_t began_ns = instant_read_clock(CLOCK_REALTIME);
    uint32_t table_limit = ask_table_limit();
    struct table_size table_size = choose_table_size(options, table_limit, count);
    int error = rx_choose(&new->rx);
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
    stats_add(&total, workers->exporter_stats);
    for (unsigned i = 0; i < workers->count; i++)
        stats_add(&total, &workers->worker[i].stats);
    return total;
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

static void take_flows(struct workers *workers)
{
    for (unsigned i = 0; i < workers->count; i++) {
        struct flow_ring *flows = workers->worker[i].flows;
        for (const struct flow_note *note; flows && (note = flow_ring_peek(flows)); flow_ring_take(flows))
            exporter_add(workers->exporter, &note->flow);
    }
}

/* For the holder of the role. */
static void export_once(struct workers *workers)
{
    struct instant now = instant_now();
    exporter_begin(workers->exporter, now);
    take_flows(workers);
    int error = exporter_run(workers->exporter, instant_now());
    if (error) {
        atomic_store_explicit(&workers->error, error, memory_order_relaxed);
        wake(workers->worker[0].wake_fd);
    }
    if (atomic_exchange_explicit(&workers->totals_wanted, false, memory_order_relaxed))
        log_totals(workers);
}

/* Exports what all workers have, unless another does so already, who then goes on until all is done. */
static void export(struct worker *worker)
{
    struct workers *workers = worker->all;
    poll_set_clear(&worker->exporter_set);
    if (!export_role_take(&workers->role))
        return;
    do {
        export_role_begin(&workers->role);
        export_once(workers);
        poll_set_clear(&worker->exporter_set);
        exporter_wants(workers->exporter, &worker->exporter_set);
    } while (!export_role_release(&workers->role));
}

/* How soon the next turn has to be. */
enum pace { AT_REST, ON_INTERVAL, AT_ONCE };

/* The last one to have run the exporter waits for what the exporter waits for, too. */
static void wait_for_work(struct worker *worker, enum pace pace)
{
    struct poll_set *set = &worker->exporter_set;
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    struct pollfd *wake_fd = &set->fds[set->count];
    poll_set_add(set, worker->wake_fd, POLLIN);
    if (worker->index == 0)
        poll_set_add(set, worker->all->signals, POLLIN);
    ct_events_wants(worker->events, set);
    if (pace == AT_REST)
        ct_events_wants_event(worker->events, set);
    else
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
    for (unsigned left = room(worker, NOTES_LIMIT); note && left > 0; left--) {
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
    export(worker);
    if (drained == DRAIN_LIMIT)
        return AT_ONCE;
    return more || drained > 0 ? ON_INTERVAL : AT_REST;
}

/* false when it is time to end. */
static bool handle_signals(struct workers *workers)
{
    struct signalfd_siginfo info;
    while (read(workers->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGUSR1)
            return false;
        atomic_store_explicit(&workers->totals_wanted, true, memory_order_relaxed);
    }
    return atomic_load_explicit(&workers->error, memory_order_relaxed) == 0;
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

static void run_worker(struct worker *worker)
{
    struct workers *workers = worker->all;
    enum pace pace = AT_REST;
    export(worker); /* templates leave before the first flow */
    while (!atomic_load_explicit(&workers->stopping, memory_order_relaxed)) {
        wait_for_work(worker, pace);
        if (worker->index == 0 && !handle_signals(workers))
            break;
        pace = turn(worker);
    }
}

/* A turn of the first worker while the end waits for something. false: another signal, or too long a wait,
 * ends that. */
static bool go_on(struct workers *workers, uint64_t end_ns)
{
    wait_for_work(&workers->worker[0], ON_INTERVAL);
    if (!handle_signals(workers) || instant_read_clock(CLOCK_MONOTONIC) >= end_ns)
        return false;
    turn(&workers->worker[0]);
    return true;
}

static uint64_t count_deferred(const struct workers *workers)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < workers->count; i++)
        count += ct_events_deferred(workers->worker[i].events);
    return count;
}

/*
 * At the end: events that did not fit. The kernel throws them away once nobody listens. It tries to send them
 * a second after the first of them did not fit, and then every 10 ms, until one does not fit
 * (net/netfilter/nf_conntrack_ecache.c): when all did for longer than a second, it has no more. Its list of
 * them would tell the same, but takes seconds to read when it is long, and holds up the sending.
 */
static void take_deferred(struct workers *workers)
{
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    uint64_t end_ns = now_ns + LAST_EVENTS_NS;
    uint64_t deferred = 0, changed_ns = now_ns;
    for (uint64_t count = count_deferred(workers); count > 0; count = count_deferred(workers)) {
        now_ns = instant_read_clock(CLOCK_MONOTONIC);
        if (count != deferred)
            changed_ns = now_ns;
        else if (now_ns - changed_ns >= LAST_RETRY_NS)
            return;
        deferred = count;
        if (!go_on(workers, end_ns)) {
            log_warnx("the end came before all events that the kernel had kept: their connections are not "
                      "reported, unless ctflow9 starts again soon");
            return;
        }
    }
}

/* At the end: what connections have carried that was not reported yet, so that the next start can take all of
 * it as reported. */
static void look_once_more(struct workers *workers)
{
    uint64_t end_ns = instant_read_clock(CLOCK_MONOTONIC) + LAST_LOOK_NS;
    ct_dump_finish(workers->dump);
    while (!ct_dump_is_over(workers->dump))
        if (!go_on(workers, end_ns)) {
            log_warnx("the last look at the conntrack table was cut short: what some connections that last "
                      "have carried since the one before is not reported");
            return;
        }
}

static void end(struct workers *workers)
{
    if (atomic_load_explicit(&workers->error, memory_order_relaxed) != 0)
        return; /* there is nobody to report to */
    take_deferred(workers);
    if (workers->dump)
        look_once_more(workers);
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

int workers_run(struct workers *workers, struct exporter *exporter, const struct stats *exporter_stats,
                int signals)
{
    workers->exporter = exporter;
    workers->exporter_stats = exporter_stats;
    workers->signals = signals;

    unsigned running = start_threads(workers);
    int error = running < workers->count ? -errno : 0;
    bool dumping = !error && workers->dump;
    if (dumping)
        error = ct_dump_start(workers->dump);
    if (error) {
        log_cannot(error, "start a thread");
    } else {
        run_worker(&workers->worker[0]);
        end(workers);
        if (dumping)
            ct_dump_stop(workers->dump);
    }
    finish_worker(&workers->worker[0]);
    stop_threads(workers, running);
    export_once(workers);
    exporter_finish(exporter);
    see_troubles(workers, UINT64_MAX);
    log_totals(workers);
    return error ? error : atomic_load_explicit(&workers->error, memory_order_relaxed);
}
