/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tracker against a model of the kernel and of the dump thread, in random order: connections grow, are
 * dumped, die, and are told at once, late, again or never. At the end the reports of each connection must
 * add up to its final counters, or to the last ones that a dump showed when nothing told of its end. Another
 * time ctflow9 ends first, after a last dump. The wall clock may be set at any time meanwhile.
 */
#include <check.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/row_rule.h"
#include "ctflow9/flow/tracker.h"

#include "run_suite.h"

enum {
    CONNECTIONS = 3000,
    OLDER = 100,  /* connections that began before ctflow9 */
    LIVELY = 100, /* the last born, which are busier than the others */
    EVENTS = 1 << 14,
    MOODS = 1200, /* of a run: how busy everybody is changes each time */
    MOOD_STEPS = 256,
    NOTES = 64,
    QUESTIONS = 16,
    SEEDS = 8,
    STEP_MAX_S = 400000
};
#define BEGAN_NS   (1000000 * NS_PER_S)
#define TIMEOUT_NS (20 * NS_PER_S)
#define STEP_NS    (20 * NS_PER_MS)
#define RACE_NS    (2 * WALL_CLOCK_TOLERANCE_NS)

/* What differs from one run to the next. */
static const struct variant {
    const char *name;
    uint32_t capacity, reserve;
    bool older;      /* some connections began before ctflow9 */
    bool adopt_full; /* and are to be reported whole */
    bool unstamped;  /* no start stamps */
    bool repeats;    /* DESTROYs come again */
    bool silence;    /* some DESTROYs never come */
    bool zeroing;    /* another program sets counters to 0 */
    int64_t step_s;  /* the clock is set by as much at most, each way, */
    bool unseen;     /* perhaps twice before anybody looks */
} variants[] = {
    {.name = "new connections", .capacity = CONNECTIONS},
    {.name = "repeats", .capacity = CONNECTIONS, .repeats = true},
    {.name = "adoption", .capacity = CONNECTIONS, .older = true, .repeats = true},
    {.name = "adoption in full", .capacity = CONNECTIONS, .older = true, .adopt_full = true},
    {.name = "silence", .capacity = CONNECTIONS, .older = true, .repeats = true, .silence = true},
    {.name = "zeroing", .capacity = CONNECTIONS, .older = true, .silence = true, .zeroing = true},
    {.name = "no stamps", .capacity = CONNECTIONS, .older = true, .unstamped = true, .silence = true},
    {.name = "seconds",
     .capacity = CONNECTIONS,
     .older = true,
     .repeats = true,
     .silence = true,
     .step_s = 5},
    {.name = "hours",
     .capacity = CONNECTIONS,
     .older = true,
     .repeats = true,
     .silence = true,
     .step_s = 7200},
    {.name = "days", .capacity = CONNECTIONS, .older = true, .adopt_full = true, .step_s = STEP_MAX_S},
    {.name = "unseen seconds", .capacity = CONNECTIONS, .silence = true, .step_s = 5, .unseen = true},
    {.name = "unseen days", .capacity = CONNECTIONS, .repeats = true, .step_s = STEP_MAX_S, .unseen = true},
    {.name = "30 places", .capacity = 30, .reserve = CONNECTIONS, .older = true, .repeats = true},
    {.name = "3 places", .capacity = 3, .reserve = CONNECTIONS, .older = true, .unstamped = true},
    {.name = "30 places only", .capacity = 30, .older = true, .adopt_full = true, .repeats = true},
    {.name = "3 places only", .capacity = 3, .repeats = true},
};
enum {
    VARIANTS = sizeof(variants) / sizeof(variants[0]),
    ROOMY = VARIANTS - 2 /* all whom it must be have a place */
};

struct counters {
    uint64_t packets[2], octets[2];
};

enum life { ALIVE, DYING, DEAD }; /* DYING: its DESTROY waits to be sent */

