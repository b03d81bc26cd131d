/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/rx_choose.h"

/*
 * The stream of finished connections: the socket that hears ctnetlink's DESTROY events, its receiver, the
 * decoder and the table guard put together. With RX_FENTRY it is no events but the kernel's entries
 * themselves that come, and the kernel keeps nothing: what finds no room is lost. One thread owns it.
 */
struct ct_events;

struct ct_events_config {
    uint64_t rcvbuf_octets;
    bool reliable;
    struct rx_choice *rx; /* outlives the opening */
    struct netlink_filter filter;
    uint32_t table_limit; /* instead of nf_conntrack_max for the guard; 0 = what the kernel says. For tests */
    struct stats *stats;  /* outlives the events, as does */
    struct wall_clock *clock; /* the thread's; watched after each reading, before its events are handed on */
};

/*
 * Opens in the thread's present network namespace. 0 or -errno, with the reason logged in one line that says
 * what to do.
 */
int ct_events_open(struct ct_events **events, const struct ct_events_config *config);
void ct_events_close(struct ct_events *events); /* NULL is fine */

/*
 * Reads and decodes what has arrived, at most limit messages, and hands every flow on. Never blocks,
 * allocates or logs per event. Returns the number of messages read. A flow without a stop stamp ends at the
 * wall clock's time of its reading; one without a start stamp starts at its stop: end_reason, start_ns and
 * stop_ns are set whatever the kernel told, and has still says what it told. FLOW_END_TOLD is set when the
 * kernel's events tell how connections end, as they do since 5.12: by its release at first, then by the
 * events.
 */
unsigned ct_events_drain(struct ct_events *events, unsigned limit, flow_sink *sink, void *context);

/* Whether the last drain has read everything that had been sent when it began. */
bool ct_events_is_drained(const struct ct_events *events);

/*
 * Deliveries that did not fit into the receive buffer so far, modulo 2^32, when the kernel is to keep what
 * does not; else 0. Any thread may ask.
 */
uint32_t ct_events_deferred(const struct ct_events *events);

/*
 * Before ct_events_stop(): how many events of the namespace the kernel keeps to send again, for whichever
 * listener. Counting ends at most, or after limit_ns: the kernel's list takes seconds to read when it is
 * long, and holds up the sending meanwhile. 0; -ECANCELED when there may be more; or another -errno.
 */
int ct_events_count_kept(struct ct_events *events, uint64_t most, uint64_t limit_ns, uint64_t *count);

/*
 * Hears no more. What has arrived stays to be drained, so that the last drains come to an end however busy
 * the kernel is; the ct_events_run() after them counts the last drops.
 */
void ct_events_stop(struct ct_events *events);

/* What to wait for until the next event; leave it out while draining on an interval. */
void ct_events_wants_event(const struct ct_events *events, struct poll_set *set);

/*
 * After a drain: counts drops, warns of losses at most once a minute, and runs the guard (ct_guard.h), all at
 * most every 100 ms and only when something was read since or the guard has let go. The guard lets go of
 * reliable delivery when more than 90 % of the conntrack table is in use while events do not fit into the
 * receive buffer, and takes it up again below 75 %. Without new drops it asks the kernel nothing about the
 * table. wants() gives the time of the next look when one is due; at rest there is none.
 */
void ct_events_run(struct ct_events *events, struct instant now);
void ct_events_wants(const struct ct_events *events, struct poll_set *set);
