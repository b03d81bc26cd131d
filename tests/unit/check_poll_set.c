/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/poll_set.h"

#include <check.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "run_suite.h"

enum { FDS = 5 };

static int fds[FDS];

static void setup(void)
{
    for (int i = 0; i < FDS; i++)
        ck_assert_int_ge(fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), 0);
}

static void teardown(void)
{
    for (int i = 0; i < FDS; i++)
        close(fds[i]);
}

static void fill(struct poll_set *set)
{
    poll_set_clear(set);
    for (int i = 0; i < FDS; i++)
        poll_set_add(set, fds[i], POLLIN);
}

/* Returns the limit that there was. */
static rlim_t limit_descriptors(rlim_t limit)
{
    struct rlimit limits;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limits), 0);
    rlim_t before = limits.rlim_cur;
    limits.rlim_cur = limit;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limits), 0);
    return before;
}

static uint64_t monotonic_ns(void)
{
    return instant_read_clock(CLOCK_MONOTONIC);
}

START_TEST(waits_for_the_first_that_is_ready)
{
    struct poll_set set;
    fill(&set);
    ck_assert_int_eq(eventfd_write(fds[3], 1), 0);
    ck_assert_int_eq(poll_set_wait(&set, monotonic_ns()), 1);
    for (int i = 0; i < FDS; i++)
        ck_assert_int_eq(set.fds[i].revents, i == 3 ? POLLIN : 0);
}
END_TEST

START_TEST(waits_until_the_earliest_deadline)
{
    struct poll_set set;
    uint64_t now_ns = monotonic_ns();
    fill(&set);
    poll_set_before(&set, now_ns + 3600 * NS_PER_S);
    poll_set_before(&set, now_ns + 20 * NS_PER_MS);
    poll_set_before(&set, POLL_SET_NEVER);
    ck_assert_int_eq(poll_set_wait(&set, now_ns), 0);
    ck_assert_uint_ge(monotonic_ns(), now_ns + 20 * NS_PER_MS);
}
END_TEST

/* The kernel refuses: it would spin, or never look again. */
START_TEST(waits_also_where_the_limit_was_lowered)
{
    struct poll_set set;
    fill(&set);
    rlim_t before = limit_descriptors(_i == 0 ? 3 : 0);
    uint64_t now_ns = monotonic_ns();
    for (int turn = 1; turn <= 5; turn++) {
        ck_assert_int_eq(poll_set_wait(&set, monotonic_ns()), FDS); /* no deadline */
        ck_assert_uint_ge(monotonic_ns(), now_ns + (uint64_t)turn * NS_PER_MS);
    }
    limit_descriptors(before); /* who looks for leaks at the end opens files */
    for (int i = 0; i < FDS; i++)
        ck_assert_int_eq(set.fds[i].revents, POLLIN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poll_set");
    TCase *tests = tcase_create("poll_set");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, waits_for_the_first_that_is_ready);
    tcase_add_test(tests, waits_until_the_earliest_deadline);
    tcase_add_loop_test(tests, waits_also_where_the_limit_was_lowered, 0, 2);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
