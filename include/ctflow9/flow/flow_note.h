/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * What the thread that dumps the conntrack table (ct_dump.h) and a worker, with its tracker (tracker.h), say
 * to each other. Each says it in a flow_ring of its own, "notes" to the worker and "questions" from it, so
 * that it is heard in the order in which it was said. Whoever hears a note acts on it before giving its place
 * in the ring back.
 *
 * A round is one dump; all its notes have its number, which is one more than that of the round before:
 *
 *   dump, to every worker       DUMP_BEGIN
 *   dump, to the owner          ROW, any number of them
 *   dump, to every worker       DUMP_END, or DUMP_BROKEN
 *   worker, if it was DUMP_END  MISSING, any number of them
 *   worker                      DUMP_END: that was all
 *   dump, to the owner          GONE, for some of those that it asked for
 *
 * Workers ask beside each other, and an answer may come while its worker still asks. The next round begins
 * after the DUMP_END of every worker, and after all answers. The last rounds begin with LAST_DUMP_BEGIN, one
 * after the other until one is complete or there were enough; nobody hears the questions of the very last.
 *
 * What each proves:
 *  - DUMP_BEGIN: the kernel is asked for rows only after every worker has acted on it. So a connection that
 *    has a row gets its DESTROY after its worker knew of the dump, however late the row is heard.
 *  - ROW: the connection was in the table after the dump began, and had these counters. Which connections
 *    have one: row_rule.h. It may come again, and after the connection's DESTROY.
 *  - DUMP_END: the kernel went through the whole table and did not call the dump inconsistent. A row may be
 *    missing all the same: MISSING asks, and says nothing yet.
 *  - DUMP_BROKEN: that there are no more rows, nothing else.
 *  - GONE: after the question the connection was not in the table, and its DESTROY was not waiting to be
 *    sent. So that has been sent, or never will be: if it is not there when the event socket has been read
 *    empty after this note, it does not come. No answer proves nothing.
 *
 * FLOW is not of this conversation: it is all that a worker says to the exporter.
 */
enum flow_note_kind {
    FLOW_NOTE_FLOW,            /* to be exported */
    FLOW_NOTE_DUMP_BEGIN,      /* at flow.stop_ns, boot time (wall_clock.h); flow.start_ns is no time, but
                                  the age since its start or its last report at which a connection is due */
    FLOW_NOTE_LAST_DUMP_BEGIN, /* the same, but that age is 0: it has rows of every connection */
    FLOW_NOTE_ROW,             /* flow: as it was then; its stop_ns is boot time: when the dump began */
    FLOW_NOTE_DUMP_END,        /* flow is not used */
    FLOW_NOTE_DUMP_BROKEN,     /* flow is not used */
    FLOW_NOTE_MISSING,         /* flow: as it was last seen */
    FLOW_NOTE_GONE,            /* flow: that of the question */
};

struct flow_note {
    struct flow flow;
    uint32_t kind; /* enum flow_note_kind */
    uint32_t dump; /* number of the round it belongs to */
};
