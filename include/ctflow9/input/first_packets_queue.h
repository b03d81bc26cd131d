/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"
#include "ctflow9/input/first_packets_layout.h"

/*
 * Flows on their way, which get what was noted of their first packets. The table is so large that nearly
 * every note has to come from memory. So a flow is held back until a few others came after it, while first
 * its set's tags and then its note are on their way into the CPU's cache. Flows leave in the order in which
 * they came.
 *
 * A queue belongs to one thread. Several may share a table.
 */
struct first_packets_queue;

/* The table that the BPF program writes (first_packets.h). */
struct first_packets_table {
    struct first_packets_set *sets;
    uint32_t set_mask; /* number of sets, a power of two, less 1 */
    uint32_t secret[FIRST_PACKETS_KEY_WORDS];
    _Atomic int64_t tai_offset_ns; /* the notes' clock, CLOCK_TAI, is so much ahead of the wall clock */
};

/* The table outlives the queue. Flows go to the sink. 0 or -errno. */
int first_packets_queue_open(struct first_packets_queue **queue, const struct first_packets_table *table,
                             flow_sink *sink, void *context);
void first_packets_queue_close(struct first_packets_queue *queue); /* flushed before; NULL is fine */

/*
 * ends: it is the connection's last flow, nobody asks for it again: the note is given free. Without a note
 * the flow is handed on as it is: FLOW_HAS_INTERFACES tells.
 */
void first_packets_queue_put(struct first_packets_queue *queue, const struct flow *flow, bool ends);

/* As put with ends, but the flow goes nowhere: nothing is to be told of it. */
void first_packets_queue_forget(struct first_packets_queue *queue, const struct flow *flow);

/* Hands on all that is held back. To be called before the thread does anything else. */
void first_packets_queue_flush(struct first_packets_queue *queue);
