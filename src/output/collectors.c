/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/collectors.h"

#include <errno.h>
#include <inttypes.h>
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

struct collectors {
    struct collector_common common;
    size_t count;
    struct collector *collector[];
};

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
    for (; collectors->count < count && !error; collectors->count += !error)
        error = collector_open(&collectors->collector[collectors->count], &peers[collectors->count],
                               &collectors->common);
    return error;
}

int collectors_open(struct collectors **collectors, const struct collectors_config *config,
                    struct instant now)
{
    struct collectors *opened = calloc(1, sizeof(*opened) + config->count * sizeof(opened->collector[0]));
    if (!opened)
        return -ENOMEM;
    opened->common.config = config->each;
    opened->common.packet = config->packet;
    opened->common.source_family = source_family(&config->each);
    opened->common.now_ns = now.monotonic_ns;

    int error = open_ring(&opened->common, config->max_datagram);
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
    resolver_close(collectors->common.resolver);
    for (size_t i = 0; i < collectors->count; i++)
        collector_close(collectors->collector[i]);
    datagram_batch_close(collectors->common.batch);
    datagram_ring_close(collectors->common.ring);
    free(collectors);
}

/* The position of the collector that is furthest behind; the ring's end when none is. */
static uint64_t oldest_position(const struct collectors *collectors)
{
    uint64_t oldest = datagram_ring_end(collectors->common.ring);
    for (size_t i = 0; i < collectors->count; i++)
        if (collector_position(collectors->collector[i]) < oldest)
            oldest = collector_position(collectors->collector[i]);
    return oldest;
}

static void make_room(struct collectors *collectors)
{
    for (uint64_t oldest;
         oldest = oldest_position(collectors), !datagram_ring_has_room(collectors->common.ring, oldest);)
        for (size_t i = 0; i < collectors->count; i++)
            if (collector_position(collectors->collector[i]) == oldest)
                collector_drop(collectors->collector[i]);
}

void collectors_queue(void *context, const uint8_t *datagram, size_t octets, unsigned records)
{
    struct collectors *collectors = context;
    make_room(collectors);
    datagram_ring_put(collectors->common.ring, datagram, octets, records);
}

void collectors_run(struct collectors *collectors, struct instant now)
{
    collectors->common.now_ns = now.monotonic_ns;
    resolver_run(collectors->common.resolver);
    for (size_t i = 0; i < collectors->count; i++) {
        collector_run(collectors->collector[i], now);
        collector_trim(collectors->collector[i]);
    }
    if (oldest_position(collectors) < datagram_ring_end(collectors->common.ring))
        return;
    uint64_t begin = datagram_ring_rewind(collectors->common.ring);
    for (size_t i = 0; i < collectors->count; i++)
        collector_move(collectors->collector[i], begin);
}

void collectors_wants(const struct collectors *collectors, struct poll_set *set)
{
    resolver_wants(collectors->common.resolver, set);
    for (size_t i = 0; i < collectors->count; i++)
        collector_wants(collectors->collector[i], set);
}

bool collectors_pending(const struct collectors *collectors)
{
    for (size_t i = 0; i < collectors->count; i++)
        if (collector_pending(collectors->collector[i]))
            return true;
    return false;
}

void collectors_abandon(struct collectors *collectors)
{
    for (size_t i = 0; i < collectors->count; i++)
        while (collector_position(collectors->collector[i]) < datagram_ring_end(collectors->common.ring))
            collector_drop(collectors->collector[i]);
}

void collectors_note_present(struct collectors *collectors)
{
    for (size_t i = 0; i < collectors->count; i++)
        collector_note_present(collectors->collector[i]);
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
