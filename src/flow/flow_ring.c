/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow_ring.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ctflow9/base/memory.h"

enum { CACHE_LINE_OCTETS = 64 };

/*
 * Both counts only grow; their difference is what waits. Each side keeps a copy of the other's count, and
 * looks at the real one only when the copy says full or empty, so that the cache lines seldom travel.
 */
struct flow_ring {
    _Alignas(CACHE_LINE_OCTETS) _Atomic size_t put;   /* written by the producer */
    size_t taken_seen;                                /* the producer's */
    _Alignas(CACHE_LINE_OCTETS) _Atomic size_t taken; /* written by the consumer */
    size_t put_seen;                                  /* the consumer's */
    _Alignas(CACHE_LINE_OCTETS) size_t capacity;
    struct flow_note notes[];
};

int flow_ring_open(struct flow_ring **ring, size_t capacity)
{
    assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
    size_t octets;
    if (!memory_octets(&octets, sizeof(struct flow_ring), capacity, sizeof(struct flow_note)) ||
        octets > SIZE_MAX - CACHE_LINE_OCTETS)
        return -ENOMEM;
    octets = (octets + CACHE_LINE_OCTETS - 1) / CACHE_LINE_OCTETS * CACHE_LINE_OCTETS;
    struct flow_ring *opened = aligned_alloc(CACHE_LINE_OCTETS, octets);
    if (!opened)
        return -ENOMEM;
    atomic_init(&opened->put, 0);
    atomic_init(&opened->taken, 0);
    opened->taken_seen = 0;
    opened->put_seen = 0;
    opened->capacity = capacity;
    *ring = opened;
    return 0;
}

void flow_ring_close(struct flow_ring *ring)
{
    free(ring);
}

size_t flow_ring_room(struct flow_ring *ring)
{
    size_t put = atomic_load_explicit(&ring->put, memory_order_relaxed);
    size_t room = ring->capacity - (put - ring->taken_seen);
    if (room > ring->capacity / 2)
        return room;
    /* Pairs with the release in flow_ring_take(): the consumer is done with what it has taken. */
    ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
    return ring->capacity - (put - ring->taken_seen);
}

void flow_ring_put(struct flow_ring *ring, const struct flow_note *note)
{
    size_t put = atomic_load_explicit(&ring->put, memory_order_relaxed);
    ring->notes[put & (ring->capacity - 1)] = *note;
    /* Pairs with the acquires in flow_ring_peek() and flow_ring_waiting(): the note is whole before it is
     * counted. */
    atomic_store_explicit(&ring->put, put + 1, memory_order_release);
}

bool flow_ring_is_drained(struct flow_ring *ring)
{
    /* Pairs with the release in flow_ring_take(). */
    ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
    return ring->taken_seen == atomic_load_explicit(&ring->put, memory_order_relaxed);
}

size_t flow_ring_waiting(struct flow_ring *ring)
{
    /* Pairs with the release in flow_ring_put(). */
    ring->put_seen = atomic_load_explicit(&ring->put, memory_order_acquire);
    return ring->put_seen - atomic_load_explicit(&ring->taken, memory_order_relaxed);
}

const struct flow_note *flow_ring_peek(struct flow_ring *ring)
{
    size_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    if (taken == ring->put_seen) {
        /* Pairs with the release in flow_ring_put(). */
        ring->put_seen = atomic_load_explicit(&ring->put, memory_order_acquire);
        if (taken == ring->put_seen)
            return NULL;
    }
    return &ring->notes[taken & (ring->capacity - 1)];
}

void flow_ring_take(struct flow_ring *ring)
{
    size_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    /* Pairs with the acquires in flow_ring_room() and flow_ring_is_drained(): the note has been read before
     * its place is given back. */
    atomic_store_explicit(&ring->taken, taken + 1, memory_order_release);
}