struct connection {
    enum life life;
    bool silent;              /* the kernel never sends its DESTROY */
    bool told;                /* the tracker had its DESTROY */
    bool frozen;              /* set to 0, and no dump has shown that yet */
    uint64_t start_ns;        /* boot time, */
    uint64_t start_stamp_ns;  /* and what the wall clock showed then */
    uint64_t reported_ns;     /* boot time; until when, by a row; 0 = not yet */
    struct counters past;     /* what had been counted whenever the counters were set to 0 */
    struct counters now;      /* the kernel's counters */
    struct counters shown;    /* past and now, in the last row that the tracker had */
    struct counters baseline; /* taken as reported */
    struct counters sum;      /* of the reports */
    bool is_shown, is_dropped;
    bool is_last_shown;    /* by the last dump */
    struct counters given; /* as the tracker last had them */
};

static struct model {
    const struct variant *variant;
    struct connection connections[CONNECTIONS];
    int born;
    struct flow events[EVENTS]; /* the event socket */
    unsigned event_in, event_out, repeats;
    unsigned resets;            /* times that the tracker was given less than before */
    uint64_t now_ns;            /* boot time */
    uint64_t offset_ns;         /* from there to the wall clock, modulo 2^64 */
    struct wall_clock clock;    /* the worker's, */
    struct wall_clock of_dumps; /* and the dump thread's */
    struct tracker *tracker;
    struct stats stats;
    struct flow_ring *notes, *questions;
    struct counters rows[NOTES]; /* past and now, of the rows in the ring of notes */
    unsigned row_in, row_out;
    enum { RESTING, BEGINNING, DUMPING, ASKING, OVER } phase; /* of the dump thread */
    unsigned dump_left;                                       /* connections to go */
    uint32_t dump;
    uint64_t dump_ns;
    bool calm;    /* dumps show everything, nobody is born */
    bool last;    /* the next dump is the last one, and shows everything too */
    bool adopted; /* the tracker has had a complete dump */
    bool emptied; /* the event socket was read empty since the last note */
    int mood[5];  /* how likely each part is to do something */
} model;

static bool one_in(int n)
{
    return rand() % n == 0;
}

static void add(struct counters *sum, const struct counters *more)
{
    for (int direction = 0; direction < 2; direction++) {
        sum->packets[direction] += more->packets[direction];
        sum->octets[direction] += more->octets[direction];
    }
}

static bool are_equal(const struct counters *a, const struct counters *b)
{
    return a->packets[0] == b->packets[0] && a->packets[1] == b->packets[1] && a->octets[0] == b->octets[0] &&
           a->octets[1] == b->octets[1];
}

static struct counters total(const struct connection *connection)
{
    struct counters sum = connection->past;
    add(&sum, &connection->now);
    return sum;
}

static struct counters counters_of(const struct flow *flow)
{
    return (struct counters){{flow->packets[0], flow->packets[1]}, {flow->octets[0], flow->octets[1]}};
}

/* What the tracker gets of a connection that it knows already, unless it is the first. */
static void give(struct connection *connection, const struct flow *flow)
{
    const struct counters now = counters_of(flow), before = connection->given;
    model.resets += now.packets[0] < before.packets[0] || now.packets[1] < before.packets[1] ||
                    now.octets[0] < before.octets[0] || now.octets[1] < before.octets[1];
    connection->given = now;
}

static void watch(struct wall_clock *clock)
{
    wall_clock_see(clock, model.now_ns + model.offset_ns, model.now_ns);
}

/* Nothing ends in the future, begins after its end or lasts longer than it did. */
static void expect_times(const struct connection *connection, const struct flow *flow)
{
    ck_assert_uint_le(flow->start_ns, flow->stop_ns);
    if (model.variant->unstamped || model.variant->unseen)
        return;
    ck_assert_uint_le(flow->stop_ns, model.clock.wall_ns);
    ck_assert_uint_le(flow->stop_ns - flow->start_ns, model.now_ns - connection->start_ns);
}

static void take_report(void *context, const struct flow *flow)
{
    ck_assert_ptr_eq(context, &model);
    static const struct counters nothing;
    const struct counters more = counters_of(flow);
    ck_assert(!are_equal(&more, &nothing));
    add(&model.connections[flow->id].sum, &more);
    expect_times(&model.connections[flow->id], flow);
}

