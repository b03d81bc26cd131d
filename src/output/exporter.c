/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/exporter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/json.h"
#include "ctflow9/log.h"
#include "ctflow9/packet.h"
#include "ctflow9/print.h"
#include "ctflow9/stream.h"
#include "ctflow9/table_size.h"
#include "ctflow9/udp.h"

#define STREAM_OCTETS      ((size_t)1 << 20)
#define FINISH_PATIENCE_NS (2 * NS_PER_S)

struct exporter {
    struct stats *stats;
    struct packet *packet; /* NULL without collectors, as udp */
    struct udp *udp;
    struct stream *stream; /* NULL when nothing is to be printed, or nobody reads it any more */
    int stream_error;      /* of stream_run(), for the next run_stream() */
    size_t (*write_line)(char *line, const struct flow *flow);
    size_t line_max;
    size_t sealed; /* datagrams since udp_run() */
    struct instant now;
};

/* A packet_sink. A long drain makes more datagrams than are sent at a time, so they leave in between. */
static void to_collectors(void *context, const uint8_t *datagram, size_t octets, unsigned records)
{
    enum { SEND_AT = 64 };

    struct exporter *exporter = context;
    udp_queue(exporter->udp, datagram, octets, records);
    if (++exporter->sealed == SEND_AT) {
        exporter->sealed = 0;
        udp_run(exporter->udp, exporter->now);
    }
}

static int open_collectors(struct exporter *exporter, const struct options *options)
{
    const struct packet_config config = {
        .source_id = options->source_id,
        .max_datagram = options->max_datagram,
        .max_delay_ns = options->max_delay_ms * NS_PER_MS,
        .fields = options->fields,
        .aggregate = options->aggregate,
        .aggregate_interval_s = options->aggregate_interval_s,
        .aggregate_capacity = options->table_size != 0 ? options->table_size : TABLE_SIZE_DEFAULT,
        .active_timeout_s =
            (uint16_t)(options->active_timeout_s < UINT16_MAX ? options->active_timeout_s : UINT16_MAX),
        .stats = exporter->stats};
    int error = packet_open(&exporter->packet, &config, exporter->now, to_collectors, exporter);
    if (error)
        return error;
    const struct udp_config udp_config = {.options = options, .packet = exporter->packet};
    return udp_open(&exporter->udp, &udp_config, exporter->now);
}

static int open_lines(struct exporter *exporter, const struct options *options)
{
    exporter->write_line = options->json ? json_flow : print_flow;
    exporter->line_max = options->json ? JSON_LINE_MAX : PRINT_LINE_MAX;
    int error = stream_open(&exporter->stream, STDOUT_FILENO, STREAM_OCTETS);
    if (error)
        return error;
    if (!options->json && isatty(STDOUT_FILENO)) {
        char *line = stream_reserve(exporter->stream, PRINT_LINE_MAX);
        stream_commit(exporter->stream, print_heading(line));
    }
    return 0;
}

int exporter_open(struct exporter **exporter, const struct options *options, struct stats *stats,
                  struct instant now)
{
    struct exporter *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->stats = stats;
    new->now = now;

    int error = 0;
    if (options->collector_count > 0)
        error = open_collectors(new, options);
    if (!error && (options->print || options->json || options->collector_count == 0))
        error = open_lines(new, options);
    if (error) {
        exporter_close(new);
        return error;
    }
    *exporter = new;
    return 0;
}

void exporter_close(struct exporter *exporter)
{
    if (!exporter)
        return;
    stream_close(exporter->stream);
    udp_close(exporter->udp);
    packet_close(exporter->packet);
    free(exporter);
}

void exporter_begin(struct exporter *exporter, struct instant now)
{
    exporter->now = now;
    if (exporter->packet)
        packet_begin(exporter->packet, now);
}

/* Room for a line. A long drain makes more lines than the stream holds, so they are written in between. */
static char *reserve_line(struct exporter *exporter)
{
    char *line = stream_reserve(exporter->stream, exporter->line_max);
    if (line || exporter->stream_error)
        return line;
    exporter->stream_error = stream_run(exporter->stream);
    return stream_reserve(exporter->stream, exporter->line_max);
}

static void add_line(struct exporter *exporter, const struct flow *flow)
{
    char *line = reserve_line(exporter);
    if (!line) {
        stats_count(&exporter->stats->lines_lost, 1);
        return;
    }
    stream_commit(exporter->stream, exporter->write_line(line, flow));
    stats_count(&exporter->stats->lines, 1);
}

void exporter_add(void *context, const struct flow *flow)
{
    struct exporter *exporter = context;
    stats_count(&exporter->stats->flows, 1);
    if (!flow_has(flow, FLOW_HAS_COUNTERS))
        stats_count(&exporter->stats->flows_no_counters, 1);
    if (exporter->packet)
        packet_add(exporter->packet, flow);
    if (exporter->stream)
        add_line(exporter, flow);
}

/* The lines that are held count as lost from now on. */
static void drop_stream(struct exporter *exporter)
{
    size_t held = stream_held(exporter->stream);
    stats_count(&exporter->stats->lines, -(uint64_t)held);
    stats_count(&exporter->stats->lines_lost, held);
    stream_close(exporter->stream);
    exporter->stream = NULL;
}

static int run_stream(struct exporter *exporter)
{
    int error = exporter->stream_error ? exporter->stream_error : stream_run(exporter->stream);
    if (!error)
        return 0;
    errno = -error;
    if (exporter->udp)
        log_warn("standard output takes no more lines, going on without");
    drop_stream(exporter);
    return exporter->udp ? 0 : -EPIPE;
}

int exporter_run(struct exporter *exporter, struct instant now)
{
    if (exporter->udp) {
        packet_run(exporter->packet, now);
        exporter->sealed = 0;
        udp_run(exporter->udp, now);
    }
    return exporter->stream ? run_stream(exporter) : 0;
}

void exporter_wants(const struct exporter *exporter, struct poll_set *set)
{
    if (exporter->udp) {
        packet_wants(exporter->packet, set);
        udp_wants(exporter->udp, set);
    }
    if (exporter->stream)
        stream_wants(exporter->stream, set);
}

static bool has_pending(const struct exporter *exporter)
{
    return (exporter->udp && udp_pending(exporter->udp)) ||
           (exporter->stream && stream_held(exporter->stream) > 0);
}

void exporter_finish(struct exporter *exporter)
{
    struct instant now = instant_now();
    uint64_t give_up_ns = now.monotonic_ns + FINISH_PATIENCE_NS;
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
    if (exporter->udp)
        udp_abandon(exporter->udp);
    if (exporter->stream && stream_held(exporter->stream) > 0)
        drop_stream(exporter);
}

void exporter_log_stats(const struct exporter *exporter)
{
    if (!exporter->udp)
        return;
    for (size_t i = 0; i < udp_collector_count(exporter->udp); i++)
        stats_log_collector(udp_collector_name(exporter->udp, i), udp_collector_stats(exporter->udp, i));
}
