/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctflow9/flow/flow_note.h"

/*
 * A bounded first-in first-out ring that hands notes from one thread to another. What they say is not its
 * business.
 *
 * Guarantees:
 *  1. What was put is taken exactly once, in its order, and never half written.
 *  2. Both sides are wait-free: no call loops, waits, allocates or calls the kernel.
 *  3. A full ring refuses: it never overwrites what was not taken.
 *
 * Who may run beside whom: one producer (room, put, is_drained) beside one consumer (waiting, peek, take).
 * Each role may move from thread to thread when something else orders the hand-over. Opening and closing are
 * for one thread alone.
 *
 * Orders: the producer's release store of `put` pairs with the consumer's acquire load of it in
 * flow_ring_peek() and flow_ring_waiting(); the consumer's release store of `taken` pairs with the producer's
 * acquire loads of it in flow_ring_room() and flow_ring_is_drained().
 */
struct flow_ring;

/* capacity notes, a power of two. All memory is taken here. 0 or -ENOMEM. */
int flow_ring_open(struct flow_ring **ring, size_t capacity);
void flow_ring_close(struct flow_ring *ring); /* NULL is fine */

/* Producer: how many notes fit now; more may fit later. */
size_t flow_ring_room(struct flow_ring *ring);
/* Producer: adds a copy; there must be room. */
void flow_ring_put(struct flow_ring *ring, const struct flow_note *note);
/* Producer: everything was taken; what the consumer did before that is visible. */
bool flow_ring_is_drained(struct flow_ring *ring);

/* Consumer: how many notes wait now; more may come meanwhile. */
size_t flow_ring_waiting(struct flow_ring *ring);
/* Consumer: the oldest note, or NULL; it stays where it is until it is taken. */
const struct flow_note *flow_ring_peek(struct flow_ring *ring);
void flow_ring_take(struct flow_ring *ring);
