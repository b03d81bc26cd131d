/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/stats.h"

#include <inttypes.h>
#include <stdio.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"

/* In the order of the members, so that none can be missing. */
#define COUNTER(member) .name = #member, .offset = offsetof(struct stats, member)
#define MEMBER(member)  .offset = offsetof(struct stats, member)
static const struct stats_row rows[] = {
    {COUNTER(events), .metric = "events_total",
     .help = "Events of ended connections that the kernel sent and ctflow9 received."},
    {COUNTER(lost), .metric = "events_lost_total",
     .help = "Events that the kernel dropped because the receive buffer was full."},
    {COUNTER(malformed), .metric = "events_malformed_total", .help = "Messages that could not be decoded."},
    {COUNTER(truncated), .metric = "events_truncated_total",
     .help = "Messages that were too long to be received."},
    {COUNTER(ignored), .metric = "messages_ignored_total",
     .help = "Messages of the kernel that are not about an ended connection."},
    {COUNTER(foreign), .metric = "messages_foreign_total",
     .help = "Messages that another program sent, which are not believed."},
    {COUNTER(deferred), .metric = "deferred_total",
     .help = "Deliveries that did not fit into the receive buffer, which the kernel tries again."},
    {COUNTER(left_behind), .metric = "events_left_behind_total",
     .help = "Connections that are not reported, because reading ended first."},
    {COUNTER(guard_releases), .metric = "guard_releases_total",
     .help = "Times that reliable delivery was let go of, because the conntrack table was nearly full."},
    {COUNTER(repeated), .metric = "events_repeated_total",
     .help = "Events that came again and were dropped."},
    {COUNTER(adopted), .metric = "connections_adopted_total",
     .help = "Connections that are older than ctflow9."},
    {COUNTER(table_full), .metric = "tracked_full_total",
     .help = "Looks at connections that found no place in the table."},
    {COUNTER(looks), .metric = "looks_total", .help = "Looks through the conntrack table."},
    {COUNTER(looks_cpu_us), .metric = "looks_cpu_seconds_total", .parts = 1000000,
     .help = "CPU time of the thread that looks through the conntrack table."},
    {COUNTER(gone), .metric = "connections_gone_total", .help = "Connections that ended without an event."},
    {COUNTER(empty), .metric = "connections_empty_total",
     .help = "Events of connections whose counters were 0, which are not reported."},
    {COUNTER(counters_reset), .metric = "counters_reset_total",
     .help = "Times that the counters of a connection were lower than when last seen."},
    {COUNTER(uncounted), .metric = "connections_uncounted_total",
     .help = "Connections in a flowtable that does not count their packets."},
    {COUNTER(interfaces_noted), .metric = "interfaces_noted_total",
     .help = "Reports of connections whose interfaces the BPF program had noted."},
    {COUNTER(notes_evicted), .metric = "notes_evicted_total",
     .help = "Connections whose interfaces the BPF program had noted, and gave up for want of room."},
    {COUNTER(interfaces_known), .metric = "interfaces_known_total",
     .help = "Reports of connections whose interfaces were at hand."},
    {COUNTER(interfaces_asked), .metric = "interfaces_asked_total",
     .help = "Reports of connections that waited for an answer of the kernel's routing."},
    {COUNTER(interfaces_unknown), .metric = "interfaces_unknown_total",
     .help = "Reports of connections whose interfaces are not known."},
    {COUNTER(packets), .metric = "packets_total",
     .help = "Packets that the kernel logged or queued and ctflow9 received."},
    {COUNTER(packets_lost), .metric = "packets_lost_total",
     .help = "Packets that the kernel logged or queued and ctflow9 did not count."},
    {COUNTER(packets_other), .metric = "packets_other_total", .help = "Packets that are not IP."},
    {COUNTER(packets_malformed), .metric = "packets_malformed_total",
     .help = "Packets whose addresses could not be read."},
    {COUNTER(packets_unsized), .metric = "packets_unsized_total",
     .help = "Packets that do not tell their length, counted with 0 octets."},
    {COUNTER(cache_full), .metric = "packet_flows_early_total",
     .help = "Flows of packets that ended because another one needed their place."},
    {COUNTER(flows)},
    {COUNTER(flows_no_counters), .metric = "flows_without_counters_total",
     .help = "Flows reported without packet and octet counters."},
    {COUNTER(named_counters), .metric = "named_counters_total",
     .help = "Reports of named counters that counted something."},
    {COUNTER(named_counters_anew), .metric = "named_counters_anew_total",
     .help = "Times that a named counter began anew, because it was set to 0 or made again."},
    {COUNTER(named_counters_full), .metric = "named_counters_full_total",
     .help = "Looks at named counters that there was no room for."},
    {COUNTER(named_counters_lost), .metric = "named_counters_lost_total",
     .help = "Reports of named counters that were not made, because reading ended first."},
    {COUNTER(records), .metric = "records_total", .help = "NetFlow data records made."},
    {COUNTER(datagrams), .metric = "datagrams_total", .help = "Datagrams made of data records."},
    {COUNTER(aggregates_early), .metric = "aggregates_early_total",
     .help = "Aggregates that were sent before their interval was over, because there were too many."},
    {COUNTER(lines), .metric = "lines_total", .help = "Lines written to standard output."},
    {COUNTER(lines_lost), .metric = "lines_lost_total", .help = "Lines that standard output did not take."},
    {COUNTER(readers), .metric = "readers_total", .help = "Readers that came to the JSON socket."},
    {COUNTER(readers_refused), .metric = "readers_refused_total",
     .help = "Readers that the JSON socket had no room for."},
    {COUNTER(reader_lines), .metric = "reader_lines_total",
     .help = "Lines written to the JSON socket's readers, to all together."},
    {COUNTER(reader_lines_lost), .metric = "reader_lines_lost_total",
     .help = "Lines that the JSON socket's readers did not take."},
    {MEMBER(flows_by), .kind = STATS_FLOWS, .metric = "flows_total",
     .help = "Flows reported: each connection, and each part of one that lasts."},
    {MEMBER(tracked), .kind = STATS_GAUGE, .metric = "tracked_connections",
     .help = "Connections in the table of those that last."},
    {MEMBER(tracked_limit), .kind = STATS_GAUGE, .metric = "tracked_connections_limit",
     .help = "Connections that the table of those that last has places for."},
    {MEMBER(packet_flows), .kind = STATS_GAUGE, .metric = "packet_flows",
     .help = "Flows of packets in the flow caches."},
    {MEMBER(packet_flows_limit), .kind = STATS_GAUGE, .metric = "packet_flows_limit",
     .help = "Flows of packets that the flow caches have places for."},
    {MEMBER(aggregates), .kind = STATS_GAUGE, .metric = "aggregates",
     .help = "Aggregates that wait for the end of their interval."},
    {MEMBER(aggregates_limit), .kind = STATS_GAUGE, .metric = "aggregates_limit",
     .help = "Aggregates that there are places for; 0 without aggregation."},
    {MEMBER(drain), .kind = STATS_HISTOGRAM, .metric = "drain_seconds",
     .help = "How long a worker took to take what had come, and to hand it on."},
};
#undef MEMBER
#undef COUNTER

