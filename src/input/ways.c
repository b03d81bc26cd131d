/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ways.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/thread.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/input/route_asker.h"

enum {
    KEPT_MAX = 8192,        /* flows of a worker that wait for an answer */
    QUESTIONS_A_TURN = 256, /* between two looks at changes */
};

/* How long the kernel is still asked at the end. */
#define END_NS (2 * NS_PER_S)

/* What one worker has of it. */
struct part {
    struct ways_worker worker;
    struct route_state state; /* as of the batch */
    struct flow_ring *questions, *answers;
    unsigned kept;  /* in both rings, or between them */
    bool has_asked; /* since the thread was last woken */
};

struct ways {
    struct route_asker *asker; /* the thread's */
    int wake_fd;               /* wake.h: there are questions, or it is time to stop */
    _Atomic bool stopping;
    _Atomic uint64_t end_ns; /* monotonic: from then on flows come back without an answer; 0 = never */
    bool is_running;
    pthread_t thread;
    unsigned workers;
    struct part part[];
};

/* ---- the thread ---- */

/* Returns whether there were any. Each has a place among the answers: no more are kept than those hold. */
static bool answer(struct ways *ways, struct part *part, bool is_over)
{
    unsigned answered = 0;
    const struct flow_note *question;
    while (answered < QUESTIONS_A_TURN && (question = flow_ring_peek(part->questions))) {
        struct flow_note note = *question;
        flow_ring_take(part->questions);
        if (!is_over)
            route_asker_note(ways->asker, &note.flow);
        flow_ring_put(part->answers, &note);
        answered++;
    }
    if (answered > 0)
        wake(part->worker.wake_fd);
    return answered > 0;
}

static void *run(void *context)
{
    struct ways *ways = context;
    while (!atomic_load_explicit(&ways->stopping, memory_order_relaxed)) {
        const struct instant now = instant_now();
        uint64_t end_ns = atomic_load_explicit(&ways->end_ns, memory_order_relaxed);
        bool is_over = end_ns != 0 && now.monotonic_ns >= end_ns, more = false;
        route_asker_run(ways->asker, now);
        for (unsigned i = 0; i < ways->workers; i++)
            more |= answer(ways, &ways->part[i], is_over);
        if (more)
            continue;
        struct poll_set set;
        poll_set_clear(&set);
        poll_set_add(&set, ways->wake_fd, POLLIN);
        route_asker_wants(ways->asker, &set);
        if (poll_set_wait(&set, now.monotonic_ns) > 0 && set.fds[0].revents)
            wake_take(ways->wake_fd);
    }
    return NULL;
}

int ways_start(struct ways *ways)
{
    if (!ways)
        return 0;
    int error = thread_start(&ways->thread, run, ways);
    ways->is_running = error == 0;
    return error;
}

/* ---- workers ---- */

void ways_begin(struct ways *ways, unsigned worker)
{
    if (ways)
        ways->part[worker].state = route_asker_state(ways->asker);
}

/* For the asking thread, if there is room. */
static bool keep(struct part *part, const struct flow *flow)
{
    if (part->kept == KEPT_MAX)
        return false;
    struct flow_note note = {.flow = *flow, .kind = FLOW_NOTE_FLOW};
    flow_ring_put(part->questions, &note);
    part->kept++;
    part->has_asked = true;
    return true;
}

bool ways_note(struct ways *ways, unsigned worker, struct flow *flow)
{
    struct part *part = &ways->part[worker];
    struct stats *stats = part->worker.stats;
    switch (route_cache_find(route_asker_cache(ways->asker), &part->state, flow)) {
    case ROUTE_NOTED:
        stats_count(&stats->interfaces_known, 1);
        return true;
    case ROUTE_UNASKED:
        if (keep(part, flow))
            return false;
        /* fall through */
    case ROUTE_UNKNOWN:
        break;
    }
    stats_count(&stats->interfaces_unknown, 1);
    return true;
}

static void take(struct part *part, const struct flow_outlet *outlet, unsigned limit)
{
    struct stats *stats = part->worker.stats;
    const struct flow_note *note;
    for (unsigned left = flow_outlet_room(outlet, limit); left > 0 && (note = flow_ring_peek(part->answers));
         left--) {
        bool is_known = flow_has(&note->flow, FLOW_HAS_INTERFACES);
        stats_count(&stats->interfaces_asked, 1);
        stats_count(&stats->interfaces_unknown, !is_known);
        outlet->sink(outlet->context, &note->flow);
        flow_ring_take(part->answers);
        part->kept--;
    }
}

bool ways_take(struct ways *ways, unsigned worker, const struct flow_outlet *outlet, unsigned limit)
{
    struct part *part = ways ? &ways->part[worker] : NULL;
    if (!part)
        return false;
    if (part->has_asked)
        wake(ways->wake_fd);
    part->has_asked = false;
    if (part->kept > 0)
        take(part, outlet, limit);
    return part->kept > 0;
}

bool ways_finish(struct ways *ways, unsigned worker, const struct flow_outlet *outlet, unsigned limit)
{
    const struct timespec patience = {.tv_nsec = NS_PER_MS / 10};
    if (!ways || ways->part[worker].kept == 0)
        return false;
    uint64_t never = 0;
    atomic_compare_exchange_strong_explicit(&ways->end_ns, &never,
                                            instant_read_clock(CLOCK_MONOTONIC) + END_NS,
                                            memory_order_relaxed, memory_order_relaxed);
    bool more = ways_take(ways, worker, outlet, limit);
    if (more)
        nanosleep(&patience, NULL);
    return more;
}

/* ---- opening ---- */

static int open_part(struct part *part, const struct ways_worker *worker)
{
    part->worker = *worker;
    int error = flow_ring_open(&part->questions, KEPT_MAX);
    return error ? error : flow_ring_open(&part->answers, KEPT_MAX);
}

int ways_open(struct ways **ways, enum ways_kind kind, const struct ways_worker *worker, unsigned workers)
{
    *ways = NULL;
    if (kind == WAYS_NONE)
        return 0;
    struct ways *opened = memory_allocate(sizeof(*opened), workers, sizeof(opened->part[0]));
    if (!opened)
        return -ENOMEM;
    opened->workers = workers;
    opened->wake_fd = wake_open();
    int error = opened->wake_fd < 0 ? opened->wake_fd : route_asker_open(&opened->asker);
    for (unsigned i = 0; i < workers && !error; i++)
        error = open_part(&opened->part[i], &worker[i]);
    if (error) {
        log_cannot(error, "ask the kernel's routing for interfaces (--interfaces=none does without)");
        ways_close(opened);
        return error;
    }
    log_debug("interfaces are those that packets would be routed by when they are reported");
    *ways = opened;
    return 0;
}

void ways_close(struct ways *ways)
{
    if (!ways)
        return;
    if (ways->is_running) {
        atomic_store_explicit(&ways->stopping, true, memory_order_relaxed);
        wake(ways->wake_fd);
        pthread_join(ways->thread, NULL);
    }
    route_asker_close(ways->asker);
    for (unsigned i = 0; i < ways->workers; i++) {
        flow_ring_close(ways->part[i].questions);
        flow_ring_close(ways->part[i].answers);
    }
    if (ways->wake_fd >= 0)
        close(ways->wake_fd);
    free(ways);
}
