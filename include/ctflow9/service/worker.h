/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/config/options.h"
#include "ctflow9/flow/flow_ring.h"
#include "ctflow9/flow/table_size.h"
#include "ctflow9/flow/tracker.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/input/ct_events.h"
#include "ctflow9/input/netns.h"
#include "ctflow9/service/export_role.h"
#include "ctflow9/service/exporter.h"
#include "ctflow9/service/signals.h"
#include "ctflow9/service/troubles.h"

/*
 * One worker, and what workers share: the inside of workers.h, known to workers.c and shutdown.c as well. A
 * worker belongs to its thread; what others may touch says so.
 */

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
    struct rx_choice rx;
    struct signals *signals;
    struct troubles troubles;   /* the first worker's */
    _Atomic int error;          /* the exporter has nobody left to export to */
    _Atomic bool totals_wanted; /* by SIGUSR1 */
    _Atomic bool awaiting; /* events that did not fit: what makes room at once gets more of them at once */
    _Atomic bool stopping;
    unsigned count;
    struct worker worker[];
};

/* Takes all memory and opens the events' socket. wake_fd is -1 before. 0 or -errno, with the reason logged.
 */
int worker_open(struct worker *worker, const struct options *options, uint64_t began_ns, uint32_t table_limit,
                struct table_size table_size);
void worker_close(struct worker *worker);

/* Any thread: ends the worker's present wait, or its next one. */
void worker_wake(struct worker *worker);

/* How soon the next turn has to be. */
enum pace { AT_REST, ON_EVENT, ON_INTERVAL, AT_ONCE };

/* Waits for events, notes, signals (the first worker), and what the exporter waits for if it was the last to
 * run it. */
void worker_wait(struct worker *worker, enum pace pace);

/* Everything that can be done now. Returns when the next one has to be. */
enum pace worker_turn(struct worker *worker);

/* Exports what all workers have, unless another does so already. */
void worker_export(struct worker *worker);
/* The same for the one that is alone. */
void worker_export_once(struct workers *workers);

/* Hears no more, and hands on what the kernel has already sent, and what is known of connections that last.
 */
void worker_finish(struct worker *worker);

/* For the first worker: tells of counters that ought to stay 0; of all that is untold when now_ns is
 * UINT64_MAX. */
void worker_see_troubles(struct workers *workers, uint64_t now_ns);

/* For the first worker: whether a signal has said to end, and whether to end sooner. */
bool worker_told_to_end(struct workers *workers);
bool worker_hurried(struct workers *workers);

/* Nobody is left to export to. */
static inline bool worker_has_failed(struct workers *workers)
{
    return atomic_load_explicit(&workers->error, memory_order_relaxed) != 0;
}
