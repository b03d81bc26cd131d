/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/flow_packet.h"

/*
 * One-way flows, put together from packets: FLOW_PACKETS, in the original direction. A flow ends
 *  - when no packet of it came for the inactive timeout (FLOW_END_IDLE_TIMEOUT);
 *  - when its first packet is as old as the active timeout (FLOW_END_ACTIVE_TIMEOUT): the next one begins
 *    another;
 *  - when no packet came for FLOW_CACHE_LINGER_NS after one with FIN or RST, or one with SYN came
 *    (FLOW_END_DETECTED);
 *  - when all places are taken and another flow needs one (FLOW_END_LACK_OF_RESOURCES): the one that is due
 *    soonest leaves, but those with packets since they were last looked at come behind the others.
 * Timeouts are looked at once a second, so a flow may leave a second late.
 *
 * All memory is taken at open, no more than 160 octets for each flow. Which bucket a flow is in nobody
 * outside can tell: the hash has a secret. Plain memory, one thread owns it.
 */
struct flow_cache;

#define FLOW_CACHE_LINGER_NS (2 * NS_PER_S)

enum { FLOW_CACHE_BATCH = 64, FLOW_CACHE_CAPACITY_MAX = 1 << 28 };

struct flow_cache_config {
    uint32_t capacity;              /* flows; 1 to FLOW_CACHE_CAPACITY_MAX */
    uint64_t inactive_timeout_ns;   /* not 0 */
    uint64_t active_timeout_ns;     /* 0 = none */
    struct stats *stats;            /* counts what had to leave: cache_full; outlives it */
    const struct wall_clock *clock; /* outlives it, and is watched before flow_cache_add() and _run(): its
                                       boot time is the present, and the times of a flow are told by it */
};

/* 0 or -errno. sink gets every flow that has ended, while a function below runs. */
int flow_cache_open(struct flow_cache **cache, const struct flow_cache_config *config, flow_sink *sink,
                    void *context);
void flow_cache_close(struct flow_cache *cache); /* NULL is fine; what is in it is forgotten */

/* Packets in their order, FLOW_CACHE_BATCH at most. No more flows than packets end by it. */
void flow_cache_add(struct flow_cache *cache, const struct flow_packet *packets, unsigned count);

/* Any thread: other timeouts, for the flows that there are, too. The owner sees whether they are others; then
 * there is something for run() to do. */
void flow_cache_set_timeouts(struct flow_cache *cache, uint64_t inactive_timeout_ns,
                             uint64_t active_timeout_ns);
bool flow_cache_see_timeouts(struct flow_cache *cache);

/*
 * Ends what is due, limit flows at most, and looks at no more than some hundred flows for each. Returns
 * whether there is more to do.
 */
bool flow_cache_run(struct flow_cache *cache, unsigned limit);

/* When the next flow may be due, by the boot clock; UINT64_MAX = there is none. */
uint64_t flow_cache_due_ns(const struct flow_cache *cache);

/* Ends whatever there is (FLOW_END_FORCED), limit flows at most. Returns whether there is more. */
bool flow_cache_finish(struct flow_cache *cache, unsigned limit);

/* How many flows are in it. */
uint32_t flow_cache_count(const struct flow_cache *cache);
