/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow.h"
#include "ctflow9/flow_ring.h"
#include "ctflow9/stats.h"

/*
 * Long-lived connections in parts, each packet counted once: puts together the events of a worker's
 * connections with what dumps of the conntrack table say of them.
 *
 *  - A connection is reported when it has lived active_timeout since its start or its last report, with the
 * increase since; its DESTROY then carries the rest. The parts add up to the kernel's final counters.
 *  - A short connection passes through: it takes no place in the table.
 *  - One that began before ctflow9 is adopted: what it carried before counts as reported (unless adopt_full).
 *  - When the table is full a connection is not reported before its end, and its DESTROY carries everything.
 *  - A row that was read before a connection died and arrives after its DESTROY changes nothing: while a dump
 * is under way every DESTROY of a connection that a row could report leaves a dead entry. When there is no
 * room for that, the dump reports no more connections that are not in the table yet.
 *  - A DESTROY that comes again is dropped, counted.
 *  - What a complete dump did not show is asked for (FLOW_NOTE_MISSING) once the event socket was read empty;
 * the answer FLOW_NOTE_GONE closes it with what was last known, and leaves an entry for a while, so that a
 * late DESTROY adds only the rest.
 *
 * One thread owns it.
 */
struct tracker;

struct tracker_config {
    uint32_t capacity;          /* connections in the table */
    uint64_t active_timeout_ns; /* 0 = connections are reported at their end only; there are no dumps */
    uint64_t began_ns;          /* wall clock; when ctflow9 began to listen */
    bool adopt_full;
    struct stats *stats;
};

/* Gets every flow to be exported; for a part, start_ns and stop_ns are those of its span. */
typedef void tracker_report(void *context, const struct flow *flow);

int tracker_open(struct tracker **tracker, const struct tracker_config *config, tracker_report *report,
                 void *context);
void tracker_close(struct tracker *tracker); /* NULL is fine */

/*
 * Whether a row of this connection is of use: it has lived long enough at flow->stop_ns, began before us, or
 * its start is not known. Rows without counters tell nothing and are never of use.
 */
bool tracker_wants_row(uint64_t active_timeout_ns, uint64_t began_ns, const struct flow *flow);

/* The connection ended, with its final counters. */
void tracker_destroyed(struct tracker *tracker, const struct flow *flow);

/* What a dump or the answer to a question said. */
void tracker_note(struct tracker *tracker, const struct flow_note *note);

/*
 * After the event socket was read empty: looks at up to budget entries for those that the last dump did not
 * show, and puts a FLOW_NOTE_MISSING for each into questions, as far as there is room; behind the last one a
 * FLOW_NOTE_DUMP_END. Returns whether there is more to look at.
 */
bool tracker_look(struct tracker *tracker, struct flow_ring *questions, uint32_t budget);
