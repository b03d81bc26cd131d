/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/output/json.h"
#include "ctflow9/output/print.h"
#include "ctflow9/output/stream.h"

#define STREAM_OCTETS ((size_t)1 << 20)
#define RETRY_NS      NS_PER_S

struct lines {
    struct stats *stats;
    struct stream *stream;
    size_t (*write)(char *line, const struct flow *flow, const struct interface_names *names);
    const struct interface_names *names;
    size_t line_max;
    size_t heading;        /* 1 while the stream holds the heading, which is no flow's line */
    uint64_t retry_ns;     /* when a full disk is tried again, monotonic */
    struct tell_once full; /* how often that began */
    bool full_seen;        /* it is full, as far as tell_full() knows */
    bool full_told;        /* and that was told, so its end is told too */
    struct tell_once lost;
};

static int refuse(int error)
{
    if (error == -EBADF)
        log_error("standard output is closed: give a collector (-c), or a file or a program for the lines");
    else
        log_cannot(error, "write lines to standard output");
    return error;
}

int lines_open(struct lines **lines, const struct lines_config *config)
{
    struct lines *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return refuse(-ENOMEM);
    opened->stats = config->stats;
    opened->write = config->json ? json_flow : print_flow;
    opened->line_max = config->json ? JSON_LINE_MAX : PRINT_LINE_MAX;
    int error = stream_open(&opened->stream, config->fd, STREAM_OCTETS);
    if (error) {
        free(opened);
        return refuse(error);
    }
    if (!config->json && isatty(config->fd)) {
        char *line = stream_reserve(opened->stream, PRINT_LINE_MAX);
        stream_commit(opened->stream, print_heading(line));
        opened->heading = 1;
    }
    *lines = opened;
    return 0;
}

void lines_close(struct lines *lines)
{
    if (!lines)
        return;
    stream_close(lines->stream);
    free(lines);
}

/* A full disk: trying is dear, and poll() does not wait for room. */
static bool is_full(const struct lines *lines)
{
    return stream_error(lines->stream) != 0 && !stream_is_broken(lines->stream);
}

static void lose(struct lines *lines, uint64_t count)
{
    stats_count(&lines->stats->lines_lost, count);
    tell_once_count(&lines->lost, count);
}

/* Room for a line. A long drain makes more lines than the stream holds, so they are written in between. */
static char *reserve(struct lines *lines)
{
    char *line = stream_reserve(lines->stream, lines->line_max);
    if (line || stream_error(lines->stream) != 0)
        return line;
    stream_run(lines->stream);
    return stream_reserve(lines->stream, lines->line_max);
}

void lines_name_interfaces(struct lines *lines, const struct interface_names *names)
{
    lines->names = names;
}

void lines_add(struct lines *lines, const struct flow *flow)
{
    char *line = reserve(lines);
    if (line)
        stream_commit(lines->stream, lines->write(line, flow, lines->names));
    else
        lose(lines, 1);
}

static void count_written(struct lines *lines)
{
    size_t written = stream_take_written(lines->stream);
    if (written > 0) {
        stats_count(&lines->stats->lines, written - lines->heading);
        lines->heading = 0;
    }
}

static void lose_held(struct lines *lines)
{
    size_t held = stream_drop(lines->stream);
    if (held > 0) {
        lose(lines, held - lines->heading);
        lines->heading = 0;
    }
}

/* A disk may become full again and again: its end is told only where its beginning was. */
static void tell_full(struct lines *lines, uint64_t now_ns)
{
    bool full = is_full(lines);
    if (full && !lines->full_seen)
        tell_once_count(&lines->full, 1);
    lines->full_seen = full;
    if (full && tell_once_due(&lines->full, now_ns) != 0) {
        errno = -stream_error(lines->stream);
        log_warn("standard output takes no lines, trying again every second");
        lines->full_told = true;
    } else if (!full && lines->full_told) {
        log_info("standard output takes lines again");
        lines->full_told = false;
    }
}

static void tell_lost(struct lines *lines, uint64_t now_ns)
{
    uint64_t lost = tell_once_due(&lines->lost, now_ns);
    if (lost > 0)
        log_warnx("lines lost, because standard output did not take them in time (%s): %" PRIu64,
                  is_full(lines) ? strerror(-stream_error(lines->stream)) : "its reader is too slow", lost);
}

int lines_run(struct lines *lines, uint64_t now_ns)
{
    if (!is_full(lines) || now_ns >= lines->retry_ns) {
        stream_run(lines->stream);
        lines->retry_ns = now_ns + RETRY_NS;
    }
    count_written(lines);
    if (stream_is_broken(lines->stream)) {
        lose_held(lines);
        return stream_error(lines->stream);
    }
    tell_full(lines, now_ns);
    tell_lost(lines, now_ns);
    return 0;
}

void lines_wants(const struct lines *lines, struct poll_set *set)
{
    stream_wants(lines->stream, set);
    if (is_full(lines))
        poll_set_before(set, lines->retry_ns);
    poll_set_before(set, tell_once_at_ns(&lines->lost));
}

bool lines_are_held(const struct lines *lines)
{
    return stream_held(lines->stream) > 0;
}

void lines_abandon(struct lines *lines)
{
    lose_held(lines);
    if (!stream_is_broken(lines->stream))
        tell_lost(lines, UINT64_MAX);
}
