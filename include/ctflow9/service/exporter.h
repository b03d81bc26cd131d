/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/config/options.h"
#include "ctflow9/flow/flow.h"

/* One flow to every output: NetFlow to the collectors, a line or a JSON object to standard output. One thread
 * owns it. */
struct exporter;

/* 0, or -errno with the reason logged. options and stats outlive the exporter. */
int exporter_open(struct exporter **exporter, const struct options *options, struct stats *stats,
                  struct instant now);
void exporter_close(struct exporter *exporter); /* NULL is fine */

/* Before each drain: the time that its flows begin to wait at. */
void exporter_begin(struct exporter *exporter, struct instant now);
/* A flow_sink; context is the struct exporter. */
void exporter_add(void *exporter, const struct flow *flow);

/*
 * Sends and writes what may leave. To be called after every drain and wait. 0, or -EPIPE when nobody is left
 * to export to: there is no collector, and standard output's reader is gone.
 */
int exporter_run(struct exporter *exporter, struct instant now);
void exporter_wants(const struct exporter *exporter, struct poll_set *set);

/* Sends all that is held, waiting two seconds at most for slow takers; the rest is counted as dropped. */
void exporter_finish(struct exporter *exporter);

/* Logs each collector's totals. */
void exporter_log_stats(const struct exporter *exporter);
