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
#include "ctflow9/netflow/packet.h"
#include "ctflow9/output/collectors.h"
#include "ctflow9/output/json_socket.h"
#include "ctflow9/output/lines.h"

#define FINISH_PATIENCE_NS (2 * NS_PER_S)
#define TAKE_AGAIN_NS      NS_PER_MS

struct exporter {
    struct stats *stats;
    struct packet *packet;  /* NULL as long as there was no collector */
    struct packet *leaving; /* has been replaced, and holds some still; NULL = none */
    struct collectors *collectors;
    _Atomic(struct exporter_change *) offered; /* by any thread, for the owner to take; NULL = none */
    struct lines *lines;                       /* NULL when nothing is to be printed */
    bool lines_gone;                           /* nobody takes them any more, which was told */
    struct json_socket *json_socket;           /* NULL when there is to be none */
    struct interface_names *names;             /* NULL when none are known */
    size_t sealed;                             /* datagrams since collectors_run() */
    struct instant now;
};

/*
 * Another configuration. It is taken in two steps: packet by packet, which leaves and has all of its
 * aggregates sent; then collectors, so that those that leave get them too.
 */
struct exporter_change {
    struct packet *packet;   /* NULL = the one that there is goes on, or has been replaced by now */
    struct packet *replaced; /* to be closed with the change */
    struct collectors_change *collectors;
    int wake_fd;
    _Atomic bool is_taken;
};

/* A packet_sink. A long drain makes more datagrams than are sent at a time, so they leave in between. */
static void to_collectors(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                          uint64_t ended_ms)
{
    enum { SEND_AT = 64 };

    struct exporter *exporter = context;
    collectors_queue(exporter->collectors, datagram, octets, records, ended_ms);
    if (++exporter->sealed == SEND_AT) {
        exporter->sealed = 0;
        collectors_run(exporter->collectors, exporter->now);
    }
}

static struct collectors_config config_of_collectors(const struct exporter_config *config)
{
    return (struct collectors_config){.peers = config->collectors,
                                      .count = config->collector_count,
                                      .each = config->each,
                                      .max_datagram = config->max_datagram};
}

static int open_collectors(struct exporter *exporter, const struct exporter_config *config)
{
    struct collectors_config collectors = config_of_collectors(config);
    collectors.packet = exporter->packet;
    return collectors_open(&exporter->collectors, &collectors, exporter->now);
}

static int open_packet(struct packet **packet, struct exporter *exporter,
                       const struct exporter_config *config, struct instant now)
{
    const struct packet_config packet_config = {
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
        .stats = exporter->stats};
    int error = packet_open(packet, &packet_config, now, to_collectors, exporter);
    if (error == -ENOMEM)
        log_error("no memory for a table of %" PRIu32 " aggregates, give a smaller --table-size",
                  config->aggregate_capacity);
    return error;
}

/* There are other outputs than lines. */
static bool has_others(const struct exporter *exporter)
{
    return collectors_count(exporter->collectors) > 0 || exporter->json_socket;
}

int exporter_open(struct exporter **exporter, const struct exporter_config *config, struct stats *stats,
                  struct instant now)
{
    struct exporter *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->stats = stats;
    opened->now = now;

    int error = 0;
    if (config->collector_count > 0)
        error = open_packet(&opened->packet, opened, config, now);
    if (!error)
        error = open_collectors(opened, config);
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
    collectors_close(exporter->collectors);
    packet_close(exporter->leaving);
    packet_close(exporter->packet);
    free(exporter->names);
    free(exporter);
}

void exporter_name_interfaces(struct exporter *exporter, struct interface_names *names)
{
    if (exporter->packet)
        packet_name_interfaces(exporter->packet, names);
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
    if (exporter->packet)
        packet_begin(exporter->packet, now);
}

