/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ctflow9/base/memory.h"

enum {
    NONE = 0, /* links are slot + 1, so that untouched memory means none */
    PLACE_OCTETS = sizeof(struct tracked) + 2 * sizeof(uint32_t) /* two links at most */
};

struct flow_table {
    uint32_t capacity;
    uint32_t count;
    uint32_t touched; /* slots below were used once; those above are untouched memory */
    uint32_t free;    /* the first free slot below touched, as a link */
    uint32_t bucket_mask;
    uint32_t *buckets; /* links to the first entry of each chain */
    struct tracked *slots;
};

static uint64_t bucket_count(const struct flow_table *table)
{
    return (uint64_t)table->bucket_mask + 1;
}

bool flow_table_would_fit(uint64_t capacity)
{
    void *slab = memory_map(capacity, PLACE_OCTETS, MEMORY_WHEN_TOUCHED);
    memory_unmap(slab, capacity, PLACE_OCTETS);
    return slab != NULL;
}

int flow_table_open(struct flow_table **table, uint32_t capacity)
{
    struct flow_table *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->capacity = capacity;
    while (bucket_count(opened) < capacity)
        opened->bucket_mask = opened->bucket_mask * 2 + 1;
    opened->buckets = memory_map(bucket_count(opened), sizeof(*opened->buckets), MEMORY_WHEN_TOUCHED);
    opened->slots = memory_map(capacity, sizeof(*opened->slots), MEMORY_WHEN_TOUCHED);
    if (!opened->buckets || !opened->slots) {
        flow_table_close(opened);
        return -ENOMEM;
    }
    *table = opened;
    return 0;
}

void flow_table_close(struct flow_table *table)
{
    if (!table)
        return;
    memory_unmap(table->buckets, bucket_count(table), sizeof(*table->buckets));
    memory_unmap(table->slots, table->capacity, sizeof(*table->slots));
    free(table);
}

struct tracked *flow_table_find(struct flow_table *table, const struct flow *flow, uint64_t hash)
{
    if (table->count == 0)
        return NULL;
    uint32_t link = table->buckets[hash & table->bucket_mask];
    while (link != NONE) {
        struct tracked *tracked = &table->slots[link - 1];
        if (tracked->hash == (uint32_t)hash && tracked_is_of(tracked, flow))
            return tracked;
        link = tracked->next;
    }
    return NULL;
}

struct tracked *flow_table_add(struct flow_table *table, const struct flow *flow, uint64_t hash)
{
    uint32_t link = table->free;
    if (link != NONE)
        table->free = table->slots[link - 1].next;
    else if (table->touched < table->capacity)
        link = ++table->touched;
    else
        return NULL;

    uint32_t *bucket = &table->buckets[hash & table->bucket_mask];
    struct tracked *tracked = &table->slots[link - 1];
    *tracked = (struct tracked){.next = *bucket, .hash = (uint32_t)hash, .state = TRACKED_LIVE};
    tracked_see(tracked, flow);
    *bucket = link;
    table->count++;
    return tracked;
}

void flow_table_remove(struct flow_table *table, struct tracked *tracked)
{
    assert(tracked->state != TRACKED_FREE);
    uint32_t self = (uint32_t)(tracked - table->slots) + 1;
    uint32_t *link = &table->buckets[tracked->hash & table->bucket_mask];
    while (*link != self)
        link = &table->slots[*link - 1].next;
    *link = tracked->next;
    tracked->state = TRACKED_FREE;
    tracked->next = table->free;
    table->free = self;
    table->count--;
}

uint32_t flow_table_count(const struct flow_table *table)
{
    return table->count;
}

uint32_t flow_table_slots(const struct flow_table *table)
{
    return table->touched;
}

struct tracked *flow_table_at(struct flow_table *table, uint32_t slot)
{
    struct tracked *tracked = &table->slots[slot];
    return tracked->state == TRACKED_FREE ? NULL : tracked;
}
