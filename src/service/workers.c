/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/input/ct_guard.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/service/shutdown.h"
#include "ctflow9/service/worker.h"

#define NETNS_CHECK_NS NS_PER_S

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
    struct workers *opened = memory_allocate(sizeof(*opened), count, sizeof(opened->worker[0]));
    if (!opened)
        return -ENOMEM;
    opened->count = count;
    opened->rx.asked = options->rx;
    opened->netns = options->netns;
    opened->netns_check_ns = options->netns[0] == '\0' ? POLL_SET_NEVER : 0;
    uint64_t began_ns = instant_read_clock(CLOCK_BOOTTIME);
    uint32_t table_limit = ask_table_limit();
    struct table_size table_size = choose_table_size(options, table_limit, count);
    int error = options->netns[0] == '\0' ? 0 : netns_identify("/proc/thread-self/ns/net", &opened->netns_id);
    if (error)
        log_cannot(error, "tell which network namespace this is");
    for (unsigned i = 0; i < opened->count; i++)
        opened->worker[i] = (struct worker){.all = opened, .index = i, .wake_fd = -1};
    for (unsigned i = 0; i < opened->count && !error; i++)
        error = worker_open(&opened->worker[i], options, began_ns, table_limit, table_size);
    if (!error)
        error = open_dump(opened, options, began_ns);
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
    ct_dump_close(workers->dump);
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
    uint32_t settled = 0;
    workers->netns_check_ns = POLL_SET_NEVER;
    bool nobody_is_told = worker_has_failed(workers);
    bool is_counted = nobody_is_told || !shutdown_await(workers, &settled);
    if (nobody_is_told && workers->dump)
        ct_dump_stop(workers->dump);
    worker_finish(&workers->worker[0]);
    stop_threads(workers, running);
    if (!is_counted)
        shutdown_see_left_behind(workers, settled);
}

int workers_run(struct workers *workers, struct exporter *exporter, struct stats *totals,
                struct signals *signals)
{
    workers->exporter = exporter;
    workers->totals = totals;
    workers->signals = signals;

    unsigned running = start_threads(workers);
    int outcome = running < workers->count ? -errno : 0;
    if (!outcome && workers->dump)
        outcome = ct_dump_start(workers->dump);
    if (outcome) {
        log_cannot(outcome, "start a thread");
        stop_threads(workers, running);
    } else {
        bool moved = run_worker(&workers->worker[0]);
        finish(workers, running);
        outcome = moved && workers->signals->end_ns == 0 ? WORKERS_MOVED : 0;
    }
    worker_export_once(workers);
    worker_see_troubles(workers, UINT64_MAX);
    for (unsigned i = 0; i < workers->count; i++)
        stats_add(totals, &workers->worker[i].stats);
    int error = atomic_load_explicit(&workers->error, memory_order_relaxed);
    return error ? error : outcome;
}

bool workers_await_netns(const char *netns, struct exporter *exporter, struct signals *signals)
{
    struct netns_id present;
    for (bool told = false; signals->end_ns == 0 && netns_identify(netns, &present) != 0; told = true) {
        if (!told)
            log_warnx("network namespace %s is gone again: waiting until there is one of that name", netns);
        struct poll_set set;
        poll_set_clear(&set);
        poll_set_add(&set, signals->fd, POLLIN);
        exporter_begin(exporter, instant_now());
        exporter_run(exporter, instant_now());
        exporter_wants(exporter, &set);
        uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
        poll_set_before(&set, now_ns + NETNS_CHECK_NS);
        poll_set_wait(&set, now_ns);
        signals_take(signals, instant_read_clock(CLOCK_MONOTONIC));
    }
    return signals->end_ns == 0;
}
