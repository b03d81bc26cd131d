/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"
#include "ctflow9/flow/name_numbers.h"
#include "ctflow9/netflow/aggregate.h"
#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/packet_header.h"

/*
 * Flows into NetFlow v9 datagrams: each one's records (flow_record.h), as they are or merged (aggregate.h),
 * are encoded (encoder.h), and what they look like is announced (announcement.h). One thread owns it.
 */
struct packet;

struct packet_config {
    uint32_t source_id;
    uint32_t max_datagram; /* UDP payload octets, PACKET_OCTETS_MIN..PACKET_OCTETS_MAX */
    uint64_t max_delay_ns;
    uint32_t fields; /* enum fields_optional; mark and zone are keys as well when flows are merged */
    struct aggregate_by aggregate;
    uint32_t aggregate_interval_s;
    uint32_t aggregate_capacity;
    bool has_packets; /* there are flows of packets among them: FLOW_PACKETS, whose templates are sent too */
    const struct name_numbers *counters; /* likewise named counters, FLOW_COUNTER, which have these numbers;
                                            NULL: there are none; outlives the packet */
    uint16_t active_timeout_s;           /* told to collectors in options data 273; 0 = none */
    uint16_t idle_timeout_s;
    struct stats *stats;
};

/* sink gets every sealed data datagram. 0 or -ENOMEM. */
int packet_open(struct packet **packet, const struct packet_config *config, struct instant now,
                packet_sink *sink, void *context);
void packet_close(struct packet *packet); /* NULL is fine; what is held is thrown away: flush first */

/*
 * Gives the time for the flows added from now on: their wait begins here. Moves the epoch when it is time,
 * after sealing what is open. When the wall clock was set, everything is sealed, aggregates included: no
 * record spans times by the clock before and after.
 */
void packet_begin(struct packet *packet, struct instant now);

/*
 * Adds or merges a record for each direction that carried something. stop_ns must not be later than the
 * present, or the datagram's header says so too.
 */
void packet_add(struct packet *packet, const struct flow *flow);

/* Seals what has waited long enough, after adding the aggregates that are due. */
void packet_run(struct packet *packet, struct instant now);
void packet_wants(const struct packet *packet, struct poll_set *set);

/* Seals everything, aggregates included. */
void packet_flush(struct packet *packet, struct instant now);

/*
 * Another one takes the place of this one, and has other templates: it announces the earlier ones too, until
 * no datagram waits any more that was made by them (four sets at most).
 */
void packet_follow(struct packet *packet, const struct packet *earlier);
void packet_forget_earlier(struct packet *packet);

/* Seals what is open; aggregates stay. */
void packet_seal(struct packet *packet, struct instant now);
/* Nothing more is added: adds and seals what is left, some thousand aggregates at a time. Whether there is
 * more. */
bool packet_leave(struct packet *packet, struct instant now);

/* What has been sent to one collector so far, for options data 273 and 274. */
struct packet_totals {
    uint64_t octets, datagrams, records; /* sent */
    uint64_t records_dropped;
};

/* How far one collector has been told the names of interfaces and counters; all 0: not at all. */
struct packet_naming {
    uint64_t table;         /* which it is being told, of those that were given */
    uint32_t next, left;    /* the row that comes next, and how many it does not know */
    uint32_t counters_told; /* numbers of counters, from 1 on */
    uint32_t counters_next; /* of those that it was told, how many were told again */
};

/* The interfaces' names from now on, which outlive the packet or the next call; NULL = none. */
void packet_name_interfaces(struct packet *packet, const struct interface_names *names);

/* Whether a collector knows them all; and whether it knows the names of all counters. */
bool packet_has_named(const struct packet *packet, const struct packet_naming *naming);
bool packet_has_named_counters(const struct packet *packet, const struct packet_naming *naming);

/*
 * Gives sink every template (all shapes that are possible, of packet flows as well when there are any;
 * options templates) and the options data (270
 * sampling, 273 exporter totals, 274 losses), in as many datagrams as it takes (one by default); records is
 * 0. Interfaces' names (271) are told PACKET_NAMES_MAX at a time, each turn those that come next, and so are
 * the counters' (275), more at a time when the collector has not been told them: naming is moved on.
 */
enum {
    PACKET_NAMES_MAX = 12, /* what one datagram of the usual size holds */
    PACKET_COUNTERS_MAX = 128,
    PACKET_COUNTERS_AGAIN_MAX = 16,
};
void packet_templates(struct packet *packet, const struct packet_totals *totals, struct packet_naming *naming,
                      struct instant now, packet_sink *sink, void *context);
