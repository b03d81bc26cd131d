/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow_cache.h"

#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ctflow9/base/memory.h"

/*
 * Entries are chained by their buckets, and each is in one list of the wheel, which has a list for each
 * second. An entry's list is that of a second at which it may be due: its packets only move the time that it
 * is due at, and it is put into another list when its second has come (lazily), or when it is to be sooner
 * (once: by its first FIN or RST). Numbers instead of pointers, 0 = none.
 */
enum {
    KEY_WORDS = sizeof(struct flow_key) / sizeof(uint32_t),
    WHEEL = 4096,        /* seconds; what is due later than that is looked at then */
    CHANCES_MAX = 7,     /* that packets give an entry to stay when another needs a place */
    LOOKS_PER_FLOW = 64, /* that run() may take for each flow that it may end */
    LOOKS_FOR_PLACE = 65536,
    TH_CLOSING = TH_FIN | TH_RST
};

struct entry {
    struct flow_key key;
    uint32_t next; /* in its bucket, or of the free ones */
    uint32_t hash;
    uint64_t packets, octets;
    uint64_t first_ns, last_ns; /* boot time */
    uint32_t before, behind;    /* in its list of the wheel */
    uint32_t second;            /* of that list */
    uint8_t tcp_flags;
    uint8_t ttl_min, ttl_max;
    uint8_t chances;
    bool has_link;
    uint8_t link_source[6], link_destination[6];
};

_Static_assert(sizeof(struct entry) <= 128, "two cache lines");

struct list {
    uint32_t first, last;
};

struct flow_cache {
    struct flow_cache_config config;
    _Atomic uint64_t inactive_timeout_ns, active_timeout_ns; /* what config is to have */
    flow_sink *sink;
    void *context;
    uint32_t secret[KEY_WORDS];
    uint64_t secret_factor; /* odd */
    uint32_t *buckets;
    uint32_t bucket_mask;
    struct entry *entries; /* from 1 on */
    uint32_t count;
    uint32_t fresh; /* the first that was never used */
    uint32_t free;
    uint32_t unsorted; /* buckets whose entries may be in other lists than their timeouts say */
    uint32_t second;   /* whose list is the next to be looked at, none before it has an entry */
    struct list wheel[WHEEL];
};

/*
 * NH (UMAC, RFC 4418): whatever two keys are, hardly one secret in 2^32 gives them the same sum. The product
 * spreads it, and its upper half is as good (multiply-shift).
 */
static uint32_t hash_of(const struct flow_cache *cache, const struct flow_key *key)
{
    uint32_t words[KEY_WORDS];
    memcpy(words, key, sizeof(words));
    uint64_t sum = 0;
    for (unsigned i = 0; i < KEY_WORDS; i += 2) {
        uint32_t one = words[i] + cache->secret[i];
        uint32_t other = words[i + 1] + cache->secret[i + 1];
        sum += (uint64_t)one * other;
    }
    sum ^= sum >> 32;
    return (uint32_t)(sum * cache->secret_factor >> 32);
}

static uint32_t *bucket_of(const struct flow_cache *cache, uint32_t hash)
{
    return &cache->buckets[hash & cache->bucket_mask];
}

static uint32_t bucket_count(uint32_t capacity)
{
    uint32_t count = 1;
    while (count < capacity)
        count *= 2;
    return count * 2;
}

static int choose_secret(struct flow_cache *cache)
{
    if (getrandom(cache->secret, sizeof(cache->secret), 0) != sizeof(cache->secret) ||
        getrandom(&cache->secret_factor, sizeof(cache->secret_factor), 0) != sizeof(cache->secret_factor))
        return -EIO;
    cache->secret_factor |= 1;
    return 0;
}

static uint32_t second_of(uint64_t boot_ns)
{
    return (uint32_t)(boot_ns / NS_PER_S);
}

