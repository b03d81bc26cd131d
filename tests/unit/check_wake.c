/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/wake.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

static bool is_awake(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

START_TEST(ends_a_wait_once)
{
    int fd = wake_open();
    ck_assert_int_ge(fd, 0);
    ck_assert(!is_awake(fd));
    ck_assert(!wake_take(fd));
    wake(fd);
    wake(fd);
    ck_assert(is_awake(fd));
    ck_assert(wake_take(fd));
    ck_assert(!is_awake(fd));
    ck_assert(!wake_take(fd));
    close(fd);
}
END_TEST

START_TEST(a_full_count_does_not_block)
{
    int fd = wake_open();
    ck_assert_int_eq(eventfd_write(fd, UINT64_MAX - 1), 0);
    wake(fd);
    ck_assert(wake_take(fd));
    close(fd);
}
END_TEST

START_TEST(says_when_there_are_no_descriptors)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_max = before.rlim_max}), 0);
    ck_assert_int_eq(wake_open(), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0); /* for LeakSanitizer at the end */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("wake");
    tcase_add_test(tcase, ends_a_wait_once);
    tcase_add_test(tcase, a_full_count_does_not_block);
    tcase_add_test(tcase, says_when_there_are_no_descriptors);
    Suite *suite = suite_create("wake");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
