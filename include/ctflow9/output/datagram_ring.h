/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A bounded ring of datagrams with any number of readers, each of which keeps a position of its own: a number
 * that only grows. The writer asks for room after the reader that is furthest back. All memory is taken when
 * the ring is opened, and touched only as far as readers fall behind. One thread owns it.
 */
struct datagram_ring;

struct datagram {
    uint64_t next;           /* the position after it */
    uint64_t records_before; /* data records ever put before it */
    uint64_t ended_ms;       /* the earliest end of what is told in it, wall clock; 0 = none */
    uint32_t octets;
    uint32_t records; /* data records in it */
    uint8_t data[];
};

/* Room for capacity_octets of datagrams, each with its struct datagram, none longer than datagram_max_octets.
 * 0 or -ENOMEM. */
int datagram_ring_open(struct datagram_ring **ring, uint64_t capacity_octets, size_t datagram_max_octets);
void datagram_ring_close(struct datagram_ring *ring); /* NULL is fine */

/* One more datagram fits while everything from oldest on is kept. */
bool datagram_ring_has_room(const struct datagram_ring *ring, uint64_t oldest);

/* Copies a datagram after the others; there must be room. */
void datagram_ring_put(struct datagram_ring *ring, const uint8_t *data, size_t octets, unsigned records,
                       uint64_t ended_ms);

/* The position after the newest datagram: where a new reader starts, and where one has read everything. */
uint64_t datagram_ring_end(const struct datagram_ring *ring);

/* The datagram at a position before the end. Valid as long as the position is kept. */
const struct datagram *datagram_ring_at(const struct datagram_ring *ring, uint64_t position);

/* Data records from position on. */
uint64_t datagram_ring_records_from(const struct datagram_ring *ring, uint64_t position);

/*
 * Begins again with the memory that was used last, still in the cache, instead of walking through all of it.
 * Only when every reader stands at the end; each has to go to the new end, which is returned.
 */
uint64_t datagram_ring_rewind(struct datagram_ring *ring);
