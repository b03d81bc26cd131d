/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/udp.h"

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

struct udp {
    struct collector_common common;
    size_t count;
    struct collector *collectors[OPTIONS_COLLECTORS_MAX];
};

static int source_family(const struct options *options)
{
    if (options->source_address[0] == '\0')
        return AF_UNSPEC;
    return strchr(options->source_address, ':') ? AF_INET6 : AF_INET;
}

static int open_ring(struct collector_common *common)
{
    const struct options *options = common->options;
    uint64_t octets = ((uint64_t)options->queue + SLACK_RECORDS) * RECORD_OCTETS_MAX;
    int error = datagram_ring_open(&common->ring, octets, options->max_datagram);
    if (error)
        log_error("no memory for a queue of %" PRIu32 " records (%" PRIu64 " MiB), give a smaller --queue",
                  options->queue, octets >> 20);
    return error;
}

static int open_collectors(struct udp *udp)
{
    const struct options *options = udp->common.options;
    for (size_t i = 0; i < options->collector_count; i++) {
        int error = collector_open(&udp->collectors[i], &options->collectors[i], &udp->common);
        if (error)
            return error;
        udp->count++;
    }
    return 0;
}

int udp_open(struct udp **udp, const struct udp_config *config, struct instant now)
{
    struct udp *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->common.options = config->options;
    new->common.packet = config->packet;
    new->common.source_family = source_family(config->options);
    new->common.now_ns = now.monotonic_ns;

    int error = open_ring(&new->common);
    if (!error)
        error = datagram_batch_open(&new->common.batch);
    if (!error)
        error = resolver_open(&new->common.resolver);
    if (!error)
        error = open_collectors(new);
    if (error) {
        udp_close(new);
        return error;
    }
    *udp = new;
    return 0;
}

void udp_close(struct udp *udp)
{
    if (!udp)
        return;
    resolver_close(udp->common.resolver);
    for (size_t i = 0; i < udp->count; i++)
        collector_close(udp->collectors[i]);
    datagram_batch_close(udp->common.batch);
    datagram_ring_close(udp->common.ring);
    free(udp);
}

/* The position of the collector that is furthest behind; the ring's end when none is. */
static uint64_t oldest_position(const struct udp *udp)
{
    uint64_t oldest = datagram_ring_end(udp->common.ring);
    for (size_t i = 0; i < udp->count; i++)
        if (collector_position(udp->collectors[i]) < oldest)
            oldest = collector_position(udp->collectors[i]);
    return oldest;
}

static void make_room(struct udp *udp)
{
    for (uint64_t oldest; oldest = oldest_position(udp), !datagram_ring_has_room(udp->common.ring, oldest);)
        for (size_t i = 0; i < udp->count; i++)
            if (collector_position(udp->collectors[i]) == oldest)
                collector_drop(udp->collectors[i]);
}

void udp_queue(void *context, const uint8_t *datagram, size_t octets, unsigned records)
{
    struct udp *udp = context;
    make_room(udp);
    datagram_ring_put(udp->common.ring, datagram, octets, records);
}

void udp_run(struct udp *udp, struct instant now)
{
    udp->common.now_ns = now.monotonic_ns;
    resolver_run(udp->common.resolver);
    for (size_t i = 0; i < udp->count; i++) {
        collector_run(udp->collectors[i], now);
        collector_trim(udp->collectors[i]);
    }
    if (oldest_position(udp) < datagram_ring_end(udp->common.ring))
        return;
    uint64_t begin = datagram_ring_rewind(udp->common.ring);
    for (size_t i = 0; i < udp->count; i++)
        collector_move(udp->collectors[i], begin);
}

void udp_wants(const struct udp *udp, struct poll_set *set)
{
    resolver_wants(udp->common.resolver, set);
    for (size_t i = 0; i < udp->count; i++)
        collector_wants(udp->collectors[i], set);
}

bool udp_pending(const struct udp *udp)
{
    for (size_t i = 0; i < udp->count; i++)
        if (collector_pending(udp->collectors[i]))
            return true;
    return false;
}

void udp_abandon(struct udp *udp)
{
    for (size_t i = 0; i < udp->count; i++)
        while (collector_position(udp->collectors[i]) < datagram_ring_end(udp->common.ring))
            collector_drop(udp->collectors[i]);
}

size_t udp_collector_count(const struct udp *udp)
{
    return udp->count;
}

const char *udp_collector_name(const struct udp *udp, size_t index)
{
    return collector_name(udp->collectors[index]);
}

const struct collector_stats *udp_collector_stats(const struct udp *udp, size_t index)
{
    return collector_stats(udp->collectors[index]);
}
