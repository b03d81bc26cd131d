/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/lines.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "run_suite.h"
#include "sample_flow.h"

#define MINUTE_NS (60 * NS_PER_S)

/* Standard error is a pipe, whose other end is read here. Each test is a process of its own. */
static int log_fd;
static struct stats stats;
static struct flow flow;

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    log_fd = ends[0];
    log_init(false);
    flow = sample_flow(IPPROTO_UDP, "192.0.2.1", 1000, "192.0.2.2", 53);
}

static const char *said(void)
{
    static char text[1 << 16];
    ssize_t octets = read(log_fd, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

static struct lines *open_lines(int fd, bool json)
{
    struct lines *lines = NULL;
    const struct lines_config config = {.fd = fd, .json = json, .stats = &stats};
    ck_assert_int_eq(lines_open(&lines, &config), 0);
    return lines;
}

static void add(struct lines *lines, unsigned count)
{
    while (count-- > 0)
        lines_add(lines, &flow);
}

static unsigned count_newlines(int fd)
{
    static char text[1 << 20];
    unsigned count = 0;
    for (ssize_t octets; (octets = read(fd, text, sizeof(text))) > 0;)
        for (ssize_t i = 0; i < octets; i++)
            count += text[i] == '\n';
    return count;
}

/* The pipe's reader takes some lines, half of one, and leaves: each flow is counted once. */
START_TEST(reader_leaves)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    struct lines *lines = open_lines(fds[1], _i == 1);
    add(lines, 1000);
    ck_assert_int_eq(lines_run(lines, 1), 0);
    char some[5000];
    ck_assert_int_eq(read(fds[0], some, sizeof(some)), sizeof(some));
    add(lines, 1000);
    ck_assert_int_eq(lines_run(lines, 2), 0);
    ck_assert(lines_are_held(lines));
    close(fds[0]);
    add(lines, 50000);
    ck_assert_int_eq(lines_run(lines, 3), -EPIPE);
    add(lines, 10);
    ck_assert_int_eq(lines_run(lines, 4), -EPIPE);
    lines_abandon(lines);
    ck_assert(!lines_are_held(lines));
    ck_assert_uint_gt(stats.lines, 50);
    ck_assert_uint_lt(stats.lines, 1000);
    ck_assert_uint_eq(stats.lines + stats.lines_lost, 52010);
    lines_close(lines);
    close(fds[1]);
}
END_TEST

/* What is written is in lines, what is held in none, what is left at the end in lines_lost, and told. */
START_TEST(end_with_a_stuck_reader)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    struct lines *lines = open_lines(fds[1], true);
    add(lines, 500);
    ck_assert_int_eq(lines_run(lines, 1), 0);
    ck_assert_uint_eq(stats.lines_lost, 0);
    lines_abandon(lines);
    ck_assert_uint_eq(stats.lines + stats.lines_lost, 500);
    ck_assert_uint_eq(count_newlines(fds[0]), stats.lines);
    ck_assert_ptr_nonnull(strstr(said(), "its reader is too slow"));
    lines_close(lines);
}
END_TEST

/* Lost lines are told at once, and then once a minute. */
START_TEST(losses_are_told)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    struct lines *lines = open_lines(fds[1], true);
    add(lines, 20000);
    ck_assert_int_eq(lines_run(lines, 1), 0);
    ck_assert_ptr_nonnull(strstr(said(), "warning: lines lost"));
    struct poll_set set;
    for (unsigned turn = 1; turn < 60; turn++) {
        add(lines, 1);
        ck_assert_int_eq(lines_run(lines, turn * NS_PER_S), 0);
        ck_assert_str_eq(said(), "");
    }
    poll_set_clear(&set);
    lines_wants(lines, &set);
    ck_assert_uint_eq(set.deadline_ns, 1 + MINUTE_NS);
    ck_assert_int_eq(lines_run(lines, 1 + MINUTE_NS), 0);
    ck_assert_ptr_nonnull(strstr(said(), "(its reader is too slow): 59\n"));
    lines_close(lines);
}
END_TEST

