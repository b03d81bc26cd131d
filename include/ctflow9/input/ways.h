/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/flow_outlet.h"

/*
 * The ways of connections: where their packets came in and went out, which connection tracking does not know.
 * Whatever else knows it notes it of each flow before that is handed on.
 *
 * A BPF program may have noted it of the first packets (WAYS_BPF, first_packets.h): those flows do not come
 * here, the others do as with WAYS_ROUTE.
 *
 * The kernel's routing (WAYS_ROUTE) is asked by a thread of its own. What it has answered before is at hand
 * (route_cache.h); for any other flow it has to be asked, and the flow waits for that, in a ring of bounded
 * size, for some microseconds. Where that is full, flows go on without.
 */
struct ways;

/* In the order of the option's choices. */
enum ways_kind { WAYS_AUTO, WAYS_BPF, WAYS_ROUTE, WAYS_NONE };

/* What each worker brings along. */
struct ways_worker {
    struct stats *stats;
    int wake_fd; /* wake.h: there is something to take */
};

/*
 * In the network namespace that is to be read. What is taken is logged. *ways is NULL when nothing is. 0 or
 * -errno, with the reason logged.
 */
int ways_open(struct ways **ways, enum ways_kind kind, const struct ways_worker *worker, unsigned workers);
/* NULL is fine; when no worker calls anything else any more. */
void ways_close(struct ways *ways);

/* Its thread; from then on questions are answered. 0 or -errno. */
int ways_start(struct ways *ways);

/* Below: for the worker of that number, in its thread. ways may be NULL, but for ways_note(). */

/* Before a batch of flows is noted of. */
void ways_begin(struct ways *ways, unsigned worker);

/*
 * Notes the interfaces of the flow, and returns true: it can be handed on, whether or not they are known. Or
 * false: it is kept, and comes back by ways_take().
 */
bool ways_note(struct ways *ways, unsigned worker, struct flow *flow);

/*
 * After the batch: has what was kept asked for, and hands on what has come back, as far as there is room.
 * Returns whether something is still kept; its worker is woken.
 */
bool ways_take(struct ways *ways, unsigned worker, const struct flow_outlet *outlet, unsigned limit);

/* The same at the end, again and again until it returns false: nothing is kept any more. */
bool ways_finish(struct ways *ways, unsigned worker, const struct flow_outlet *outlet, unsigned limit);
