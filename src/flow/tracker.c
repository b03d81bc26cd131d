/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/tracker.h"

#include <errno.h>
#include <stdlib.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/flow/flow_table.h"
#include "ctflow9/flow/recent.h"
#include "ctflow9/flow/row_rule.h"

enum {
    GONE_MEMORY_DUMPS = 16,   /* how long a connection that was closed without a DESTROY is remembered, */
    GONE_MEMORY_TIMEOUTS = 4, /* and no less than this: dumps may be hurried */
    OFFLOADED_STILL_S = 40,   /* NF_FLOW_TIMEOUT of the kernel is 30 s */
    MISSED_MAX = 1024,        /* connections to be closed in one go; the others are asked for again */
    RECENT_MAX = 1 << 20,
    RECENT_DEFAULT = 1 << 18 /* nf_conntrack_max on most machines */
};

/* What few events need costs the others nothing: inlined, it made each of them 1.2 ns of 7 slower. */
#define APART __attribute__((noinline))

/*
 * What a tracker is at. Which note or call leads from one to the next:
 *
 *   RESTING -- DUMP_BEGIN --> DUMPING -- DUMP_END ----> ASKING ---- tracker_look() --> RESTING
 *                                     -- DUMP_BROKEN -> CLEARING -- tracker_look() --> RESTING
 *   each    -- tracker_finish() --> FINISHING
 *
 * After the last dump nobody hears the questions: it may be left ASKING.
 */
enum phase {
    PHASE_RESTING,  /* no dump is under way, or was yet */
    PHASE_DUMPING,  /* rows are coming: who dies leaves a dead entry */
    PHASE_ASKING,   /* goes through the entries: the dead leave, what the dump did not show is asked for */
    PHASE_CLEARING, /* the same, but the dump proves nothing: the dead leave */
    PHASE_FINISHING /* goes through the entries a last time, and reports what is left */
};

struct tracker {
    struct tracker_config config;
    flow_sink *sink;
    void *context;
    struct flow_table *table;
    struct recent *recent; /* connections with a start stamp whose DESTROY was seen */
    uint32_t dump;         /* number of the dump under way, or of the last one */
    struct row_rule rule;  /* its; dump_ns is 0 before the first */
    uint64_t due_age_ns;   /* since its start or its last report, at which a connection is reported */
    uint64_t known_age_ns; /* the younger ones have had no row in any dump */
    enum phase phase;
    uint32_t look_slot;  /* how far it has gone through the entries, in a phase that does */
    bool adopted;        /* a complete dump has shown what there was before us */
    bool last_again;     /* it is the last one, and had begun before */
    bool adopt_overflow; /* but some of it found no room */
    uint32_t missed_count;
    struct tracked *missed[MISSED_MAX]; /* entries that were MISSED; they may have changed since */
};

static uint32_t recent_capacity(uint32_t repeats_max)
{
    if (repeats_max == 0)
        return RECENT_DEFAULT;
    return repeats_max < RECENT_MAX ? repeats_max : RECENT_MAX;
}

int tracker_open(struct tracker **tracker, const struct tracker_config *config, flow_sink *sink,
                 void *context)
{
    struct tracker *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->sink = sink;
    opened->context = context;
    opened->rule = (struct row_rule){.began_ns = config->began_ns, .age_ns = config->active_timeout_ns};
    opened->known_age_ns = config->active_timeout_ns;
    opened->adopted = config->active_timeout_ns == 0;
    int error = flow_table_open(&opened->table, config->capacity + config->reserve);
    if (!error)
        error = recent_open(&opened->recent, recent_capacity(config->repeats_max));
    if (error) {
        tracker_close(opened);
        return error;
    }
    *tracker = opened;
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

/* All times in here are boot times, but for the flows' stamps as the kernel gave them. */
static uint64_t boot_time(const struct tracker *tracker, uint64_t stamp_ns)
{
    struct wall_clock *clock = tracker->config.clock;
    return wall_clock_is_sure(clock, stamp_ns) ? stamp_ns - clock->present.offset_ns
                                               : wall_clock_latest(clock, stamp_ns, clock->boot_ns);
}

static uint64_t start_time(const struct tracker *tracker, const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_START) ? boot_time(tracker, flow->start_ns) : WALL_CLOCK_UNKNOWN;
}

