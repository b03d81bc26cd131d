/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_end.h"

#include <inttypes.h>

#include "ctflow9/base/log.h"

#define LAST_LOOK_NS   (10 * NS_PER_S)
#define LAST_EVENTS_NS (15 * NS_PER_S)
#define LAST_RETRY_NS  (1250 * NS_PER_MS)
#define LAST_COUNT_NS  NS_PER_S

/* Modulo 2^32. */
static uint32_t count_deferred(const struct ct_end *end)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < end->workers; i++)
        count += ct_events_deferred(end->events[i]);
    return count;
}

static void tell_left_behind(struct ct_end *end, uint64_t count, const char *at_least)
{
    stats_count(&end->stats->left_behind, count);
    log_warnx(
        "the end came while the kernel still kept the events of %s%" PRIu64 " ended connections: what was "
        "not reported of them before is lost unless ctflow9 starts again within a second; raise --rcvbuf",
        at_least, count);
}

/* The wait was too long: what the kernel still has is lost when nobody listens any more. */
static void leave_behind(struct ct_end *end)
{
    uint64_t count;
    int error = ct_events_count_kept(end->events[0], UINT64_MAX, LAST_COUNT_NS, &count);
    end->is_counted = true;
    if (error || count > 0)
        tell_left_behind(end, count, error ? "at least " : "");
}

static bool keeps_none(const struct ct_end *end)
{
    uint64_t count;
    return ct_events_count_kept(end->events[0], 1, 0, &count) == 0 && count == 0;
}

static void begin_events(struct ct_end *end, enum ct_end_step step, uint64_t now_ns)
{
    end->step = step;
    end->deferred = count_deferred(end);
    end->ask_ns = now_ns + LAST_RETRY_NS;
}

/*
 * Events that did not fit. The kernel throws them away once nobody listens. It tries to send them a second
 * after the first of them did not fit, and then every 10 ms, until one does not fit
 * (net/netfilter/nf_conntrack_ecache.c). When all did for longer than a second it has no more, unless it is
 * still about it or has not come to it: its list of them tells, but reading it holds up the sending, so it is
 * asked for only then. true: there are none.
 */
static bool are_settled(struct ct_end *end, uint64_t now_ns)
{
    uint32_t before = end->deferred;
    end->deferred = count_deferred(end);
    if (end->deferred == end->settled)
        return true;
    if (end->deferred == before && now_ns < end->ask_ns)
        return false;
    end->ask_ns = now_ns + LAST_RETRY_NS;
    if (end->deferred == before && keeps_none(end))
        end->settled = end->deferred;
    return end->deferred == end->settled;
}

/* true: it goes on. */
static bool await_events(struct ct_end *end, uint64_t now_ns, bool hurried)
{
    if (are_settled(end, now_ns))
        return false;
    if (!hurried && now_ns < end->end_ns)
        return true;
    leave_behind(end);
    return false;
}

/* What connections have carried that was not reported yet, so that the next start can take all of it as
 * reported. true: it goes on. */
static bool await_look(struct ct_end *end, uint64_t now_ns, bool hurried)
{
    bool is_over = ct_dump_is_over(end->dump);
    if (!is_over && !hurried && now_ns < end->look_begin_ns + LAST_LOOK_NS)
        return true;
    if (!is_over)
        log_warnx("the last look at the conntrack table was cut short: what some connections that last "
                  "have carried since the one before is not reported");
    return false;
}

static void begin_look(struct ct_end *end, uint64_t now_ns)
{
    end->step = end->dump ? CT_END_LOOK : CT_END_OVER;
    end->look_begin_ns = now_ns;
    if (end->dump)
        ct_dump_finish(end->dump);
}

/* A look that is cut short still takes a while to end, in which nothing is drained and events may be
 * deferred: its time is not taken from theirs. */
static void end_look(struct ct_end *end)
{
    ct_dump_stop(end->dump);
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    end->end_ns += now_ns - end->look_begin_ns;
    begin_events(end, end->is_counted ? CT_END_OVER : CT_END_LATE_EVENTS, now_ns);
}

bool ct_end_await(struct ct_end *end, bool hurried)
{
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    if (end->step == CT_END_BEGIN) {
        end->end_ns = now_ns + LAST_EVENTS_NS;
        begin_events(end, CT_END_EVENTS, now_ns);
    }
    if (end->step == CT_END_EVENTS && !await_events(end, now_ns, hurried))
        begin_look(end, now_ns);
    if (end->step == CT_END_LOOK && !await_look(end, now_ns, hurried))
        end_look(end);
    if (end->step == CT_END_LATE_EVENTS && !await_events(end, now_ns, hurried))
        end->step = CT_END_OVER;
    return end->step != CT_END_OVER;
}

void ct_end_see_left_behind(struct ct_end *end)
{
    if (end->step != CT_END_OVER || end->is_counted)
        return;
    uint32_t left_behind = count_deferred(end) - end->settled;
    if (left_behind > 0)
        tell_left_behind(end, left_behind, "");
}
