/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/service/metrics_file.h"
#include "ctflow9/service/metrics_server.h"
#include "ctflow9/service/metrics_write.h"

#define FILE_INTERVAL_NS (15 * NS_PER_S)
#define FRESH_NS         (NS_PER_S / 5) /* a text this young need not be made anew */

enum { NICENESS = 10 };

/* Whose the sample is: the thread's, or when one is wished for, the exporter's. */
enum state { MINE, WISHED, FILLED };

enum descriptor { WISH, FILLED_IN, END, TICK, DESCRIPTORS };

struct metrics {
    const char *file;
    struct event_base *base;
    struct event *events[DESCRIPTORS];
    struct metrics_server *server; /* NULL = none */
    pthread_t thread;
    bool has_thread;
    int fd[DESCRIPTORS];
    _Atomic int state; /* enum state */
    struct metrics_sample sample;
    char *text; /* the last one, of that sample */
    size_t text_octets;
    uint64_t text_ns;      /* monotonic; when it was made, 0 = never */
    uint64_t file_next_ns; /* monotonic */
    bool file_is_due;
    bool file_was_written;
    struct tell_once file_trouble;
};

/* ---- between the thread and the exporter ---- */

void metrics_wants(const struct metrics *metrics, struct poll_set *set)
{
    if (metrics)
        poll_set_add(set, metrics->fd[WISH], POLLIN);
}

struct metrics_sample *metrics_wished(struct metrics *metrics)
{
    /* Pairs with the release in wish(): the thread has done with the sample. */
    if (!metrics || atomic_load_explicit(&metrics->state, memory_order_acquire) != WISHED)
        return NULL;
    return &metrics->sample;
}

void metrics_filled(struct metrics *metrics)
{
    wake_take(metrics->fd[WISH]);
    /* Pairs with the acquire in take_sample(). */
    atomic_store_explicit(&metrics->state, FILLED, memory_order_release);
    wake(metrics->fd[FILLED_IN]);
}

/* Once, until it has come. */
static void wish(struct metrics *metrics)
{
    if (atomic_load_explicit(&metrics->state, memory_order_relaxed) != MINE)
        return;
    /* Pairs with the acquire in metrics_wished(). */
    atomic_store_explicit(&metrics->state, WISHED, memory_order_release);
    wake(metrics->fd[WISH]);
}

void metrics_log(const struct metrics_sample *sample)
{
    json_t *object = metrics_json(sample);
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (text)
        log_long("metrics", text);
    free(text);
    json_decref(object);
}

/* ---- the thread ---- */

static void write_text(struct metrics *metrics)
{
    free(metrics->text);
    metrics->text = NULL;
    metrics->text_ns = 0;
    FILE *out = open_memstream(&metrics->text, &metrics->text_octets);
    if (!out)
        return;
    metrics_write_text(&metrics->sample, out);
    if (fclose(out) == 0)
        metrics->text_ns = instant_read_clock(CLOCK_MONOTONIC);
}

static void write_file(struct metrics *metrics)
{
    int error = metrics_file_write(metrics->file, metrics->text, metrics->text_octets);
    metrics->file_is_due = false;
    if (!error) {
        metrics->file_was_written = true;
        return;
    }
    tell_once_count(&metrics->file_trouble, 1);
    uint64_t count = tell_once_due(&metrics->file_trouble, metrics->text_ns);
    if (count > 0)
        log_warnx("the metrics were not written into %s (%" PRIu64 " times): %s", metrics->file, count,
                  strerror(-error));
}

static void hand_out(struct metrics *metrics)
{
    if (metrics->server)
        metrics_server_answer(metrics->server, metrics->text, metrics->text_octets);
    if (metrics->file_is_due)
        write_file(metrics);
}

/* An event_callback_fn, as those that follow. */
static void take_sample(evutil_socket_t fd, short events, void *context)
{
    struct metrics *metrics = context;
    (void)events;
    wake_take(fd);
    /* Pairs with the release in metrics_filled(). */
    if (atomic_load_explicit(&metrics->state, memory_order_acquire) != FILLED)
        return;
    wake_take(metrics->fd[WISH]); /* it may have been seen before we woke for it: nobody else takes this */
    write_text(metrics);
    atomic_store_explicit(&metrics->state, MINE, memory_order_relaxed);
    if (metrics->text_ns != 0)
        hand_out(metrics);
}

/* A metrics_server_ask. */
static void asked(void *context)
{
    struct metrics *metrics = context;
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    if (metrics->text_ns != 0 && now_ns < metrics->text_ns + FRESH_NS)
        hand_out(metrics);
    else
        wish(metrics);
}

