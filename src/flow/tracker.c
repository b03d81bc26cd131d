/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/tracker.h"

#include <errno.h>
#include <stdlib.h>

#include "ctflow9/flow_table.h"
#include "ctflow9/instant.h"
#include "ctflow9/recent.h"

/* How long a connection that was closed without a DESTROY is remembered. */
#define GONE_MEMORY_NS (300 * NS_PER_S)

enum { RECENT_PER_SLOT = 2, RECENT_MIN = 65536 };

struct tracker {
    struct tracker_config config;
    tracker_report *report;
    void *context;
    struct flow_table *table;
    struct recent *recent;
    uint32_t dump;       /* number of the dump under way, or of the last one */
    bool dump_open;      /* its rows are still coming */
    bool dump_full;      /* a dead entry found no room: the dump may not bring new connections */
    bool adopted;        /* the first dump is over */
    bool adopt_overflow; /* and did not find room for all */
    bool looking;        /* entries are to be looked at since the dump ended */
    bool complete;       /* and what it did not show may be gone */
    uint32_t look_slot;
};

int tracker_open(struct tracker **tracker, const struct tracker_config *config, tracker_report *report,
                 void *context)
{
    struct tracker *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->config = *config;
    new->report = report;
    new->context = context;
    new->adopted = config->active_timeout_ns == 0;
    size_t recent = (size_t)config->capacity * RECENT_PER_SLOT;
    int error = flow_table_open(&new->table, config->capacity);
    if (!error)
        error = recent_open(&new->recent, recent > RECENT_MIN ? recent : RECENT_MIN);
    if (error) {
        tracker_close(new);
        return error;
    }
    *tracker = new;
    return 0;
}

void tracker_close(struct tracker *tracker)
{
    if (!tracker)
        return;
    recent_close(tracker->recent);
    flow_table_close(tracker->table);
    free(tracker);
}

static bool began_before(uint64_t began_ns, const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_START) && flow->start_ns < began_ns;
}

bool tracker_wants_row(uint64_t active_timeout_ns, uint64_t began_ns, const struct flow *flow)
{
    if (!flow_has(flow, FLOW_HAS_COUNTERS))
        return false;
    return !flow_has(flow, FLOW_HAS_START) || began_before(began_ns, flow) ||
           (flow->stop_ns >= flow->start_ns && flow->stop_ns - flow->start_ns >= active_timeout_ns);
}

static bool began_before_us(const struct tracker *tracker, const struct flow *flow)
{
    return began_before(tracker->config.began_ns, flow);
}

/* A row of this connection, read before flow->stop_ns, could bring it into the table. */
static bool is_reportable(const struct tracker *tracker, const struct flow *flow)
{
    return tracker_wants_row(tracker->config.active_timeout_ns, tracker->config.began_ns, flow);
}

/* The increase since the last report. Counters below it were zeroed by another program: all of them is new
 * then. */
static uint64_t increase(uint64_t now, uint64_t reported)
{
    return now >= reported ? now - reported : now;
}

static bool is_empty(const struct flow *flow)
{
    return flow->packets[FLOW_ORIGINAL] == 0 && flow->packets[FLOW_REPLY] == 0;
}

/* What of flow is not reported yet, from the beginning of its span. */
static struct flow rest_of(const struct tracked *tracked, const struct flow *flow)
{
    struct flow rest = *flow;
    for (int direction = 0; direction < 2; direction++) {
        rest.packets[direction] = increase(flow->packets[direction], tracked->reported_packets[direction]);
        rest.octets[direction] = increase(flow->octets[direction], tracked->reported_octets[direction]);
    }
    if (tracked->span_start_ns > rest.start_ns)
        rest.start_ns = tracked->span_start_ns < rest.stop_ns ? tracked->span_start_ns : rest.stop_ns;
    return rest;
}

static void take_as_reported(struct tracked *tracked, const struct flow *flow)
{
    for (int direction = 0; direction < 2; direction++) {
        tracked->reported_packets[direction] = flow->packets[direction];
        tracked->reported_octets[direction] = flow->octets[direction];
    }
}

/* So that a row of the dump under way does not count the connection again. */
static void leave_dead(struct tracker *tracker, struct tracked *tracked, const struct flow *flow)
{
    if (!tracked)
        tracked = flow_table_add(tracker->table, flow);
    if (!tracked) {
        tracker->dump_full = true;
        return;
    }
    tracked->state = TRACKED_DEAD;
    tracked->dump = tracker->dump;
}

/* A connection that is not in the table has ended. */
static void report_unknown(struct tracker *tracker, const struct flow *flow)
{
    bool counted_before_us =
        began_before_us(tracker, flow) && !tracker->config.adopt_full && !tracker->adopted;
    if (tracker->dump_open && is_reportable(tracker, flow))
        leave_dead(tracker, NULL, flow);
    if (counted_before_us && !tracker->adopt_overflow)
        stats_count(&tracker->config.stats->adopted, 1); /* it ended before the dump showed what it carried before us */
    else
        tracker->report(tracker->context, flow);
}

void tracker_destroyed(struct tracker *tracker, const struct flow *flow)
{
    if (flow_has(flow, FLOW_HAS_START) && recent_seen(tracker->recent, flow_table_hash(flow))) {
        stats_count(&tracker->config.stats->repeated, 1);
        return;
    }
    struct tracked *tracked = flow_table_find(tracker->table, flow);
    if (!tracked) {
        report_unknown(tracker, flow);
        return;
    }
    if (tracked->state == TRACKED_DEAD) {
        stats_count(&tracker->config.stats->repeated, 1);
        return;
    }
    struct flow rest = rest_of(tracked, flow);
    if (tracked->state == TRACKED_LIVE || !is_empty(&rest))
        tracker->report(tracker->context, &rest);
    if (tracker->dump_open)
        leave_dead(tracker, tracked, flow);
    else
        flow_table_remove(tracker->table, tracked);
}

