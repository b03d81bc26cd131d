// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/stream.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "run_suite.h"
#include "slow.h"

enum { BUFFER = 65536, LINE_MAX_OCTETS = 256, DEADLINE_MS = 10000 };

static struct stream *open_stream_of(int fd, size_t buffer_octets)
{
    struct stream *stream = NULL;
    ck_assert_int_eq(stream_open(&stream, fd, buffer_octets), 0);
    return stream;
}

static struct stream *open_stream(int fd)
{
    return open_stream_of(fd, BUFFER);
}

/* Line number `number`, of a length that varies with it. */
static size_t make_line(char *line, unsigned number)
{
    int length = sprintf(line, "line %u %.*s\n", number, (int)(number * 7 % 200),
                         "----------------------------------------------------------------------------------"
                         "----------------------------------------------------------------------------------"
                         "------------------------------------");
    return (size_t)length;
}

static bool add_line(struct stream *stream, unsigned number)
{
    char line[LINE_MAX_OCTETS];
    size_t octets = make_line(line, number);
    char *room = stream_reserve(stream, sizeof(line));
    if (room == NULL)
        return false;
    memcpy(room, line, octets);
    stream_commit(stream, octets);
    return true;
}

/* Adds and writes lines until one is refused; the number of those that were taken. */
static unsigned fill(struct stream *stream, unsigned from)
{
    unsigned number = from;
    while (add_line(stream, number)) {
        ck_assert_int_eq(stream_run(stream), 0);
        number++;
    }
    return number - from;
}

/* What the reader has seen: every line whole, in order, none twice; those refused leave gaps. */
struct reader {
    char text[1 << 20];
    size_t octets;
};

static void read_some(struct reader *reader, int fd, size_t limit)
{
    size_t room = sizeof(reader->text) - reader->octets;
    ssize_t octets = read(fd, reader->text + reader->octets, limit < room ? limit : room);
    if (octets > 0)
        reader->octets += (size_t)octets;
}

static unsigned check_lines(const struct reader *reader, unsigned first)
{
    unsigned lines = 0;
    char expected[LINE_MAX_OCTETS];
    const char *at = reader->text;
    const char *end = reader->text + reader->octets;
    while (at < end) {
        size_t octets = make_line(expected, first + lines);
        ck_assert_uint_le(octets, (size_t)(end - at));
        ck_assert_mem_eq(at, expected, octets);
        at += octets;
        lines++;
    }
    return lines;
}

/* Waits for what the stream waits for, and writes on, until it holds nothing. */
static void drain(struct stream *stream, struct reader *reader, int fd)
{
    for (int turn = 0; stream_held(stream) > 0; turn++) {
        ck_assert_int_lt(turn, 100000);
        read_some(reader, fd, 777); /* a slow reader */
        struct poll_set set;
        poll_set_clear(&set);
        stream_wants(stream, &set);
        ck_assert_int_ge(poll(set.fds, set.count, 0), 0);
        ck_assert_int_eq(stream_run(stream), 0);
    }
    size_t before;
    do {
        before = reader->octets;
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        if (poll(&pollfd, 1, 0) > 0)
            read_some(reader, fd, sizeof(reader->text));
    } while (reader->octets != before);
}

