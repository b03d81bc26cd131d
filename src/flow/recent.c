/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/recent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/memory.h"

enum {
    AHEAD = 16, /* events; four cache lines: by then the memory is there */
    FOR_WRITING = 1,
    MARKS = 8
};

/* One event of the log. */
struct event {
    uint64_t stop_ns;
    uint64_t number;
};

/* A cache line of marks of those that came late, filled from its beginning; 0 = none. */
struct line {
    _Alignas(64) uint64_t marks[MARKS];
};

/*
 * What is later than all before it goes to the end of the log, which is therefore sorted. Anything else goes
 * into one of two hash tables, filled to two thirds at most; what finds its line full goes into the next one.
 * When the younger table has taken capacity connections, the older one is emptied and becomes the younger
 * one.
 */
struct recent {
    uint64_t capacity; /* a power of two */
    uint64_t log_end;  /* events ever put into the log */
    struct event *log;
    uint64_t late; /* in the younger table */
    uint64_t lines;
    struct line *younger, *older;
};

int recent_open(struct recent **recent, uint32_t capacity)
{
    struct recent *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->capacity = 1;
    while (opened->capacity < capacity)
        opened->capacity *= 2;
    opened->lines = (opened->capacity + opened->capacity / 2) / MARKS + 1;
    opened->log = memory_map(opened->capacity, sizeof(*opened->log), MEMORY_AT_ONCE);
    opened->younger = memory_map(opened->lines, sizeof(*opened->younger), MEMORY_WHEN_TOUCHED);
    opened->older = memory_map(opened->lines, sizeof(*opened->older), MEMORY_WHEN_TOUCHED);
    if (!opened->log || !opened->younger || !opened->older) {
        recent_close(opened);
        return -ENOMEM;
    }
    *recent = opened;
    return 0;
}

void recent_close(struct recent *recent)
{
    if (!recent)
        return;
    memory_unmap(recent->log, recent->capacity, sizeof(*recent->log));
    memory_unmap(recent->younger, recent->lines, sizeof(*recent->younger));
    memory_unmap(recent->older, recent->lines, sizeof(*recent->older));
    free(recent);
}

static struct event *at(const struct recent *recent, uint64_t position)
{
    return &recent->log[position & (recent->capacity - 1)];
}

static bool is_later_than_all(const struct recent *recent, uint64_t stop_ns)
{
    return recent->log_end == 0 || stop_ns > at(recent, recent->log_end - 1)->stop_ns;
}

/* A repeat is mostly near the end: the search goes back from there, in steps that double. */
static bool is_in_log(const struct recent *recent, uint64_t stop_ns, uint64_t number)
{
    uint64_t oldest = recent->log_end <= recent->capacity ? 0 : recent->log_end - recent->capacity;
    uint64_t low = recent->log_end, high = low; /* after high, all are later */
    if (at(recent, oldest)->stop_ns > stop_ns)
        return false;
    for (uint64_t step = 1; low > oldest && at(recent, low - 1)->stop_ns >= stop_ns; step *= 2) {
        high = low;
        low = low - oldest > step ? low - step : oldest;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (at(recent, middle)->stop_ns < stop_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low < recent->log_end && at(recent, low)->stop_ns == stop_ns && at(recent, low)->number == number;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint64_t mark_of(uint64_t stop_ns, uint64_t number)
{
    uint64_t mark = mix(mix(mix(0, stop_ns), number), 0);
    return mark != 0 ? mark : 1;
}

static bool is_in_line(const struct line *line, uint64_t mark)
{
    bool found = false;
    for (unsigned i = 0; i < MARKS; i++)
        found |= line->marks[i] == mark;
    return found;
}

/* NULL when the mark is there; else the line that has room for it. */
static struct line *look_for(const struct recent *recent, struct line *table, uint64_t mark)
{
    uint64_t line = (mark >> 32) * recent->lines >> 32;
    while (!is_in_line(&table[line], mark)) {
        if (table[line].marks[MARKS - 1] == 0)
            return &table[line];
        line = line + 1 < recent->lines ? line + 1 : 0;
    }
    return NULL;
}

static void add(struct line *line, uint64_t mark)
{
    unsigned free = 0;
    while (line->marks[free] != 0)
        free++;
    line->marks[free] = mark;
}

static void turn_over(struct recent *recent)
{
    struct line *younger = recent->older;
    recent->older = recent->younger;
    recent->younger = younger;
    memset(younger, 0, (size_t)recent->lines * sizeof(*younger));
    recent->late = 0;
}

static bool was_late(struct recent *recent, uint64_t mark)
{
    struct line *line = look_for(recent, recent->younger, mark);
    if (!line)
        return true;
    bool was = !look_for(recent, recent->older, mark);
    add(line, mark);
    if (++recent->late == recent->capacity)
        turn_over(recent);
    return was;
}

bool recent_seen(struct recent *recent, uint64_t stop_ns, uint64_t number)
{
    if (is_later_than_all(recent, stop_ns)) {
        *at(recent, recent->log_end++) = (struct event){.stop_ns = stop_ns, .number = number};
        __builtin_prefetch(at(recent, recent->log_end + AHEAD), FOR_WRITING);
        return false;
    }
    return is_in_log(recent, stop_ns, number) || was_late(recent, mark_of(stop_ns, number));
}
