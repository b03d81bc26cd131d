/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/signals.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"

#include "run_suite.h"

static const uint64_t start_ns = 1000 * NS_PER_S;

static struct signals opened(void)
{
    struct signals signals;
    ck_assert_int_eq(signals_open(&signals), 0);
    ck_assert_int_ge(signals.fd, 0);
    ck_assert(!signals_take(&signals, start_ns));
    ck_assert_uint_eq(signals.end_ns, 0);
    return signals;
}

START_TEST(each_that_ends)
{
    static const int ends[] = {SIGTERM, SIGINT};
    struct signals signals = opened();
    raise(ends[_i]);
    ck_assert_int_eq(poll(&(struct pollfd){.fd = signals.fd, .events = POLLIN}, 1, 0), 1);
    ck_assert(!signals_take(&signals, start_ns));
    ck_assert_uint_eq(signals.end_ns, start_ns);
    ck_assert(!signals.hurried);
    signals_close(&signals);
}
END_TEST

START_TEST(totals_are_asked_for)
{
    struct signals signals = opened();
    raise(SIGUSR1);
    ck_assert(signals_take(&signals, start_ns));
    ck_assert(!signals_take(&signals, start_ns));
    ck_assert_uint_eq(signals.end_ns, 0);
    raise(SIGUSR1);
    raise(SIGTERM);
    ck_assert(signals_take(&signals, start_ns + 1));
    ck_assert_uint_eq(signals.end_ns, start_ns + 1);
    raise(SIGPIPE);
    raise(SIGXFSZ);
    ck_assert(!signals_take(&signals, start_ns));
    signals_close(&signals);
}
END_TEST

/* A terminal's and a script's are one wish; a person's second one is another. */
START_TEST(a_second_later_is_another_wish)
{
    struct signals signals = opened();
    raise(SIGINT);
    raise(SIGTERM);
    signals_take(&signals, start_ns);
    raise(SIGTERM);
    signals_take(&signals, start_ns + NS_PER_S - 1);
    ck_assert(!signals.hurried);
    ck_assert_uint_eq(signals.end_ns, start_ns);
    raise(SIGINT);
    signals_take(&signals, start_ns + NS_PER_S);
    ck_assert(signals.hurried);
    signals_close(&signals);
}
END_TEST

/* In a session of our own: without a terminal, or with one that is there, then gone. */
static int become_leader(bool with_terminal)
{
    ck_assert_int_eq(setpgid(0, getpgid(getppid())), 0); /* a leader of a group cannot begin a session */
    ck_assert_int_gt(setsid(), 0);
    if (!with_terminal)
        return -1;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master) | unlockpt(master), 0);
    ck_assert_int_ge(open(ptsname(master), O_RDWR | O_CLOEXEC), 0);
    return master;
}

START_TEST(a_hangup_asks_for_a_reload)
{
    become_leader(_i == 1);
    struct signals signals = opened();
    ck_assert_int_eq(signals.has_terminal, _i == 1);
    ck_assert(!signals.reload);
    raise(SIGHUP);
    ck_assert(!signals_take(&signals, start_ns));
    ck_assert(signals.reload);
    ck_assert_uint_eq(signals.end_ns, 0);
    signals_close(&signals);
}
END_TEST

START_TEST(a_terminal_that_is_closed_ends)
{
    int master = become_leader(true);
    struct signals signals = opened();
    close(master); /* the kernel sends SIGHUP */
    ck_assert_int_eq(poll(&(struct pollfd){.fd = signals.fd, .events = POLLIN}, 1, -1), 1);
    signals_take(&signals, start_ns);
    ck_assert_uint_eq(signals.end_ns, start_ns);
    ck_assert(!signals.reload);
    signals_close(&signals);
}
END_TEST

/* As nohup(1) leaves it. */
START_TEST(what_was_ignored_stays_ignored)
{
    ck_assert(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    struct signals signals = opened();
    raise(SIGHUP);
    signals_take(&signals, start_ns);
    ck_assert_uint_eq(signals.end_ns, 0);
    ck_assert(!signals.reload);
    raise(SIGTERM);
    signals_take(&signals, start_ns);
    ck_assert_uint_eq(signals.end_ns, start_ns);
    signals_close(&signals);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signals");
    TCase *tests = tcase_create("signals");
    tcase_add_loop_test(tests, each_that_ends, 0, 2);
    tcase_add_test(tests, totals_are_asked_for);
    tcase_add_test(tests, a_second_later_is_another_wish);
    tcase_add_loop_test(tests, a_hangup_asks_for_a_reload, 0, 2);
    tcase_add_test(tests, a_terminal_that_is_closed_ends);
    tcase_add_test(tests, what_was_ignored_stays_ignored);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