int flow_cache_open(struct flow_cache **cache, const struct flow_cache_config *config, flow_sink *sink,
                    void *context)
{
    struct flow_cache *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    flow_cache_set_timeouts(opened, config->inactive_timeout_ns, config->active_timeout_ns);
    opened->sink = sink;
    opened->context = context;
    opened->fresh = 1;
    opened->second = second_of(config->clock->boot_ns);
    uint32_t buckets = bucket_count(config->capacity);
    opened->bucket_mask = buckets - 1;
    opened->buckets = memory_map(buckets, sizeof(*opened->buckets), MEMORY_WHEN_TOUCHED);
    opened->entries =
        memory_map((uint64_t)config->capacity + 1, sizeof(*opened->entries), MEMORY_WHEN_TOUCHED);
    int error = opened->buckets && opened->entries ? choose_secret(opened) : -ENOMEM;
    if (error) {
        flow_cache_close(opened);
        return error;
    }
    stats_move(&config->stats->packet_flows_limit, config->capacity);
    *cache = opened;
    return 0;
}

void flow_cache_close(struct flow_cache *cache)
{
    if (!cache)
        return;
    memory_unmap(cache->buckets, (uint64_t)cache->bucket_mask + 1, sizeof(*cache->buckets));
    memory_unmap(cache->entries, (uint64_t)cache->config.capacity + 1, sizeof(*cache->entries));
    free(cache);
}

static bool is_closing(const struct entry *entry)
{
    return (entry->tcp_flags & TH_CLOSING) != 0;
}

static uint64_t inactive_at_ns(const struct flow_cache *cache, const struct entry *entry)
{
    return entry->last_ns + (is_closing(entry) && FLOW_CACHE_LINGER_NS < cache->config.inactive_timeout_ns
                                 ? FLOW_CACHE_LINGER_NS
                                 : cache->config.inactive_timeout_ns);
}

static uint64_t active_until_ns(const struct flow_cache *cache, const struct entry *entry)
{
    uint64_t timeout_ns = cache->config.active_timeout_ns;
    return timeout_ns == 0 ? UINT64_MAX : entry->first_ns + timeout_ns;
}

static uint64_t due_ns(const struct flow_cache *cache, const struct entry *entry)
{
    uint64_t inactive_ns = inactive_at_ns(cache, entry);
    uint64_t active_ns = active_until_ns(cache, entry);
    return inactive_ns < active_ns ? inactive_ns : active_ns;
}

/* No list before that has an entry, or ever will. */
static uint32_t earliest_second(const struct flow_cache *cache)
{
    uint32_t now = second_of(cache->config.clock->boot_ns);
    return now < cache->second ? now : cache->second;
}

/* The second at which an entry is due, or has to be looked at again. */
static uint32_t due_second(const struct flow_cache *cache, const struct entry *entry)
{
    uint64_t second = due_ns(cache, entry) / NS_PER_S + 1;
    uint64_t earliest = earliest_second(cache);
    uint64_t latest = earliest + WHEEL - 1;
    return (uint32_t)(second < earliest ? earliest : second > latest ? latest : second);
}

/* At the end of the list of a second. */
static void enqueue(struct flow_cache *cache, uint32_t number, uint32_t second)
{
    struct list *list = &cache->wheel[second % WHEEL];
    struct entry *entry = &cache->entries[number];
    if (second < cache->second)
        cache->second = second;
    entry->second = second;
    entry->before = list->last;
    entry->behind = 0;
    if (list->last)
        cache->entries[list->last].behind = number;
    else
        list->first = number;
    list->last = number;
}

static void dequeue(struct flow_cache *cache, uint32_t number)
{
    const struct entry *entry = &cache->entries[number];
    struct list *list = &cache->wheel[entry->second % WHEEL];
    if (entry->before)
        cache->entries[entry->before].behind = entry->behind;
    else
        list->first = entry->behind;
    if (entry->behind)
        cache->entries[entry->behind].before = entry->before;
    else
        list->last = entry->before;
}

static void requeue(struct flow_cache *cache, uint32_t number)
{
    dequeue(cache, number);
    enqueue(cache, number, due_second(cache, &cache->entries[number]));
}

