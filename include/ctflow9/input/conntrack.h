/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/input/netlink_filter.h"
#include "ctflow9/input/rx.h"
#include "ctflow9/input/source.h"
#include "ctflow9/input/ways.h"

/*
 * Connection tracking: finished connections by their DESTROY events (ct_events.h), and those that last by
 * looks at the kernel's table (ct_dump.h), put together by a tracker of each worker's (flow/tracker.h).
 * Worker i has a socket of its own, through whose filter come the events of the connections with CTA_ID
 * modulo workers = i, and the tracker of just those connections. One thread looks through the table for all.
 *
 * At the end events that the kernel keeps are awaited, the table is looked through for the last time, and
 * what the kernel still keeps is counted as left behind (ct_end.h).
 */
extern const struct source_ops conntrack_source;

struct conntrack_config {
    bool set_sysctls;           /* see ct_setup.h */
    struct netlink_mark mark;   /* connections with any other mark are not heard of */
    uint64_t rcvbuf_octets;     /* of each worker's socket */
    enum rx_kind rx;            /* what was asked for */
    bool reliable;              /* the kernel keeps what does not fit into the receive buffer */
    uint64_t active_timeout_ns; /* 0 = connections are reported at their end only */
    bool adopt_full;            /* those from before are reported whole */
    uint32_t table_size;        /* connections, of all workers together; 0 = auto, see flow/table_size.h */
    enum ways_kind ways;        /* how interfaces are known */
    struct conntrack_limits {
        unsigned notes_ring, questions_ring; /* powers of two */
        unsigned notes;                      /* rows of a dump, between two looks at everything else */
        unsigned looks;                      /* table entries, likewise */
    } limits;                                /* for tests; all 0 = as is good */
};
