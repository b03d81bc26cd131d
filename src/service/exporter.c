/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/exporter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/output/feeds.h"
#include "ctflow9/output/json_socket.h"
#include "ctflow9/output/lines.h"

#define FINISH_PATIENCE_NS (2 * NS_PER_S)
#define TAKE_AGAIN_NS      NS_PER_MS

struct exporter {
    struct stats *stats;
    struct feeds *feeds;
    _Atomic(struct exporter_change *) offered; /* by any thread, for the owner to take; NULL = none */
    struct lines *lines;                       /* NULL when nothing is to be printed */
    bool lines_gone;                           /* nobody takes them any more, which was told */
    struct json_socket *json_socket;           /* NULL when there is to be none */
    struct interface_names *names;             /* NULL when none are known */
    struct name_numbers *counters;             /* NULL when there are none */
    struct instant now;
};

struct exporter_change {
    struct feeds_change *feeds;
    int wake_fd;
    _Atomic bool is_taken;
};

static struct feeds_config config_of_feeds(const struct exporter *exporter,
                                           const struct exporter_config *config)
{
    const struct packet_config packet = {
        .source_id = config->source_id,
        .max_datagram = config->max_datagram,
        .max_delay_ns = config->max_delay_ns,
        .fields = config->fields,
        .aggregate = config->aggregate,
        .aggregate_interval_s = config->aggregate_interval_s,
        .aggregate_capacity = config->aggregate_capacity,
        .active_timeout_s =
            (uint16_t)(config->active_timeout_s < UINT16_MAX ? config->active_timeout_s : UINT16_MAX),
        .idle_timeout_s =
            (uint16_t)(config->idle_timeout_s < UINT16_MAX ? config->idle_timeout_s : UINT16_MAX),
        .has_packets = config->idle_timeout_s != 0,
        .counters = exporter->counters,
        .stats = exporter->stats};
    return (struct feeds_config){.peers = config->collectors,
                                 .groups = config->collector_groups,
                                 .count = config->collector_count,
                                 .balance = config->balance,
                                 .each = config->each,
                                 .packet = packet};
}

/* There are other outputs than lines. */
static bool has_others(const struct exporter *exporter)
{
    return feeds_count(exporter->feeds) > 0 || exporter->json_socket;
}

int exporter_open(struct exporter **exporter, const struct exporter_config *config, struct stats *stats,
                  struct instant now)
{
    struct exporter *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->stats = stats;
    opened->now = now;

    int error = config->has_counters ? name_numbers_open(&opened->counters) : 0;
    const struct feeds_config feeds = config_of_feeds(opened, config);
    if (!error)
        error = feeds_open(&opened->feeds, &feeds, now);
    if (!error && config->json_socket)
        error = json_socket_open(&opened->json_socket, config->json_socket, stats);
    if (!error && (config->print || config->json || !has_others(opened)))
        error = lines_open(
            &opened->lines,
            &(struct lines_config){.fd = STDOUT_FILENO, .json = config->json, .stats = opened->stats});
    if (error) {
        exporter_close(opened);
        return error;
    }
    *exporter = opened;
    return 0;
}

void exporter_close(struct exporter *exporter)
{
    if (!exporter)
        return;
    lines_close(exporter->lines);
    json_socket_close(exporter->json_socket);
    feeds_close(exporter->feeds);
    free(exporter->names);
    name_numbers_close(exporter->counters);
    free(exporter);
}

void exporter_name_interfaces(struct exporter *exporter, struct interface_names *names)
{
    feeds_name_interfaces(exporter->feeds, names);
    if (exporter->lines)
        lines_name_interfaces(exporter->lines, names);
    if (exporter->json_socket)
        json_socket_name_interfaces(exporter->json_socket, names);
    free(exporter->names);
    exporter->names = names;
}

void exporter_begin(struct exporter *exporter, struct instant now)
{
    exporter->now = now;
    feeds_begin(exporter->feeds, now);
}

/* To every output. */
static void add(struct exporter *exporter, const struct flow *flow)
{
    feeds_add(exporter->feeds, flow);
    if (exporter->lines)
        lines_add(exporter->lines, flow);
    if (exporter->json_socket)
        json_socket_add(exporter->json_socket, flow);
}

static void add_counter(struct exporter *exporter, const struct flow *flow)
{
    struct flow numbered = *flow;
    numbered.id = name_numbers_of(exporter->counters, flow->counter.identity, flow->counter.name);
    stats_count(&exporter->stats->named_counters, 1);
    add(exporter, &numbered);
}

void exporter_add(void *context, const struct flow *flow)
{
    struct exporter *exporter = context;
    if (flow->kind == FLOW_COUNTER) {
        add_counter(exporter, flow);
        return;
    }
    unsigned reason = flow->end_reason < STATS_END_REASONS ? flow->end_reason : FLOW_END_UNKNOWN;
    stats_count(&exporter->stats->flows, 1);
    stats_count(&exporter->stats->flows_by[stats_protocol(flow->protocol)][reason], 1);
    if (!flow_has(flow, FLOW_HAS_COUNTERS))
        stats_count(&exporter->stats->flows_no_counters, 1);
    add(exporter, flow);
}

/* The others go on without lines; without others there is nobody left. */
static void tell_lines_gone(const struct exporter *exporter, int error)
{
    const char *why = error == -EPIPE ? "its reader is gone" : strerror(-error);
    if (has_others(exporter))
        log_warnx("standard output takes no more lines (%s), going on without", why);
    else
        log_error("standard output takes no more lines (%s), and there is no other output: ending", why);
}