static void fill_tuple(const struct flow_key *key, struct flow *flow)
{
    struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    tuple->src = key->src;
    tuple->dst = key->dst;
    if (flow_is_icmp(flow)) {
        uint16_t type_code = be16toh(key->dst_port);
        tuple->icmp_type = (uint8_t)(type_code >> 8);
        tuple->icmp_code = (uint8_t)type_code;
    } else {
        tuple->src_port = key->src_port;
        tuple->dst_port = key->dst_port;
    }
    /* The other direction is the same seen from behind: nothing was translated. */
    flow->tuple[FLOW_REPLY] = *tuple;
    flow->tuple[FLOW_REPLY].src = tuple->dst;
    flow->tuple[FLOW_REPLY].dst = tuple->src;
    flow->tuple[FLOW_REPLY].src_port = tuple->dst_port;
    flow->tuple[FLOW_REPLY].dst_port = tuple->src_port;
}

/* NFQUEUE seldom tells it. */
static bool has_link_destination(const struct entry *entry)
{
    static const uint8_t none[sizeof(entry->link_destination)];
    return memcmp(entry->link_destination, none, sizeof(none)) != 0;
}

static void report(struct flow_cache *cache, const struct entry *entry, enum flow_end_reason reason)
{
    const struct flow_key *key = &entry->key;
    struct flow flow = {.kind = FLOW_PACKETS,
                        .family = key->family,
                        .protocol = key->protocol,
                        .end_reason = (uint8_t)reason,
                        .packets = {entry->packets},
                        .octets = {entry->octets},
                        .start_ns = wall_clock_at(cache->config.clock, entry->first_ns),
                        .stop_ns = wall_clock_at(cache->config.clock, entry->last_ns),
                        .tos = {key->tos},
                        .tcp_flags = {entry->tcp_flags},
                        .ttl = {.min = entry->ttl_min, .max = entry->ttl_max},
                        .vlan = {key->vlan},
                        .in_interface = {key->in_interface},
                        .out_interface = {key->out_interface},
                        .has = FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP | FLOW_HAS_INTERFACES |
                               FLOW_HAS_TOS | FLOW_HAS_TTL};
    if (key->protocol == IPPROTO_TCP)
        flow.has |= FLOW_HAS_TCP_FLAGS;
    if (key->is_egress)
        flow.has |= FLOW_EGRESS;
    if (key->vlan != 0)
        flow.has |= FLOW_HAS_VLAN;
    if (entry->has_link) {
        flow.has |= FLOW_HAS_LINK_SOURCE << FLOW_ORIGINAL;
        if (has_link_destination(entry))
            flow.has |= FLOW_HAS_LINK_SOURCE << FLOW_REPLY;
        memcpy(flow.link_source[FLOW_ORIGINAL], entry->link_source, sizeof(entry->link_source));
        memcpy(flow.link_source[FLOW_REPLY], entry->link_destination, sizeof(entry->link_destination));
    }
    fill_tuple(key, &flow);
    cache->sink(cache->context, &flow);
}

static void end(struct flow_cache *cache, uint32_t number, enum flow_end_reason reason)
{
    struct entry *entry = &cache->entries[number];
    uint32_t *link = bucket_of(cache, entry->hash);
    while (*link != number)
        link = &cache->entries[*link].next;
    *link = entry->next;
    dequeue(cache, number);
    report(cache, entry, reason);
    entry->next = cache->free;
    cache->free = number;
    cache->count--;
    stats_move(&cache->config.stats->packet_flows, -1);
}

static void forget_empty_seconds(struct flow_cache *cache)
{
    while (cache->count > 0 && cache->wheel[cache->second % WHEEL].first == 0)
        cache->second++;
}

/* Ends the one that is due soonest and was given no chance. */
static void make_room(struct flow_cache *cache)
{
    for (unsigned looks = 0;; looks++) {
        forget_empty_seconds(cache);
        uint32_t number = cache->wheel[cache->second % WHEEL].first;
        struct entry *entry = &cache->entries[number];
        __builtin_prefetch(&cache->entries[entry->behind]);
        if (entry->chances == 0 || looks == LOOKS_FOR_PLACE) {
            stats_count(&cache->config.stats->cache_full, 1);
            end(cache, number, FLOW_END_LACK_OF_RESOURCES);
            return;
        }
        entry->chances--;
        requeue(cache, number);
    }
}

