/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/collectors.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/log.h"
#include "ctflow9/netflow/record.h"
#include "ctflow9/output/collector.h"

enum {
    /* Data records that may come between two turns, so that a small --queue loses none of a fast collector.
     */
    SLACK_RECORDS = 16384,
    /* A record that is alone in its datagram, with FlowSet header and padding; no shape is longer. */
    RECORD_OCTETS_MAX =
        sizeof(struct datagram) + PACKET_HEADER_OCTETS + 4 + sizeof(struct record) + _Alignof(struct datagram)
};

#define LEAVE_PATIENCE_NS (2 * NS_PER_S)

/*
 * Who has them all owns the list. Others look at it under the lock; so does the owner when it changes it, but
 * never waits for that.
 */
struct collectors {
    struct collector_common common;
    pthread_mutex_t lock;
    size_t count;
    size_t leaving; /* more of them, which get what was there when they were removed */
    struct collector **collector;
    uint64_t leave_by_ns;            /* monotonic */
    _Atomic uint64_t dropped_before; /* data records, of collectors that are gone */
};

/* What is to take the place of a list: those that stay, those that are new, and those that leave. */
struct collectors_change {
    struct collector_config config;
    size_t staying, added, leaving;
    struct collector **collector;
    bool is_taken;
};

/* Of all, those that leave too. */
static size_t all_of(const struct collectors *collectors)
{
    return collectors->count + collectors->leaving;
}

static int source_family(const struct collector_config *config)
{
    if (config->source_address[0] == '\0')
        return AF_UNSPEC;
    return strchr(config->source_address, ':') ? AF_INET6 : AF_INET;
}

static int open_ring(struct collector_common *common, uint32_t max_datagram)
{
    uint64_t octets = ((uint64_t)common->config.queue + SLACK_RECORDS) * RECORD_OCTETS_MAX;
    int error = datagram_ring_open(&common->ring, octets, max_datagram);
    if (error)
        log_error("no memory for a queue of %" PRIu32 " records (%" PRIu64 " MiB), give a smaller --queue",
                  common->config.queue, octets >> 20);
    return error;
}

static int open_each(struct collectors *collectors, const struct host_port *peers, size_t count)
{
    int error = 0;
    for (; collectors->count < count && !error; collectors->count += !error) {
        struct collector **collector = &collectors->collector[collectors->count];
        error = collector_open(collector, &peers[collectors->count], &collectors->common);
        if (!error)
            collector_begin(*collector);
    }
    return error;
}

/* The list has room for so many, and is there also when that is 0. */
static struct collector **allocate_list(size_t count)
{
    return calloc(count + 1, sizeof(struct collector *));
}

int collectors_open(struct collectors **collectors, const struct collectors_config *config,
                    struct instant now)
{
    struct collectors *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    pthread_mutex_init(&opened->lock, NULL);
    opened->common.config = config->each;
    opened->common.packet = config->packet;
    opened->common.probe = config->probe;
    opened->common.source_family = source_family(&config->each);
    opened->common.now_ns = now.monotonic_ns;

    opened->collector = allocate_list(config->count);
    int error = opened->collector ? open_ring(&opened->common, config->max_datagram) : -ENOMEM;
    if (!error)
        error = datagram_batch_open(&opened->common.batch);
    if (!error)
        error = resolver_open(&opened->common.resolver);
    if (!error)
        error = open_each(opened, config->peers, config->count);
    if (error) {
        collectors_close(opened);
        return error;
    }
    *collectors = opened;
    return 0;
}

void collectors_close(struct collectors *collectors)
{
    if (!collectors)
        return;
    for (size_t i = 0; i < all_of(collectors); i++)
        collector_close(collectors->collector[i]);
    free(collectors->collector);
    resolver_close(collectors->common.resolver);
    datagram_batch_close(collectors->common.batch);
    datagram_ring_close(collectors->common.ring);
    pthread_mutex_destroy(&collectors->lock);
    free(collectors);
}

/* ---- sending ---- */

