/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/datagram_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/memory.h"

/*
 * A position modulo the capacity is an offset into octets. Every datagram lies in one piece: where the
 * longest would not fit before the memory's end, the ring's end skips to the memory's begin.
 */
struct datagram_ring {
    uint64_t end;
    uint64_t records;  /* ever put */
    uint64_t capacity; /* octets, as entry_max a multiple of the alignment */
    uint64_t entry_max;
    uint8_t *octets;
};

static uint64_t entry_octets(uint64_t datagram_octets)
{
    const uint64_t alignment = _Alignof(struct datagram);
    return (sizeof(struct datagram) + datagram_octets + alignment - 1) / alignment * alignment;
}

int datagram_ring_open(struct datagram_ring **ring, uint64_t capacity_octets, size_t datagram_max_octets)
{
    struct datagram_ring *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->entry_max = entry_octets(datagram_max_octets);
    /* One entry for the datagram that is being put, one for the piece that is skipped. */
    opened->capacity = entry_octets(capacity_octets) + 2 * opened->entry_max;
    opened->octets = memory_map(opened->capacity, sizeof(*opened->octets), MEMORY_WHEN_TOUCHED);
    if (!opened->octets) {
        free(opened);
        return -ENOMEM;
    }
    *ring = opened;
    return 0;
}

void datagram_ring_close(struct datagram_ring *ring)
{
    if (!ring)
        return;
    memory_unmap(ring->octets, ring->capacity, sizeof(*ring->octets));
    free(ring);
}

static void *at(const struct datagram_ring *ring, uint64_t position)
{
    return ring->octets + position % ring->capacity;
}

bool datagram_ring_has_room(const struct datagram_ring *ring, uint64_t oldest)
{
    return ring->end + ring->entry_max <= oldest + ring->capacity;
}

uint64_t datagram_ring_rewind(struct datagram_ring *ring)
{
    uint64_t offset = ring->end % ring->capacity;
    if (offset > 0)
        ring->end += ring->capacity - offset;
    return ring->end;
}

void datagram_ring_put(struct datagram_ring *ring, const uint8_t *data, size_t octets, unsigned records,
                       uint64_t ended_ms)
{
    struct datagram *datagram = at(ring, ring->end);
    datagram->ended_ms = ended_ms;
    datagram->records_before = ring->records;
    datagram->octets = (uint32_t)octets;
    datagram->records = records;
    memcpy(datagram->data, data, octets);

    ring->records += records;
    ring->end += entry_octets(octets);
    if (ring->end % ring->capacity + ring->entry_max > ring->capacity)
        datagram_ring_rewind(ring);
    datagram->next = ring->end;
}

uint64_t datagram_ring_end(const struct datagram_ring *ring)
{
    return ring->end;
}

const struct datagram *datagram_ring_at(const struct datagram_ring *ring, uint64_t position)
{
    return at(ring, position);
}

uint64_t datagram_ring_records_from(const struct datagram_ring *ring, uint64_t position)
{
    return position == ring->end ? 0 : ring->records - datagram_ring_at(ring, position)->records_before;
}