static struct flow flow_of(const struct connection *connection)
{
    const struct counters *now = &connection->now;
    struct flow flow = {.family = AF_INET,
                        .protocol = IPPROTO_TCP,
                        .id = (uint32_t)(connection - model.connections),
                        .has = FLOW_HAS_COUNTERS,
                        .packets = {now->packets[0], now->packets[1]},
                        .octets = {now->octets[0], now->octets[1]}};
    if (!model.variant->unstamped) {
        flow.has |= FLOW_HAS_START;
        flow.start_ns = connection->start_stamp_ns;
    }
    return flow;
}

/* The kernel. */

static void send_destroy(struct connection *connection)
{
    struct flow flow = flow_of(connection);
    flow.stop_ns = model.now_ns + model.offset_ns;
    if (model.variant->unstamped)
        flow.start_ns = flow.stop_ns; /* as ct_events does */
    else
        flow.has |= FLOW_HAS_STOP;
    ck_assert_uint_lt(model.event_in, EVENTS);
    model.events[model.event_in++] = flow;
    connection->life = DEAD;
}

static void grow(struct connection *connection)
{
    for (int direction = 0; direction < 2 && !connection->frozen; direction++) {
        uint64_t packets = (uint64_t)rand() % 4;
        connection->now.packets[direction] += packets;
        connection->now.octets[direction] += packets * (40 + (uint64_t)rand() % 1400);
    }
}

static void be_born(uint64_t start_ns)
{
    struct connection *connection = &model.connections[model.born++];
    *connection = (struct connection){.life = ALIVE,
                                      .start_ns = start_ns,
                                      .start_stamp_ns = start_ns + model.offset_ns,
                                      .silent = model.variant->silence && one_in(4)};
    grow(connection);
}

/* Only what a dump has shown: what is counted between a dump and this is lost, and not by us. */
static void set_to_0(struct connection *connection)
{
    const struct counters now = total(connection);
    if (!connection->is_shown || !are_equal(&connection->shown, &now))
        return;
    connection->past = now;
    connection->now = (struct counters){0};
    connection->frozen = true; /* what counts up to where it was before the next dump cannot be seen */
}

static void die(struct connection *connection)
{
    if (connection->silent)
        connection->life = DEAD;
    else if (one_in(3))
        connection->life = DYING;
    else
        send_destroy(connection);
}

static void live(void)
{
    if (!model.calm && model.born < CONNECTIONS && one_in(40))
        be_born(model.now_ns);
    if (model.born == 0)
        return;
    bool is_lively = model.born > LIVELY && !model.calm && !one_in(4);
    int lively = model.born - 1 - rand() % LIVELY;
    struct connection *connection = &model.connections[is_lively ? lively : rand() % model.born];
    if (connection->life == ALIVE && one_in(model.calm ? 2 : 30))
        die(connection);
    else if (connection->life == ALIVE && model.variant->zeroing && one_in(3))
        set_to_0(connection);
    else if (connection->life == ALIVE)
        grow(connection);
    else if (connection->life == DYING && one_in(4))
        send_destroy(connection);
    if (model.variant->repeats && model.event_in > 0 && one_in(100)) {
        const struct flow again = model.events[rand() % (int)model.event_in];
        model.events[model.event_in++] = again;
        model.repeats++;
    }
}

/* The dump thread, as in ct_dump.c. */

static void put_note(enum flow_note_kind kind, const struct flow *flow)
{
    flow_ring_put(model.notes, &(struct flow_note){.kind = kind, .dump = model.dump, .flow = *flow});
}

static struct row_rule rule_of(uint64_t dump_ns)
{
    return (struct row_rule){.began_ns = BEGAN_NS, .age_ns = model.last ? 0 : TIMEOUT_NS, .dump_ns = dump_ns};
}

static uint64_t start_time(const struct flow *row)
{
    if (!flow_has(row, FLOW_HAS_START))
        return WALL_CLOCK_UNKNOWN;
    watch(&model.of_dumps);
    return wall_clock_earliest(&model.of_dumps, row->start_ns);
}

