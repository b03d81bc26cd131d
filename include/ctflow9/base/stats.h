/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { STATS_PROTOCOLS = 4, STATS_END_REASONS = 6 }; /* TCP, UDP, ICMP, others */

/* How often something took how long. The limits are those of stats_limit_ns(). */
enum { STATS_LIMITS = 16 };
struct stats_histogram {
    _Atomic uint64_t count[STATS_LIMITS + 1]; /* up to each limit, above the one before; the last: longer */
    _Atomic uint64_t sum_ns;
};

/*
 * Every counter has one name: that of its member here, in the log, and in ctflow9(8), which a test compares
 * with the tables of stats.c. The same tables say under which name it is a metric. Each struct belongs to the
 * one thread that counts in it; others may look. All members are _Atomic uint64_t, or made of them.
 */
struct stats {
    _Atomic uint64_t
        events; /* DESTROY messages that the kernel sent and ctflow9 received, malformed ones included */
    _Atomic uint64_t lost; /* events that the kernel dropped for want of receive buffer, not sent again */
    _Atomic uint64_t malformed; /* events that could not be decoded */
    _Atomic uint64_t truncated; /* messages longer than the buffer they are received into */
    _Atomic uint64_t ignored;   /* messages of another type than DESTROY */
    _Atomic uint64_t foreign;   /* messages that a program sent, not the kernel */
    _Atomic uint64_t deferred; /* events that did not fit into the receive buffer and that the kernel keeps to
                          send again */
    _Atomic uint64_t left_behind;    /* of those, the ones that the kernel still kept at the end */
    _Atomic uint64_t guard_releases; /* times that reliable delivery was let go of because the conntrack table
                                was nearly full */
    _Atomic uint64_t
        repeated; /* events that came again, because another listener did not take them: dropped */
    _Atomic uint64_t adopted; /* connections that began before ctflow9 */
    _Atomic uint64_t
        table_full;         /* looks at long connections that found no place in the table (--table-size) */
    _Atomic uint64_t looks; /* through the conntrack table */
    _Atomic uint64_t looks_cpu_us; /* CPU time of the thread that looks, in microseconds */
    _Atomic uint64_t gone;  /* connections that ended without an event, closed with what was last known */
    _Atomic uint64_t empty; /* events of connections whose counters were 0: nothing to report */
    _Atomic uint64_t counters_reset;   /* times that a connection's counters were lower than when last seen */
    _Atomic uint64_t uncounted;        /* connections in a flowtable that does not count their packets */
    _Atomic uint64_t interfaces_noted; /* reports whose interfaces a BPF program had noted */
    _Atomic uint64_t notes_evicted;    /* what it had noted, and gave up for want of room */
    _Atomic uint64_t interfaces_known; /* reports whose interfaces were at hand, */
    _Atomic uint64_t interfaces_asked; /* reports that the kernel's routing was asked about */
    _Atomic uint64_t interfaces_unknown; /* reports without interfaces, though they are looked for */
    _Atomic uint64_t packets;            /* packets that the kernel logged or queued and ctflow9 received */
    _Atomic uint64_t packets_lost;  /* of those it logged or queued, the ones that ctflow9 did not count */
    _Atomic uint64_t packets_other; /* that are not IP */
    _Atomic uint64_t packets_malformed; /* whose addresses could not be read */
    _Atomic uint64_t packets_unsized;   /* that do not tell their length: counted with 0 octets */
    _Atomic uint64_t cache_full;        /* packet flows that ended because another needed their place */
    _Atomic uint64_t flows; /* reports: one for each connection, of one that lasts one for each part */
    _Atomic uint64_t flows_no_counters;   /* of those, reports without counters */
    _Atomic uint64_t named_counters;      /* reports of named counters that counted something */
    _Atomic uint64_t named_counters_anew; /* times that one began anew: set to 0, or made again */
    _Atomic uint64_t named_counters_full; /* looks at one that there was no room for */
    _Atomic uint64_t named_counters_lost; /* reports that the end came before */
    _Atomic uint64_t records;             /* NetFlow data records encoded */
    _Atomic uint64_t datagrams;           /* NetFlow data datagrams sealed */
    _Atomic uint64_t aggregates_early;    /* aggregates that left early: the table was full */
    _Atomic uint64_t lines;               /* lines written to standard output */
    _Atomic uint64_t lines_lost;          /* lines that standard output did not take in time */
    _Atomic uint64_t readers;             /* that came to the JSON socket */
    _Atomic uint64_t readers_refused;     /* that it had no room for */
    _Atomic uint64_t reader_lines;        /* lines written to them, to all together */
    _Atomic uint64_t reader_lines_lost;   /* lines that they did not take in time */

