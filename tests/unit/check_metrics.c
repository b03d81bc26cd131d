/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/service/metrics_server.h"
#include "run_suite.h"
#include "slow.h"

/* Each test is a process of its own. A thread is in the place of the workers, as long as is_answering. */
static struct metrics *metrics;
static struct metrics_config config;
static char folder[] = "/tmp/check_metrics.XXXXXX";
static char path[64];
static pthread_t workers;
static int end_fd;
static _Atomic bool is_answering = true;
static _Atomic uint64_t answers;

#define GET "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void *run_workers(void *context)
{
    (void)context;
    while (!wake_take(end_fd)) {
        struct poll_set set;
        poll_set_clear(&set);
        metrics_wants(metrics, &set);
        if (!is_answering)
            poll_set_clear(&set);
        poll_set_add(&set, end_fd, POLLIN);
        poll_set_before(&set, instant_read_clock(CLOCK_MONOTONIC) + 10 * NS_PER_MS);
        poll_set_wait(&set, instant_read_clock(CLOCK_MONOTONIC));
        struct metrics_sample *sample = is_answering ? metrics_wished(metrics) : NULL;
        if (!sample)
            continue;
        sample->total.events = ++answers;
        sample->collector_count = 0;
        metrics_filled(metrics);
    }
    return NULL;
}

/* A free port: that of a socket that is closed again. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t octets = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &octets), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void setup(void)
{
    log_init(false);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/a.prom", folder);
    config = (struct metrics_config){.address = {.host = "127.0.0.1", .port = free_port()}, .file = ""};
    end_fd = wake_open();
}

static void teardown(void)
{
    wake(end_fd);
    if (workers)
        pthread_join(workers, NULL);
    metrics_close(metrics);
    unlink(path);
    rmdir(folder);
}

static void start(void)
{
    ck_assert_int_eq(metrics_open(&metrics, &config), 0);
    ck_assert_int_eq(pthread_create(&workers, NULL, run_workers, NULL), 0);
    ck_assert_int_eq(metrics_start(metrics), 0);
    ck_assert_int_eq(metrics_start(metrics), 0); /* for the next namespace, again */
}

static int dial(void)
{
    const struct timeval limit = {.tv_sec = 60};
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons(config.address.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Everything until the other side closes. */
static const char *hear(int fd)
{
    static char text[1 << 16];
    size_t octets = 0;
    ssize_t more;
    while ((more = recv(fd, text + octets, sizeof(text) - 1 - octets, 0)) > 0)
        octets += (size_t)more;
    ck_assert_msg(more == 0 || errno == ECONNRESET, "it is not closed: %s", strerror(errno));
    text[octets] = '\0';
    close(fd);
    return text;
}

static const char *ask(const char *request)
{
    int fd = dial();
    ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    return hear(fd);
}

START_TEST(nobody_wants_any)
{
    struct poll_set set;
    config.address.port = 0;
    ck_assert_int_eq(metrics_open(&metrics, &config), 0);
    ck_assert_ptr_null(metrics);
    poll_set_clear(&set);
    metrics_wants(NULL, &set);
    ck_assert_uint_eq(set.count, 0);
    ck_assert_ptr_null(metrics_wished(NULL));
    ck_assert_int_eq(metrics_start(NULL), 0);
}
END_TEST

START_TEST(is_answered)
{
    start();
    const char *text = ask(GET);
    ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 200 OK\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "Content-Type: text/plain; version=0.0.4"));
    ck_assert_ptr_nonnull(strstr(text, "\nctflow9_events_total 1\n"));
}
END_TEST

/* However often it is asked. */
START_TEST(wishes_for_a_few_samples)
{
    uint64_t begin_ns = instant_read_clock(CLOCK_MONOTONIC);
    start();
    for (int i = 0; i < 200; i++)
        ck_assert_ptr_nonnull(strstr(ask(GET), " 200 OK"));
    uint64_t tenths = (instant_read_clock(CLOCK_MONOTONIC) - begin_ns) / (NS_PER_S / 10);
    ck_assert_uint_le(answers, tenths / 2 + 2);
}
END_TEST