static uint32_t take_place(struct flow_cache *cache)
{
    if (cache->count == cache->config.capacity)
        make_room(cache);
    cache->count++;
    stats_move(&cache->config.stats->packet_flows, 1);
    uint32_t number = cache->free;
    if (number == 0)
        return cache->fresh++;
    cache->free = cache->entries[number].next;
    return number;
}

/* The key, hash and place in bucket and wheel stay as they are. */
static void begin(struct entry *entry, const struct flow_packet *packet, uint64_t now_ns)
{
    entry->packets = 1;
    entry->octets = packet->octets;
    entry->first_ns = now_ns;
    entry->last_ns = now_ns;
    entry->tcp_flags = packet->tcp_flags;
    entry->ttl_min = packet->ttl;
    entry->ttl_max = packet->ttl;
    entry->chances = 0;
    entry->has_link = packet->has_link;
    memcpy(entry->link_source, packet->link_source, sizeof(entry->link_source));
    memcpy(entry->link_destination, packet->link_destination, sizeof(entry->link_destination));
}

static void insert(struct flow_cache *cache, const struct flow_packet *packet, uint32_t hash, uint64_t now_ns)
{
    if (cache->count == 0)
        cache->second = second_of(now_ns);
    uint32_t number = take_place(cache);
    struct entry *entry = &cache->entries[number];
    uint32_t *bucket = bucket_of(cache, hash);
    entry->key = packet->key;
    entry->hash = hash;
    entry->next = *bucket;
    *bucket = number;
    begin(entry, packet, now_ns);
    enqueue(cache, number, due_second(cache, entry));
}

/* Whether this packet begins another flow, because of what came before it. */
static enum flow_end_reason ends_before(const struct flow_cache *cache, const struct entry *entry,
                                        const struct flow_packet *packet, uint64_t now_ns)
{
    if (now_ns >= inactive_at_ns(cache, entry))
        return is_closing(entry) ? FLOW_END_DETECTED : FLOW_END_IDLE_TIMEOUT;
    if (is_closing(entry) && (packet->tcp_flags & TH_SYN))
        return FLOW_END_DETECTED;
    return now_ns >= active_until_ns(cache, entry) ? FLOW_END_ACTIVE_TIMEOUT : FLOW_END_UNKNOWN;
}

static void merge(struct flow_cache *cache, uint32_t number, const struct flow_packet *packet,
                  uint64_t now_ns)
{
    struct entry *entry = &cache->entries[number];
    bool was_closing = is_closing(entry);
    enum flow_end_reason reason = ends_before(cache, entry, packet, now_ns);
    if (reason != FLOW_END_UNKNOWN) {
        report(cache, entry, reason);
        begin(entry, packet, now_ns);
        requeue(cache, number);
        return;
    }
    entry->packets++;
    entry->octets += packet->octets;
    entry->last_ns = now_ns;
    entry->tcp_flags |= packet->tcp_flags;
    entry->ttl_min = packet->ttl < entry->ttl_min ? packet->ttl : entry->ttl_min;
    entry->ttl_max = packet->ttl > entry->ttl_max ? packet->ttl : entry->ttl_max;
    if (entry->chances < CHANCES_MAX)
        entry->chances++;
    if (!was_closing && is_closing(entry))
        requeue(cache, number);
}

static uint32_t find(const struct flow_cache *cache, const struct flow_key *key, uint32_t hash)
{
    uint32_t number = *bucket_of(cache, hash);
    while (number != 0) {
        const struct entry *entry = &cache->entries[number];
        if (entry->hash == hash && memcmp(&entry->key, key, sizeof(*key)) == 0)
            return number;
        number = entry->next;
    }
    return 0;
}