/* Or it is not known when it began. */
static bool may_be_older(const struct tracker *tracker, const struct flow *flow)
{
    return start_time(tracker, flow) < tracker->config.began_ns;
}

static bool began_before_us(const struct tracker *tracker, const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_START) && may_be_older(tracker, flow);
}

static void enter(struct tracker *tracker, enum phase phase)
{
    tracker->phase = phase;
    tracker->look_slot = 0;
}

static bool is_last_dump(const struct tracker *tracker)
{
    return tracker->rule.age_ns == 0;
}

/* An entry for a connection that has none, or NULL when there is no place for it. */
static struct tracked *find_place(struct tracker *tracker, const struct flow *flow, uint64_t hash)
{
    bool is_baseline = !tracker->adopted && !tracker->config.adopt_full && may_be_older(tracker, flow);
    bool is_full = flow_table_count(tracker->table) >= tracker->config.capacity;
    if (is_full && !is_baseline && !is_last_dump(tracker))
        return NULL;
    return flow_table_add(tracker->table, flow, hash);
}

/* Nothing was counted, or is left to be reported. */
static bool is_empty(const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_COUNTERS) && flow->packets[0] == 0 && flow->packets[1] == 0 &&
           flow->octets[0] == 0 && flow->octets[1] == 0;
}

/*
 * Counters that fell were set to 0 by another program (or the connection is another one, with the same
 * identity for want of a start stamp). What was seen of them until then stays owed: the baseline goes down by
 * as much, below 0 if need be, and the rest comes out right modulo 2^64. What they counted between that and
 * being set to 0 nobody knows.
 */
static void see(struct tracker *tracker, struct tracked *tracked, const struct flow *flow)
{
    bool fell = false;
    for (int direction = 0; direction < 2; direction++)
        fell |= flow->packets[direction] < tracked->packets[direction] ||
                flow->octets[direction] < tracked->octets[direction];
    stats_count(&tracker->config.stats->counters_reset, fell);
    for (int direction = 0; direction < 2 && fell; direction++) {
        tracked->reported_packets[direction] -= tracked->packets[direction];
        tracked->reported_octets[direction] -= tracked->octets[direction];
    }
    tracked_see(tracked, flow);
}

static uint16_t seconds_of(uint64_t ns)
{
    return (uint16_t)(ns / NS_PER_S);
}

static bool is_offloaded(uint32_t status)
{
    return (status & (IPS_OFFLOAD | IPS_HW_OFFLOAD)) != 0;
}

static bool has_counted(const struct tracked *tracked, const struct flow *row)
{
    return tracked->packets[0] != row->packets[0] || tracked->packets[1] != row->packets[1] ||
           tracked->octets[0] != row->octets[0] || tracked->octets[1] != row->octets[1];
}

/*
 * A flowtable lets go of a connection after 30 s without a packet, and it is offloaded again only by a packet
 * that is counted: when its counters stand still for longer than that, its packets are not counted.
 */
static void see_offload(struct tracker *tracker, struct tracked *tracked, const struct flow *row)
{
    uint16_t now_s = seconds_of(row->stop_ns);
    bool stands_still =
        is_offloaded(tracked->status) && is_offloaded(row->status) && !has_counted(tracked, row);
    if (!stands_still)
        tracked->still_since_s = now_s;
    if (tracked->is_uncounted || (uint16_t)(now_s - tracked->still_since_s) < OFFLOADED_STILL_S)
        return;
    tracked->is_uncounted = true;
    stats_count(&tracker->config.stats->uncounted, 1);
}

/* What is not reported yet of what was seen. */
static struct flow rest_of(const struct tracked *tracked)
{
    struct flow rest = tracked_flow(tracked);
    for (int direction = 0; direction < 2; direction++) {
        rest.packets[direction] -= tracked->reported_packets[direction];
        rest.octets[direction] -= tracked->reported_octets[direction];
    }
    rest.start_ns = tracked->span_start_ns;
    return rest;
}

