/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics_file.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run_suite.h"

/* Each test is a process of its own. */
static char folder[] = "/tmp/check_metrics_file.XXXXXX";
static char path[64], temporary[64];

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/a.prom", folder);
    snprintf(temporary, sizeof(temporary), "%s/a.prom.tmp", folder);
    umask(077);
}

static void teardown(void)
{
    unlink(path);
    unlink(temporary);
    rmdir(folder);
}

static const char *content(void)
{
    static char text[64];
    int fd = open(path, O_RDONLY);
    ssize_t octets = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

START_TEST(is_written_and_replaced)
{
    struct stat status;
    ck_assert_int_eq(metrics_file_write(path, "first\n", 6), 0);
    ck_assert_str_eq(content(), "first\n");
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0644);

    int reader = open(path, O_RDONLY);
    ck_assert_int_eq(metrics_file_write(path, "2\n", 2), 0);
    ck_assert_str_eq(content(), "2\n");
    char text[16] = "";
    ck_assert_int_eq(read(reader, text, sizeof(text)), 6); /* who reads the one before has it whole */
    ck_assert_int_eq(access(temporary, F_OK), -1);
}
END_TEST

START_TEST(the_one_before_stays_when_the_next_fails)
{
    const struct rlimit limit = {4, 4};
    ck_assert_int_eq(metrics_file_write(path, "ok\n", 3), 0);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(metrics_file_write(path, "too long\n", 9), -EFBIG);
    ck_assert_str_eq(content(), "ok\n");
    ck_assert_int_eq(access(temporary, F_OK), -1);
}
END_TEST

START_TEST(a_check_leaves_nothing)
{
    ck_assert_int_eq(metrics_file_check(path), 0);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(access(temporary, F_OK), -1);
    ck_assert_int_eq(metrics_file_check("/tmp/check_metrics_file.none/a.prom"), -ENOENT);
}
END_TEST

/* What somebody has put into the place of the temporary file is not written through, nor waited for. */
START_TEST(only_a_file_is_written)
{
    ck_assert_int_eq(symlink("/tmp/check_metrics_file.other", temporary), 0);
    ck_assert_int_eq(metrics_file_write(path, "1\n", 2), -ELOOP);
    ck_assert_int_eq(access("/tmp/check_metrics_file.other", F_OK), -1);
    ck_assert_int_eq(unlink(temporary), 0);
    ck_assert_int_eq(mkfifo(temporary, 0600), 0);
    ck_assert_int_eq(metrics_file_write(path, "1\n", 2), -ENXIO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics_file");
    TCase *tests = tcase_create("metrics_file");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, is_written_and_replaced);
    tcase_add_test(tests, the_one_before_stays_when_the_next_fails);
    tcase_add_test(tests, a_check_leaves_nothing);
    tcase_add_test(tests, only_a_file_is_written);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
