/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/route_cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/memory.h"

/*
 * A place: its head, then the key, then the value, whose last word has the generation in its upper half. The
 * head's lower half is the version, the upper one flags.
 */
enum {
    ADDRESS_KEY = 2,   /* words of it */
    ADDRESS_WORDS = 3, /* and a value: out_interface */
    FLOW_KEY = 6,
    FLOW_WORDS = 8, /* and values: in and out, and out of the reply */
    WORDS_MAX = FLOW_WORDS,
};

enum { IS_TO_ALL = 1 << 0, PARTS_SHIFT = 4 };  /* flags of an address, */
enum { HAS_WAY = 1 << 0, HAS_REPLY = 1 << 1 }; /* of a flow */

struct table {
    uint32_t places;
    unsigned key, words;
    _Atomic uint64_t *slab;
};

struct route_cache {
    struct table addresses, flows;
};

/* ---- tables ---- */

static int open_table(struct table *table, uint32_t places, unsigned key, unsigned words)
{
    *table = (struct table){.places = places, .key = key, .words = words};
    table->slab = memory_map((uint64_t)places * (words + 1), sizeof(table->slab[0]), MEMORY_WHEN_TOUCHED);
    return table->slab ? 0 : -ENOMEM;
}

static void close_table(struct table *table)
{
    memory_unmap((void *)(uintptr_t)table->slab, (uint64_t)table->places * (table->words + 1),
                 sizeof(table->slab[0]));
}

static uint64_t hash_key(const uint64_t *key, unsigned words)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < words; i++) {
        hash = (hash ^ key[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash;
}

/* The first of the two places that a key may be at; the other one is its neighbour. */
static uint32_t place_of(const struct table *table, const uint64_t *key)
{
    return (uint32_t)hash_key(key, table->key) & (table->places - 1);
}

static _Atomic uint64_t *at(const struct table *table, uint32_t place)
{
    return table->slab + (size_t)place * (table->words + 1);
}

static uint32_t generation_of(const struct table *table, const uint64_t *words)
{
    return (uint32_t)(words[table->words - 1] >> 32);
}

/* Its words and flags; false when it is being written. Orders: see route_cache.h. */
static bool read_place(const struct table *table, uint32_t place, uint64_t *words, uint32_t *flags)
{
    const _Atomic uint64_t *read = at(table, place);
    uint64_t head = atomic_load_explicit(&read[0], memory_order_acquire);
    for (unsigned i = 0; i < table->words; i++)
        words[i] = atomic_load_explicit(&read[i + 1], memory_order_acquire);
    *flags = (uint32_t)(head >> 32);
    return (head & 1) == 0 && atomic_load_explicit(&read[0], memory_order_relaxed) == head;
}

/* Puts the words of what has this key there, and its flags. */
static bool find(const struct table *table, const uint64_t *key, uint64_t *words, uint32_t *flags)
{
    uint32_t place = place_of(table, key);
    for (uint32_t i = 0; i < 2; i++) {
        if (atomic_load_explicit(&at(table, place ^ i)[1], memory_order_relaxed) == key[0] &&
            read_place(table, place ^ i, words, flags) &&
            memcmp(words, key, table->key * sizeof(key[0])) == 0)
            return true;
    }
    return false;
}

/* Where it is, else where the older one of two is. */
static uint32_t place_to_write(const struct table *table, const uint64_t *key)
{
    uint32_t place = place_of(table, key), flags, generation[2];
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t words[WORDS_MAX];
        read_place(table, place ^ i, words, &flags);
        if (memcmp(words, key, table->key * sizeof(key[0])) == 0)
            return place ^ i;
        generation[i] = generation_of(table, words);
    }
    return generation[0] <= generation[1] ? place : place ^ 1;
}

static void put(const struct table *table, const uint64_t *words, uint32_t flags)
{
    _Atomic uint64_t *written = at(table, place_to_write(table, words));
    uint32_t version = (uint32_t)atomic_load_explicit(&written[0], memory_order_relaxed);
    atomic_store_explicit(&written[0], version | 1, memory_order_relaxed);
    for (unsigned i = 0; i < table->words; i++)
        atomic_store_explicit(&written[i + 1], words[i], memory_order_release);
    atomic_store_explicit(&written[0], (uint64_t)flags << 32 | (uint32_t)(version + 2), memory_order_release);
}

/* ---- keys ---- */

/* No address of IPv6 begins with as many ones. */
static void write_address(uint64_t *words, uint8_t family, const union flow_address *address)
{
    memcpy(words, address, 2 * sizeof(words[0]));
    if (family == AF_INET) {
        words[0] = UINT64_MAX;
        words[1] = address->v4;
    }
}

/* What is not in these parts is left out. */
static void write_flow(uint64_t *words, uint8_t parts, const struct flow *flow)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL], *reply = &flow->tuple[FLOW_REPLY];
    write_address(words, flow->family, &original->src);
    write_address(words + 2, flow->family, &reply->src);
    words[4] = words[5] = 0;
    if ((parts & ROUTE_BY_PORTS) != 0) {
        words[4] = (uint64_t)original->src_port << 48 | (uint64_t)reply->src_port << 32;
        words[5] = flow->protocol;
    }
    if ((parts & ROUTE_BY_MARK) != 0)
        words[4] |= flow->mark;
    if ((parts & ROUTE_BY_TOS) != 0)
        words[5] |= (uint64_t)flow->tos[FLOW_ORIGINAL] << 8 | (uint64_t)flow->tos[FLOW_REPLY] << 16;
    words[5] |= (uint64_t)parts << 32;
}