/* Its stamps are of another era than the present one, or one of them is: as they would be now. */
static APART void hand_on_from_the_past(struct tracker *tracker, const struct flow *flow)
{
    struct wall_clock *clock = tracker->config.clock;
    struct flow told = *flow;
    uint64_t stop_ns = boot_time(tracker, flow->stop_ns);
    if (stop_ns == WALL_CLOCK_UNKNOWN)
        stop_ns = clock->boot_ns;
    uint64_t start_ns = wall_clock_latest(clock, flow->start_ns, stop_ns);
    if (start_ns == WALL_CLOCK_UNKNOWN) {
        told.has &= ~(uint32_t)FLOW_HAS_START;
        start_ns = stop_ns;
    }
    told.start_ns = wall_clock_at(clock, start_ns);
    told.stop_ns = wall_clock_at(clock, stop_ns);
    tracker->sink(tracker->context, &told);
}

/* Its stamps are of the present era, so that they need no second look. */
static bool is_of_now(const struct tracker *tracker, const struct flow *flow)
{
    return wall_clock_is_sure(tracker->config.clock, flow->start_ns) && flow->start_ns <= flow->stop_ns;
}

/* With stamps as the kernel gave them. */
static void hand_on(struct tracker *tracker, const struct flow *flow)
{
    if (is_of_now(tracker, flow))
        tracker->sink(tracker->context, flow);
    else
        hand_on_from_the_past(tracker, flow);
}

/* What a connection that has ended has left. */
static void report_end(struct tracker *tracker, const struct flow *flow)
{
    if (is_empty(flow))
        stats_count(&tracker->config.stats->empty, 1);
    else
        hand_on(tracker, flow);
}

/* Unless it is empty. The next span begins where the part ends: an empty one is over, too. part is
 * changed. */
static void report_part(struct tracker *tracker, struct tracked *tracked, struct flow *part,
                        enum flow_end_reason why)
{
    for (int direction = 0; direction < 2; direction++) {
        tracked->reported_packets[direction] += part->packets[direction];
        tracked->reported_octets[direction] += part->octets[direction];
    }
    bool is_whole = why != FLOW_END_ACTIVE_TIMEOUT && !tracked->is_in_parts;
    tracked->is_in_parts = true;
    tracked->span_start_ns = part->stop_ns;
    if (is_empty(part))
        return;
    const struct wall_clock *clock = tracker->config.clock;
    bool is_span = part->start_ns < part->stop_ns;
    part->stop_ns = wall_clock_at(clock, part->stop_ns);
    part->start_ns = is_span ? wall_clock_at(clock, part->start_ns) : part->stop_ns;
    part->end_reason = (uint8_t)why;
    part->kind = is_whole ? FLOW_CONNECTION : FLOW_PART;
    tracker->sink(tracker->context, part);
}

/*
 * Whether a row of the dump under way is of use for this connection, which has no entry. Of two times at
 * which it may have begun it is the later: rows come from all that may be old enough, and who was known
 * before the clock was set back has an entry.
 */
static bool wants_row(const struct tracker *tracker, const struct flow *flow)
{
    return row_rule_wants(&tracker->rule, flow, start_time(tracker, flow));
}

/*
 * It had ended before us, and not, as far as is known, by its time-out: the kernel has kept its event, which
 * nobody had before. (What timed out is found by the kernel some time after its end; until then a run before
 * this one saw and reported it. An event that comes again tells the time that is left by then: who asked for
 * the end tells more.)
 */
static bool was_kept_for_us(const struct tracker *tracker, const struct flow *flow)
{
    bool timed_out = flow_has(flow, FLOW_END_TOLD) && flow->timeout_s == 0 && !flow_has(flow, FLOW_REQUESTED);
    return boot_time(tracker, flow->stop_ns) < tracker->config.began_ns && !timed_out;
}

