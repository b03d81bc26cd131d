/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/flow_outlet.h"
#include "ctflow9/input/interface_marks.h"
#include "ctflow9/input/interfaces.h"
#include "ctflow9/input/netns.h"
#include "ctflow9/input/sources.h"
#include "ctflow9/service/export_role.h"
#include "ctflow9/service/exporter.h"
#include "ctflow9/service/metrics.h"
#include "ctflow9/service/notify.h"
#include "ctflow9/service/reload.h"
#include "ctflow9/service/signals.h"
#include "ctflow9/service/troubles.h"
#include "ctflow9/service/worker_limits.h"

/*
 * One worker, and what workers share: the inside of workers.h, known to workers.c and shutdown.c as well. A
 * worker belongs to its thread; what others may touch says so.
 */

struct worker {
    struct workers *all;
    unsigned index;
    pthread_t thread;          /* not the first one's */
    struct flow_outlet outlet; /* to the exporter; its ring is NULL with one worker */
    struct wall_clock clock;
    uint64_t steps_told;          /* of the clock */
    int wake_fd;                  /* wake.h: something is waiting, or it is time to end */
    struct poll_set exporter_set; /* what the exporter waits for, when this worker was the last to run it */
    struct stats stats;
    _Atomic uint64_t turns; /* so far: that they grow says that it gets on */
    uint64_t turns_told;    /* the first worker's, of each */
};

struct workers {
    struct export_role role;
    struct exporter *exporter; /* the holder's of the role */
    struct stats *totals;      /* the exporter counts in it too */
    struct sources sources;
    struct interface_marks marks;
    struct interfaces *interfaces; /* NULL: they have no names */
    bool are_renumbered;           /* numbers are given to some */
    struct worker_limits limits;
    const char *netns;        /* --netns; empty = none */
    struct netns_id netns_id; /* the one that is read */
    uint64_t netns_check_ns;  /* monotonic; POLL_SET_NEVER = none is to be watched */
    bool netns_is_gone;
    struct signals *signals;
    struct notify *notify;      /* the first worker's; NULL = nobody wants to know */
    struct metrics *metrics;    /* filled in by the holder of the role; NULL likewise */
    struct reload *reload;      /* NULL likewise */
    struct troubles troubles;   /* the first worker's */
    _Atomic int error;          /* the exporter has nobody left to export to */
    _Atomic bool totals_wanted; /* by SIGUSR1 */
    _Atomic bool awaiting; /* events that did not fit: who makes room at once gets more of them at once */
    _Atomic bool stopping;
    unsigned count;
    struct worker worker[];
};

/* Takes all memory of its own; the sources come after it. wake_fd is -1 before. 0 or -errno. */
int worker_open(struct worker *worker);
void worker_close(struct worker *worker);

/* Any thread: ends the worker's present wait, or its next one. */
void worker_wake(struct worker *worker);

/* How soon the next turn has to be. */
enum pace { AT_REST, ON_EVENT, ON_INTERVAL, AT_ONCE };

/* Waits for what sources wait for, signals (the first worker), and what the exporter waits for if it was the
 * last to run it. */
void worker_wait(struct worker *worker, enum pace pace);

/* Everything that can be done now. Returns when the next one has to be. */
enum pace worker_turn(struct worker *worker);

/* Exports what all workers have, unless another does so already. */
void worker_export(struct worker *worker);
/* The same for the one that is alone. */
void worker_export_once(struct workers *workers);

/* Hears no more, and hands on what has already come, and what the sources know beyond that. */
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