/* First all buckets are fetched, then all entries: none waits for another's memory. */
void flow_cache_add(struct flow_cache *cache, const struct flow_packet *packets, unsigned count)
{
    uint32_t hashes[FLOW_CACHE_BATCH];
    uint64_t now_ns = cache->config.clock->boot_ns;
    for (unsigned i = 0; i < count; i++) {
        hashes[i] = hash_of(cache, &packets[i].key);
        __builtin_prefetch(bucket_of(cache, hashes[i]));
    }
    for (unsigned i = 0; i < count; i++) {
        const struct entry *entry = &cache->entries[*bucket_of(cache, hashes[i])];
        __builtin_prefetch(entry, 1);
        __builtin_prefetch((const char *)entry + 64, 1);
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t number = find(cache, &packets[i].key, hashes[i]);
        if (number != 0)
            merge(cache, number, &packets[i], now_ns);
        else
            insert(cache, &packets[i], hashes[i], now_ns);
    }
}

static enum flow_end_reason reason_of(const struct flow_cache *cache, const struct entry *entry,
                                      uint64_t now_ns)
{
    if (now_ns < inactive_at_ns(cache, entry))
        return FLOW_END_ACTIVE_TIMEOUT;
    return is_closing(entry) ? FLOW_END_DETECTED : FLOW_END_IDLE_TIMEOUT;
}

void flow_cache_set_timeouts(struct flow_cache *cache, uint64_t inactive_timeout_ns,
                             uint64_t active_timeout_ns)
{
    atomic_store_explicit(&cache->inactive_timeout_ns, inactive_timeout_ns, memory_order_relaxed);
    atomic_store_explicit(&cache->active_timeout_ns, active_timeout_ns, memory_order_relaxed);
}

bool flow_cache_see_timeouts(struct flow_cache *cache)
{
    struct flow_cache_config *config = &cache->config;
    uint64_t inactive_ns = atomic_load_explicit(&cache->inactive_timeout_ns, memory_order_relaxed);
    uint64_t active_ns = atomic_load_explicit(&cache->active_timeout_ns, memory_order_relaxed);
    if (config->inactive_timeout_ns == inactive_ns && config->active_timeout_ns == active_ns)
        return false;
    config->inactive_timeout_ns = inactive_ns;
    config->active_timeout_ns = active_ns;
    cache->unsorted = cache->bucket_mask + 1;
    return true;
}

/* Entries go to where their timeouts say now. Returns whether there are more. */
static bool sort_again(struct flow_cache *cache, uint64_t looks)
{
    for (; cache->unsorted > 0 && looks > 0; looks--) {
        uint32_t number = cache->buckets[--cache->unsorted];
        for (; number != 0; number = cache->entries[number].next)
            requeue(cache, number);
    }
    return cache->unsorted > 0;
}

bool flow_cache_run(struct flow_cache *cache, unsigned limit)
{
    uint64_t now_ns = cache->config.clock->boot_ns;
    uint64_t looks = (uint64_t)limit * LOOKS_PER_FLOW;
    if (sort_again(cache, looks))
        return true;
    while (cache->count > 0 && cache->second <= second_of(now_ns)) {
        uint32_t number = cache->wheel[cache->second % WHEEL].first;
        if (number == 0) {
            cache->second++;
            continue;
        }
        if (limit == 0 || looks-- == 0)
            return true;
        const struct entry *entry = &cache->entries[number];
        __builtin_prefetch(&cache->entries[entry->behind]);
        if (due_ns(cache, entry) > now_ns) {
            requeue(cache, number);
            continue;
        }
        end(cache, number, reason_of(cache, entry, now_ns));
        limit--;
    }
    return false;
}

uint64_t flow_cache_due_ns(const struct flow_cache *cache)
{
    if (cache->count == 0)
        return UINT64_MAX;
    if (cache->unsorted > 0)
        return 0;
    return (uint64_t)cache->second * NS_PER_S;
}

bool flow_cache_finish(struct flow_cache *cache, unsigned limit)
{
    for (; cache->count > 0 && limit > 0; limit--) {
        forget_empty_seconds(cache);
        end(cache, cache->wheel[cache->second % WHEEL].first, FLOW_END_FORCED);
    }
    return cache->count > 0;
}

uint32_t flow_cache_count(const struct flow_cache *cache)
{
    return cache->count;
}