/* A connection that is not in the table has ended. */
static void end_unknown(struct tracker *tracker, const struct flow *flow)
{
    /* No place gets free while a dump is under way: when there is none for this, there is none for the row.
     */
    struct tracked *dead = tracker->phase == PHASE_DUMPING && wants_row(tracker, flow)
                               ? find_place(tracker, flow, flow_hash(flow))
                               : NULL;
    if (dead)
        dead->state = TRACKED_DEAD;
    /* How much of it was counted before us is not known. */
    bool dropped = !tracker->adopted && !tracker->adopt_overflow && !tracker->config.adopt_full &&
                   began_before_us(tracker, flow) && !was_kept_for_us(tracker, flow) &&
                   flow_has(flow, FLOW_HAS_COUNTERS);
    if (dropped)
        stats_count(&tracker->config.stats->adopted, 1);
    else
        report_end(tracker, flow);
}

static APART void end_known(struct tracker *tracker, struct tracked *tracked, const struct flow *flow)
{
    struct flow end = *flow;
    end.stop_ns = boot_time(tracker, flow->stop_ns);
    if (end.stop_ns == WALL_CLOCK_UNKNOWN)
        end.stop_ns = tracker->config.clock->boot_ns;
    if (end.end_reason == FLOW_END_UNKNOWN) {
        const struct flow row = tracked_flow(tracked);
        end.end_reason = (uint8_t)flow_end_reason_since(&row, &end);
    }
    see(tracker, tracked, &end);
    stats_count(&tracker->config.stats->empty, is_empty(flow));
    struct flow rest = rest_of(tracked);
    report_part(tracker, tracked, &rest, end.end_reason);
    if (tracker->phase == PHASE_DUMPING)
        tracked->state = TRACKED_DEAD;
    else
        flow_table_remove(tracker->table, tracked);
}

/*
 * A short connection has no entry, and need not be looked for: an entry is made by a row, no sooner than the
 * connection had the age that the dump asks for when it began, or at all when it is the last dump; that age
 * changes from dump to dump. (Dead entries are made by the same rule.) After the clock was set back nothing
 * is sure until times are new again.
 */
static bool may_be_known(const struct tracker *tracker, const struct flow *flow)
{
    if (!is_of_now(tracker, flow))
        return true;
    uint64_t offset_ns = tracker->config.clock->present.offset_ns;
    uint64_t start_ns = flow_has(flow, FLOW_HAS_START) ? flow->start_ns - offset_ns : WALL_CLOCK_UNKNOWN;
    uint64_t stop_ns = flow->stop_ns - offset_ns + WALL_CLOCK_TOLERANCE_NS;
    const struct row_rule until_its_end = {.began_ns = tracker->rule.began_ns,
                                           .age_ns = tracker->known_age_ns,
                                           .dump_ns = stop_ns}; /* there was no dump after it */
    return stop_ns < tracker->rule.dump_ns + 2 * WALL_CLOCK_TOLERANCE_NS ||
           row_rule_wants(&until_its_end, flow, start_ns);
}

/* A connection has its DESTROY just once; together with its time this number tells it from any other. */
static bool is_repeat(struct tracker *tracker, const struct flow *flow)
{
    return recent_seen(tracker->recent, flow->stop_ns, flow->start_ns ^ (uint64_t)flow->id << 32);
}

uint32_t tracker_count(const struct tracker *tracker)
{
    return flow_table_count(tracker->table);
}

void tracker_destroyed(struct tracker *tracker, const struct flow *flow)
{
    bool is_stamped = flow_has(flow, FLOW_HAS_START | FLOW_HAS_STOP);
    if (is_stamped && is_repeat(tracker, flow)) {
        stats_count(&tracker->config.stats->repeated, 1);
        return;
    }
    struct tracked *tracked =
        may_be_known(tracker, flow) ? flow_table_find(tracker->table, flow, flow_hash(flow)) : NULL;
    if (!tracked)
        end_unknown(tracker, flow);
    else if (tracked->state != TRACKED_DEAD)
        end_known(tracker, tracked, flow);
    else if (is_stamped)
        stats_count(&tracker->config.stats->repeated, 1);
    else
        report_end(tracker, flow); /* another one, as far as can be told */
}

