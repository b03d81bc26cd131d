/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctflow9/poll_set.h"

#define DRAIN_INTERVAL_NS NS_PER_MS
#define DRAIN_LIMIT       8192U /* messages between two looks at everything else */

struct loop {
    struct ct_events *events;
    struct exporter *exporter;
    const struct stats *stats;
    int signals;
};

int loop_open_signals(void)
{
    sigset_t handled;
    sigemptyset(&handled);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGUSR1);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &handled, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void log_totals(const struct loop *loop)
{
    stats_log(loop->stats);
    exporter_log_stats(loop->exporter);
}

/* false when it is time to end. */
static bool handle_signals(const struct loop *loop)
{
    struct signalfd_siginfo info;
    while (read(loop->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGUSR1)
            return false;
        log_totals(loop);
    }
    return true;
}

/* Until something is to be done. now is the time that the interval is counted from. */
static void wait_for_work(const struct loop *loop, struct instant now, unsigned drained)
{
    struct poll_set set;
    poll_set_clear(&set);
    poll_set_add(&set, loop->signals, POLLIN);
    ct_events_wants(loop->events, &set);
    exporter_wants(loop->exporter, &set);
    if (drained == 0)
        ct_events_wants_event(loop->events, &set);
    else
        poll_set_before(&set, drained < DRAIN_LIMIT ? now.monotonic_ns + DRAIN_INTERVAL_NS : 0);
    poll_set_wait(&set, now.monotonic_ns);
}

static unsigned drain(const struct loop *loop, struct instant now)
{
    exporter_begin(loop->exporter, now);
    return ct_events_drain(loop->events, DRAIN_LIMIT, exporter_add, loop->exporter);
}

static void finish(const struct loop *loop)
{
    struct instant now = instant_now();
    ct_events_stop(loop->events);
    while (drain(loop, now) > 0) {
        now = instant_now();
        exporter_run(loop->exporter, now);
    }
    ct_events_run(loop->events, now);
    exporter_finish(loop->exporter);
    log_totals(loop);
}

int loop_run(struct ct_events *events, struct exporter *exporter, struct stats *stats, int signals)
{
    const struct loop loop = {.events = events, .exporter = exporter, .stats = stats, .signals = signals};
    struct instant now = instant_now();
    int error = exporter_run(exporter, now); /* templates leave before the first flow */
    unsigned drained = 0;

    while (!error) {
        wait_for_work(&loop, now, drained);
        if (!handle_signals(&loop))
            break;
        drained = drain(&loop, instant_now());
        now = instant_now();
        ct_events_run(events, now);
        error = exporter_run(exporter, now);
    }
    finish(&loop);
    return error == -EPIPE ? 0 : error;
}