/* The position of the collector that is furthest behind; the ring's end when none is. */
static uint64_t oldest_position(const struct collectors *collectors)
{
    uint64_t oldest = datagram_ring_end(collectors->common.ring);
    for (size_t i = 0; i < all_of(collectors); i++)
        if (collector_position(collectors->collector[i]) < oldest)
            oldest = collector_position(collectors->collector[i]);
    return oldest;
}

static void make_room(struct collectors *collectors)
{
    for (uint64_t oldest;
         oldest = oldest_position(collectors), !datagram_ring_has_room(collectors->common.ring, oldest);)
        for (size_t i = 0; i < all_of(collectors); i++)
            if (collector_position(collectors->collector[i]) == oldest)
                collector_drop(collectors->collector[i]);
}

void collectors_queue(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                      uint64_t ended_ms)
{
    struct collectors *collectors = context;
    make_room(collectors);
    datagram_ring_put(collectors->common.ring, datagram, octets, records, ended_ms);
}

static void bid_farewell(struct collectors *collectors, struct collector *collector)
{
    while (!collector_has_left(collector))
        collector_drop(collector);
    stats_count(&collectors->dropped_before, collector_stats(collector)->records_dropped);
    log_info("collector %s: removed", collector_name(collector));
    stats_log_collector(collector_name(collector), collector_stats(collector));
    collector_close(collector);
}

/* Those that have got what they were to get, or took too long. */
static void see_off(struct collectors *collectors)
{
    bool is_late = collectors->common.now_ns >= collectors->leave_by_ns;
    if (collectors->leaving == 0 || pthread_mutex_trylock(&collectors->lock) != 0)
        return;
    for (size_t i = all_of(collectors); i-- > collectors->count;) {
        struct collector *collector = collectors->collector[i];
        if (!is_late && !collector_has_left(collector))
            continue;
        bid_farewell(collectors, collector);
        collectors->collector[i] = collectors->collector[collectors->count + --collectors->leaving];
    }
    pthread_mutex_unlock(&collectors->lock);
}

void collectors_run(struct collectors *collectors, struct instant now)
{
    collectors->common.now_ns = now.monotonic_ns;
    resolver_run(collectors->common.resolver);
    for (size_t i = 0; i < all_of(collectors); i++) {
        collector_run(collectors->collector[i], now);
        collector_trim(collectors->collector[i]);
    }
    see_off(collectors);
    if (oldest_position(collectors) < datagram_ring_end(collectors->common.ring))
        return;
    uint64_t begin = datagram_ring_rewind(collectors->common.ring);
    for (size_t i = 0; i < all_of(collectors); i++)
        collector_move(collectors->collector[i], begin);
}

void collectors_wants(const struct collectors *collectors, struct poll_set *set)
{
    resolver_wants(collectors->common.resolver, set);
    if (collectors->leaving > 0)
        poll_set_before(set, collectors->leave_by_ns);
    for (size_t i = 0; i < all_of(collectors); i++)
        collector_wants(collectors->collector[i], set);
}

bool collectors_pending(const struct collectors *collectors)
{
    for (size_t i = 0; i < all_of(collectors); i++)
        if (collector_pending(collectors->collector[i]))
            return true;
    return false;
}

void collectors_abandon(struct collectors *collectors)
{
    for (size_t i = 0; i < all_of(collectors); i++)
        while (collector_position(collectors->collector[i]) < datagram_ring_end(collectors->common.ring))
            collector_drop(collectors->collector[i]);
}

void collectors_note_present(struct collectors *collectors)
{
    for (size_t i = 0; i < collectors->count; i++)
        collector_note_present(collectors->collector[i]);
}

bool collectors_are_waiting(const struct collectors *collectors)
{
    return oldest_position(collectors) < datagram_ring_end(collectors->common.ring);
}

/* ---- others, while they run ---- */

static struct collector *find(const struct collectors *collectors, const struct host_port *peer)
{
    for (size_t i = 0; i < collectors->count; i++)
        if (host_port_is_same(collector_peer(collectors->collector[i]), peer))
            return collectors->collector[i];
    return NULL;
}

static bool is_wanted(const struct collectors_config *config, const struct collector *collector)
{
    for (size_t i = 0; i < config->count; i++)
        if (host_port_is_same(collector_peer(collector), &config->peers[i]))
            return true;
    return false;
}