/* A full taker holds nothing up, loses only whole lines, and gets the rest, in order, once it reads again. */
static void check_stuck_then_slow(int write_fd, int read_fd, size_t buffer_octets)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    struct stream *stream = open_stream_of(write_fd, buffer_octets);
    ck_assert_int_eq(fcntl(write_fd, F_GETFL) & O_NONBLOCK, 0);
    unsigned taken = fill(stream, 0);
    ck_assert_uint_gt(taken, 20);
    ck_assert_uint_ge(stream_held(stream), buffer_octets / (2 * LINE_MAX_OCTETS));
    ck_assert_uint_le(stream_held(stream), taken);
    ck_assert(!add_line(stream, taken));

    struct poll_set set;
    poll_set_clear(&set);
    stream_wants(stream, &set);
    ck_assert_uint_eq(set.count, 1);
    ck_assert_int_eq(poll(set.fds, set.count, 0), 0);

    /* While it is read slowly, more lines come: the ring goes round many times. */
    unsigned next = taken;
    for (int turn = 0; turn < 1000; turn++) {
        read_some(reader, read_fd, 777);
        ck_assert_int_eq(stream_run(stream), 0);
        while (add_line(stream, next))
            next++;
        if (buffer_octets == BUFFER) /* room that was freed at the front is used while the end is full */
            ck_assert_uint_ge(stream_held(stream), BUFFER / (2 * LINE_MAX_OCTETS));
    }
    ck_assert_uint_gt(next, taken + 900);
    drain(stream, reader, read_fd);
    ck_assert_uint_eq(check_lines(reader, 0), next);

    poll_set_clear(&set);
    stream_wants(stream, &set);
    ck_assert_uint_eq(set.count, 0);
    stream_close(stream);
    free(reader);
}

START_TEST(pipe_stuck_then_slow)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    check_stuck_then_slow(fds[1], fds[0], BUFFER);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* Rings of every small size: each way of going round. */
START_TEST(small_ring)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    check_stuck_then_slow(fds[1], fds[0], LINE_MAX_OCTETS + 37 * (size_t)_i);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(socket_stuck_then_slow)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_stuck_then_slow(fds[1], fds[0], BUFFER);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(terminal_stuck_then_slow)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    ck_assert_int_ge(terminal, 0);
    ck_assert_int_eq(grantpt(terminal), 0);
    ck_assert_int_eq(unlockpt(terminal), 0);
    int program = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    ck_assert_int_ge(program, 0);
    struct termios mode;
    ck_assert_int_eq(tcgetattr(program, &mode), 0);
    cfmakeraw(&mode);
    ck_assert_int_eq(tcsetattr(program, TCSANOW, &mode), 0);
    check_stuck_then_slow(program, terminal, BUFFER);
    close(program);
    close(terminal);
}
END_TEST

/* Nothing is written into a line by another program that shares the pipe, even when the pipe is full. */
START_TEST(pipe_shared)
{
    static const char intruder[] = "another program's line\n";
    struct reader *reader = calloc(1, sizeof(*reader));
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    struct stream *stream = open_stream(fds[1]);
    unsigned lines = fill(stream, 0), intruders = 0;
    for (int turn = 0; stream_held(stream) > 0; turn++) {
        ck_assert_int_lt(turn, 100000);
        read_some(reader, fds[0], 5000);
        if (write(fds[1], intruder, strlen(intruder)) > 0)
            intruders++;
        ck_assert_int_eq(stream_run(stream), 0);
    }
    read_some(reader, fds[0], sizeof(reader->text));
    ck_assert_uint_gt(intruders, 0);

    unsigned seen_lines = 0, seen_intruders = 0;
    char expected[LINE_MAX_OCTETS];
    for (char *at = reader->text; at < reader->text + reader->octets;) {
        if (strncmp(at, intruder, strlen(intruder)) == 0) {
            seen_intruders++;
            at += strlen(intruder);
            continue;
        }
        size_t octets = make_line(expected, seen_lines++);
        ck_assert_mem_eq(at, expected, octets);
        at += octets;
    }
    ck_assert_uint_eq(seen_lines, lines);
    ck_assert_uint_eq(seen_intruders, intruders);
    stream_close(stream);
    close(fds[0]);
    close(fds[1]);
    free(reader);
}
END_TEST

/* A reader that is gone is reported; later lines are refused and nothing is waited for. */
static void check_closed(int write_fd, int read_fd, int expected)
{
    struct stream *stream = open_stream(write_fd);
    ck_assert(add_line(stream, 0));
    ck_assert_int_eq(stream_run(stream), 0);
    ck_assert_uint_eq(stream_take_written(stream), 1);
    close(read_fd);
    ck_assert(add_line(stream, 1));
    ck_assert_int_eq(stream_run(stream), expected);
    ck_assert(stream_is_broken(stream));
    ck_assert_int_eq(stream_run(stream), expected);
    ck_assert(!add_line(stream, 2));
    ck_assert_uint_eq(stream_take_written(stream), 0);
    ck_assert_uint_eq(stream_drop(stream), 1);
    ck_assert_uint_eq(stream_held(stream), 0);
    struct poll_set set;
    poll_set_clear(&set);
    stream_wants(stream, &set);
    ck_assert_uint_eq(set.count, 0);
    stream_close(stream);
    close(write_fd);
}

