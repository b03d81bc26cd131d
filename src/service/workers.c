/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/service/shutdown.h"
#include "ctflow9/service/worker.h"

#define NETNS_CHECK_NS NS_PER_S

static const struct worker_limits default_limits = {.drain = 8192, .flows_ring = 16384, .rounds = 8};

static unsigned count_workers(unsigned wanted)
{
    enum { AUTO_MAX = 8 };

    if (wanted != 0)
        return wanted;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores < AUTO_MAX ? (unsigned)cores : AUTO_MAX;
}

static int identify_netns(struct workers *workers)
{
    workers->netns_check_ns = POLL_SET_NEVER;
    if (workers->netns[0] == '\0')
        return 0;
    workers->netns_check_ns = 0;
    int error = netns_identify("/proc/thread-self/ns/net", &workers->netns_id);
    if (error)
        log_cannot(error, "tell which network namespace this is");
    return error;
}

static int open_workers(struct workers *workers)
{
    int error = 0;
    for (unsigned i = 0; i < workers->count; i++)
        workers->worker[i] = (struct worker){.all = workers, .index = i, .wake_fd = -1};
    for (unsigned i = 0; i < workers->count && !error; i++)
        error = worker_open(&workers->worker[i]);
    if (error)
        log_cannot(error, "set up a worker");
    return error;
}

static int open_sources(struct workers *workers, const struct sources_config *config)
{
    struct source_worker *own = calloc(workers->count, sizeof(*own));
    if (!own)
        return -ENOMEM;
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->worker[i];
        own[i] = (struct source_worker){.outlet = worker->outlet,
                                        .clock = &worker->clock,
                                        .stats = &worker->stats,
                                        .wake_fd = worker->wake_fd};
    }
    int error = sources_open(&workers->sources, config, own, workers->count);
    free(own);
    return error;
}

static int open_interfaces(struct workers *workers, const struct workers_config *config)
{
    struct interfaces_config interfaces = config->interfaces;
    interfaces.wake_fd = workers->worker[0].wake_fd;
    return interfaces.numbers ? interfaces_open(&workers->interfaces, &interfaces) : 0;
}

int workers_open(struct workers **workers, const struct workers_config *config)
{
    unsigned count = count_workers(config->count);
    struct workers *opened = memory_allocate(sizeof(*opened), count, sizeof(opened->worker[0]));
    if (!opened)
        return -ENOMEM;
    opened->count = count;
    opened->limits = config->limits.drain == 0 ? default_limits : config->limits;
    opened->netns = config->netns;
    opened->notify = config->notify;
    opened->metrics = config->metrics;
    opened->reload = config->reload;
    opened->marks = config->marks;
    opened->are_renumbered = config->interfaces.numbers && config->interfaces.numbers->count > 0;
    int error = open_workers(opened);
    if (!error)
        error = identify_netns(opened);
    if (!error)
        error = open_sources(opened, &config->sources);
    if (!error)
        error = open_interfaces(opened, config);
    if (error) {
        workers_close(opened);
        return error;
    }
    *workers = opened;
    return 0;
}

void workers_close(struct workers *workers)
{
    if (!workers)
        return;
    sources_close(&workers->sources);
    interfaces_close(workers->interfaces);
    for (unsigned i = 0; i < workers->count; i++)
        worker_close(&workers->worker[i]);
    free(workers);
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

/* true: because the namespace has moved. */
static bool run_worker(struct worker *worker)
{
    struct workers *workers = worker->all;
    enum pace pace = AT_REST;
    worker_export(worker); /* templates leave before the first flow */
    while (!atomic_load_explicit(&workers->stopping, memory_order_relaxed)) {
        worker_wait(worker, pace);
        if (worker->index == 0 && (worker_told_to_end(workers) || worker_has_failed(workers)))
            break;
        if (worker->index == 0 && has_netns_moved(workers))
            return true;
        pace = worker_turn(worker);
    }
    return false;
}

static void *run_thread(void *context)
{
    run_worker(context);
    worker_finish(context);
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
        worker_wake(&workers->worker[i]);
    for (unsigned i = 1; i < running; i++)
        pthread_join(workers->worker[i].thread, NULL);
}

/* Ends the reading: first with all that the kernel has, then whatever has come meanwhile. */
static void finish(struct workers *workers, unsigned running)
{
    workers->netns_check_ns = POLL_SET_NEVER;
    if (!worker_has_failed(workers))
        shutdown_await(workers);
    sources_halt(&workers->sources);
    worker_finish(&workers->worker[0]);
    stop_threads(workers, running);
    sources_ended(&workers->sources);
}

int workers_run(struct workers *workers, struct exporter *exporter, struct stats *totals,
                struct signals *signals)
{
    workers->exporter = exporter;
    workers->totals = totals;
    workers->signals = signals;

    unsigned running = start_threads(workers);
    int outcome = running < workers->count ? -errno : 0;
    if (!outcome && workers->interfaces)
        outcome = interfaces_start(workers->interfaces);
    if (!outcome)
        outcome = sources_start(&workers->sources);
    if (outcome) {
        log_cannot(outcome, "start a thread");
        sources_halt(&workers->sources);
        stop_threads(workers, running);
    } else {
        notify_tell(workers->notify, NOTIFY_READY);
        bool moved = run_worker(&workers->worker[0]);
        if (!moved)
            notify_tell(workers->notify, NOTIFY_STOPPING);
        finish(workers, running);
        outcome = moved && workers->signals->end_ns == 0 ? WORKERS_MOVED : 0;
    }
    interfaces_stop(workers->interfaces);
    worker_export_once(workers);
    worker_see_troubles(workers, UINT64_MAX);
    for (unsigned i = 0; i < workers->count; i++)
        stats_add_ended(totals, &workers->worker[i].stats);
    int error = atomic_load_explicit(&workers->error, memory_order_relaxed);
    return error ? error : outcome;
}

static void answer_metrics(struct metrics *metrics, struct exporter *exporter, const struct stats *totals)
{
    struct metrics_sample *sample = metrics_wished(metrics);
    if (!sample)
        return;
    memcpy(&sample->total, totals, sizeof(*totals));
    exporter_sample(exporter, sample);
    metrics_filled(metrics);
}

static bool is_netns_there(const char *netns, bool *told)
{
    struct netns_id present;
    if (netns_identify(netns, &present) == 0)
        return true;
    if (!*told)
        log_warnx("network namespace %s is gone again: waiting until there is one of that name", netns);
    *told = true;
    return false;
}

bool workers_await_netns(const char *netns, struct exporter *exporter, const struct stats *totals,
                         struct signals *signals, struct notify *notify, struct metrics *metrics,
                         struct reload *reload)
{
    bool told = false;
    while (signals->end_ns == 0 && (!is_netns_there(netns, &told) || reload_is_running(reload))) {
        struct poll_set set;
        poll_set_clear(&set);
        poll_set_add(&set, signals->fd, POLLIN);
        reload_wants(reload, &set);
        exporter_begin(exporter, instant_now());
        exporter_run(exporter, instant_now());
        answer_metrics(metrics, exporter, totals);
        exporter_wants(exporter, &set);
        metrics_wants(metrics, &set);
        uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
        if (now_ns >= notify_next_ns(notify))
            notify_pulse(notify, now_ns, totals, exporter_records_dropped(exporter), true);
        poll_set_before(&set, now_ns + NETNS_CHECK_NS);
        poll_set_wait(&set, now_ns);
        signals_take(signals, instant_read_clock(CLOCK_MONOTONIC));
        reload_run(reload);
    }
    return signals->end_ns == 0;
}