static int list(struct collectors_change *change, const struct collectors *collectors,
                const struct collectors_config *config)
{
    struct collector **at = change->collector;
    int error = 0;
    for (size_t i = 0; i < config->count; i++)
        if ((*at = find(collectors, &config->peers[i])) != NULL)
            at++, change->staying++;
    for (size_t i = 0; i < config->count && !error; i++) {
        if (find(collectors, &config->peers[i]))
            continue;
        error = collector_open(at, &config->peers[i], &collectors->common);
        if (!error)
            at++, change->added++;
    }
    for (size_t i = 0; i < collectors->count; i++)
        if (!is_wanted(config, collectors->collector[i]))
            *at++ = collectors->collector[i], change->leaving++;
    return error;
}

int collectors_prepare(struct collectors_change **change, struct collectors *collectors,
                       const struct collectors_config *config)
{
    struct collectors_change *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = config->each;
    pthread_mutex_lock(&collectors->lock);
    opened->collector = allocate_list(config->count + collectors->count);
    int error = opened->collector ? list(opened, collectors, config) : -ENOMEM;
    pthread_mutex_unlock(&collectors->lock);
    if (error) {
        collectors_change_close(opened);
        return error;
    }
    *change = opened;
    return 0;
}

void collectors_change_close(struct collectors_change *change)
{
    if (!change)
        return;
    for (size_t i = 0; !change->is_taken && i < change->added; i++)
        collector_close(change->collector[change->staying + i]);
    free(change->collector);
    free(change);
}

bool collectors_take(struct collectors *collectors, struct collectors_change *change, struct instant now)
{
    if (collectors->leaving > 0 || pthread_mutex_trylock(&collectors->lock) != 0)
        return false;
    struct collector **replaced = collectors->collector;
    collectors->collector = change->collector;
    collectors->count = change->staying + change->added;
    collectors->leaving = change->leaving;
    collectors->leave_by_ns = now.monotonic_ns + LEAVE_PATIENCE_NS;
    collectors->common.config = change->config;
    collectors->common.source_family = source_family(&change->config);
    change->collector = replaced;
    change->is_taken = true;
    pthread_mutex_unlock(&collectors->lock);

    for (size_t i = 0; i < change->staying; i++)
        collector_refresh(collectors->collector[i]);
    for (size_t i = change->staying; i < collectors->count; i++)
        collector_begin(collectors->collector[i]);
    for (size_t i = collectors->count; i < all_of(collectors); i++)
        collector_leave(collectors->collector[i]);
    return true;
}

void collectors_use_packet(struct collectors *collectors, struct packet *packet)
{
    collectors->common.packet = packet;
    for (size_t i = 0; i < all_of(collectors); i++)
        collector_refresh(collectors->collector[i]);
}

/* ---- what they have counted ---- */

uint64_t collectors_records_dropped(struct collectors *collectors)
{
    pthread_mutex_lock(&collectors->lock);
    uint64_t dropped = atomic_load_explicit(&collectors->dropped_before, memory_order_relaxed);
    for (size_t i = 0; i < all_of(collectors); i++)
        dropped += atomic_load_explicit(&collector_stats(collectors->collector[i])->records_dropped,
                                        memory_order_relaxed);
    pthread_mutex_unlock(&collectors->lock);
    return dropped;
}

uint64_t collectors_unreachable_ns(const struct collectors *collectors)
{
    uint64_t latest_ns = 0;
    for (size_t i = 0; i < collectors->count; i++) {
        uint64_t since_ns = collector_unreachable_ns(collectors->collector[i]);
        if (since_ns == 0)
            return 0;
        if (since_ns > latest_ns)
            latest_ns = since_ns;
    }
    return latest_ns;
}

void collectors_count_passed_over(struct collectors *collectors)
{
    if (collectors->count > 0)
        collector_count_passed_over(collectors->collector[0]);
}

size_t collectors_count(const struct collectors *collectors)
{
    return collectors->count;
}

const char *collectors_name(const struct collectors *collectors, size_t index)
{
    return collector_name(collectors->collector[index]);
}

const struct collector_stats *collectors_stats(const struct collectors *collectors, size_t index)
{
    return collector_stats(collectors->collector[index]);
}