static struct tracked *add(struct tracker *tracker, const struct flow *row)
{
    bool adopt = began_before_us(tracker, row) || (!flow_has(row, FLOW_HAS_START) && !tracker->adopted);
    if (tracker->dump_full || (!adopt && !is_reportable(tracker, row)))
        return NULL;
    struct tracked *tracked = flow_table_add(tracker->table, row);
    if (!tracked) {
        stats_count(&tracker->config.stats->table_full, 1);
        tracker->adopt_overflow |= adopt;
        return NULL;
    }
    tracked->span_start_ns = flow_has(row, FLOW_HAS_START) ? row->start_ns : row->stop_ns;
    if (adopt && !tracker->config.adopt_full) {
        take_as_reported(tracked, row);
        tracked->span_start_ns = tracker->config.began_ns;
        stats_count(&tracker->config.stats->adopted, 1);
    }
    return tracked;
}

static void see_row(struct tracker *tracker, const struct flow *row)
{
    struct tracked *tracked = flow_table_find(tracker->table, row);
    if (!tracked)
        tracked = add(tracker, row);
    if (!tracked || tracked->state != TRACKED_LIVE)
        return;
    tracked->flow = *row;
    tracked->dump = tracker->dump;
    if (row->stop_ns < tracked->span_start_ns + tracker->config.active_timeout_ns)
        return;
    struct flow part = rest_of(tracked, row);
    part.end_reason = FLOW_END_ACTIVE_TIMEOUT;
    if (!is_empty(&part))
        tracker->report(tracker->context, &part);
    take_as_reported(tracked, row);
    tracked->span_start_ns = row->stop_ns;
}

/* Closes a connection that ended without a DESTROY, with what was last known. */
static void close_gone(struct tracker *tracker, const struct flow_note *note)
{
    struct tracked *tracked = flow_table_find(tracker->table, &note->flow);
    if (!tracked || tracked->state != TRACKED_LIVE || tracked->dump == tracker->dump)
        return;
    struct flow rest = rest_of(tracked, &tracked->flow);
    rest.end_reason = FLOW_END_FORCED;
    tracker->report(tracker->context, &rest);
    take_as_reported(tracked, &tracked->flow);
    tracked->state = TRACKED_GONE;
    tracked->span_start_ns = tracked->flow.stop_ns;
    stats_count(&tracker->config.stats->gone, 1);
}

static void end_dump(struct tracker *tracker, bool complete)
{
    tracker->dump_open = false;
    tracker->dump_full = false;
    tracker->adopted = true;
    tracker->looking = true;
    tracker->complete = complete;
    tracker->look_slot = 0;
}

void tracker_note(struct tracker *tracker, const struct flow_note *note)
{
    switch ((enum flow_note_kind)note->kind) {
    case FLOW_NOTE_DUMP_BEGIN:
        tracker->dump = note->dump;
        tracker->dump_open = true;
        break;
    case FLOW_NOTE_ROW:
        see_row(tracker, &note->flow);
        break;
    case FLOW_NOTE_DUMP_END:
    case FLOW_NOTE_DUMP_BROKEN:
        end_dump(tracker, note->kind == FLOW_NOTE_DUMP_END);
        break;
    case FLOW_NOTE_GONE:
        close_gone(tracker, note);
        break;
    case FLOW_NOTE_FLOW:
    case FLOW_NOTE_MISSING:
        break;
    }
}

/* false when there is no room for the question. */
static bool look_at(struct tracker *tracker, struct tracked *tracked, struct flow_ring *questions,
                    uint64_t now_ns)
{
    switch (tracked->state) {
    case TRACKED_DEAD:
        flow_table_remove(tracker->table, tracked);
        return true;
    case TRACKED_GONE:
        if (now_ns >= tracked->span_start_ns + GONE_MEMORY_NS)
            flow_table_remove(tracker->table, tracked);
        return true;
    default:
        break;
    }
    if (!tracker->complete || tracked->dump == tracker->dump)
        return true;
    if (flow_ring_room(questions) == 0)
        return false;
    const struct flow_note question = {
        .flow = tracked->flow, .kind = FLOW_NOTE_MISSING, .dump = tracker->dump};
    flow_ring_put(questions, &question);
    return true;
}

bool tracker_look(struct tracker *tracker, struct flow_ring *questions, uint32_t budget)
{
    if (!tracker->looking)
        return false;
    uint64_t now_ns = instant_read_clock(CLOCK_REALTIME);
    for (; budget > 0 && tracker->look_slot < flow_table_slots(tracker->table);
         budget--, tracker->look_slot++) {
        struct tracked *tracked = flow_table_at(tracker->table, tracker->look_slot);
        if (tracked && !look_at(tracker, tracked, questions, now_ns))
            return true;
    }
    if (tracker->look_slot < flow_table_slots(tracker->table) || flow_ring_room(questions) == 0)
        return true;
    flow_ring_put(questions, &(struct flow_note){.kind = FLOW_NOTE_DUMP_END, .dump = tracker->dump});
    tracker->looking = false;
    return false;
}
