/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/log.h"

struct feed {
    struct packet *packet;  /* NULL as long as there was no collector */
    struct packet *leaving; /* has been replaced, and holds some still; NULL = none */
    struct collectors *collectors;
    const struct interface_names *names; /* NULL = none */
    size_t sealed;                       /* datagrams since collectors_run() */
    struct instant now;
};

struct feed_change {
    struct packet *packet;   /* NULL = the one that there is goes on, or has been replaced by now */
    struct packet *replaced; /* to be closed with the change */
    struct collectors_change *collectors;
    bool is_taken;
};

/* A packet_sink. A long drain makes more datagrams than are sent at a time, so they leave in between. */
static void to_collectors(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                          uint64_t ended_ms)
{
    enum { SEND_AT = 64 };

    struct feed *feed = context;
    collectors_queue(feed->collectors, datagram, octets, records, ended_ms);
    if (++feed->sealed == SEND_AT) {
        feed->sealed = 0;
        collectors_run(feed->collectors, feed->now);
    }
}

static struct collectors_config config_of_collectors(const struct feed_config *config)
{
    return (struct collectors_config){.peers = config->peers,
                                      .count = config->count,
                                      .each = config->each,
                                      .max_datagram = config->packet.max_datagram,
                                      .probe = config->probe};
}

static int open_packet(struct packet **packet, struct feed *feed, const struct feed_config *config,
                       struct instant now)
{
    int error = packet_open(packet, &config->packet, now, to_collectors, feed);
    if (error == -ENOMEM)
        log_error("no memory for a table of %" PRIu32 " aggregates, give a smaller --table-size",
                  config->packet.aggregate_capacity);
    return error;
}

int feed_open(struct feed **feed, const struct feed_config *config, struct instant now)
{
    struct feed *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->now = now;
    int error = config->count > 0 ? open_packet(&opened->packet, opened, config, now) : 0;
    struct collectors_config collectors = config_of_collectors(config);
    collectors.packet = opened->packet;
    if (!error)
        error = collectors_open(&opened->collectors, &collectors, now);
    if (error) {
        feed_close(opened);
        return error;
    }
    *feed = opened;
    return 0;
}

void feed_close(struct feed *feed)
{
    if (!feed)
        return;
    collectors_close(feed->collectors);
    packet_close(feed->leaving);
    packet_close(feed->packet);
    free(feed);
}

void feed_name_interfaces(struct feed *feed, const struct interface_names *names)
{
    if (feed->packet)
        packet_name_interfaces(feed->packet, names);
    feed->names = names;
}

void feed_begin(struct feed *feed, struct instant now)
{
    feed->now = now;
    if (feed->packet)
        packet_begin(feed->packet, now);
}

void feed_add(struct feed *feed, const struct flow *flow)
{
    if (feed->packet)
        packet_add(feed->packet, flow);
}

void feed_run(struct feed *feed, struct instant now)
{
    if (feed->packet)
        packet_run(feed->packet, now);
    feed->sealed = 0;
    collectors_run(feed->collectors, now);
    if (feed->packet && !feed->leaving && !collectors_are_waiting(feed->collectors))
        packet_forget_earlier(feed->packet);
}

void feed_wants(const struct feed *feed, struct poll_set *set)
{
    if (feed->packet)
        packet_wants(feed->packet, set);
    collectors_wants(feed->collectors, set);
}

void feed_flush(struct feed *feed, struct instant now)
{
    while (feed->leaving && packet_leave(feed->leaving, now))
        ;
    if (feed->packet)
        packet_flush(feed->packet, now);
}

void feed_abandon(struct feed *feed)
{
    collectors_abandon(feed->collectors);
}

struct collectors *feed_collectors(const struct feed *feed)
{
    return feed->collectors;
}

/* ---- another configuration ---- */

static bool has_same_records(const struct packet_config *one, const struct packet_config *other)
{
    return one->max_delay_ns == other->max_delay_ns && one->fields == other->fields &&
           memcmp(&one->aggregate, &other->aggregate, sizeof(one->aggregate)) == 0 &&
           one->aggregate_interval_s == other->aggregate_interval_s &&
           one->active_timeout_s == other->active_timeout_s && one->idle_timeout_s == other->idle_timeout_s;
}

int feed_prepare(struct feed_change **change, struct feed *feed, const struct feed_config *present,
                 const struct feed_config *wanted)
{
    struct feed_change *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    const struct collectors_config collectors = config_of_collectors(wanted);
    int error = collectors_prepare(&opened->collectors, feed->collectors, &collectors);
    bool is_first = present->count == 0;
    if (!error && wanted->count > 0 && (is_first || !has_same_records(&present->packet, &wanted->packet)))
        error = open_packet(&opened->packet, feed, wanted, instant_now());
    if (error) {
        feed_change_close(opened);
        return error;
    }
    *change = opened;
    return 0;
}

void feed_change_close(struct feed_change *change)
{
    if (!change)
        return;
    collectors_change_close(change->collectors);
    packet_close(change->packet);
    packet_close(change->replaced);
    free(change);
}

/* What is open is sealed before, for those who leave. */
static void replace_packet(struct feed *feed, struct feed_change *change, struct instant now)
{
    packet_begin(change->packet, now);
    if (feed->packet) {
        packet_seal(feed->packet, now);
        packet_follow(change->packet, feed->packet);
    } else if (feed->names) {
        packet_name_interfaces(change->packet, feed->names);
    }
    feed->leaving = feed->packet;
    feed->packet = change->packet;
    change->packet = NULL;
    collectors_use_packet(feed->collectors, feed->packet);
}

bool feed_take(struct feed *feed, struct feed_change *change, struct instant now)
{
    if (change->packet)
        replace_packet(feed, change, now);
    if (feed->leaving && packet_leave(feed->leaving, now))
        return false;
    if (feed->leaving) {
        change->replaced = feed->leaving;
        feed->leaving = NULL;
    }
    if (!change->is_taken && feed->packet)
        packet_seal(feed->packet, now);
    if (!change->is_taken)
        change->is_taken = collectors_take(feed->collectors, change->collectors, now);
    return change->is_taken;
}