static int run_limited(struct lines *lines, uint64_t now_ns)
{
    /* Nothing of check's here: it writes to a file, too. */
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, RLIM_INFINITY});
    int error = lines_run(lines, now_ns);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    return error;
}

/* A full disk is told when that begins and when it ends, once a minute at most, and tried again every second.
 */
START_TEST(disk_full)
{
    int fd = memfd_create("check_lines", 0);
    ck_assert_int_ge(fd, 0);
    struct lines *lines = open_lines(fd, true);
    add(lines, 10);
    ck_assert_int_eq(run_limited(lines, 1), 0);
    ck_assert_str_eq(said(), "ctflow9: warning: standard output takes no lines, trying again every second: "
                             "File too large\n");
    ck_assert_int_eq(lines_run(lines, 2), 0);
    ck_assert_str_eq(said(), "");
    ck_assert(lines_are_held(lines));
    struct poll_set set;
    poll_set_clear(&set);
    lines_wants(lines, &set);
    ck_assert_uint_eq(set.deadline_ns, 1 + NS_PER_S);
    ck_assert_int_eq(lines_run(lines, 1 + NS_PER_S), 0);
    ck_assert_str_eq(said(), "ctflow9: standard output takes lines again\n");
    ck_assert(!lines_are_held(lines));
    for (unsigned turn = 2; turn < 59; turn++) {
        add(lines, 1);
        ck_assert_int_eq(run_limited(lines, turn * NS_PER_S), 0);
        ck_assert_int_eq(lines_run(lines, turn * NS_PER_S + NS_PER_S), 0);
        ck_assert_str_eq(said(), "");
    }
    ck_assert_uint_eq(stats.lines, 10 + 57);
    ck_assert_uint_eq(stats.lines_lost, 0);
    lines_close(lines);
    close(fd);
}
END_TEST

START_TEST(disk_stays_full)
{
    int fd = open("/dev/full", O_WRONLY);
    ck_assert_int_ge(fd, 0);
    struct lines *lines = open_lines(fd, true);
    add(lines, 20000);
    ck_assert_int_eq(lines_run(lines, 1), 0);
    const char *text = said();
    ck_assert_ptr_nonnull(
        strstr(text, "takes no lines, trying again every second: No space left on device\n"));
    ck_assert_ptr_nonnull(strstr(text, "did not take them in time (No space left on device): "));
    lines_abandon(lines);
    ck_assert_uint_eq(stats.lines, 0);
    ck_assert_uint_eq(stats.lines_lost, 20000);
    lines_close(lines);
    close(fd);
}
END_TEST

/* The heading on a terminal is no flow's line, and a terminal that is gone ends it. */
START_TEST(terminal_gone)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    ck_assert_int_ge(terminal, 0);
    ck_assert_int_eq(grantpt(terminal) | unlockpt(terminal), 0);
    int program = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    ck_assert_int_ge(program, 0);
    struct lines *lines = open_lines(program, false);
    if (_i == 1) {
        add(lines, 2);
        ck_assert_int_eq(lines_run(lines, 1), 0);
        ck_assert_uint_eq(stats.lines, 2);
    }
    close(terminal);
    add(lines, 3);
    ck_assert_int_eq(lines_run(lines, 2), -EIO);
    ck_assert_uint_eq(stats.lines, _i == 1 ? 2 : 0);
    ck_assert_uint_eq(stats.lines_lost, 3);
    lines_close(lines);
    close(program);
}
END_TEST

START_TEST(closed)
{
    struct lines *lines = NULL;
    ck_assert_int_eq(lines_open(&lines, &(struct lines_config){.fd = 12345, .stats = &stats}), -EBADF);
    ck_assert_ptr_nonnull(strstr(said(), "error: standard output is closed"));
    lines_close(NULL);
}
END_TEST

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    Suite *suite = suite_create("lines");
    TCase *tests = tcase_create("lines");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, reader_leaves, 0, 2);
    tcase_add_test(tests, end_with_a_stuck_reader);
    tcase_add_test(tests, losses_are_told);
    tcase_add_test(tests, disk_full);
    tcase_add_test(tests, disk_stays_full);
    tcase_add_loop_test(tests, terminal_gone, 0, 2);
    tcase_add_test(tests, closed);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