static struct tracked *add(struct tracker *tracker, const struct flow *row, uint64_t hash)
{
    bool is_older = !tracker->adopted && may_be_older(tracker, row);
    struct tracked *tracked = find_place(tracker, row, hash);
    if (!tracked) {
        stats_count(&tracker->config.stats->table_full, 1);
        tracker->adopt_overflow |= is_older;
        return NULL;
    }
    uint64_t start_ns = start_time(tracker, row);
    tracked->span_start_ns = start_ns != WALL_CLOCK_UNKNOWN ? start_ns : row->stop_ns;
    tracked->still_since_s = seconds_of(row->stop_ns);
    if (is_older)
        stats_count(&tracker->config.stats->adopted, 1);
    if (is_older && !tracker->config.adopt_full) {
        for (int direction = 0; direction < 2; direction++) {
            tracked->reported_packets[direction] = row->packets[direction];
            tracked->reported_octets[direction] = row->octets[direction];
        }
        tracked->span_start_ns = tracker->config.began_ns;
        tracked->is_in_parts = true;
    }
    return tracked;
}

/* A row of the last dump for which there is no place. What a run before may have reported is left for the
 * end of the connection, and what may have passed through already does not do so again. */
static void pass_through(struct tracker *tracker, const struct flow *row)
{
    if (tracker->last_again || (may_be_older(tracker, row) && !tracker->config.adopt_full))
        return;
    struct flow whole = *row;
    uint64_t start_ns = start_time(tracker, row);
    whole.stop_ns = wall_clock_at(tracker->config.clock, start_ns < row->stop_ns ? row->stop_ns : start_ns);
    whole.end_reason = FLOW_END_ACTIVE_TIMEOUT;
    whole.kind = FLOW_PART; /* it goes on */
    if (!is_empty(row))
        hand_on(tracker, &whole);
}

static void see_row(struct tracker *tracker, const struct flow *row)
{
    uint64_t hash = flow_hash(row);
    struct tracked *tracked = flow_table_find(tracker->table, row, hash);
    if (!tracked && !wants_row(tracker, row))
        return;
    if (!tracked)
        tracked = add(tracker, row, hash);
    if (!tracked && is_last_dump(tracker))
        pass_through(tracker, row);
    if (!tracked || tracked->state == TRACKED_DEAD)
        return;
    see_offload(tracker, tracked, row);
    see(tracker, tracked, row);
    tracked->state = TRACKED_LIVE;
    tracked->dump = tracker->dump;
    if (tracked->span_start_ns > row->stop_ns)
        tracked->seen_ns = tracked->span_start_ns; /* it began while the dump went on */
    if (tracked->seen_ns - tracked->span_start_ns < tracker->due_age_ns)
        return;
    struct flow part = rest_of(tracked);
    /* The kernel reads and writes packets and octets one after the other: octets whose packet was in the part
     * before wait for the next packet. */
    for (int direction = 0; direction < 2; direction++)
        if (part.packets[direction] == 0)
            part.octets[direction] = 0;
    report_part(tracker, tracked, &part, FLOW_END_ACTIVE_TIMEOUT);
}

/* It is closed when the event socket was read empty and its DESTROY has not come. */
static void miss(struct tracker *tracker, const struct flow *flow)
{
    struct tracked *tracked = flow_table_find(tracker->table, flow, flow_hash(flow));
    if (!tracked || tracked->state != TRACKED_LIVE || tracked->dump == tracker->dump ||
        tracker->missed_count == MISSED_MAX)
        return;
    tracked->state = TRACKED_MISSED;
    tracker->missed[tracker->missed_count++] = tracked;
}

static void close_missed(struct tracker *tracker, struct tracked *tracked)
{
    if (tracked->state != TRACKED_MISSED)
        return;
    struct flow rest = rest_of(tracked);
    report_part(tracker, tracked, &rest, FLOW_END_FORCED);
    tracked->state = TRACKED_GONE;
    tracked->dump = tracker->dump;
    stats_count(&tracker->config.stats->gone, 1);
}

static void begin_dump(struct tracker *tracker, const struct flow_note *note)
{
    tracker->dump = note->dump;
    tracker->rule.age_ns = note->flow.start_ns;
    tracker->rule.dump_ns = note->flow.stop_ns;
    if (tracker->rule.age_ns < tracker->known_age_ns)
        tracker->known_age_ns = tracker->rule.age_ns;
    enter(tracker, PHASE_DUMPING);
}

