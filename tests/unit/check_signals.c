/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/signals.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

START_TEST(tells_what_was_asked_for)
{
    static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
    int fd = signals_open();
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(signals_take(fd), 0);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        raise(ends[i]);
        ck_assert_int_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0), 1);
        ck_assert_uint_eq(signals_take(fd), SIGNALS_END);
        ck_assert_uint_eq(signals_take(fd), 0);
    }
    raise(SIGUSR1);
    ck_assert_uint_eq(signals_take(fd), SIGNALS_TOTALS);
    raise(SIGUSR1);
    raise(SIGTERM);
    raise(SIGINT);
    ck_assert_uint_eq(signals_take(fd), SIGNALS_END | SIGNALS_TOTALS);
    raise(SIGPIPE);
    raise(SIGXFSZ);
    ck_assert_uint_eq(signals_take(fd), 0);
    close(fd);
}
END_TEST

/* As nohup(1) leaves it. */
START_TEST(what_was_ignored_stays_ignored)
{
    ck_assert(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    int fd = signals_open();
    ck_assert_int_ge(fd, 0);
    raise(SIGHUP);
    ck_assert_uint_eq(signals_take(fd), 0);
    raise(SIGTERM);
    ck_assert_uint_eq(signals_take(fd), SIGNALS_END);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signals");
    TCase *tests = tcase_create("signals");
    tcase_add_test(tests, tells_what_was_asked_for);
    tcase_add_test(tests, what_was_ignored_stays_ignored);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
