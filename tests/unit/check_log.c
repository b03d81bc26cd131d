/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "run_suite.h"

/* Standard error is a pipe, whose other end is read here. Each test is a process of its own. */
static int reader;
static char text[1 << 17];

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(close(ends[1]), 0);
    reader = ends[0];
    ck_assert_int_eq(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
    unsetenv("JOURNAL_STREAM");
    errno = 0;
}

/* What was written since; nothing blocks, so it is all there. */
static const char *written(void)
{
    ssize_t octets = read(reader, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

START_TEST(lines_for_people)
{
    log_init(false);
    log_error("no %s", "way");
    ck_assert_str_eq(written(), "ctflow9: error: no way\n");
    log_info("%d flows", 5);
    ck_assert_str_eq(written(), "ctflow9: 5 flows\n");
    log_debug("not shown");
    ck_assert_str_eq(written(), "");
    log_init(true);
    log_debug("shown");
    ck_assert_str_eq(written(), "ctflow9: shown\n");
}
END_TEST

START_TEST(warnings_tell_errno_and_keep_it)
{
    log_init(false);
    errno = ENOENT;
    log_warn("/x");
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_str_eq(written(), "ctflow9: warning: /x: No such file or directory\n");
    errno = 0;
    log_warn("plain");
    ck_assert_int_eq(errno, 0);
    ck_assert_str_eq(written(), "ctflow9: warning: plain\n");
    errno = ENOENT;
    log_warnx("no %s", "reason");
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_str_eq(written(), "ctflow9: warning: no reason\n");
}
END_TEST

START_TEST(errors_are_remembered)
{
    log_init(false);
    log_warnx("a warning");
    log_info("a line");
    ck_assert(!log_error_was_called());
    log_cannot(-ENOENT, "open %s", "it");
    ck_assert(log_error_was_called());
    log_cannot(-EMFILE, "open it");
    log_cannot(-EAGAIN, "start it");
    ck_assert_str_eq(
        written(),
        "ctflow9: warning: a warning\nctflow9: a line\n"
        "ctflow9: error: cannot open it: No such file or directory\n"
        "ctflow9: error: cannot open it: Too many open files (raise the limit: ulimit -n, "
        "systemd's LimitNOFILE=)\n"
        "ctflow9: error: cannot start it: Resource temporarily unavailable (raise the limit on threads or "
        "memory: ulimit -u and -v, systemd's TasksMax=)\n");
}
END_TEST

static void set_journal(unsigned long long device, unsigned long long inode)
{
    char stream[64];
    snprintf(stream, sizeof(stream), "%llu:%llu", device, inode);
    setenv("JOURNAL_STREAM", stream, 1);
}

START_TEST(priorities_for_the_journal)
{
    struct stat status;
    ck_assert_int_eq(fstat(STDERR_FILENO, &status), 0);
    set_journal(status.st_dev, status.st_ino);
    log_init(true);
    log_error("e");
    log_warn("w");
    log_info("i");
    log_debug("d");
    ck_assert_str_eq(written(), "<3>e\n<4>w\n<6>i\n<7>d\n");

    /* Standard error may be another stream than the one that systemd made. */
    set_journal(status.st_dev, status.st_ino + 1);
    log_init(true);
    log_info("i");
    set_journal(status.st_dev + 1, status.st_ino);
    log_init(true);
    log_info("i");
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_init(true);
    log_info("i");
    ck_assert_str_eq(written(), "ctflow9: i\nctflow9: i\nctflow9: i\n");
}
END_TEST

/* A terminal keeps no times of its own. */
START_TEST(a_terminal_shows_the_time)
{
    const char pattern[] = "dddd-dd-dd dd:dd:dd.ddd ctflow9: warning: w\r\n";
    int leader = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    ck_assert(leader >= 0 && grantpt(leader) == 0 && unlockpt(leader) == 0);
    int terminal = open(ptsname(leader), O_RDWR | O_NOCTTY);
    ck_assert_int_eq(dup2(terminal, STDERR_FILENO), STDERR_FILENO);
    reader = leader;
    setenv("TZ", "UTC-14", 1);
    time_t before = time(NULL) + 14 * 3600;
    log_init(false);
    log_warnx("w");
    time_t after = time(NULL) + 14 * 3600;

    struct pollfd ready = {.fd = leader, .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, 10000), 1);
    ck_assert_uint_eq(strlen(written()), strlen(pattern));
    for (size_t i = 0; pattern[i] != '\0'; i++)
        ck_assert_msg(pattern[i] == 'd' && i < 23 ? text[i] >= '0' && text[i] <= '9' : text[i] == pattern[i],
                      "at %zu of %s", i, text);
    struct tm parts = {0};
    ck_assert_ptr_eq(strptime(text, "%Y-%m-%d %H:%M:%S", &parts), text + strlen("dddd-dd-dd dd:dd:dd"));
    ck_assert_int_ge(timegm(&parts), before);
    ck_assert_int_le(timegm(&parts), after);
}
END_TEST

START_TEST(long_lines_are_cut)
{
    static char longest[2 * LOG_LINE_MAX];
    memset(longest, 'x', sizeof(longest) - 1);
    log_init(false);
    for (size_t octets = LOG_LINE_MAX - 20; octets < LOG_LINE_MAX + 20; octets++) {
        log_info("%.*s", (int)octets, longest);
        size_t whole = octets + strlen("ctflow9: \n");
        ck_assert_uint_eq(strlen(written()), whole < LOG_LINE_MAX ? whole : LOG_LINE_MAX);
        ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
        errno = ENOENT;
        log_warn("%.*s", (int)octets, longest);
        ck_assert_uint_le(strlen(written()), LOG_LINE_MAX);
        ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    }
}
END_TEST

static unsigned count_lines(const char *lines)
{
    unsigned count = 0;
    for (; (lines = strchr(lines, '\n')); lines++)
        count++;
    return count;
}

/* Nobody reads: lines are lost, and later their number is told in their place. check ends a test that hangs.
 */
START_TEST(a_stuck_reader_stops_nothing)
{
    enum { LINES = 5000 };
    log_init(false);
    for (int i = 0; i < LINES; i++)
        log_info("a line that is long enough to fill the pipe soon, number %d", i);
    unsigned kept = count_lines(written());
    ck_assert_uint_gt(kept, 100);
    ck_assert_uint_lt(kept, LINES);

    char wanted[128];
    log_info("again");
    snprintf(wanted, sizeof(wanted),
             "ctflow9: warning: messages lost, because standard error took none: %u\nctflow9: again\n",
             LINES - kept);
    ck_assert_str_eq(written(), wanted);
    log_info("and again");
    ck_assert_str_eq(written(), "ctflow9: and again\n");
}
END_TEST

START_TEST(a_closed_reader_stops_nothing)
{
    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* as the loop does */
    log_init(false);
    close(reader);
    errno = EINTR;
    log_error("nobody hears this");
    ck_assert_int_eq(errno, EINTR);
    close(STDERR_FILENO);
    log_error("nor this");
    ck_assert_int_eq(errno, EINTR);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, lines_for_people);
    tcase_add_test(tests, warnings_tell_errno_and_keep_it);
    tcase_add_test(tests, errors_are_remembered);
    tcase_add_test(tests, priorities_for_the_journal);
    tcase_add_test(tests, a_terminal_shows_the_time);
    tcase_add_test(tests, long_lines_are_cut);
    tcase_add_test(tests, a_stuck_reader_stops_nothing);
    tcase_add_test(tests, a_closed_reader_stops_nothing);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