START_TEST(pipe_closed)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    check_closed(fds[1], fds[0], -EPIPE);
}
END_TEST

START_TEST(socket_closed)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_closed(fds[1], fds[0], -EPIPE);
}
END_TEST

START_TEST(pipe_closed_before_open)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    close(fds[0]);
    struct stream *stream = open_stream(fds[1]);
    ck_assert(add_line(stream, 0));
    ck_assert_int_eq(stream_run(stream), -EPIPE);
    stream_close(stream);
    close(fds[1]);
}
END_TEST

/* Another user's pipe cannot be opened again: its own flag is set, and given back at the end. */
START_TEST(pipe_of_another_user)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(seteuid(65534), 0);
    struct stream *stream = open_stream(fds[1]);
    ck_assert_int_eq(seteuid(0), 0);
    prctl(PR_SET_DUMPABLE, 1); /* changing users took it away, and LeakSanitizer wants it */
    ck_assert_int_ne(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_uint_gt(fill(stream, 0), 50);
    stream_close(stream);
    ck_assert_int_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* A reader that waits for nothing but us: one that closes wakes the wait. */
START_TEST(pipe_closed_while_full)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    struct stream *stream = open_stream(fds[1]);
    fill(stream, 0);
    close(fds[0]);
    struct poll_set set;
    poll_set_clear(&set);
    stream_wants(stream, &set);
    ck_assert_int_eq(poll(set.fds, set.count, DEADLINE_MS * (int)slow_factor()), 1);
    ck_assert_int_eq(stream_run(stream), -EPIPE);
    stream_close(stream);
    close(fds[1]);
}
END_TEST

/* A file keeps its place: it is written where the shell left off, and appended to when the shell said so. */
START_TEST(file)
{
    char path[] = "/tmp/check_stream_XXXXXX";
    struct reader *reader = calloc(1, sizeof(*reader));
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert_int_eq(write(fd, "heading\n", 8), 8);
    struct stream *stream = open_stream(fd);
    for (unsigned number = 0; number < 1000; number++) {
        ck_assert(add_line(stream, number));
        ck_assert_int_eq(stream_run(stream), 0);
        ck_assert_uint_eq(stream_held(stream), 0);
    }
    stream_close(stream);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    char heading[8];
    ck_assert_int_eq(read(fd, heading, 8), 8);
    ck_assert_mem_eq(heading, "heading\n", 8);
    read_some(reader, fd, sizeof(reader->text));
    ck_assert_uint_eq(check_lines(reader, 0), 1000);
    close(fd);
    free(reader);
}
END_TEST

/* A full disk is not the end: lines wait, then are refused, and poll() is not asked, which would not wait. */
START_TEST(disk_full)
{
    int fd = open("/dev/full", O_WRONLY);
    ck_assert_int_ge(fd, 0);
    struct stream *stream = open_stream(fd);
    unsigned taken = 0;
    while (add_line(stream, taken)) {
        ck_assert_int_eq(stream_run(stream), -ENOSPC);
        taken++;
    }
    ck_assert(!stream_is_broken(stream));
    ck_assert_uint_eq(stream_held(stream), taken);
    struct poll_set set;
    poll_set_clear(&set);
    stream_wants(stream, &set);
    ck_assert_uint_eq(set.count, 0);
    stream_close(stream);
    close(fd);
}
END_TEST

