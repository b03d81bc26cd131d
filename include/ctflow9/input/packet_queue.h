/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/input/netlink_filter.h"

/*
 * One NFQUEUE queue, with a thread of its own, for packets wait in it: the thread sleeps until there are
 * some, gives them all a verdict, and only then accounts for them. Their flows come through a ring to the
 * worker that takes them.
 *
 * Guarantees:
 *  1. A packet never waits for a worker, an output, or for its accounting. When flows find no place in the
 *     ring, packets are counted as lost.
 *  2. What does not fit into the receive buffer passes without being seen (fail-open), and is counted: the
 *     kernel numbers what it queues. It holds no more packets than that buffer.
 *  3. A stop loses no packet. From when it is told on they pass without being queued, and those that are
 *     queued get their verdict.
 *
 * Opening, starting and closing are for one thread; who may call the rest stands with it.
 */
struct packet_queue;

/* The receive buffer is no larger, whatever is asked for. */
enum { PACKET_QUEUE_RCVBUF_MAX = 16 << 20 };

struct packet_queue_config {
    uint16_t number;
    bool repeats;             /* the packet begins with the rules of its hook again; else it is accepted */
    struct netlink_mark mark; /* that it gets with the verdict, if given: the bits of the mask */
    uint64_t rcvbuf_octets;
    uint32_t flow_cache; /* flows */
    uint64_t inactive_timeout_ns;
    uint64_t active_timeout_ns; /* 0 = none */
    int wake_fd;                /* of the worker that takes the flows */
};

/*
 * Binds the queue, in the network namespace of the calling thread; packets pass it until it is started. One
 * that another program has is asked for again each second. 0, or -errno with the reason logged.
 */
int packet_queue_open(struct packet_queue **queue, const struct packet_queue_config *config);
void packet_queue_close(struct packet_queue *queue); /* NULL is fine; ends the thread */

int packet_queue_start(struct packet_queue *queue); /* 0 or -errno */

/* Any thread: those of the config are others from now on, also for the flows that there are. */
void packet_queue_set_timeouts(struct packet_queue *queue, uint64_t inactive_timeout_ns,
                               uint64_t active_timeout_ns);

/* Any thread: tells the queue to end, and does not wait for that. */
void packet_queue_stop(struct packet_queue *queue);

/* The worker: takes flows, limit at most, and returns how many. */
unsigned packet_queue_take(struct packet_queue *queue, unsigned limit, flow_sink *sink, void *context);
/* The worker: whether the thread has ended and all its flows were taken. */
bool packet_queue_is_over(const struct packet_queue *queue);
/* The worker: adds what was counted since the last call. */
void packet_queue_count(struct packet_queue *queue, struct stats *stats);
