/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"
#include "ctflow9/netflow/packet.h"
#include "ctflow9/output/collectors.h"

/*
 * Flows made into datagrams once, and the collectors that get all of these. There may be no collector;
 * without one from the start nothing is made. One thread owns it.
 */
struct feed;

struct feed_config {
    const struct host_port *peers; /* addresses or names */
    size_t count;
    struct collector_config each;
    struct packet_config packet;
    bool probe; /* collectors.h */
};

/* Copies of config what it keeps; its stats outlive the feed. 0, or -errno with the reason logged. */
int feed_open(struct feed **feed, const struct feed_config *config, struct instant now);
void feed_close(struct feed *feed); /* NULL is fine */

/* The interfaces' names from now on, which outlive the feed or the next call; NULL = none. */
void feed_name_interfaces(struct feed *feed, const struct interface_names *names);

/* As packet_begin() and packet_add(). */
void feed_begin(struct feed *feed, struct instant now);
void feed_add(struct feed *feed, const struct flow *flow);

/* Makes and sends what may leave. */
void feed_run(struct feed *feed, struct instant now);
void feed_wants(const struct feed *feed, struct poll_set *set);

/* At the end: makes everything that is held; and counts as dropped what did not leave. */
void feed_flush(struct feed *feed, struct instant now);
void feed_abandon(struct feed *feed);

/* Its collectors, for what they tell. */
struct collectors *feed_collectors(const struct feed *feed);

/*
 * Another configuration, while it runs: any thread makes the change from the present one and the wanted one,
 * the owner takes it between two rounds, in two steps: packet by packet, which leaves and has all of its
 * aggregates sent; then collectors, so that those that leave get them too. true when all of that is done:
 * else it is to be called again after the next round. Then, or when it was never taken, the change may be
 * closed.
 */
struct feed_change;
/* 0 or -errno. */
int feed_prepare(struct feed_change **change, struct feed *feed, const struct feed_config *present,
                 const struct feed_config *wanted);
void feed_change_close(struct feed_change *change); /* NULL is fine */
bool feed_take(struct feed *feed, struct feed_change *change, struct instant now);
