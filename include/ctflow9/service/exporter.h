/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/host_port.h"
#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"
#include "ctflow9/netflow/aggregate.h"
#include "ctflow9/output/balance.h"
#include "ctflow9/output/collector.h"
#include "ctflow9/service/metrics_sample.h"

/* One flow to every output: NetFlow to the collectors, a line or a JSON object to standard output, JSON
 * objects to the readers of a socket. One thread owns it. */
struct exporter;

struct exporter_config {
    const struct host_port *collectors; /* addresses or names */
    const uint8_t *collector_groups;    /* of each, as feeds.h has them */
    size_t collector_count;             /* 0 = no NetFlow */
    enum balance_kind balance;          /* of groups */
    struct collector_config each;       /* of each collector */
    uint32_t source_id;
    uint32_t max_datagram; /* octets of UDP payload, PACKET_OCTETS_MIN..PACKET_OCTETS_MAX */
    uint64_t max_delay_ns; /* that a record waits for others */
    uint32_t fields;       /* enum fields_optional */
    struct aggregate_by aggregate;
    uint32_t aggregate_interval_s;
    uint32_t aggregate_capacity; /* aggregates at the same time */
    uint32_t active_timeout_s;   /* told to the collectors; 0 = none */
    uint32_t idle_timeout_s;     /* of packet flows, likewise; 0 = there are none */
    bool has_counters;           /* there are named counters among the flows: FLOW_COUNTER */
    bool print;                  /* lines on standard output, which are there without other outputs anyway */
    bool json;                   /* likewise, as JSON */
    const char *json_socket;     /* where readers of JSON connect to; NULL = nowhere */
};

/* Copies of config what it keeps. stats outlives the exporter. 0, or -errno with the reason logged. */
int exporter_open(struct exporter **exporter, const struct exporter_config *config, struct stats *stats,
                  struct instant now);
void exporter_close(struct exporter *exporter); /* NULL is fine */

/* The interfaces' names from now on; they are the exporter's, to be freed. */
void exporter_name_interfaces(struct exporter *exporter, struct interface_names *names);

/* Before each drain: the time that its flows begin to wait at. */
void exporter_begin(struct exporter *exporter, struct instant now);
/* A flow_sink; context is the struct exporter. */
void exporter_add(void *exporter, const struct flow *flow);

/*
 * Sends and writes what may leave. To be called after every drain and wait. 0, or -EPIPE when nobody is left
 * to export to: standard output's reader is gone, and there is no other output.
 */
int exporter_run(struct exporter *exporter, struct instant now);
void exporter_wants(const struct exporter *exporter, struct poll_set *set);

/* Sends all that is held, waiting two seconds at most for slow takers; the rest is counted as dropped. */
void exporter_finish(struct exporter *exporter);

/* Any thread: data records that were dropped so far, for all collectors together. */
uint64_t exporter_records_dropped(struct exporter *exporter);

/*
 * Another configuration, while it runs. Any thread makes the change from the present configuration and the
 * wanted one, and offers it; the owner takes it in its next runs, as soon as what the last change has
 * replaced is gone, and then calls wake() with wake_fd. Then, or when it was never offered, it may be closed.
 * One at a time.
 *
 * What may differ: the collectors that are in no group, what of each is not its queue, max_delay_ns, fields,
 * aggregation, and active_timeout_s. Records that are being made until then leave as they were to; collectors
 * that go on miss nothing and get nothing twice, those that are removed get what there is.
 */
struct exporter_change;

/* 0 or -errno. */
int exporter_prepare(struct exporter_change **change, struct exporter *exporter,
                     const struct exporter_config *present, const struct exporter_config *wanted,
                     int wake_fd);
void exporter_change_close(struct exporter_change *change); /* NULL is fine */
void exporter_offer(struct exporter *exporter, struct exporter_change *change);
bool exporter_has_taken(const struct exporter_change *change);
/* The owner takes no more: what is offered may be closed. */
void exporter_withdraw(struct exporter *exporter);

/* What each collector has come to. */
void exporter_sample(struct exporter *exporter, struct metrics_sample *sample);

/* Logs each collector's totals. */
void exporter_log_stats(const struct exporter *exporter);
