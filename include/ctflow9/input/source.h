/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/flow_outlet.h"

/*
 * A source: something that flows come from. It is one struct of functions, in one file, and one row in the
 * table of sources.c; workers know nothing else of it. A source that is built in and wanted is opened once,
 * and serves all workers: each function that has a worker's number does that worker's part, and is called by
 * that worker's thread alone, beside other workers' threads. A source that has nothing to divide does all its
 * work for worker 0. What the parts share, and threads of its own, are the source's business.
 *
 * Nothing that a worker's thread calls ever blocks, waits for another thread, or takes longer than what
 * limits it says. Every loss has a counter in the worker's stats; troubles are logged by the source, once a
 * minute at most (tell_once.h).
 */

/* What a source gets of each worker. */
struct source_worker {
    struct flow_outlet outlet;
    struct wall_clock *clock; /* watched by the source after each reading, before it hands flows on */
    struct stats *stats;
    int wake_fd; /* wake.h: any thread of the source's may end the worker's present wait */
};

struct source;

/* All but name, open, close, drain and is_drained may be NULL: there is nothing to do. */
struct source_ops {
    const char *name;

    /*
     * In the network namespace that is to be read, by the thread that is worker 0 later. config is the
     * source's own, and only lent, as is the array; what it points to outlives the source. 0 or -errno, with
     * the reason logged in one line that says what to do.
     */
    int (*open)(struct source **source, const void *config, const struct source_worker *worker,
                unsigned workers);
    /* When no thread calls anything else any more. */
    void (*close)(struct source *source);

    /* Every source is open, and the workers run: threads of its own may begin. 0 or -errno. */
    int (*start)(struct source *source);

    /*
     * By worker 0: config is another one than that of open(), lent likewise. Only what may change while it
     * runs (option_table.c) is looked at; each worker takes it over in its next turn, and is woken for it.
     */
    void (*change)(struct source *source, const void *config);

    /*
     * Hands on what has come, limit messages at most, and no more flows than the outlet has room for. Returns
     * how many messages it has taken.
     */
    unsigned (*drain)(struct source *source, unsigned worker, unsigned limit);
    /* Whether the last drain has taken everything that had come when it began. */
    bool (*is_drained)(const struct source *source, unsigned worker);

    /* What is to be done after a drain, timers included. true: there is more to do in the next turn, soon. */
    bool (*run)(struct source *source, unsigned worker, struct instant now);

    /* The time of the next run when one is due, and what else has to be waited for. */
    void (*wants)(const struct source *source, unsigned worker, struct poll_set *set);
    /* What tells of the next message: left out while the worker drains on an interval. */
    void (*wants_event)(const struct source *source, unsigned worker, struct poll_set *set);

    /*
     * At the end, by worker 0, before anything is stopped, again and again between its turns: whether there
     * is still something to come that is worth waiting for. hurried: there is no more waiting; what is left
     * behind is counted and said, and false returned.
     */
    bool (*await)(struct source *source, bool hurried);
    /* Ends threads of its own, once; by worker 0. After await() has returned false, or instead of it. */
    void (*halt)(struct source *source);

    /* Hears no more. What has come stays to be drained, so that the last drains come to an end. */
    void (*stop)(struct source *source, unsigned worker);
    /*
     * After the last drain, again and again until it returns false: hands on what is known and was not handed
     * on, as far as the outlet has room.
     */
    bool (*finish)(struct source *source, unsigned worker);
    /* When every worker has finished; by worker 0: counts and says what is lost by the end. */
    void (*ended)(struct source *source);
};

/* The first member of what a source opens. */
struct source {
    const struct source_ops *ops;
};

/* A source and where its config stands in what sources_open() is given; a config that is NULL = not wanted.
 */
struct source_row {
    const struct source_ops *ops;
    size_t config; /* offset of a const void * */
};