void tracker_note(struct tracker *tracker, const struct flow_note *note)
{
    switch ((enum flow_note_kind)note->kind) {
    case FLOW_NOTE_LAST_DUMP_BEGIN:
        tracker->last_again = is_last_dump(tracker);
        begin_dump(tracker, note);
        break;
    case FLOW_NOTE_DUMP_BEGIN:
        tracker->due_age_ns = note->flow.start_ns;
        begin_dump(tracker, note);
        break;
    case FLOW_NOTE_ROW:
        see_row(tracker, &note->flow);
        break;
    case FLOW_NOTE_DUMP_END:
        tracker->adopted = true;
        enter(tracker, PHASE_ASKING);
        break;
    case FLOW_NOTE_DUMP_BROKEN:
        enter(tracker, PHASE_CLEARING);
        break;
    case FLOW_NOTE_GONE:
        miss(tracker, &note->flow);
        break;
    case FLOW_NOTE_FLOW:
    case FLOW_NOTE_MISSING:
        break;
    }
}

/* Of one that is gone: its DESTROY will not come any more. */
static bool is_old(const struct tracker *tracker, const struct tracked *tracked)
{
    return tracker->dump - tracked->dump >= GONE_MEMORY_DUMPS &&
           tracker->rule.dump_ns - tracked->seen_ns >=
               GONE_MEMORY_TIMEOUTS * tracker->config.active_timeout_ns;
}

/* false when there is no room for the question. */
static bool look_at(struct tracker *tracker, struct tracked *tracked, struct flow_ring *questions)
{
    bool was_shown = tracked->dump == tracker->dump;
    bool is_missing = tracker->phase == PHASE_ASKING && tracked->state == TRACKED_LIVE && !was_shown;
    bool is_over =
        tracked->state == TRACKED_DEAD || (tracked->state == TRACKED_GONE && is_old(tracker, tracked));
    if (is_over)
        flow_table_remove(tracker->table, tracked);
    if (!is_missing)
        return true;
    if (flow_ring_room(questions) == 0)
        return false;
    const struct flow_note question = {
        .flow = tracked_flow(tracked), .kind = FLOW_NOTE_MISSING, .dump = tracker->dump};
    flow_ring_put(questions, &question);
    return true;
}

bool tracker_look(struct tracker *tracker, struct flow_ring *questions, uint32_t budget)
{
    for (; tracker->missed_count > 0 && budget > 0; budget--)
        close_missed(tracker, tracker->missed[--tracker->missed_count]);
    if (tracker->phase != PHASE_ASKING && tracker->phase != PHASE_CLEARING)
        return tracker->missed_count > 0;
    for (; budget > 0 && tracker->look_slot < flow_table_slots(tracker->table); budget--) {
        struct tracked *tracked = flow_table_at(tracker->table, tracker->look_slot);
        if (tracked && !look_at(tracker, tracked, questions))
            return true;
        tracker->look_slot++;
    }
    if (tracker->look_slot < flow_table_slots(tracker->table) || flow_ring_room(questions) == 0)
        return true;
    flow_ring_put(questions, &(struct flow_note){.kind = FLOW_NOTE_DUMP_END, .dump = tracker->dump});
    enter(tracker, PHASE_RESTING);
    return false;
}

bool tracker_finish(struct tracker *tracker, uint32_t budget)
{
    if (tracker->phase != PHASE_FINISHING)
        enter(tracker, PHASE_FINISHING);
    uint32_t slots = flow_table_slots(tracker->table);
    for (; budget > 0 && tracker->look_slot < slots; budget--, tracker->look_slot++) {
        struct tracked *tracked = flow_table_at(tracker->table, tracker->look_slot);
        if (!tracked || (tracked->state != TRACKED_LIVE && tracked->state != TRACKED_MISSED))
            continue;
        struct flow part = rest_of(tracked);
        report_part(tracker, tracked, &part, FLOW_END_ACTIVE_TIMEOUT);
    }
    return tracker->look_slot < slots;
}