static void tick(evutil_socket_t fd, short events, void *context)
{
    struct metrics *metrics = context;
    uint64_t times, now_ns = instant_read_clock(CLOCK_MONOTONIC);
    (void)events;
    if (read(fd, &times, sizeof(times)) != (ssize_t)sizeof(times))
        return;
    if (metrics->server)
        metrics_server_tick(metrics->server, now_ns);
    if (metrics->file[0] == '\0' || now_ns < metrics->file_next_ns)
        return;
    metrics->file_next_ns = now_ns + FILE_INTERVAL_NS;
    metrics->file_is_due = true;
    wish(metrics);
}

static void end(evutil_socket_t fd, short events, void *context)
{
    struct metrics *metrics = context;
    (void)fd, (void)events;
    event_base_loopbreak(metrics->base);
}

static void *run(void *context)
{
    struct metrics *metrics = context;
    setpriority(PRIO_PROCESS, 0, NICENESS); /* for this thread only */
    event_base_dispatch(metrics->base);
    return NULL;
}

/* ---- opening ---- */

/* An event_log_cb: libevent writes nothing by itself. */
static void log_libevent(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN)
        log_debug("metrics: %s", text);
}

/* A second is long enough for what is done by the clock: libevent's own timers are not used, for where long
 * has 32 bits its struct timeval need not be ours. */
static int open_ticker(void)
{
    const struct itimerspec second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_nsec = 1}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (timerfd_settime(fd, 0, &second, NULL) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

static int open_descriptors(struct metrics *metrics)
{
    int error = 0;
    for (int i = 0; i < DESCRIPTORS && !error; i++) {
        metrics->fd[i] = i == TICK ? open_ticker() : wake_open();
        error = metrics->fd[i] < 0 ? metrics->fd[i] : 0;
    }
    return error;
}

static int add_events(struct metrics *metrics)
{
    static const event_callback_fn callbacks[DESCRIPTORS] = {
        [FILLED_IN] = take_sample, [END] = end, [TICK] = tick};
    event_set_log_callback(log_libevent);
    metrics->base = event_base_new();
    if (!metrics->base)
        return -ENOMEM;
    for (int i = 0; i < DESCRIPTORS; i++) {
        if (!callbacks[i])
            continue;
        metrics->events[i] =
            event_new(metrics->base, metrics->fd[i], EV_READ | EV_PERSIST, callbacks[i], metrics);
        if (!metrics->events[i] || event_add(metrics->events[i], NULL) != 0)
            return -ENOMEM;
    }
    return 0;
}

int metrics_open(struct metrics **metrics, const struct metrics_config *config)
{
    *metrics = NULL;
    if (config->address.port == 0 && config->file[0] == '\0')
        return 0;
    struct metrics *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->file = config->file;
    for (int i = 0; i < DESCRIPTORS; i++)
        opened->fd[i] = -1;
    int error = open_descriptors(opened);
    if (!error)
        error = add_events(opened);
    if (!error && config->address.port != 0)
        error = metrics_server_open(&opened->server, &config->address, opened->base, asked, opened);
    if (error) {
        metrics_close(opened);
        return error;
    }
    *metrics = opened;
    return 0;
}

/* As the user that writes it from then on. */
static int check_file(const char *path)
{
    int error = path[0] != '\0' ? metrics_file_check(path) : 0;
    if (error == -EACCES || error == -EPERM)
        log_error(
            "cannot write the metrics into %s (--metrics-file): %s for user %u, who has to be able to make "
            "files in that folder; started as root, ctflow9 goes on as --user, which may be its owner",
            path, strerror(-error), geteuid());
    else if (error)
        log_cannot(error, "write the metrics into %s (--metrics-file)", path);
    return error;
}

int metrics_start(struct metrics *metrics)
{
    if (!metrics || metrics->has_thread)
        return 0;
    int error = check_file(metrics->file);
    if (error)
        return error;
    error = -pthread_create(&metrics->thread, NULL, run, metrics);
    metrics->has_thread = !error;
    if (error)
        log_cannot(error, "start the thread for metrics");
    else
        pthread_setname_np(metrics->thread, "metrics");
    return error;
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics)
        return;
    if (metrics->has_thread) {
        wake(metrics->fd[END]);
        pthread_join(metrics->thread, NULL);
    }
    metrics_server_close(metrics->server);
    for (int i = 0; i < DESCRIPTORS; i++) {
        if (metrics->events[i])
            event_free(metrics->events[i]);
        if (metrics->fd[i] >= 0)
            close(metrics->fd[i]);
    }
    if (metrics->base)
        event_base_free(metrics->base);
    if (metrics->file_was_written)
        unlink(metrics->file);
    free(metrics->text);
    free(metrics);
}