/* ---- finding ---- */

static bool is_of_now(const struct route_state *state, uint32_t generation, const struct flow *flow)
{
    if (generation == state->generation)
        return true;
    return generation + 1 == state->generation && flow->stop_ns != 0 &&
           flow->stop_ns <= state->changed_ns + ROUTE_GRACE_NS;
}

/* Of a value: has the flow noted it. */
static enum route_found note_way(const uint64_t *value, uint32_t flags, struct flow *flow)
{
    if ((flags & HAS_WAY) == 0)
        return ROUTE_UNKNOWN;
    flow->in_interface[FLOW_ORIGINAL] = (uint32_t)value[0];
    flow->out_interface[FLOW_ORIGINAL] = (uint32_t)(value[0] >> 32);
    flow->has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    if ((flags & HAS_REPLY) == 0)
        return ROUTE_NOTED;
    flow->in_interface[FLOW_REPLY] = (uint32_t)(value[0] >> 32);
    flow->out_interface[FLOW_REPLY] = (uint32_t)value[1];
    flow->has |= FLOW_HAS_INTERFACES << FLOW_REPLY;
    return ROUTE_NOTED;
}

static enum route_found find_flow(const struct route_cache *cache, const struct route_state *state,
                                  uint8_t parts, struct flow *flow)
{
    uint64_t key[FLOW_KEY], words[FLOW_WORDS];
    uint32_t flags;
    write_flow(key, parts, flow);
    if (!find(&cache->flows, key, words, &flags) ||
        !is_of_now(state, generation_of(&cache->flows, words), flow))
        return ROUTE_UNASKED;
    return note_way(words + FLOW_KEY, flags, flow);
}

/* false: it is to be asked for. */
static bool find_address(const struct route_cache *cache, const struct route_state *state,
                         const struct flow *flow, const union flow_address *address, struct route *route,
                         uint8_t *parts)
{
    uint64_t key[ADDRESS_KEY], words[ADDRESS_WORDS];
    uint32_t flags;
    write_address(key, flow->family, address);
    if (!find(&cache->addresses, key, words, &flags) ||
        !is_of_now(state, generation_of(&cache->addresses, words), flow))
        return false;
    *route =
        (struct route){.out_interface = (uint32_t)words[ADDRESS_KEY], .is_to_all = (flags & IS_TO_ALL) != 0};
    *parts |= (uint8_t)(flags >> PARTS_SHIFT);
    return true;
}

enum route_found route_cache_find(const struct route_cache *cache, const struct route_state *state,
                                  struct flow *flow)
{
    struct route to_source, to_destination;
    uint8_t parts = state->parts[flow->family == AF_INET6];
    if (parts != 0)
        return find_flow(cache, state, parts, flow);
    if (!find_address(cache, state, flow, &flow->tuple[FLOW_ORIGINAL].src, &to_source, &parts) ||
        !find_address(cache, state, flow, &flow->tuple[FLOW_REPLY].src, &to_destination, &parts))
        return ROUTE_UNASKED;
    if (parts != 0)
        return find_flow(cache, state, parts, flow);
    routes_note_by(&to_source, &to_destination, flow);
    return ROUTE_NOTED;
}

/* ---- putting ---- */

void route_cache_put_address(struct route_cache *cache, uint32_t generation, uint8_t family,
                             const union flow_address *address, const struct route *route, uint8_t parts)
{
    uint64_t words[ADDRESS_WORDS] = {0};
    write_address(words, family, address);
    words[ADDRESS_KEY] = (uint64_t)generation << 32 | route->out_interface;
    put(&cache->addresses, words, (uint32_t)parts << PARTS_SHIFT | (route->is_to_all ? IS_TO_ALL : 0));
}

void route_cache_put_flow(struct route_cache *cache, uint32_t generation, uint8_t parts,
                          const struct flow *flow)
{
    uint64_t words[FLOW_WORDS];
    write_flow(words, parts, flow);
    words[FLOW_KEY] = (uint64_t)flow->out_interface[FLOW_ORIGINAL] << 32 | flow->in_interface[FLOW_ORIGINAL];
    words[FLOW_KEY + 1] = (uint64_t)generation << 32 | flow->out_interface[FLOW_REPLY];
    uint32_t flags = flow_has_of(flow, FLOW_HAS_INTERFACES, FLOW_ORIGINAL) ? HAS_WAY : 0;
    if (flow_has_of(flow, FLOW_HAS_INTERFACES, FLOW_REPLY))
        flags |= HAS_REPLY;
    put(&cache->flows, words, flags);
}

/* ---- opening ---- */

int route_cache_open(struct route_cache **cache, uint32_t places)
{
    struct route_cache *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    int error = open_table(&opened->addresses, places, ADDRESS_KEY, ADDRESS_WORDS);
    if (!error)
        error = open_table(&opened->flows, places, FLOW_KEY, FLOW_WORDS);
    if (error) {
        route_cache_close(opened);
        return error;
    }
    *cache = opened;
    return 0;
}

void route_cache_close(struct route_cache *cache)
{
    if (!cache)
        return;
    close_table(&cache->addresses);
    close_table(&cache->flows);
    free(cache);
}