static const struct {
    const char *request, *answer;
} others[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", " 404 "},
    {"GET /metrics/ HTTP/1.0\r\n\r\n", " 404 "},
    {"GET /metrics?a=b HTTP/1.0\r\n\r\n", " 200 "},
    {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", " 501 "},
    {"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", " 501 "},
    {"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n", ""},
    {"\r\n\r\n\r\n", ""},
    {"GET", ""},
    {"GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", ""},
    {GET GET GET GET, " 200 "},
};

/* And is well afterwards. */
START_TEST(asked_for_something_else)
{
    start();
    int fd = dial();
    const char *request = others[_i].request;
    ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    shutdown(fd, SHUT_WR);
    const char *text = hear(fd);
    ck_assert_msg(strstr(text, others[_i].answer), "%s", text);
    ck_assert_ptr_nonnull(strstr(ask(GET), " 200 OK"));
}
END_TEST

START_TEST(headers_without_end)
{
    static char line[4096];
    memset(line, 'a', sizeof(line));
    start();
    int fd = dial();
    send(fd, "GET /metrics HTTP/1.1\r\nX: ", 26, MSG_NOSIGNAL);
    for (int i = 0; i < 100 && send(fd, line, sizeof(line), MSG_NOSIGNAL) > 0; i++)
        ;
    ck_assert_ptr_null(strstr(hear(fd), " 200 "));
    ck_assert_ptr_nonnull(strstr(ask(GET), " 200 OK"));
}
END_TEST

/* The reading hangs: who asks is told so, what he sends meanwhile does no harm, and later all is well. */
START_TEST(no_sample_comes)
{
    is_answering = false;
    start();
    int fd = dial(), gone = dial();
    send(gone, GET, strlen(GET), MSG_NOSIGNAL);
    send(fd, GET, strlen(GET), MSG_NOSIGNAL);
    usleep(50000);
    send(fd, GET, strlen(GET), MSG_NOSIGNAL);
    close(gone);
    ck_assert_ptr_nonnull(strstr(hear(fd), " 503 "));
    is_answering = true;
    ck_assert_ptr_nonnull(strstr(ask(GET), " 200 OK"));
}
END_TEST

/* Those who ask nothing are in nobody's way: they have to go when others come, or when their time is over. */
START_TEST(idle_clients)
{
    enum { IDLE = 3 * METRICS_CLIENTS_MAX };
    int idle[IDLE];
    start();
    for (int i = 0; i < IDLE; i++)
        idle[i] = dial();
    ck_assert_ptr_nonnull(strstr(ask(GET), " 200 OK"));
    for (int i = 0; i < IDLE; i++)
        ck_assert_str_eq(hear(idle[i]), "");
    ck_assert_ptr_nonnull(strstr(ask(GET), " 200 OK"));
}
END_TEST

START_TEST(a_file)
{
    config.file = path;
    config.address.port = 0;
    start();
    for (int i = 0; i < 1000 * (int)slow_factor() && access(path, R_OK) != 0; i++)
        usleep(10000);
    ck_assert_int_eq(access(path, R_OK), 0);
    wake(end_fd);
    pthread_join(workers, NULL);
    workers = 0;
    metrics_close(metrics);
    metrics = NULL;
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(what_cannot_be)
{
    config.file = "/tmp/check_metrics.none/a.prom";
    config.address.port = 0;
    ck_assert_int_eq(metrics_open(&metrics, &config), 0);
    ck_assert_int_eq(metrics_start(metrics), -ENOENT);
    ck_assert(log_error_was_called());
    metrics_close(metrics);
    config.address.port = free_port();
    config.file = "";
    start();
    struct metrics *other;
    ck_assert_int_eq(metrics_open(&other, &config), -EADDRINUSE);
    ck_assert_ptr_null(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tests = tcase_create("metrics");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nobody_wants_any);
    tcase_add_test(tests, is_answered);
    tcase_add_test(tests, wishes_for_a_few_samples);
    tcase_add_loop_test(tests, asked_for_something_else, 0, sizeof(others) / sizeof(others[0]));
    tcase_add_test(tests, headers_without_end);
    tcase_add_test(tests, no_sample_comes);
    tcase_add_test(tests, idle_clients);
    tcase_add_test(tests, a_file);
    tcase_add_test(tests, what_cannot_be);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