static void show(const struct connection *connection)
{
    struct flow row = flow_of(connection);
    row.stop_ns = model.dump_ns;
    const struct row_rule rule = rule_of(model.dump_ns);
    if (!row_rule_wants(&rule, &row, start_time(&row))) {
        ck_assert(model.variant->unseen || connection->start_ns + TIMEOUT_NS > model.dump_ns);
        return;
    }
    if (!model.calm && !model.last && one_in(50))
        return; /* overlooked */
    model.rows[model.row_in++ % NOTES] = total(connection);
    put_note(FLOW_NOTE_ROW, &row);
}

static void show_next(void)
{
    while (model.dump_left > 0 && model.connections[model.dump_left - 1].life != ALIVE)
        model.dump_left--;
    if (model.dump_left == 0) {
        bool broken = !model.calm && !model.last && one_in(10);
        put_note(broken ? FLOW_NOTE_DUMP_BROKEN : FLOW_NOTE_DUMP_END, &(struct flow){0});
        model.phase = model.last ? OVER : ASKING;
        return;
    }
    show(&model.connections[model.dump_left - 1]);
    model.dump_left -= !one_in(10); /* or once more */
}

static void answer(void)
{
    const struct flow_note *question = flow_ring_peek(model.questions);
    if (!question)
        return;
    if (question->kind == FLOW_NOTE_DUMP_END)
        model.phase = RESTING;
    else if (model.connections[question->flow.id].life == DEAD)
        put_note(FLOW_NOTE_GONE, &question->flow);
    flow_ring_take(model.questions);
}

static void dump(void)
{
    if (flow_ring_room(model.notes) == 0)
        return;
    switch (model.phase) {
    case RESTING:
        model.dump++;
        watch(&model.of_dumps);
        model.dump_ns = model.now_ns;
        put_note(model.last ? FLOW_NOTE_LAST_DUMP_BEGIN : FLOW_NOTE_DUMP_BEGIN,
                 &(struct flow){.start_ns = model.last ? 0 : TIMEOUT_NS, .stop_ns = model.dump_ns});
        model.phase = BEGINNING;
        break;
    case BEGINNING:
        if (flow_ring_is_drained(model.notes))
            model.phase = DUMPING;
        model.dump_left = (unsigned)model.born;
        break;
    case DUMPING:
        show_next();
        break;
    case ASKING:
        answer();
        break;
    case OVER:
        break;
    }
}

/* The worker. */

static bool is_baseline(const struct connection *connection)
{
    bool may_be_older = model.variant->unstamped || connection->start_ns < BEGAN_NS;
    return may_be_older && !model.adopted && !model.variant->adopt_full;
}

static void feed_event(void)
{
    if (model.event_out == model.event_in) {
        model.event_in = model.event_out = 0;
        model.emptied = true;
        return;
    }
    const struct flow *flow = &model.events[model.event_out++];
    struct connection *connection = &model.connections[flow->id];
    if (!connection->told && !connection->is_shown && !model.variant->unstamped)
        connection->is_dropped = is_baseline(connection);
    if (!connection->told)
        give(connection, flow);
    connection->told = true;
    watch(&model.clock);
    tracker_destroyed(model.tracker, flow);
}

/* The tracker takes no place for one that may just as well have begun later. */
static bool is_wanted(const struct flow_note *note)
{
    const struct flow *row = &note->flow;
    uint64_t start_ns = WALL_CLOCK_UNKNOWN;
    if (flow_has(row, FLOW_HAS_START))
        start_ns = wall_clock_latest(&model.clock, row->start_ns, model.now_ns);
    const struct row_rule rule = rule_of(row->stop_ns);
    return row_rule_wants(&rule, row, start_ns);
}

static void feed_row(struct connection *connection, const struct flow_note *note)
{
    const struct counters row = model.rows[model.row_out++ % NOTES];
    if (connection->told || (!connection->is_shown && !is_wanted(note)))
        return;
    give(connection, &note->flow);
    if (!connection->is_shown && is_baseline(connection))
        connection->baseline = row;
    connection->is_shown = true;
    connection->is_last_shown = model.last;
    const struct counters now = total(connection);
    if (connection->frozen && are_equal(&row, &now) && !are_equal(&connection->shown, &row))
        ck_abort_msg("a frozen connection has grown");
    connection->shown = row;
}

