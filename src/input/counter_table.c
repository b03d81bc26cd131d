/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/counter_table.h"

#include <errno.h>
#include <stdlib.h>

#include "ctflow9/base/identity.h"
#include "ctflow9/base/memory.h"

enum { MISSING_MAX = 3 }; /* complete readings */

struct entry {
    struct counter_reading last;
    uint64_t read_ns;
    uint32_t round; /* in which it was last read */
    uint32_t missing;
};

struct counter_table {
    struct identity_index *index; /* of entries, by place */
    struct entry *entries;
    uint32_t round;
    uint64_t begin_ns, last_begin_ns; /* of this reading and the one before */
    bool is_settled;                  /* all were read once: what comes now is new, and began at 0 */
    bool is_short;                    /* this reading had more than there is room for */
};

int counter_table_open(struct counter_table **table)
{
    struct counter_table *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->entries = memory_map(COUNTER_TABLE_CAPACITY, sizeof(opened->entries[0]), MEMORY_WHEN_TOUCHED);
    if (!opened->entries || identity_index_open(&opened->index, COUNTER_TABLE_CAPACITY) != 0) {
        counter_table_close(opened);
        return -ENOMEM;
    }
    *table = opened;
    return 0;
}

void counter_table_close(struct counter_table *table)
{
    if (!table)
        return;
    identity_index_close(table->index);
    memory_unmap(table->entries, COUNTER_TABLE_CAPACITY, sizeof(table->entries[0]));
    free(table);
}

void counter_table_begin(struct counter_table *table, uint64_t now_ns)
{
    table->round++;
    table->last_begin_ns = table->begin_ns;
    table->begin_ns = now_ns;
    table->is_short = false;
}

static struct counter_increase increase_of(const struct entry *entry, const struct counter_reading *reading)
{
    const struct counter_reading *last = &entry->last;
    bool anew =
        reading->handle != last->handle || reading->packets < last->packets || reading->octets < last->octets;
    return (struct counter_increase){.packets = reading->packets - (anew ? 0 : last->packets),
                                     .octets = reading->octets - (anew ? 0 : last->octets),
                                     .since_ns = entry->read_ns,
                                     .anew = anew};
}

static struct counter_increase increase_of_new(const struct counter_table *table,
                                               const struct counter_reading *reading)
{
    struct counter_increase increase = {.since_ns = table->last_begin_ns};
    if (table->is_settled) {
        increase.packets = reading->packets;
        increase.octets = reading->octets;
    }
    return increase;
}

bool counter_table_see(struct counter_table *table, const struct counter_reading *reading, uint64_t now_ns,
                       struct counter_increase *increase)
{
    uint32_t count = counter_table_count(table);
    uint32_t place = identity_index_place(table->index, reading->identity);
    if (place == IDENTITY_NOWHERE) {
        table->is_short = true;
        return false;
    }
    struct entry *entry = &table->entries[place];
    *increase = place == count ? increase_of_new(table, reading) : increase_of(entry, reading);
    *entry = (struct entry){.last = *reading, .read_ns = now_ns, .round = table->round};
    return true;
}

/* The others move up. */
static void forget_missing(struct counter_table *table)
{
    uint32_t count = counter_table_count(table);
    identity_index_clear(table->index);
    for (uint32_t i = 0; i < count; i++) {
        struct entry entry = table->entries[i];
        if (entry.missing < MISSING_MAX)
            table->entries[identity_index_place(table->index, entry.last.identity)] = entry;
    }
}

void counter_table_end(struct counter_table *table, bool complete)
{
    bool forget = false;
    for (uint32_t i = 0; complete && i < counter_table_count(table); i++) {
        struct entry *entry = &table->entries[i];
        entry->missing += entry->round != table->round;
        forget |= entry->missing == MISSING_MAX;
    }
    if (forget)
        forget_missing(table);
    /* One that there was no room for is not new when there is. */
    table->is_settled = !table->is_short && (complete || table->is_settled);
}

uint32_t counter_table_count(const struct counter_table *table)
{
    return identity_index_count(table->index);
}
