/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dump's thread under a kernel of the test's own, and a worker that only listens. */
#include "ctflow9/input/ct_dump.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/input/ct_decode.h"
#include "ctflow9/input/ct_request.h"
#include "run_suite.h"
#include "slow.h"

#define TIMEOUT_NS (1000 * NS_PER_S)

enum { NOTES = 64, PATIENCE_S = 60 };

static const int *results; /* of each dump of the table; the last one for all that follow */
static struct flow_ring *notes, *questions;
static enum flow_note_kind told[NOTES];
static unsigned told_count;
static uint64_t due_ages_ns[NOTES]; /* that each BEGIN told */
static unsigned begins;
static uint64_t costs_ns; /* CPU time of each dump */

/* The kernel's answers: these take the place of ct_request.c and ct_decode.c. */

int ct_decoder_open(struct ct_decoder **decoder)
{
    *decoder = NULL;
    return 0;
}

void ct_decoder_close(struct ct_decoder *decoder)
{
    (void)decoder;
}

int ct_decode(struct ct_decoder *decoder, const struct nlmsghdr *message, struct flow *flow)
{
    (void)decoder;
    (void)message;
    *flow = (struct flow){.has = FLOW_HAS_COUNTERS};
    return 0;
}

int ct_request_entry(int fd, uint8_t type, const struct flow *flow, netlink_socket_on_message *on_message,
                     void *context)
{
    (void)fd;
    (void)type;
    (void)flow;
    (void)on_message;
    (void)context;
    return -ENOENT;
}

/* One row; 1 as a result: the table changed meanwhile. */
int ct_request_dump(int fd, uint8_t type, const struct netlink_mark *mark,
                    netlink_socket_on_message *on_message, void *context)
{
    (void)fd;
    (void)type;
    (void)mark;
    int result = *results;
    uint64_t until_ns = instant_read_clock(CLOCK_THREAD_CPUTIME_ID) + costs_ns;
    while (instant_read_clock(CLOCK_THREAD_CPUTIME_ID) < until_ns)
        continue;
    if (results[1] != EOF)
        results++;
    const struct nlmsghdr row = {.nlmsg_len = sizeof(row), .nlmsg_flags = result > 0 ? NLM_F_DUMP_INTR : 0};
    on_message(context, &row);
    return result < 0 ? result : 0;
}

static void take_notes(void)
{
    for (const struct flow_note *note; (note = flow_ring_peek(notes)); flow_ring_take(notes)) {
        ck_assert_uint_lt(told_count, NOTES);
        told[told_count++] = note->kind;
        if (note->kind == FLOW_NOTE_DUMP_BEGIN)
            due_ages_ns[begins++] = note->flow.start_ns;
        if (note->kind == FLOW_NOTE_DUMP_END || note->kind == FLOW_NOTE_DUMP_BROKEN)
            flow_ring_put(questions, &(struct flow_note){.kind = FLOW_NOTE_DUMP_END, .dump = note->dump});
    }
}

static bool is_told(unsigned count)
{
    take_notes();
    return told_count >= count;
}

static void wait_for(struct ct_dump *dump, unsigned count)
{
    uint64_t end_ns = instant_read_clock(CLOCK_MONOTONIC) + PATIENCE_S * slow_factor() * NS_PER_S;
    while (!is_told(count) || (count > 3 && !ct_dump_is_over(dump))) {
        ck_assert_uint_lt(instant_read_clock(CLOCK_MONOTONIC), end_ns);
        poll(NULL, 0, 1);
    }
}

static struct ct_dump *start(uint64_t interval_min_ns, uint64_t interval_max_ns, int wake_fd)
{
    static struct stats stats;
    struct ct_dump *dump;
    ck_assert_int_ge(wake_fd, 0);
    ck_assert_int_eq(flow_ring_open(&notes, NOTES), 0);
    ck_assert_int_eq(flow_ring_open(&questions, NOTES), 0);
    const struct ct_dump_config config = {
        .interval_min_ns = interval_min_ns,
        .interval_max_ns = interval_max_ns,
        .active_timeout_ns = TIMEOUT_NS,
        .began_ns = NS_PER_S,
        .stats = &stats,
        .workers = 1,
        .worker = {{.notes = notes, .questions = questions, .wake_fd = wake_fd}}};
    ck_assert_int_eq(ct_dump_open(&dump, &config), 0);
    ck_assert_int_eq(ct_dump_start(dump), 0);
    return dump;
}