#define COUNTER(member) .name = #member, .offset = offsetof(struct collector_stats, member)
#define MEMBER(member)  .offset = offsetof(struct collector_stats, member)
static const struct stats_row collector_rows[] = {
    {COUNTER(records), .metric = "collector_records_total", .help = "Data records sent to the collector."},
    {COUNTER(datagrams), .metric = "collector_datagrams_total",
     .help = "Datagrams sent to the collector, those with templates included."},
    {COUNTER(octets), .metric = "collector_bytes_total", .help = "UDP payload sent to the collector."},
    {COUNTER(records_dropped), .metric = "collector_dropped_total", .label = "reason", .value = "queue",
     .help = "Data records that were not sent to the collector."},
    {COUNTER(datagrams_dropped), .metric = "collector_datagrams_dropped_total",
     .help = "Datagrams that the dropped data records were in."},
    {COUNTER(send_errors), .metric = "collector_send_errors_total",
     .help = "Sends to the collector that failed; most are made good."},
    {COUNTER(unreachable), .metric = "collector_unreachable_total",
     .help = "ICMP errors that came back from the way to the collector."},
    {COUNTER(reconnects), .metric = "collector_reconnects_total",
     .help = "Times the socket to the collector was connected anew."},
    {COUNTER(lookups_failed), .metric = "collector_lookups_failed_total",
     .help = "Times the collector's name could not be resolved."},
    {COUNTER(flows_passed_over), .metric = "collector_flows_passed_over_total",
     .help = "Flows that others of the collector's group got, while it was unreachable."},
    {MEMBER(up), .kind = STATS_GAUGE, .metric = "collector_up",
     .help = "Whether nothing is known to keep the collector from taking records: 1, else 0."},
    {MEMBER(queued_records), .kind = STATS_GAUGE, .metric = "collector_queued_records",
     .help = "Data records that wait for the collector."},
    {MEMBER(delay), .kind = STATS_HISTOGRAM, .metric = "collector_delay_seconds",
     .help = "How long after the earliest end in it a datagram with data was sent to the collector."},
};
#undef MEMBER
#undef COUNTER

