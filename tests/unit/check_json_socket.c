/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/json_socket.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/output/json.h"
#include "run_suite.h"
#include "sample_flow.h"

enum { RING_LINES_MAX = (16 << 20) / 500 }; /* more than the ring holds */

/* Standard error is a pipe, whose other end is read here. Each test is a process of its own. */
static int log_fd;
static char path[] = "/tmp/check_json_socket.XXXXXX";
static struct json_socket *opened;
static struct stats stats;
static struct flow flow;
static uint64_t now_ns = 1;

static void setup(void)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    log_fd = ends[0];
    log_init(false);
    flow = sample_flow(IPPROTO_UDP, "192.0.2.1", 1000, "192.0.2.2", 53);
    int fd = mkstemp(path); /* a name of its own */
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(json_socket_open(&opened, path, &stats), 0);
}

static void teardown(void)
{
    json_socket_close(opened);
    ck_assert_int_eq(access(path, F_OK), -1);
}

static const char *said(void)
{
    static char text[1 << 16];
    ssize_t octets = read(log_fd, text, sizeof(text) - 1);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

static void run(void)
{
    json_socket_run(opened, now_ns);
}

static void wants(struct poll_set *set)
{
    poll_set_clear(set);
    json_socket_wants(opened, set);
}

/* Something that the socket waits for is there already. */
static bool is_awake(void)
{
    struct poll_set set;
    wants(&set);
    return set.deadline_ns <= now_ns || poll(set.fds, set.count, 0) > 0;
}

/* Flows are numbered, by their ids. */
static void add(unsigned count)
{
    for (; count > 0; count--) {
        json_socket_add(opened, &flow);
        flow.id++;
    }
}

struct reader {
    int fd;
    uint64_t lines, gaps; /* gaps: ids that did not come */
    int64_t last;         /* the last one that came; -1 = none */
    size_t octets;        /* of a line that is not whole yet */
    char line[JSON_LINE_MAX];
};

/* Without being let in yet. */
static struct reader *ring_at(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct reader *reader = calloc(1, sizeof(*reader));
    strcpy(address.sun_path, path);
    reader->last = -1;
    reader->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(connect(reader->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return reader;
}

static struct reader *come(void)
{
    struct reader *reader = ring_at();
    run();
    return reader;
}

static void leave(struct reader *reader)
{
    close(reader->fd);
    free(reader);
}

/* An assertion of check's costs a write; here there are many lines. */
static void take_line(struct reader *reader)
{
    reader->line[reader->octets] = '\0';
    const char *id = strstr(reader->line, ",\"id\":");
    int64_t number = id ? strtoll(id + 6, NULL, 10) : -1;
    if (memcmp(reader->line, "{\"start\":", 9) != 0 || reader->line[reader->octets - 1] != '}' ||
        number <= reader->last)
        ck_abort_msg("after %" PRId64 ": %s", reader->last, reader->line);
    reader->gaps += (uint64_t)(number - reader->last - 1);
    reader->last = number;
    reader->lines++;
    reader->octets = 0;
}

/* Takes up to limit octets of what is there; whether there was something. Every line is whole. */
static bool take(struct reader *reader, size_t limit)
{
    static char text[1 << 20];
    ssize_t octets = recv(reader->fd, text, limit < sizeof(text) ? limit : sizeof(text), 0);
    for (ssize_t i = 0; i < octets; i++) {
        if (text[i] == '\n')
            take_line(reader);
        else if (reader->octets < sizeof(reader->line) - 1)
            reader->line[reader->octets++] = text[i];
        else
            ck_abort_msg("a line that does not end");
    }
    return octets > 0;
}

/* Until nothing is left. */
static void take_all(struct reader *reader)
{
    do
        run();
    while (take(reader, SIZE_MAX));
    ck_assert(!json_socket_is_behind(opened));
    ck_assert_uint_eq(reader->octets, 0);
}

/* Each begins with the flow after it came, and leaves when it likes; the line is made for none or for all. */
START_TEST(readers_come_and_go)
{
    ck_assert(!is_awake());
    add(10);
    struct reader *first = ring_at();
    ck_assert(is_awake());
    run();
    ck_assert(!is_awake());
    add(10);
    struct reader *second = come();
    add(100);
    run();
    ck_assert(!is_awake());
    take_all(first);
    take_all(second);
    ck_assert_uint_eq(first->lines, 110);
    ck_assert_uint_eq(first->gaps, 10);
    ck_assert_uint_eq(second->lines, 100);
    ck_assert_uint_eq(second->gaps, 20);
    leave(first);
    ck_assert(is_awake());
    run();
    ck_assert(!is_awake());
    add(1);
    take_all(second);
    ck_assert_uint_eq(second->lines, 101);
    leave(second);
    run();
    add(5);
    struct reader *third = come();
    add(1);
    take_all(third);
    ck_assert_uint_eq(third->lines, 1);
    ck_assert_uint_eq(stats.readers, 3);
    ck_assert_uint_eq(stats.reader_lines, 110 + 101 + 1);
    ck_assert_uint_eq(stats.reader_lines_lost, 0);
    ck_assert_str_eq(said(), "");
    leave(third);
}
END_TEST

START_TEST(interfaces_have_names)
{
    struct interface_names *names = interface_names_allocate(1);
    struct reader *reader = come();
    names->each[0] = (struct interface_name){.number = 3, .name = "eth0"};
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    json_socket_name_interfaces(opened, names);
    add(1);
    take_all(reader);
    ck_assert_ptr_nonnull(strstr(reader->line, ",\"in_interface_name\":\"eth0\","));
    leave(reader);
    free(names);
}
END_TEST

/* One that does not read loses its own oldest lines; the others get all, and so does it once it reads again.
 */
START_TEST(a_slow_reader_loses_its_own_lines)
{
    struct reader *stuck = come(), *good = come();
    const unsigned count = 3 * RING_LINES_MAX;
    for (unsigned i = 0; i < count / 100; i++) {
        add(100);
        while (take(good, SIZE_MAX))
            ;
        now_ns += NS_PER_MS;
        run();
    }
    struct poll_set set;
    wants(&set);
    ck_assert_int_eq(poll(set.fds, set.count, 0), 0); /* the stuck one wakes nobody */
    ck_assert_uint_gt(set.deadline_ns, now_ns);
    ck_assert_uint_gt(stats.reader_lines_lost, RING_LINES_MAX);
    ck_assert_ptr_nonnull(strstr(said(), "too slow, for that reader alone: "));
    take_all(stuck);
    while (take(good, SIZE_MAX))
        ;
    const unsigned added = count / 100 * 100;
    ck_assert_uint_eq(good->lines, added);
    ck_assert_uint_eq(good->gaps, 0);
    ck_assert_uint_eq(stuck->gaps, stats.reader_lines_lost);
    ck_assert_uint_eq(stuck->lines, added - stats.reader_lines_lost);
    ck_assert_int_eq(stuck->last, added - 1); /* the newest are there */
    ck_assert_uint_eq(stats.reader_lines, good->lines + stuck->lines);
    add(100);
    take_all(stuck);
    ck_assert_uint_eq(stuck->lines + stuck->gaps, added + 100);
    leave(good);
    leave(stuck);
}
END_TEST

/* Lines are whole, however few octets are read at a time, and while others are being lost. */
START_TEST(a_reader_of_few_octets)
{
    struct reader *reader = come();
    add(RING_LINES_MAX);
    for (unsigned turn = 0; turn < 20000; turn++) {
        take(reader, 777);
        add(1);
        run();
    }
    ck_assert_uint_gt(stats.reader_lines_lost, 0);
    take_all(reader);
    ck_assert_uint_eq(reader->lines + reader->gaps, RING_LINES_MAX + 20000);
    ck_assert_uint_eq(reader->gaps, stats.reader_lines_lost);
    ck_assert_uint_eq(reader->lines, stats.reader_lines);
    leave(reader);
}
END_TEST

/* With all that it had to come: nobody wanted it. */
START_TEST(a_reader_leaves_amid)
{
    struct reader *leaving = come(), *good = come();
    add(1000);
    leave(leaving);
    for (unsigned i = 0; i < 100; i++) {
        add(10);
        run();
        while (take(good, SIZE_MAX))
            ;
    }
    take_all(good);
    ck_assert_uint_eq(good->lines, 2000);
    ck_assert_uint_eq(stats.reader_lines_lost, 0);
    ck_assert_str_eq(said(), "");
    leave(good);
}
END_TEST

/* As socat does, whose standard input has come to its end; and what readers send goes nowhere. */
START_TEST(a_reader_that_sends_or_closes_its_side)
{
    struct reader *closing = come(), *sending = come();
    ck_assert_int_eq(shutdown(closing->fd, SHUT_WR), 0);
    ck_assert_int_eq(send(sending->fd, "x", 1, MSG_NOSIGNAL), -1);
    ck_assert_int_eq(errno, EPIPE);
    ck_assert(!is_awake());
    add(3);
    take_all(closing);
    take_all(sending);
    ck_assert_uint_eq(closing->lines, 3);
    ck_assert_uint_eq(sending->lines, 3);
    leave(closing);
    leave(sending);
}
END_TEST

START_TEST(one_too_many_is_turned_away)
{
    struct reader *readers[JSON_SOCKET_READERS_MAX];
    char octet;
    for (unsigned i = 0; i < JSON_SOCKET_READERS_MAX; i++)
        readers[i] = come();
    struct reader *refused = come();
    ck_assert_int_eq(recv(refused->fd, &octet, 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(said(), "there are 64 readers"));
    ck_assert_uint_eq(stats.readers_refused, 1);
    leave(refused);
    leave(readers[7]);
    run();
    readers[7] = come();
    add(1);
    for (unsigned i = 0; i < JSON_SOCKET_READERS_MAX; i++) {
        take_all(readers[i]);
        ck_assert_uint_eq(readers[i]->lines, 1);
        leave(readers[i]);
    }
    run();
    ck_assert(!is_awake());
    ck_assert_uint_eq(stats.readers, JSON_SOCKET_READERS_MAX + 1);
}
END_TEST

/* Without a descriptor the one that waits does not keep us awake, and is let in later. */
START_TEST(no_descriptor_is_left)
{
    struct rlimit before;
    struct poll_set set;
    struct reader *reader = ring_at();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, before.rlim_max}), 0);
    run();
    ck_assert_ptr_nonnull(strstr(said(), "no reader is let in at "));
    wants(&set);
    ck_assert_uint_eq(set.count, 0);
    ck_assert_uint_eq(set.deadline_ns, now_ns + NS_PER_S);
    run();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    run();
    ck_assert_uint_eq(stats.readers, 0);
    now_ns += NS_PER_S;
    run();
    ck_assert_uint_eq(stats.readers, 1);
    wants(&set);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_str_eq(said(), "");
    add(1);
    take_all(reader);
    ck_assert_uint_eq(reader->lines, 1);
    leave(reader);
}
END_TEST

/* What a reader has not taken at the end is lost, and told. */
START_TEST(the_end)
{
    struct reader *stuck = come(), *good = come();
    add(1000);
    for (unsigned i = 0; i < 100; i++) {
        take(good, SIZE_MAX);
        run();
    }
    ck_assert(json_socket_is_behind(opened));
    json_socket_abandon(opened);
    ck_assert(!json_socket_is_behind(opened));
    ck_assert_ptr_nonnull(strstr(said(), "too slow, for that reader alone: "));
    ck_assert_uint_eq(good->lines, 1000);
    ck_assert_uint_gt(stats.reader_lines_lost, 0);
    ck_assert_uint_eq(stats.reader_lines + stats.reader_lines_lost, 2000);
    leave(good);
    leave(stuck);
}
END_TEST

START_TEST(what_cannot_be_is_said)
{
    struct json_socket *second;
    ck_assert_int_eq(json_socket_open(&second, path, &stats), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(said(), "another program listens at /tmp/check_json_socket."));
    ck_assert_int_eq(json_socket_open(&second, "/dev/null", &stats), -ENOTSOCK);
    ck_assert_ptr_nonnull(strstr(said(), "/dev/null is there already and is no socket"));
    ck_assert_int_eq(json_socket_open(&second, "/nowhere/socket", &stats), -ENOENT);
    ck_assert_ptr_nonnull(strstr(said(), "cannot listen at /nowhere/socket (--json-socket): No such file"));
    json_socket_close(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json_socket");
    TCase *tests = tcase_create("json_socket");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, readers_come_and_go);
    tcase_add_test(tests, interfaces_have_names);
    tcase_add_test(tests, a_slow_reader_loses_its_own_lines);
    tcase_add_test(tests, a_reader_of_few_octets);
    tcase_add_test(tests, a_reader_leaves_amid);
    tcase_add_test(tests, a_reader_that_sends_or_closes_its_side);
    tcase_add_test(tests, one_too_many_is_turned_away);
    tcase_add_test(tests, no_descriptor_is_left);
    tcase_add_test(tests, the_end);
    tcase_add_test(tests, what_cannot_be_is_said);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