static void stop(struct ct_dump *dump, int wake_fd)
{
    ct_dump_stop(dump);
    ct_dump_close(dump);
    flow_ring_close(notes);
    flow_ring_close(questions);
    close(wake_fd);
}

/* A whole dump, and then the end: what the worker is told of that. */
static void run(const int *results_of_dumps, const enum flow_note_kind *expected, unsigned count)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    results = results_of_dumps;
    struct ct_dump *dump = start(TIMEOUT_NS, TIMEOUT_NS, wake_fd);
    wait_for(dump, 3);
    ct_dump_finish(dump);
    wait_for(dump, count);
    ck_assert_uint_eq(told_count, count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(told[i], expected[i]);
    stop(dump, wake_fd);
}

/* 5 ms of CPU are a hundredth of 500 ms: more than the longest interval. */
START_TEST(looks_that_take_much_are_further_apart)
{
    static const int all_well[] = {0, EOF};
    const uint64_t min_ns = 10 * NS_PER_MS, max_ns = 60 * NS_PER_MS;
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    results = all_well;
    costs_ns = 5 * NS_PER_MS;
    struct ct_dump *dump = start(min_ns, max_ns, wake_fd);
    uint64_t begin_ns = instant_read_clock(CLOCK_MONOTONIC);
    while (!is_told(3 * 3))
        poll(NULL, 0, 1);
    ck_assert_uint_ge(instant_read_clock(CLOCK_MONOTONIC) - begin_ns, 2 * max_ns);
    stop(dump, wake_fd);
    ck_assert_uint_eq(due_ages_ns[0], TIMEOUT_NS - min_ns / 2);
    ck_assert_uint_eq(due_ages_ns[1], TIMEOUT_NS - max_ns / 2);
    ck_assert_uint_eq(due_ages_ns[2], TIMEOUT_NS - max_ns / 2);
}
END_TEST

#define DUMP(begin, end) begin, FLOW_NOTE_ROW, end
#define RUN(results, ...)                                               \
    do {                                                                \
        static const enum flow_note_kind expected[] = {__VA_ARGS__};    \
        run(results, expected, sizeof(expected) / sizeof(expected[0])); \
    } while (0)

START_TEST(the_last_dump_is_one_more)
{
    static const int all_well[] = {0, EOF};
    RUN(all_well, DUMP(FLOW_NOTE_DUMP_BEGIN, FLOW_NOTE_DUMP_END),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_END));
}
END_TEST

/* Nothing after it would show what it did not. */
START_TEST(the_last_dump_begins_again_when_it_is_not_finished)
{
    static const int twice[] = {0, -EINTR, 1, 0, EOF};
    RUN(twice, DUMP(FLOW_NOTE_DUMP_BEGIN, FLOW_NOTE_DUMP_END),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_BROKEN),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_BROKEN),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_END));
}
END_TEST

START_TEST(the_last_dump_is_given_up_in_the_end)
{
    static const int never[] = {0, 1, EOF};
    RUN(never, DUMP(FLOW_NOTE_DUMP_BEGIN, FLOW_NOTE_DUMP_END),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_BROKEN),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_BROKEN),
        DUMP(FLOW_NOTE_LAST_DUMP_BEGIN, FLOW_NOTE_DUMP_BROKEN));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("dumps");
    tcase_set_timeout(tcase, 3 * PATIENCE_S);
    tcase_add_test(tcase, looks_that_take_much_are_further_apart);
    tcase_add_test(tcase, the_last_dump_is_one_more);
    tcase_add_test(tcase, the_last_dump_begins_again_when_it_is_not_finished);
    tcase_add_test(tcase, the_last_dump_is_given_up_in_the_end);
    Suite *suite = suite_create("ct_dump");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