/* Of a row: what is not reported is not as old as that. */
static void expect_in_time(struct connection *connection, uint64_t dump_ns)
{
    struct counters sum = connection->baseline;
    add(&sum, &connection->sum);
    uint64_t since_ns = connection->start_ns > BEGAN_NS ? connection->start_ns : BEGAN_NS;
    uint64_t patience_ns = TIMEOUT_NS + RACE_NS;
    if (connection->reported_ns != 0)
        since_ns = connection->reported_ns;
    else
        patience_ns += (uint64_t)model.variant->step_s * NS_PER_S < TIMEOUT_NS
                           ? (uint64_t)model.variant->step_s * NS_PER_S
                           : TIMEOUT_NS;
    if (are_equal(&sum, &connection->shown))
        connection->reported_ns = dump_ns;
    else
        ck_assert_msg(dump_ns < since_ns + patience_ns,
                      "%s: connection %d is not reported for %" PRIu64 " ms", model.variant->name,
                      (int)(connection - model.connections), (dump_ns - since_ns) / NS_PER_MS);
}

static void feed_note(void)
{
    const struct flow_note *note = flow_ring_peek(model.notes);
    if (!note)
        return;
    struct connection *connection = &model.connections[note->flow.id];
    watch(&model.clock);
    if (note->kind == FLOW_NOTE_ROW) {
        feed_row(connection, note);
        if (connection->frozen && note->flow.packets[0] == 0 && note->flow.packets[1] == 0)
            connection->frozen = false;
    }
    model.adopted |= note->kind == FLOW_NOTE_DUMP_END;
    model.emptied = false;
    tracker_note(model.tracker, note);
    if (note->kind == FLOW_NOTE_ROW && model.variant->step_s > 0 && !model.variant->unseen &&
        !connection->told)
        expect_in_time(connection, note->flow.stop_ns);
    flow_ring_take(model.notes);
}

static void look(void)
{
    if (model.emptied)
        tracker_look(model.tracker, model.questions, 1 + (uint32_t)rand() % 50);
}

static void set_clock(void)
{
    int64_t step_s = model.variant->step_s;
    if (step_s == 0 || !one_in(60000))
        return;
    if (!model.variant->unseen) {
        watch(&model.clock);
        watch(&model.of_dumps);
    }
    if (one_in(4)) /* to and fro: the same times come again and again */
        model.offset_ns = 0;
    else
        model.offset_ns = (uint64_t)(rand() % (2 * step_s) - step_s) * NS_PER_S;
    if (!model.variant->unseen) {
        watch(&model.clock);
        watch(&model.of_dumps);
    }
}

static void step(void)
{
    set_clock();
    static void (*const parts[])(void) = {live, dump, feed_event, feed_note, look};
    for (int i = 0; i < 5; i++)
        if (rand() % 100 < model.mood[i])
            parts[i]();
    model.now_ns += STEP_NS;
}

static void change_mood(void)
{
    for (int i = 0; i < 5; i++)
        model.mood[i] = one_in(4) ? 1 : rand() % 100;
}

static void set_up(const struct variant *variant)
{
    const struct tracker_config config = {.capacity = variant->capacity,
                                          .reserve = variant->reserve,
                                          .active_timeout_ns = TIMEOUT_NS,
                                          .began_ns = BEGAN_NS,
                                          .adopt_full = variant->adopt_full,
                                          .stats = &model.stats,
                                          .clock = &model.clock};
    model.variant = variant;
    model.now_ns = BEGAN_NS;
    model.offset_ns = 0;
    wall_clock_start_at(&model.clock, BEGAN_NS, BEGAN_NS);
    wall_clock_start_at(&model.of_dumps, BEGAN_NS, BEGAN_NS);
    ck_assert_int_eq(tracker_open(&model.tracker, &config, take_report, &model), 0);
    ck_assert_int_eq(flow_ring_open(&model.notes, NOTES), 0);
    ck_assert_int_eq(flow_ring_open(&model.questions, QUESTIONS), 0);
    for (int i = 0; i < OLDER && variant->older; i++)
        be_born(BEGAN_NS - (uint64_t)(1 + rand() % 1000) * NS_PER_S);
}