enum {
    ROWS = sizeof(rows) / sizeof(rows[0]),
    COLLECTOR_ROWS = sizeof(collector_rows) / sizeof(collector_rows[0])
};
/* What has more than one number is no row of its own: */
_Static_assert(ROWS * sizeof(uint64_t) == sizeof(struct stats) -
                                              (STATS_PROTOCOLS * STATS_END_REASONS - 1) * sizeof(uint64_t) -
                                              (sizeof(struct stats_histogram) - sizeof(uint64_t)),
               "a row is missing");
_Static_assert(COLLECTOR_ROWS * sizeof(uint64_t) ==
                   sizeof(struct collector_stats) - (sizeof(struct stats_histogram) - sizeof(uint64_t)),
               "a row is missing");

const struct stats_row *stats_row(size_t number)
{
    return number < ROWS ? &rows[number] : NULL;
}

const struct stats_row *stats_collector_row(size_t number)
{
    return number < COLLECTOR_ROWS ? &collector_rows[number] : NULL;
}

const struct stats_row *stats_build_row(void)
{
    static const struct stats_row row = {.kind = STATS_GAUGE,
                                         .metric = "build_info",
                                         .label = "version",
                                         .value = CTFLOW9_VERSION,
                                         .help = "1: its label tells the version."};
    return &row;
}

/* ---- flows ---- */

const char *const stats_protocol_names[STATS_PROTOCOLS] = {"tcp", "udp", "icmp", "other"};

/* In the order of enum flow_end_reason, which is IANA's. */
const char *const stats_end_reason_names[STATS_END_REASONS] = {"unknown", "idle",   "active",
                                                               "end",     "forced", "resources"};

/* ---- histograms ---- */

static const uint64_t limits_ns[STATS_LIMITS] = {
    100 * NS_PER_US, 250 * NS_PER_US,  500 * NS_PER_US, NS_PER_MS,       2500 * NS_PER_US, 5 * NS_PER_MS,
    10 * NS_PER_MS,  25 * NS_PER_MS,   50 * NS_PER_MS,  100 * NS_PER_MS, 250 * NS_PER_MS,  500 * NS_PER_MS,
    NS_PER_S,        2500 * NS_PER_MS, 10 * NS_PER_S,   60 * NS_PER_S};

uint64_t stats_limit_ns(unsigned number)
{
    return limits_ns[number];
}

void stats_observe(struct stats_histogram *histogram, uint64_t ns)
{
    unsigned i = 0;
    while (i < STATS_LIMITS && ns > limits_ns[i])
        i++;
    stats_count(&histogram->count[i], 1);
    stats_count(&histogram->sum_ns, ns);
}

/* ---- sums and lines ---- */

/* "events 1234, lost 0, …" */
static void write_counters(char text[LOG_LINE_MAX], const struct stats_row *row, size_t count,
                           const void *stats)
{
    size_t octets = 0;
    for (const struct stats_row *end = row + count; row < end && octets < LOG_LINE_MAX; row++) {
        if (!row->name)
            continue;
        uint64_t value = atomic_load_explicit(stats_place(row, stats), memory_order_relaxed);
        octets += (size_t)snprintf(text + octets, LOG_LINE_MAX - octets, "%s%s %" PRIu64,
                                   octets == 0 ? "" : ", ", row->name, value);
    }
}

void stats_add(struct stats *total, const struct stats *more)
{
    _Atomic uint64_t *sum = (void *)total;
    const _Atomic uint64_t *part = (const void *)more;
    for (size_t i = 0; i < sizeof(*total) / sizeof(*sum); i++)
        stats_count(&sum[i], atomic_load_explicit(&part[i], memory_order_relaxed));
}

void stats_add_since(struct stats *total, const struct stats *part, struct stats *added)
{
    _Atomic uint64_t *sum = (void *)total, *before = (void *)added;
    const _Atomic uint64_t *now = (const void *)part;
    for (size_t i = 0; i < sizeof(*total) / sizeof(*sum); i++) {
        uint64_t value = atomic_load_explicit(&now[i], memory_order_relaxed);
        stats_count(&sum[i], value - atomic_load_explicit(&before[i], memory_order_relaxed));
        stats_set(&before[i], value);
    }
}

void stats_add_ended(struct stats *total, const struct stats *more)
{
    stats_add(total, more);
    for (const struct stats_row *row = rows; row < rows + ROWS; row++)
        if (row->kind == STATS_GAUGE)
            stats_set((_Atomic uint64_t *)(void *)((char *)total + row->offset), 0);
}

void stats_log(const struct stats *stats)
{
    char text[LOG_LINE_MAX];
    write_counters(text, rows, ROWS, stats);
    log_info("totals: %s", text);
}

void stats_log_collector(const char *name, const struct collector_stats *stats)
{
    char text[LOG_LINE_MAX];
    write_counters(text, collector_rows, COLLECTOR_ROWS, stats);
    log_info("totals of %s: %s", name, text);
}
