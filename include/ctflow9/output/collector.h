/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ctflow9/base/host_port.h"
#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/netflow/packet.h"
#include "ctflow9/output/datagram_batch.h"
#include "ctflow9/output/datagram_ring.h"
#include "ctflow9/output/resolver.h"

/*
 * One collector: its place in the ring of datagrams that all collectors share, and everything that is its
 * own: socket, sequence numbers, template clock, pace, troubles and counters. collectors.h says how it
 * behaves. One thread owns it.
 */
struct collector;

struct collector_config {
    char source_address[HOST_PORT_HOST_MAX + 1]; /* an address, "" = the kernel chooses */
    uint32_t max_rate;                           /* data records a second; 0 = as fast as they come */
    uint32_t queue;                              /* data records that may wait */
    uint32_t template_refresh_s;                 /* both at least 1 */
    uint32_t template_datagrams;
};

/* What all collectors of one struct collectors have in common; owned by that. */
struct collector_common {
    struct collector_config config;
    struct packet *packet; /* for templates */
    bool probe;            /* those that are unreachable */
    struct datagram_ring *ring;
    struct datagram_batch *batch;
    struct resolver *resolver;
    int source_family; /* of source_address; AF_UNSPEC: the kernel chooses */
    uint64_t now_ns;   /* monotonic, of the present turn */
};

/* common outlives the collector, and is not looked at yet: any thread may open one. 0 or -ENOMEM. */
int collector_open(struct collector **collector, const struct host_port *peer,
                   const struct collector_common *common);
void collector_close(struct collector *collector); /* NULL is fine */

/* Before anything else: it gets what is put into the ring from now on. */
void collector_begin(struct collector *collector);

/* common.config, or common.packet, is another one now: templates go again, and the local address and the name
 * are looked at again, all at once. */
void collector_refresh(struct collector *collector);

/* It gets no more than what is in the ring now. */
void collector_leave(struct collector *collector);
bool collector_has_left(const struct collector *collector); /* and it has all of that */

/* Looks the name up, connects, sends what may leave at now, as far as each is due. */
void collector_run(struct collector *collector, struct instant now);
void collector_wants(const struct collector *collector, struct poll_set *set);

/* Where it stands in the ring; and the new place when the ring was rewound. */
uint64_t collector_position(const struct collector *collector);
void collector_move(struct collector *collector, uint64_t position);

/* Drops its oldest datagram, counted; there is one. */
void collector_drop(struct collector *collector);
/* Drops its oldest datagrams until no more than config.queue data records wait, or one datagram. */
void collector_trim(struct collector *collector);

/* Datagrams wait, and nothing is known to keep the collector from taking them. */
bool collector_pending(const struct collector *collector);

/* Since when it is unreachable, monotonic; 0 = it is not, as far as known. Only where it is probed. */
uint64_t collector_unreachable_ns(const struct collector *collector);
void collector_count_passed_over(struct collector *collector);

/* Sets the counters' present values, up and queued_records. */
void collector_note_present(struct collector *collector);

const struct host_port *collector_peer(const struct collector *collector);
const char *collector_name(const struct collector *collector);
const struct collector_stats *collector_stats(const struct collector *collector);
