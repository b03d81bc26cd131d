/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/flow_note.h"
#include "ctflow9/flow/flow_ring.h"

/*
 * Long-lived connections in parts, each packet counted once: puts together the events of a worker's
 * connections with what dumps of the conntrack table say of them.
 *
 *  - A connection is reported when it has lived active_timeout since its start or its last report, with the
 *    increase since; its DESTROY then carries the rest. The parts add up to the kernel's final counters. A
 *    part without packets is not reported, nor is a connection without any.
 *  - A short connection passes through: it takes no place in the table.
 *  - One that began before ctflow9 is adopted by the first complete dump: what it carried before counts as
 *    reported (unless adopt_full). If it ends before that dump has shown it, nothing is reported. One that
 *    had been removed before ctflow9 began, and whose DESTROY the kernel had kept, is reported whole.
 *  - When the table is full a connection is not reported before its end, and its DESTROY carries everything.
 *    A reserve of places is kept for what would be counted twice or never without one: connections that are
 *    older than ctflow9 and whose first packets count as reported, and everything that the last dump shows.
 *    When there is no place even then, the last dump's row is reported whole and forgotten, unless a run
 *    before may have reported some of it.
 *  - Counters that another program set to 0 go on from there: what was seen of them is not lost or counted
 *    again. It is noticed, and counted, when they are lower than when they were last seen.
 *  - Connections in a flowtable that does not count their packets are noticed, and counted, when it keeps
 *    them for 40 s and their counters stand still.
 *  - A row that was read before a connection died and arrives after its DESTROY changes nothing: while a dump
 *    is under way every DESTROY of a connection that a row could report leaves a dead entry.
 *  - A DESTROY that comes again is dropped, counted, as long as no more than repeats_max others (1,048,576 at
 *    most) came in between.
 *  - What a complete dump did not show is asked for. When it is gone, and its DESTROY is not there when the
 *    event socket has been read empty, the connection is closed with what was last known. Its entry stays for
 *    a while, so that a DESTROY after all would add only the rest.
 *
 * The wall clock may be set while connections live: ages are boot times (wall_clock.h), and only the identity
 * of a connection is its start as the kernel stamped it. Set back by less than active_timeout, a connection
 * that had lived shorter than that is taken for one that began after: its start is told, and its first part
 * comes, later by as much.
 *
 * A connection without a start stamp is told apart by the other parts of its identity alone, so that one
 * DESTROY again and another connection's DESTROY look the same: both are reported. One thread owns a tracker.
 */
struct tracker;

struct tracker_config {
    uint32_t capacity;          /* connections in the table, at least 1; */
    uint32_t reserve;           /* as many more for those that have to have a place */
    uint32_t repeats_max;       /* DESTROYs that may come again; 0 = not known */
    uint64_t active_timeout_ns; /* 0 = connections are reported at their end only; there are no dumps */
    uint64_t began_ns;          /* boot time; when ctflow9 began to listen */
    bool adopt_full;
    struct wall_clock *clock; /* the thread's: watched before whatever has stamps is handed in */
    struct stats *stats;
};

/*
 * sink gets every flow to be exported: a FLOW_CONNECTION is all of one that has ended; of a FLOW_PART
 * start_ns and stop_ns are those of its span. Both are wall-clock times as the clock is now, however it was
 * set since; start_ns is never later than stop_ns. 0 or -errno.
 */
int tracker_open(struct tracker **tracker, const struct tracker_config *config, flow_sink *sink,
                 void *context);
void tracker_close(struct tracker *tracker); /* NULL is fine */

/* Connections in its table. */
uint32_t tracker_count(const struct tracker *tracker);

/* The connection ended, with its final counters. Reports one flow at most. */
void tracker_destroyed(struct tracker *tracker, const struct flow *flow);

/* What the dump said (flow_note.h). Reports one flow at most. */
void tracker_note(struct tracker *tracker, const struct flow_note *note);

/*
 * Only when the event socket was read empty after the last note: closes what is gone, looks for entries that
 * the last dump did not show, and puts its questions, as far as there is room. Looks at budget entries at
 * most, and reports as many at most. Returns whether there is more to look at.
 */
bool tracker_look(struct tracker *tracker, struct flow_ring *questions, uint32_t budget);

/*
 * At the end, again and again until it returns false: reports what is known of connections that last and was
 * not reported yet, flowEndReason 2. Looks at budget entries at most, and reports as many at most. Nothing
 * else may follow.
 */
bool tracker_finish(struct tracker *tracker, uint32_t budget);
