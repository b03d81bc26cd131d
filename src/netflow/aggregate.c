/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/aggregate.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ctflow9/base/memory.h"
#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/template.h"

enum {
    NONE = 0, /* links are slot + 1, so that untouched memory means none */
    IPV4_BITS = 32,
    IPV6_BITS = 128,
    RECORD_WORDS = sizeof(struct record) / sizeof(uint32_t)
};

/* 32 bits of struct record of which some belong to the key. */
struct key_word {
    uint32_t offset, mask;
    uint64_t multiplier;
};

/* What is a key in the records of a shape. */
struct key {
    struct record blank; /* what all its aggregates have */
    unsigned count;
    struct key_word words[RECORD_WORDS];
};

struct entry {
    struct record record; /* the keys; the rest is put in when it leaves */
    uint64_t octets, packets;
    uint64_t start_ms, end_ms;
    uint32_t flows; /* an interval is an hour at most: fewer than 2^32 */
    uint32_t due_s; /* monotonic; when it leaves */
    uint32_t hash;
    uint32_t next;    /* the link to the next one of its bucket, or of the free ones */
    uint32_t younger; /* the link to the one that was made after it */
    uint16_t shape;
};

struct aggregate {
    struct aggregate_config config;
    aggregate_sink *sink;
    void *context;
    struct key keys[SHAPES_OF_FLOW];
    uint32_t oldest, youngest; /* links */
    uint32_t free;             /* a link; first of the entries that were used before */
    uint32_t touched;          /* slots below were used once; those above are untouched memory */
    uint32_t bucket_mask;
    uint32_t *buckets; /* links to the first entry of each chain */
    struct entry *entries;
};

static unsigned source_bits(const struct aggregate_by *by, unsigned shape)
{
    return shape & SHAPE_IPV6 ? by->source_ipv6_bits : by->source_ipv4_bits;
}

static unsigned destination_bits(const struct aggregate_by *by, unsigned shape)
{
    return shape & SHAPE_IPV6 ? by->destination_ipv6_bits : by->destination_ipv4_bits;
}

unsigned aggregate_shape(const struct aggregate_by *by, unsigned shape)
{
    unsigned all_bits = shape & SHAPE_IPV6 ? IPV6_BITS : IPV4_BITS;
    unsigned source = source_bits(by, shape);
    unsigned destination = destination_bits(by, shape);
    unsigned merged = SHAPE_AGGREGATED | (shape & (SHAPE_IPV6 | SHAPE_NO_COUNTERS));

    if (source < all_bits)
        merged |= source == 0 ? SHAPE_NO_SOURCE : SHAPE_SOURCE_PREFIX;
    if (destination < all_bits)
        merged |= destination == 0 ? SHAPE_NO_DESTINATION : SHAPE_DESTINATION_PREFIX;
    merged |= by->keys & AGGREGATE_KEY_SPORT ? 0U : SHAPE_NO_SOURCE_PORT;
    merged |= by->keys & AGGREGATE_KEY_DPORT ? shape & SHAPE_ICMP : SHAPE_NO_DESTINATION_PORT;
    merged |= by->keys & AGGREGATE_KEY_PROTO ? 0U : SHAPE_NO_PROTOCOL;
    merged |= by->keys & AGGREGATE_KEY_MARK ? SHAPE_MARK : 0U;
    merged |= by->keys & AGGREGATE_KEY_ZONE ? SHAPE_ZONE : 0U;
    merged |= by->keys & AGGREGATE_KEY_NAT ? shape & SHAPE_NAT : 0U;
    return merged;
}

/* How many leading bits of a field are part of the key. */
static unsigned key_bits(const struct field *field, const struct key *key, const struct aggregate_by *by)
{
    switch (field->merge) {
    case FIELD_KEY:
        return field->octets * 8U;
    case FIELD_SOURCE:
        return key->blank.source_prefix_bits;
    case FIELD_DESTINATION:
        return key->blank.destination_prefix_bits;
    case FIELD_IN:
        return by->keys & AGGREGATE_KEY_IN ? field->octets * 8U : 0;
    case FIELD_OUT:
        return by->keys & AGGREGATE_KEY_OUT ? field->octets * 8U : 0;
    default:
        return 0;
    }
}