static int run_lines(struct exporter *exporter, uint64_t now_ns)
{
    int error = lines_run(exporter->lines, now_ns);
    if (error && !exporter->lines_gone)
        tell_lines_gone(exporter, error);
    exporter->lines_gone = error != 0;
    return error && !has_others(exporter) ? -EPIPE : 0;
}

/* ---- another configuration ---- */

int exporter_prepare(struct exporter_change **change, struct exporter *exporter,
                     const struct exporter_config *present, const struct exporter_config *wanted, int wake_fd)
{
    struct exporter_change *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->wake_fd = wake_fd;
    const struct feeds_config before = config_of_feeds(exporter, present);
    const struct feeds_config after = config_of_feeds(exporter, wanted);
    int error = feeds_prepare(&opened->feeds, exporter->feeds, &before, &after);
    if (error) {
        exporter_change_close(opened);
        return error;
    }
    *change = opened;
    return 0;
}

void exporter_change_close(struct exporter_change *change)
{
    if (!change)
        return;
    feeds_change_close(change->feeds);
    free(change);
}

void exporter_offer(struct exporter *exporter, struct exporter_change *change)
{
    /* Pairs with the acquire in take_change(): all that the change has. */
    atomic_store_explicit(&exporter->offered, change, memory_order_release);
}

bool exporter_has_taken(const struct exporter_change *change)
{
    /* Pairs with the release in take_change(): what was replaced. */
    return atomic_load_explicit(&change->is_taken, memory_order_acquire);
}

void exporter_withdraw(struct exporter *exporter)
{
    atomic_store_explicit(&exporter->offered, NULL, memory_order_relaxed);
}

/* Between two rounds; nothing is waited for: what cannot be done yet is done after the next one. */
static void take_change(struct exporter *exporter, struct exporter_change *change, struct instant now)
{
    if (!feeds_take(exporter->feeds, change->feeds, now))
        return;
    atomic_store_explicit(&exporter->offered, NULL, memory_order_relaxed);
    int wake_fd = change->wake_fd;
    /* Pairs with the acquire in exporter_has_taken(). It may be closed from here on. */
    atomic_store_explicit(&change->is_taken, true, memory_order_release);
    wake(wake_fd);
}

/* ---- what leaves ---- */

static void run_feeds(struct exporter *exporter, struct instant now)
{
    /* Pairs with the release in exporter_offer(). */
    struct exporter_change *change = atomic_load_explicit(&exporter->offered, memory_order_acquire);
    if (change)
        take_change(exporter, change, now);
    feeds_run(exporter->feeds, now);
}

int exporter_run(struct exporter *exporter, struct instant now)
{
    run_feeds(exporter, now);
    if (exporter->json_socket)
        json_socket_run(exporter->json_socket, now.monotonic_ns);
    return exporter->lines ? run_lines(exporter, now.monotonic_ns) : 0;
}

void exporter_wants(const struct exporter *exporter, struct poll_set *set)
{
    if (atomic_load_explicit(&exporter->offered, memory_order_relaxed))
        poll_set_before(set, exporter->now.monotonic_ns + TAKE_AGAIN_NS);
    feeds_wants(exporter->feeds, set);
    if (exporter->lines)
        lines_wants(exporter->lines, set);
    if (exporter->json_socket)
        json_socket_wants(exporter->json_socket, set);
}

static bool has_pending(const struct exporter *exporter)
{
    return feeds_pending(exporter->feeds) || (exporter->lines && lines_are_held(exporter->lines)) ||
           (exporter->json_socket && json_socket_is_behind(exporter->json_socket));
}

void exporter_finish(struct exporter *exporter)
{
    struct instant now = instant_now();
    uint64_t give_up_ns = now.monotonic_ns + FINISH_PATIENCE_NS;
    feeds_flush(exporter->feeds, now);
    while (exporter_run(exporter, now) == 0 && has_pending(exporter) && now.monotonic_ns < give_up_ns) {
        struct poll_set set;
        poll_set_clear(&set);
        exporter_wants(exporter, &set);
        poll_set_before(&set, give_up_ns);
        poll_set_wait(&set, now.monotonic_ns);
        now = instant_now();
    }
    feeds_abandon(exporter->feeds);
    if (exporter->lines)
        lines_abandon(exporter->lines);
    if (exporter->json_socket)
        json_socket_abandon(exporter->json_socket);
}

uint64_t exporter_records_dropped(struct exporter *exporter)
{
    return feeds_records_dropped(exporter->feeds);
}

void exporter_sample(struct exporter *exporter, struct metrics_sample *sample)
{
    struct feeds *feeds = exporter->feeds;
    feeds_note_present(feeds);
    sample->collector_count = 0;
    for (size_t i = 0; i < feeds_count(feeds) && i < METRICS_COLLECTORS_MAX; i++) {
        struct metrics_collector *collector = &sample->collector[sample->collector_count++];
        snprintf(collector->name, sizeof(collector->name), "%s", feeds_name(feeds, i));
        collector->stats = *feeds_stats(feeds, i);
    }
}

void exporter_log_stats(const struct exporter *exporter)
{
    for (size_t i = 0; i < feeds_count(exporter->feeds); i++)
        stats_log_collector(feeds_name(exporter->feeds, i), feeds_stats(exporter->feeds, i));
}
