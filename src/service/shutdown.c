/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/shutdown.h"

#include <inttypes.h>

#include "ctflow9/base/log.h"

#define LAST_LOOK_NS   (10 * NS_PER_S)
#define LAST_EVENTS_NS (15 * NS_PER_S)
#define LAST_RETRY_NS  (1250 * NS_PER_MS)
#define LAST_COUNT_NS  NS_PER_S

/* A turn of the first worker while the end waits for something. false: another signal, or too long a wait,
 * ends that. */
static bool go_on(struct workers *workers, uint64_t end_ns)
{
    worker_wait(&workers->worker[0], ON_EVENT);
    if (worker_hurried(workers) || worker_has_failed(workers) ||
        instant_read_clock(CLOCK_MONOTONIC) >= end_ns)
        return false;
    worker_turn(&workers->worker[0]);
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
 * it as reported. A look that is cut short still takes a while to end, in which nothing is drained and events
 * may be deferred. Returns how long it took. */
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
    ct_dump_stop(workers->dump);
    return instant_read_clock(CLOCK_MONOTONIC) - begin_ns;
}

bool shutdown_await(struct workers *workers, uint32_t *settled)
{
    uint64_t end_ns = instant_read_clock(CLOCK_MONOTONIC) + LAST_EVENTS_NS;
    atomic_store_explicit(&workers->awaiting, true, memory_order_relaxed);
    bool all = take_deferred(workers, settled, end_ns);
    if (workers->dump)
        end_ns += look_once_more(workers);
    return all && take_deferred(workers, settled, end_ns);
}

void shutdown_see_left_behind(struct workers *workers, uint32_t settled)
{
    uint32_t left_behind = count_deferred(workers) - settled;
    if (left_behind > 0)
        tell_left_behind(workers, left_behind, "");
}
