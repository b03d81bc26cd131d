/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One tracker, fed by hand, and what it reports. */
#include <check.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/tracker.h"

#include "run_suite.h"

/* Times are in seconds, since ctflow9 began to listen. */
enum { TIMEOUT_S = 60, QUESTIONS = 4, MEMORY_DUMPS = 16, MEMORY_TIMEOUTS = 4 };
#define BEGAN_NS (1000000 * NS_PER_S)

static struct stats stats;
static struct wall_clock clock_now; /* the same as boot time, until a test sets it */
static int64_t clock_offset_ns;
static struct tracker *tracker;
static struct flow_ring *questions;
static struct flow reported[2000];
static unsigned report_count, report_next;
static uint32_t dump_number;
static uint64_t dump_ns;

static inline uint64_t at(int64_t s)
{
    return BEGAN_NS + (uint64_t)s * NS_PER_S;
}

/* It is as late as that by the boot clock, or later. */
static inline void see_time(uint64_t boot_ns)
{
    if (boot_ns >= clock_now.boot_ns)
        wall_clock_see(&clock_now, boot_ns + (uint64_t)clock_offset_ns, boot_ns);
}

/* The wall clock is set. */
static inline void step(int64_t s)
{
    clock_offset_ns += s * (int64_t)NS_PER_S;
    see_time(clock_now.boot_ns);
}

static inline void keep(void *context, const struct flow *flow)
{
    ck_assert_ptr_eq(context, reported);
    ck_assert_uint_lt(report_count, sizeof(reported) / sizeof(reported[0]));
    reported[report_count++] = *flow;
}

static inline void start_with(const struct tracker_config *config)
{
    struct tracker_config complete = *config;
    complete.began_ns = BEGAN_NS;
    complete.stats = &stats;
    complete.clock = &clock_now;
    wall_clock_start_at(&clock_now, BEGAN_NS, BEGAN_NS);
    ck_assert_int_eq(tracker_open(&tracker, &complete, keep, reported), 0);
    ck_assert_int_eq(flow_ring_open(&questions, QUESTIONS), 0);
}

static inline void start(uint32_t capacity)
{
    const struct tracker_config config = {.capacity = capacity, .active_timeout_ns = TIMEOUT_S * NS_PER_S};
    start_with(&config);
}

static inline void stop(void)
{
    tracker_close(tracker);
    flow_ring_close(questions);
}

/* A connection by its number, as it is when it has so many packets; the reply has half as many. */
static inline struct flow flow_of(uint32_t id, int64_t start_s, uint64_t packets)
{
    struct flow flow = {.family = AF_INET,
                        .protocol = IPPROTO_UDP,
                        .id = id,
                        .start_ns = at(start_s),
                        .has = FLOW_HAS_COUNTERS | FLOW_HAS_START,
                        .packets = {packets, packets / 2},
                        .octets = {packets * 100, packets / 2 * 1000}};
    flow.tuple[FLOW_ORIGINAL].src.v4 = htonl(0x0a000000 + id);
    return flow;
}

static inline struct flow unstamped(uint32_t id, uint64_t packets)
{
    struct flow flow = flow_of(id, 0, packets);
    flow.has = FLOW_HAS_COUNTERS;
    flow.start_ns = 0;
    return flow;
}

static inline void note(enum flow_note_kind kind, const struct flow *flow)
{
    const struct flow_note note = {.kind = kind, .dump = dump_number, .flow = *flow};
    tracker_note(tracker, &note);
}

static int due_age_s = TIMEOUT_S; /* as the dump has it */

static inline void begin(int64_t s)
{
    dump_number++;
    dump_ns = at(s);
    see_time(dump_ns);
    note(FLOW_NOTE_DUMP_BEGIN,
         &(struct flow){.start_ns = (uint64_t)due_age_s * NS_PER_S, .stop_ns = dump_ns});
}

static inline void begin_last(int64_t s)
{
    dump_number++;
    dump_ns = at(s);
    see_time(dump_ns);
    note(FLOW_NOTE_LAST_DUMP_BEGIN, &(struct flow){.stop_ns = dump_ns});
}

static inline void row(struct flow flow)
{
    flow.stop_ns = dump_ns;
    note(FLOW_NOTE_ROW, &flow);
}

/* Of the dump that began last. false: there is more to look at. */
static inline bool look(void)
{
    return !tracker_look(tracker, questions, UINT32_MAX);
}

static inline void expect_question(enum flow_note_kind kind, uint32_t id)
{
    const struct flow_note *question = flow_ring_peek(questions);
    ck_assert_ptr_nonnull(question);
    ck_assert_uint_eq(question->kind, kind);
    ck_assert_uint_eq(question->dump, dump_number);
    ck_assert_uint_eq(question->flow.id, id);
    flow_ring_take(questions);
}

/* Ends it, and sees that it asks for nothing. */
static inline void end(enum flow_note_kind kind)
{
    note(kind, &(struct flow){0});
    ck_assert(look());
    expect_question(FLOW_NOTE_DUMP_END, 0);
    ck_assert_ptr_null(flow_ring_peek(questions));
}

/* A whole dump of one connection. */
static inline void dump(int64_t s, struct flow flow)
{
    begin(s);
    row(flow);
    end(FLOW_NOTE_DUMP_END);
}

/* By a kernel that does not tell how. */
static inline void ended(struct flow flow, int64_t stop_s)
{
    see_time(at(stop_s));
    flow.stop_ns = at(stop_s) + (uint64_t)clock_offset_ns;
    if (flow_has(&flow, FLOW_HAS_START))
        flow.has |= FLOW_HAS_STOP;
    tracker_destroyed(tracker, &flow);
}

static inline void destroyed(struct flow flow, int64_t stop_s)
{
    flow.has |= FLOW_END_TOLD;
    flow.end_reason = FLOW_END_IDLE_TIMEOUT;
    ended(flow, stop_s);
}

/* The next report: packets of the original direction, its span, its reason. */
static inline void expect(uint32_t id, uint64_t packets, int64_t start_s, int64_t stop_s,
                          enum flow_end_reason why)
{
    ck_assert_uint_lt(report_next, report_count);
    const struct flow *flow = &reported[report_next++];
    ck_assert_uint_eq(flow->id, id);
    ck_assert_uint_eq(flow->packets[FLOW_ORIGINAL], packets);
    ck_assert_uint_eq(flow->octets[FLOW_ORIGINAL], packets * 100);
    ck_assert_uint_eq(flow->octets[FLOW_REPLY], flow->packets[FLOW_REPLY] * 1000);
    ck_assert_int_eq((int64_t)(flow->start_ns - BEGAN_NS) / (int64_t)NS_PER_S, start_s);
    ck_assert_int_eq((int64_t)(flow->stop_ns - BEGAN_NS) / (int64_t)NS_PER_S, stop_s);
    ck_assert_int_eq(flow->end_reason, why);
}

static inline void expect_nothing(void)
{
    ck_assert_uint_eq(report_next, report_count);
}

static inline int run(TCase *tcase)
{
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, NULL, stop);
    Suite *suite = suite_create("tracker");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
