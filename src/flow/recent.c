/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/recent.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    WAYS = 8,
    LOG_PER_LATE = RECENT_CAPACITY_MIN / WAYS,
    AHEAD = 16, /* events; four cache lines: by then the memory is there */
    FOR_WRITING = 1
};

/* One event of the log. */
struct event {
    uint64_t stop_ns;
    uint64_t number;
};

/*
 * Nearly all events come in the order of their stop times, and one that is later than all before it cannot be
 * a repeat: it goes to the end of the log, which is therefore sorted. Anything else is looked for in the log,
 * and, when it is not there, in the lines of those that came late.
 */
struct recent {
    size_t log_mask;
    size_t log_end;    /* events ever put into the log */
    struct event *log; /* by stop time; the oldest are overwritten */
    size_t line_mask;
    uint64_t (*lines)[WAYS]; /* numbers, the last seen first; 0 = none */
};

static void *map(size_t octets)
{
    void *memory =
        mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t log_octets(const struct recent *recent)
{
    return (recent->log_mask + 1) * sizeof(*recent->log);
}

static size_t lines_octets(const struct recent *recent)
{
    return (recent->line_mask + 1) * sizeof(*recent->lines);
}

int recent_open(struct recent **recent, size_t capacity)
{
    assert(capacity >= RECENT_CAPACITY_MIN && (capacity & (capacity - 1)) == 0);
    struct recent *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->log_mask = capacity - 1;
    new->line_mask = capacity / LOG_PER_LATE / WAYS - 1;
    new->log = map(log_octets(new));
    new->lines = map(lines_octets(new));
    if (!new->log || !new->lines) {
        recent_close(new);
        return -ENOMEM;
    }
    *recent = new;
    return 0;
}

void recent_close(struct recent *recent)
{
    if (!recent)
        return;
    if (recent->log)
        munmap(recent->log, log_octets(recent));
    if (recent->lines)
        munmap(recent->lines, lines_octets(recent));
    free(recent);
}

static const struct event *at(const struct recent *recent, size_t position)
{
    return &recent->log[position & recent->log_mask];
}

static bool is_later_than_all(const struct recent *recent, uint64_t stop_ns)
{
    return recent->log_end == 0 || stop_ns > at(recent, recent->log_end - 1)->stop_ns;
}

/* A repeat is mostly near the end: the search goes back from there, in steps that double. */
static bool is_in_log(const struct recent *recent, uint64_t stop_ns, uint64_t number)
{
    size_t oldest = recent->log_end <= recent->log_mask ? 0 : recent->log_end - recent->log_mask - 1;
    size_t low = recent->log_end, high = low; /* behind high, all are later */
    if (at(recent, oldest)->stop_ns > stop_ns)
        return false;
    for (size_t step = 1; low > oldest && at(recent, low - 1)->stop_ns >= stop_ns; step *= 2) {
        high = low;
        low = low - oldest > step ? low - step : oldest;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at(recent, middle)->stop_ns < stop_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low < recent->log_end && at(recent, low)->stop_ns == stop_ns && at(recent, low)->number == number;
}

static bool is_in_lines(struct recent *recent, uint64_t number)
{
    uint64_t *line = recent->lines[number >> 32 & recent->line_mask];
    uint64_t mark = number | 1; /* never 0 */
    int way = 0;
    while (way < WAYS && line[way] != mark)
        way++;
    bool seen = way < WAYS;
    memmove(line + 1, line, (size_t)(seen ? way : WAYS - 1) * sizeof(*line));
    line[0] = mark;
    return seen;
}

bool recent_seen(struct recent *recent, uint64_t stop_ns, uint64_t number)
{
    if (is_later_than_all(recent, stop_ns)) {
        recent->log[recent->log_end++ & recent->log_mask] =
            (struct event){.stop_ns = stop_ns, .number = number};
        __builtin_prefetch(&recent->log[(recent->log_end + AHEAD) & recent->log_mask], FOR_WRITING);
        return false;
    }
    return is_in_log(recent, stop_ns, number) || is_in_lines(recent, number);
}