/* The limit on a file's size: a line is written in part, and completed once the limit is raised. */
START_TEST(file_too_large)
{
    char path[] = "/tmp/check_stream_XXXXXX";
    struct reader *reader = calloc(1, sizeof(*reader));
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR); /* as the program does */
    struct stream *stream = open_stream(fd);
    size_t written = 0;
    for (unsigned number = 0; number < 100; number++)
        ck_assert(add_line(stream, number));
    /* Nothing of check's here: it writes to a file, too. */
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, RLIM_INFINITY});
    int error = stream_run(stream);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    ck_assert_int_eq(error, -EFBIG);
    ck_assert_int_eq(stream_error(stream), -EFBIG);
    ck_assert(!stream_is_broken(stream));
    written += stream_take_written(stream);
    ck_assert_uint_eq(stream_held(stream) + written, 100);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 1000);
    ck_assert_int_eq(stream_run(stream), 0);
    written += stream_take_written(stream);
    ck_assert_uint_eq(written, 100);
    stream_close(stream);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    read_some(reader, fd, sizeof(reader->text));
    ck_assert_uint_eq(check_lines(reader, 0), 100);
    close(fd);
    free(reader);
}
END_TEST

/* The lower half of the first argument. */
enum {
    FD_WORD = offsetof(struct seccomp_data, args) + (__BYTE_ORDER == __BIG_ENDIAN ? sizeof(uint32_t) : 0)
};

/* Every write of this process to fd fails with that error. */
static void fail_writes(int fd, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FD_WORD),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)fd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const struct {
    int error;
    bool breaks;
} failures[] = {
    {ENOSPC, false}, {EDQUOT, false}, {EFBIG, false}, {ENOMEM, false}, {ENOBUFS, false},
    {EIO, true},     {EROFS, true},   {EPIPE, true},  {ESTALE, true},  {EBADF, true},
};

/* A file, because it is not opened once more: its number is known. */
START_TEST(failed_write)
{
    int fd = memfd_create("check_stream", 0);
    ck_assert_int_ge(fd, 0);
    struct stream *stream = open_stream(fd);
    ck_assert(add_line(stream, 0));
    fail_writes(fd, failures[_i].error);
    ck_assert_int_eq(stream_run(stream), -failures[_i].error);
    ck_assert_int_eq(stream_is_broken(stream), failures[_i].breaks);
    ck_assert_int_eq(add_line(stream, 1), !failures[_i].breaks);
    ck_assert_int_eq(stream_run(stream), -failures[_i].error);
    ck_assert_uint_eq(stream_drop(stream), failures[_i].breaks ? 1 : 2);
    stream_close(stream);
    close(fd);
}
END_TEST

START_TEST(not_open)
{
    struct stream *stream = NULL;
    ck_assert_int_eq(stream_open(&stream, 12345, BUFFER), -EBADF);
    stream_close(NULL);
}
END_TEST

/* What is open for reading only stays so, although it could be opened once more for writing. */
START_TEST(not_for_writing)
{
    struct stream *stream = NULL;
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(stream_open(&stream, fds[0], BUFFER), -EBADF);
    int directory = open("/", O_PATH);
    ck_assert_int_ge(directory, 0);
    ck_assert_int_eq(stream_open(&stream, directory, BUFFER), -EBADF);
    close(directory);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    TCase *tests = tcase_create("stream");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, pipe_stuck_then_slow);
    tcase_add_loop_test(tests, small_ring, 0, 50);
    tcase_add_test(tests, socket_stuck_then_slow);
    tcase_add_test(tests, terminal_stuck_then_slow);
    tcase_add_test(tests, pipe_shared);
    tcase_add_test(tests, pipe_closed);
    tcase_add_test(tests, socket_closed);
    tcase_add_test(tests, pipe_closed_before_open);
    tcase_add_test(tests, pipe_closed_while_full);
    if (geteuid() == 0)
        tcase_add_test(tests, pipe_of_another_user);
    tcase_add_test(tests, file);
    tcase_add_test(tests, disk_full);
    tcase_add_test(tests, file_too_large);
    tcase_add_loop_test(tests, failed_write, 0, sizeof(failures) / sizeof(failures[0]));
    tcase_add_test(tests, not_open);
    tcase_add_test(tests, not_for_writing);

    Suite *suite = suite_create("stream");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