static void tear_down(void)
{
    tracker_close(model.tracker);
    flow_ring_close(model.notes);
    flow_ring_close(model.questions);
}

static unsigned count_living(void)
{
    unsigned living = 0;
    for (int i = 0; i < model.born; i++)
        living += model.connections[i].life != DEAD;
    return living;
}

/* Everybody dies, and dumps go on until everything is known. */
static void calm_down(void)
{
    model.calm = true;
    for (int i = 0; i < 5; i++)
        model.mood[i] = 90;
    while (count_living() > 0)
        for (int i = 0; i < CONNECTIONS; i++)
            step();
    for (uint32_t last = model.dump + 3; model.dump < last || model.event_out < model.event_in;)
        step();
}

static void live_for_a_while(int moods)
{
    for (int i = 0; i < moods * MOOD_STEPS; i++) {
        if (i % MOOD_STEPS == 0)
            change_mood();
        step();
    }
}

/* As workers.c does it. Everybody else goes on meanwhile. */
static void finish(void)
{
    while (model.phase != RESTING)
        live_for_a_while(1);
    model.last = true;
    while (model.phase != OVER || !flow_ring_is_drained(model.notes))
        live_for_a_while(1);
    while (model.event_out < model.event_in)
        feed_event();
    watch(&model.clock);
    while (tracker_finish(model.tracker, 1 + (uint32_t)rand() % 50))
        continue;
}

/*
 * It is dying when ctflow9 ends: the last dump does not show it and its DESTROY has not come. What is known
 * of it by then is reported, if it had a place; the next to run gets its DESTROY.
 */
static bool has_no_place(const struct connection *connection)
{
    static const struct counters nothing;
    return model.variant->capacity < OLDER && !connection->told && !connection->is_last_shown &&
           are_equal(&connection->baseline, &nothing) && are_equal(&connection->sum, &nothing);
}

static void expect_sums(int seed)
{
    static const struct counters nothing;
    for (int i = 0; i < model.born; i++) {
        const struct connection *connection = &model.connections[i];
        struct counters expected = connection->told ? total(connection) : connection->shown;
        if (connection->is_dropped || has_no_place(connection))
            expected = nothing;
        struct counters sum = connection->baseline;
        add(&sum, &connection->sum);
        ck_assert_msg(are_equal(&sum, &expected),
                      "%s, seed %d: %s connection %d was reported with %" PRIu64 " packets and %" PRIu64
                      " octets instead of %" PRIu64 " and %" PRIu64,
                      model.variant->name, seed, connection->silent ? "silent" : "told", i, sum.packets[0],
                      sum.octets[0], expected.packets[0], expected.octets[0]);
    }
    ck_assert_uint_eq(model.stats.repeated, model.repeats);
    ck_assert_uint_eq(model.stats.counters_reset, model.resets);
}

static void expect_gone(void)
{
    unsigned gone = 0;
    for (int i = 0; i < model.born; i++)
        gone += model.connections[i].silent && model.connections[i].is_shown;
    ck_assert_uint_eq(model.stats.gone, gone);
}

START_TEST(reports_add_up)
{
    srand((unsigned)_i);
    set_up(&variants[_i / SEEDS]);
    live_for_a_while(MOODS);
    calm_down();
    expect_sums(_i);
    expect_gone();
    ck_assert_int_eq(model.stats.counters_reset > 0, model.variant->zeroing);
    ck_assert_int_eq(model.stats.table_full > 0, model.variant->capacity < OLDER);
    tear_down();
}
END_TEST

START_TEST(reports_add_up_at_the_end)
{
    srand((unsigned)_i);
    set_up(&variants[_i / SEEDS]);
    live_for_a_while(1 + rand() % MOODS);
    finish();
    expect_sums(_i);
    ck_assert_uint_gt(count_living(), 0);
    tear_down();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("model");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, reports_add_up, 0, SEEDS * VARIANTS);
    tcase_add_loop_test(tcase, reports_add_up_at_the_end, 0, SEEDS * ROOMY);
    Suite *suite = suite_create("tracker");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