/* What makes two records of a shape one, by the field table. */
static void make_key(struct key *key, const struct aggregate_by *by, unsigned shape,
                     const uint64_t multipliers[RECORD_WORDS])
{
    union {
        uint8_t octets[sizeof(struct record)];
        uint32_t words[RECORD_WORDS];
    } mask = {0};
    struct template layout;

    key->blank.source_prefix_bits = (uint8_t)source_bits(by, shape);
    key->blank.destination_prefix_bits = (uint8_t)destination_bits(by, shape);
    template_of_shape(&layout, &fields_connection, aggregate_shape(by, shape));
    for (unsigned i = 0; i < layout.field_count; i++) {
        uint8_t *octet = mask.octets + layout.fields[i]->offset;
        unsigned bits = key_bits(layout.fields[i], key, by);
        for (; bits >= 8; bits -= 8)
            *octet++ = 0xff;
        if (bits > 0)
            *octet = (uint8_t)(0xff << (8 - bits));
    }
    for (unsigned i = 0; i < RECORD_WORDS; i++) {
        if (mask.words[i] != 0)
            key->words[key->count++] =
                (struct key_word){i * (unsigned)sizeof(uint32_t), mask.words[i], multipliers[i]};
    }
}

/* The multipliers are secret, so that nobody can choose addresses and ports that collide. */
static int make_keys(struct aggregate *aggregate)
{
    uint64_t multipliers[RECORD_WORDS] = {0};
    if (!aggregate->config.collide && getrandom(multipliers, sizeof(multipliers), 0) < 0)
        return -errno;
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++)
        make_key(&aggregate->keys[i], &aggregate->config.by, shape_at(i), multipliers);
    return 0;
}

static uint64_t bucket_count(const struct aggregate *aggregate)
{
    return (uint64_t)aggregate->bucket_mask + 1;
}

int aggregate_open(struct aggregate **aggregate, const struct aggregate_config *config, aggregate_sink *sink,
                   void *context)
{
    struct aggregate *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->sink = sink;
    opened->context = context;
    while (bucket_count(opened) < config->capacity)
        opened->bucket_mask = opened->bucket_mask * 2 + 1;
    opened->buckets = memory_map(bucket_count(opened), sizeof(*opened->buckets), MEMORY_WHEN_TOUCHED);
    opened->entries = memory_map(config->capacity, sizeof(*opened->entries), MEMORY_WHEN_TOUCHED);
    int error = opened->buckets && opened->entries ? make_keys(opened) : -ENOMEM;
    if (error) {
        aggregate_close(opened);
        return error;
    }
    stats_move(&config->stats->aggregates_limit, config->capacity);
    *aggregate = opened;
    return 0;
}

void aggregate_close(struct aggregate *aggregate)
{
    if (!aggregate)
        return;
    memory_unmap(aggregate->buckets, bucket_count(aggregate), sizeof(*aggregate->buckets));
    memory_unmap(aggregate->entries, aggregate->config.capacity, sizeof(*aggregate->entries));
    free(aggregate);
}

static struct entry *entry_at(const struct aggregate *aggregate, uint32_t link)
{
    return &aggregate->entries[link - 1];
}

static uint32_t *bucket_of(const struct aggregate *aggregate, uint32_t hash)
{
    return &aggregate->buckets[hash & aggregate->bucket_mask];
}

static uint32_t masked_word(const struct record *record, const struct key_word *word)
{
    uint32_t value;
    memcpy(&value, (const uint8_t *)record + word->offset, sizeof(value));
    return value & word->mask;
}

/*
 * Multilinear hashing: two keys that were chosen without knowledge of the multipliers have the same hash with
 * a probability of 2^-31 at most (Dietzfelbinger, "Universal hashing and k-wise independent random variables
 * via integer arithmetic without primes", 1996).
 */
static uint32_t hash_of(const struct key *key, const struct record *record)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < key->count; i++)
        sum += masked_word(record, &key->words[i]) * key->words[i].multiplier;
    return (uint32_t)(sum >> 32);
}

static bool has_key(const struct entry *entry, const struct key *key, const struct record *record)
{
    uint32_t difference = 0;
    for (unsigned i = 0; i < key->count; i++)
        difference |= masked_word(record, &key->words[i]) ^ masked_word(&entry->record, &key->words[i]);
    return difference == 0;
}

static struct entry *find(const struct aggregate *aggregate, unsigned shape, const struct record *record,
                          uint32_t hash)
{
    const struct key *key = &aggregate->keys[shape_index(shape)];
    uint32_t link = *bucket_of(aggregate, hash);
    while (link != NONE) {
        struct entry *entry = entry_at(aggregate, link);
        if (entry->hash == hash && entry->shape == shape && has_key(entry, key, record))
            return entry;
        link = entry->next;
    }
    return NULL;
}

