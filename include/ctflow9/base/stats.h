/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Every counter has one name: that of its member here, in the log, and in ctflow9(8), which a test compares
 * with the tables of stats.c. Each struct belongs to the one thread that counts in it; others may look.
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
    _Atomic uint64_t counters_reset; /* times that a connection's counters were lower than when last seen */
    _Atomic uint64_t uncounted;      /* connections in a flowtable that does not count their packets */
    _Atomic uint64_t flows; /* reports: one for each connection, of one that lasts one for each part */
    _Atomic uint64_t flows_no_counters; /* of those, reports without counters */
    _Atomic uint64_t records;           /* NetFlow data records encoded */
    _Atomic uint64_t datagrams;         /* NetFlow data datagrams sealed */
    _Atomic uint64_t aggregates_early;  /* aggregates that left early: the table was full */
    _Atomic uint64_t lines;             /* lines written to standard output */
    _Atomic uint64_t lines_lost;        /* lines that standard output did not take in time */
    _Atomic uint64_t readers;           /* that came to the JSON socket */
    _Atomic uint64_t readers_refused;   /* that it had no room for */
    _Atomic uint64_t reader_lines;      /* lines written to them, to all together */
    _Atomic uint64_t reader_lines_lost; /* lines that they did not take in time */
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
    _Atomic uint64_t lookups_failed; /* times the host name could not be resolved */
};

/* Counts n more; for the counter's own thread. Relaxed: a counter says nothing of anything else. */
static inline void stats_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* The name of the counter with that number, in the order of its members; NULL after the last. */
const char *stats_name(size_t number);
const char *stats_collector_name(size_t number);

/* Adds every counter of more to total. */
void stats_add(struct stats *total, const struct stats *more);

/*
 * One line each through log_info(): "totals: events 1234, lost 0, …" and "totals of NAME: records 1234, …".
 * Every counter is there, in the order of its members.
 */
void stats_log(const struct stats *stats);
void stats_log_collector(const char *name, const struct collector_stats *stats);
