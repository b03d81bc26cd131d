/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctflow9/base/log.h"

struct counter {
    const char *name;
    size_t offset;
};

#define COUNTER(member) #member, offsetof(struct stats, member)
static const struct counter counters[] = {
    {COUNTER(events)},
    {COUNTER(lost)},
    {COUNTER(malformed)},
    {COUNTER(truncated)},
    {COUNTER(ignored)},
    {COUNTER(foreign)},
    {COUNTER(deferred)},
    {COUNTER(left_behind)},
    {COUNTER(guard_releases)},
    {COUNTER(repeated)},
    {COUNTER(adopted)},
    {COUNTER(table_full)},
    {COUNTER(looks)},
    {COUNTER(looks_cpu_us)},
    {COUNTER(gone)},
    {COUNTER(empty)},
    {COUNTER(counters_reset)},
    {COUNTER(uncounted)},
    {COUNTER(flows)},
    {COUNTER(flows_no_counters)},
    {COUNTER(records)},
    {COUNTER(datagrams)},
    {COUNTER(aggregates_early)},
    {COUNTER(lines)},
    {COUNTER(lines_lost)},
    {COUNTER(readers)},
    {COUNTER(readers_refused)},
    {COUNTER(reader_lines)},
    {COUNTER(reader_lines_lost)},
};
#undef COUNTER

#define COUNTER(member) #member, offsetof(struct collector_stats, member)
static const struct counter collector_counters[] = {
    {COUNTER(records)},         {COUNTER(datagrams)},         {COUNTER(octets)},
    {COUNTER(records_dropped)}, {COUNTER(datagrams_dropped)}, {COUNTER(send_errors)},
    {COUNTER(unreachable)},     {COUNTER(reconnects)},        {COUNTER(lookups_failed)},
};
#undef COUNTER

enum {
    COUNTERS = sizeof(counters) / sizeof(counters[0]),
    COLLECTOR_COUNTERS = sizeof(collector_counters) / sizeof(collector_counters[0])
};
_Static_assert(COUNTERS * sizeof(uint64_t) == sizeof(struct stats), "a counter is missing");
_Static_assert(COLLECTOR_COUNTERS * sizeof(uint64_t) == sizeof(struct collector_stats),
               "a counter is missing");

const char *stats_name(size_t number)
{
    return number < COUNTERS ? counters[number].name : NULL;
}

const char *stats_collector_name(size_t number)
{
    return number < COLLECTOR_COUNTERS ? collector_counters[number].name : NULL;
}

/* "events 1234, lost 0, …" */
static void write_counters(char text[LOG_LINE_MAX], const struct counter *table, size_t count,
                           const void *stats)
{
    size_t octets = 0;
    for (size_t i = 0; i < count && octets < LOG_LINE_MAX; i++) {
        uint64_t value;
        memcpy(&value, (const char *)stats + table[i].offset, sizeof(value));
        octets += (size_t)snprintf(text + octets, LOG_LINE_MAX - octets, "%s%s %" PRIu64, i == 0 ? "" : ", ",
                                   table[i].name, value);
    }
}

void stats_add(struct stats *total, const struct stats *more)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        _Atomic uint64_t *sum = (void *)((char *)total + counters[i].offset);
        const _Atomic uint64_t *part = (const void *)((const char *)more + counters[i].offset);
        stats_count(sum, atomic_load_explicit(part, memory_order_relaxed));
    }
}

void stats_log(const struct stats *stats)
{
    char text[LOG_LINE_MAX];
    write_counters(text, counters, COUNTERS, stats);
    log_info("totals: %s", text);
}

void stats_log_collector(const char *name, const struct collector_stats *stats)
{
    char text[LOG_LINE_MAX];
    write_counters(text, collector_counters, COLLECTOR_COUNTERS, stats);
    log_info("totals of %s: %s", name, text);
}
