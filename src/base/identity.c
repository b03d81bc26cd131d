/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/identity.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/memory.h"

/* ---- SipHash-2-4 ---- */

static uint64_t secret[2];

static void choose_secret(void)
{
    /* It never fails once the kernel has its entropy; before that the clock is better than nothing. */
    if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
        secret[0] = instant_read_clock(CLOCK_REALTIME);
}

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void mix(uint64_t v[4], unsigned rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void take_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v, 2);
    v[0] ^= word;
}

uint64_t identity_of(const void *octets, size_t count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose_secret);
    uint64_t v[4] = {secret[0] ^ UINT64_C(0x736f6d6570736575), secret[1] ^ UINT64_C(0x646f72616e646f6d),
                     secret[0] ^ UINT64_C(0x6c7967656e657261), secret[1] ^ UINT64_C(0x7465646279746573)};
    const uint8_t *at = octets;
    uint64_t word;
    for (size_t left = count; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        take_word(v, le64toh(word));
    }
    word = 0;
    memcpy(&word, at, count % sizeof(word));
    take_word(v, le64toh(word) | (uint64_t)count << 56);
    v[2] ^= 0xff;
    mix(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- places ---- */

struct identity_index {
    uint32_t capacity, count;
    uint64_t *identities; /* by place */
    uint32_t *slots; /* twice as many as places: place + 1, 0 = free; an identity's slot is the first free
                        or own one from its own on */
};

int identity_index_open(struct identity_index **index, uint32_t capacity)
{
    struct identity_index *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->capacity = capacity;
    opened->identities = memory_map(capacity, sizeof(opened->identities[0]), MEMORY_WHEN_TOUCHED);
    opened->slots = memory_map(2 * (uint64_t)capacity, sizeof(opened->slots[0]), MEMORY_WHEN_TOUCHED);
    if (!opened->identities || !opened->slots) {
        identity_index_close(opened);
        return -ENOMEM;
    }
    *index = opened;
    return 0;
}

void identity_index_close(struct identity_index *index)
{
    if (!index)
        return;
    memory_unmap(index->identities, index->capacity, sizeof(index->identities[0]));
    memory_unmap(index->slots, 2 * (uint64_t)index->capacity, sizeof(index->slots[0]));
    free(index);
}

uint32_t identity_index_count(const struct identity_index *index)
{
    return index->count;
}

uint32_t identity_index_place(struct identity_index *index, uint64_t identity)
{
    uint32_t mask = 2 * index->capacity - 1;
    uint32_t slot = (uint32_t)identity & mask;
    for (; index->slots[slot] != 0; slot = (slot + 1) & mask)
        if (index->identities[index->slots[slot] - 1] == identity)
            return index->slots[slot] - 1;
    if (index->count == index->capacity)
        return IDENTITY_NOWHERE;
    index->identities[index->count++] = identity;
    index->slots[slot] = index->count;
    return index->count - 1;
}

void identity_index_clear(struct identity_index *index)
{
    memset(index->slots, 0, 2 * (size_t)index->capacity * sizeof(index->slots[0]));
    index->count = 0;
}
