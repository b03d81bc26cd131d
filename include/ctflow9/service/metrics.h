/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/base/host_port.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/service/metrics_sample.h"

/*
 * Tells the metrics: over HTTP to whoever asks (metrics_server.h), and once in 15 s in a file
 * (metrics_file.h). A thread of its own does that, and is nice to those that read.
 *
 * Whoever exports fills in the sample. He finds the wish for one after a drain, by a look at one word, and
 * waits for nothing: the thread alone waits, and tells those who asked when no sample comes. However often it
 * is asked, it wishes for one five times a second at most. So it knows no worker, nor who they are: they may
 * go, and others come.
 *
 * NULL, for every function: nobody wants metrics.
 */
struct metrics;

struct metrics_config {
    struct host_port address; /* port 0 = no HTTP */
    const char *file;         /* "" = none; outlives the metrics */
};

/*
 * Listens, and tries whether the file can be written; no thread yet. *metrics is NULL when neither is wanted.
 * 0, or -errno with the reason logged.
 */
int metrics_open(struct metrics **metrics, const struct metrics_config *config);

/* Begins, if that has not been done yet. 0, or -errno with the reason logged. */
int metrics_start(struct metrics *metrics);

/* Ends the thread, and removes the file: what it tells is no longer so. */
void metrics_close(struct metrics *metrics);

/* Logs a sample as JSON, in one line: "metrics: {…}". */
void metrics_log(const struct metrics_sample *sample);

/* For whoever waits before exporting: the wait ends when a sample is wished for. */
void metrics_wants(const struct metrics *metrics, struct poll_set *set);

/*
 * For whoever exports, one at a time: the sample to fill in if one is wished for, else NULL; and that it is
 * filled in.
 */
struct metrics_sample *metrics_wished(struct metrics *metrics);
void metrics_filled(struct metrics *metrics);