    /* What goes out as metrics alone. */
    _Atomic uint64_t flows_by[STATS_PROTOCOLS][STATS_END_REASONS]; /* flows; enum flow_end_reason */
    _Atomic uint64_t tracked;            /* present: connections in the table of those that last */
    _Atomic uint64_t tracked_limit;      /* present: that it has places for */
    _Atomic uint64_t packet_flows;       /* present: flows in the flow caches of packets */
    _Atomic uint64_t packet_flows_limit; /* present: that they have places for */
    _Atomic uint64_t aggregates;         /* present: that wait for the end of their interval */
    _Atomic uint64_t aggregates_limit;   /* present: that there are places for */
    struct stats_histogram drain;        /* how long a worker took to take what had come */
};

struct collector_stats {
    _Atomic uint64_t records;         /* data records sent */
    _Atomic uint64_t datagrams;       /* datagrams sent, templates included */
    _Atomic uint64_t octets;          /* UDP payload sent */
    _Atomic uint64_t records_dropped; /* data records that never left: the queue was full, or ctflow9 ended */
    _Atomic uint64_t datagrams_dropped; /* datagrams those were in */
    _Atomic uint64_t send_errors;       /* sends that failed, whatever the reason */
    _Atomic uint64_t unreachable;       /* ICMP errors that came back (closed port, no route, …) */
    _Atomic uint64_t
        reconnects; /* times the socket was connected anew (local address lost, host name moved) */
    _Atomic uint64_t lookups_failed;    /* times the host name could not be resolved */
    _Atomic uint64_t flows_passed_over; /* flows that others of its group got, while it was unreachable */

    /* What goes out as metrics alone. */
    _Atomic uint64_t up;             /* present: 1 = nothing is known to keep it from taking records */
    _Atomic uint64_t queued_records; /* present: data records that wait for it */
    struct stats_histogram delay;    /* of data datagrams: from the earliest end in it to its sending */
};

/* Counts n more; for the counter's own thread. Relaxed: a counter says nothing of anything else. */
static inline void stats_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Likewise, a time that something took. */
void stats_observe(struct stats_histogram *histogram, uint64_t ns);
/* The limits of histograms in their order, number is below STATS_LIMITS. */
uint64_t stats_limit_ns(unsigned number);

/* Likewise, a value that goes up and down. */
static inline void stats_set(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}
static inline void stats_move(_Atomic uint64_t *gauge, int64_t by)
{
    stats_count(gauge, (uint64_t)by);
}

enum stats_kind {
    STATS_COUNTER,
    STATS_FLOWS, /* the counters flows_by */
    STATS_GAUGE,
    STATS_HISTOGRAM,
};

/* A row of the tables: one for each member of a struct, in their order. */
struct stats_row {
    const char *name; /* of a counter that is logged; else NULL */
    size_t offset;    /* in its struct */
    enum stats_kind kind;
    const char *metric;        /* its name after "ctflow9_"; NULL = another row tells it */
    const char *label, *value; /* that tell it from other rows of that metric; NULL = there are none */
    uint32_t parts;            /* of the metric's unit, that are counted: 1000000 for microseconds; 0 = 1 */
    const char *help;          /* of the first row of a metric */
};

/* The row with that number; NULL after the last. */
const struct stats_row *stats_row(size_t number);
const struct stats_row *stats_collector_row(size_t number);
/* One that is in no struct, and always 1: its label tells the version. */
const struct stats_row *stats_build_row(void);

/* Where the row's member is in its struct. */
static inline const _Atomic uint64_t *stats_place(const struct stats_row *row, const void *stats)
{
    return (const void *)((const char *)stats + row->offset);
}

/* The first index of flows_by, of a protocol; what each index is called as a label. */
static inline unsigned stats_protocol(uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return 0;
    case IPPROTO_UDP:
        return 1;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return 2;
    default:
        return 3;
    }
}
extern const char *const stats_protocol_names[STATS_PROTOCOLS];
extern const char *const stats_end_reason_names[STATS_END_REASONS];

/* Adds everything in more to total. */
void stats_add(struct stats *total, const struct stats *more);
/* The same of what part has counted since the last call; added is that of one part and one total, all 0 at
 * first. */
void stats_add_since(struct stats *total, const struct stats *part, struct stats *added);
/* The same of what has ended: there are no present values. */
void stats_add_ended(struct stats *total, const struct stats *more);

/*
 * One line each through log_info(): "totals: events 1234, lost 0, …" and "totals of NAME: records 1234, …".
 * Every counter with a name is there, in the order of its members.
 */
void stats_log(const struct stats *stats);
void stats_log_collector(const char *name, const struct collector_stats *stats);