void exporter_add(void *context, const struct flow *flow)
{
    struct exporter *exporter = context;
    unsigned reason = flow->end_reason < STATS_END_REASONS ? flow->end_reason : FLOW_END_UNKNOWN;
    stats_count(&exporter->stats->flows, 1);
    stats_count(&exporter->stats->flows_by[stats_protocol(flow->protocol)][reason], 1);
    if (!flow_has(flow, FLOW_HAS_COUNTERS))
        stats_count(&exporter->stats->flows_no_counters, 1);
    if (exporter->packet)
        packet_add(exporter->packet, flow);
    if (exporter->lines)
        lines_add(exporter->lines, flow);
    if (exporter->json_socket)
        json_socket_add(exporter->json_socket, flow);
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

static bool has_same_records(const struct exporter_config *one, const struct exporter_config *other)
{
    return one->max_delay_ns == other->max_delay_ns && one->fields == other->fields &&
           memcmp(&one->aggregate, &other->aggregate, sizeof(one->aggregate)) == 0 &&
           one->aggregate_interval_s == other->aggregate_interval_s &&
           one->active_timeout_s == other->active_timeout_s && one->idle_timeout_s == other->idle_timeout_s;
}

int exporter_prepare(struct exporter_change **change, struct exporter *exporter,
                     const struct exporter_config *present, const struct exporter_config *wanted, int wake_fd)
{
    struct exporter_change *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->wake_fd = wake_fd;
    const struct collectors_config collectors = config_of_collectors(wanted);
    int error = collectors_prepare(&opened->collectors, exporter->collectors, &collectors);
    bool is_first = present->collector_count == 0;
    if (!error && wanted->collector_count > 0 && (is_first || !has_same_records(present, wanted)))
        error = open_packet(&opened->packet, exporter, wanted, instant_now());
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
    collectors_change_close(change->collectors);
    packet_close(change->packet);
    packet_close(change->replaced);
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

/* What is open is sealed before, for those who leave. */
static void replace_packet(struct exporter *exporter, struct exporter_change *change, struct instant now)
{
    packet_begin(change->packet, now);
    if (exporter->packet) {
        packet_seal(exporter->packet, now);
        packet_follow(change->packet, exporter->packet);
    } else if (exporter->names) {
        packet_name_interfaces(change->packet, exporter->names);
    }
    exporter->leaving = exporter->packet;
    exporter->packet = change->packet;
    change->packet = NULL;
    collectors_use_packet(exporter->collectors, exporter->packet);
}

/* Between two rounds; nothing is waited for: what cannot be done yet is done after the next one. */
static void take_change(struct exporter *exporter, struct exporter_change *change, struct instant now)
{
    if (change->packet)
        replace_packet(exporter, change, now);
    if (exporter->leaving && packet_leave(exporter->leaving, now))
        return;
    if (exporter->leaving) {
        change->replaced = exporter->leaving;
        exporter->leaving = NULL;
    }
    if (exporter->packet)
        packet_seal(exporter->packet, now);
    if (!collectors_take(exporter->collectors, change->collectors, now))
        return;
    atomic_store_explicit(&exporter->offered, NULL, memory_order_relaxed);
    int wake_fd = change->wake_fd;
    /* Pairs with the acquire in exporter_has_taken(). It may be closed from here on. */
    atomic_store_explicit(&change->is_taken, true, memory_order_release);
    wake(wake_fd);
}

/* ---- what leaves ---- */

static void run_netflow(struct exporter *exporter, struct instant now)
{
    if (exporter->packet)
        packet_run(exporter->packet, now);
    /* Pairs with the release in exporter_offer(). */
    struct exporter_change *change = atomic_load_explicit(&exporter->offered, memory_order_acquire);
    if (change)
        take_change(exporter, change, now);
    exporter->sealed = 0;
    collectors_run(exporter->collectors, now);
    if (exporter->packet && !exporter->leaving && !collectors_are_waiting(exporter->collectors))
        packet_forget_earlier(exporter->packet);
}

int exporter_run(struct exporter *exporter, struct instant now)
{
    run_netflow(exporter, now);
    if (exporter->json_socket)
        json_socket_run(exporter->json_socket, now.monotonic_ns);
    return exporter->lines ? run_lines(exporter, now.monotonic_ns) : 0;
}

void exporter_wants(const struct exporter *exporter, struct poll_set *set)
{
    if (exporter->packet)
        packet_wants(exporter->packet, set);
    if (atomic_load_explicit(&exporter->offered, memory_order_relaxed))
        poll_set_before(set, exporter->now.monotonic_ns + TAKE_AGAIN_NS);
    collectors_wants(exporter->collectors, set);
    if (exporter->lines)
        lines_wants(exporter->lines, set);
    if (exporter->json_socket)
        json_socket_wants(exporter->json_socket, set);
}

static bool has_pending(const struct exporter *exporter)
{
    return collectors_pending(exporter->collectors) || (exporter->lines && lines_are_held(exporter->lines)) ||
           (exporter->json_socket && json_socket_is_behind(exporter->json_socket));
}

void exporter_finish(struct exporter *exporter)
{
    struct instant now = instant_now();
    uint64_t give_up_ns = now.monotonic_ns + FINISH_PATIENCE_NS;
    while (exporter->leaving && packet_leave(exporter->leaving, now))
        ;
    if (exporter->packet)
        packet_flush(exporter->packet, now);
    while (exporter_run(exporter, now) == 0 && has_pending(exporter) && now.monotonic_ns < give_up_ns) {
        struct poll_set set;
        poll_set_clear(&set);
        exporter_wants(exporter, &set);
        poll_set_before(&set, give_up_ns);
        poll_set_wait(&set, now.monotonic_ns);
        now = instant_now();
    }
    collectors_abandon(exporter->collectors);
    if (exporter->lines)
        lines_abandon(exporter->lines);
    if (exporter->json_socket)
        json_socket_abandon(exporter->json_socket);
}

uint64_t exporter_records_dropped(struct exporter *exporter)
{
    return collectors_records_dropped(exporter->collectors);
}

void exporter_sample(struct exporter *exporter, struct metrics_sample *sample)
{
    struct collectors *collectors = exporter->collectors;
    sample->collector_count = 0;
    if (!collectors)
        return;
    collectors_note_present(collectors);
    for (size_t i = 0; i < collectors_count(collectors) && i < METRICS_COLLECTORS_MAX; i++) {
        struct metrics_collector *collector = &sample->collector[sample->collector_count++];
        snprintf(collector->name, sizeof(collector->name), "%s", collectors_name(collectors, i));
        collector->stats = *collectors_stats(collectors, i);
    }
}

void exporter_log_stats(const struct exporter *exporter)
{
    for (size_t i = 0; i < collectors_count(exporter->collectors); i++)
        stats_log_collector(collectors_name(exporter->collectors, i),
                            collectors_stats(exporter->collectors, i));
}