static void release_oldest(struct aggregate *aggregate, enum flow_end_reason reason)
{
    uint32_t link = aggregate->oldest;
    struct entry *entry = entry_at(aggregate, link);
    struct record *record = &entry->record;

    uint32_t *at = bucket_of(aggregate, entry->hash);
    while (*at != link)
        at = &entry_at(aggregate, *at)->next;
    *at = entry->next;
    aggregate->oldest = entry->younger;
    entry->next = aggregate->free;
    aggregate->free = link;
    stats_move(&aggregate->config.stats->aggregates, -1);

    record->flow_end_reason = (uint8_t)reason;
    record->octets = htobe64(entry->octets);
    record->packets = htobe64(entry->packets);
    record->flows = htobe32(entry->flows);
    record->start_ms = htobe64(entry->start_ms);
    record->end_ms = htobe64(entry->end_ms);
    aggregate->sink(aggregate->context, entry->shape, record);
}

/* A free entry's link. */
static uint32_t take_entry(struct aggregate *aggregate)
{
    if (aggregate->free == NONE && aggregate->touched < aggregate->config.capacity)
        return ++aggregate->touched;
    if (aggregate->free == NONE) {
        stats_count(&aggregate->config.stats->aggregates_early, 1);
        release_oldest(aggregate, FLOW_END_LACK_OF_RESOURCES);
    }
    uint32_t link = aggregate->free;
    aggregate->free = entry_at(aggregate, link)->next;
    return link;
}

/* An aggregate of nothing, with the record's key. */
static struct entry *begin(struct aggregate *aggregate, unsigned shape, const struct record *record,
                           uint32_t hash, uint64_t now_ns)
{
    const struct key *key = &aggregate->keys[shape_index(shape)];
    uint32_t link = take_entry(aggregate);
    uint32_t *bucket = bucket_of(aggregate, hash);
    struct entry *entry = entry_at(aggregate, link);
    uint64_t now_s = (now_ns + NS_PER_S - 1) / NS_PER_S;

    *entry = (struct entry){.record = key->blank,
                            .start_ms = UINT64_MAX,
                            .due_s = (uint32_t)(now_s + aggregate->config.interval_s),
                            .hash = hash,
                            .next = *bucket,
                            .shape = (uint16_t)shape};
    for (unsigned i = 0; i < key->count; i++) {
        uint32_t word = masked_word(record, &key->words[i]);
        memcpy((uint8_t *)&entry->record + key->words[i].offset, &word, sizeof(word));
    }
    *bucket = link;
    stats_move(&aggregate->config.stats->aggregates, 1);
    if (aggregate->oldest == NONE)
        aggregate->oldest = link;
    else
        entry_at(aggregate, aggregate->youngest)->younger = link;
    aggregate->youngest = link;
    return entry;
}

void aggregate_add(struct aggregate *aggregate, unsigned shape, const struct record *record, uint64_t now_ns)
{
    uint32_t hash = hash_of(&aggregate->keys[shape_index(shape)], record);
    struct entry *entry = find(aggregate, shape, record, hash);
    if (!entry)
        entry = begin(aggregate, shape, record, hash, now_ns);

    uint64_t start_ms = be64toh(record->start_ms);
    uint64_t end_ms = be64toh(record->end_ms);
    entry->octets += be64toh(record->octets);
    entry->packets += be64toh(record->packets);
    entry->flows++;
    if (start_ms < entry->start_ms)
        entry->start_ms = start_ms;
    if (end_ms > entry->end_ms)
        entry->end_ms = end_ms;
}

enum { TURN = 4096 };

static uint64_t due_ns(const struct aggregate *aggregate)
{
    return entry_at(aggregate, aggregate->oldest)->due_s * NS_PER_S;
}

void aggregate_run(struct aggregate *aggregate, uint64_t now_ns)
{
    for (unsigned i = 0; i < TURN && aggregate->oldest != NONE && due_ns(aggregate) <= now_ns; i++)
        release_oldest(aggregate, FLOW_END_ACTIVE_TIMEOUT);
}

void aggregate_wants(const struct aggregate *aggregate, struct poll_set *set)
{
    if (aggregate->oldest != NONE)
        poll_set_before(set, due_ns(aggregate));
}

bool aggregate_leave(struct aggregate *aggregate)
{
    for (unsigned i = 0; i < TURN && aggregate->oldest != NONE; i++)
        release_oldest(aggregate, FLOW_END_FORCED);
    return aggregate->oldest != NONE;
}

void aggregate_flush(struct aggregate *aggregate)
{
    while (aggregate->oldest != NONE)
        release_oldest(aggregate, FLOW_END_FORCED);
}
