/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * A connection that is known before its end, in as little memory as may be, for there are many: what
 * identifies it, what was last seen of it, and what of that was reported.
 */

enum tracked_state {
    TRACKED_FREE,
    TRACKED_LIVE,   /* in the conntrack table, as far as is known */
    TRACKED_MISSED, /* not any more; its DESTROY may still wait to be read */
    TRACKED_GONE,   /* closed without a DESTROY; a late one adds only the rest */
    TRACKED_DEAD,   /* its DESTROY was reported while a dump was under way that may still show it */
};

struct tracked {
    /* As last seen: the members of struct flow of the same name, in its order, so that they are copied in few
     * steps. */
    struct flow_tuple tuple[2];
    uint64_t packets[2], octets[2];
    uint64_t start_ns; /* as the kernel stamped it; 0 when that is not told */
    uint64_t seen_ns;  /* boot time; stop_ns there */
    uint32_t status, mark, id, timeout_s;
    uint32_t has;
    uint16_t zone;
    uint8_t family, protocol, tcp_state;

    uint8_t state : 4;      /* enum tracked_state */
    bool is_uncounted : 1;  /* it was offloaded, and its counters stood still for too long */
    bool is_in_parts : 1;   /* what it carried in an earlier span is reported, or was before ctflow9 began */
    uint16_t still_since_s; /* modulo 2^16; from when on it was offloaded and its counters stood still */
    uint32_t dump;          /* LIVE: the last dump it was seen in. GONE: the last dump when it was closed */
    uint32_t next;          /* the table's */
    uint32_t hash;          /* the table's */
    uint64_t span_start_ns; /* boot time; where its next record begins */
    uint64_t reported_packets[2],
        reported_octets[2]; /* modulo 2^64: less than 0 is possible, see tracker.c */
};

_Static_assert(sizeof(struct tracked) + 2 * sizeof(uint32_t) <= 216,
               "with two links, as README and manual tell");

/* The connection as flow shows it, whose stop_ns, boot time, is when. What is of the way that packets took
 * (interfaces, TOS, TCP flags, link addresses, VLAN) is not kept. */
void tracked_see(struct tracked *tracked, const struct flow *flow);

/* The connection as it was last seen; stop_ns, boot time, is when. */
struct flow tracked_flow(const struct tracked *tracked);

/* Whether it is this connection: flow_is_same() of what was seen. */
bool tracked_is_of(const struct tracked *tracked, const struct flow *flow);
