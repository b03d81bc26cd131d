/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/exporter.h"
#include "ctflow9/options.h"
#include "ctflow9/stats.h"

/*
 * The threads that read. Each worker has a socket of its own, through whose filter come the events of the
 * connections with CTA_ID modulo workers = its number, and the tracker of just those connections. At rest it
 * waits for the first event; from then on it drains its socket once a millisecond, because being woken for
 * every event costs reader and kernel half as much again; a drain that finds nothing ends that. The first
 * worker is the calling thread, and handles signals.
 *
 * A worker never waits for another: what it has to export goes into its ring (with one worker, straight to
 * the exporter), and the exporter is a role that whoever gets it exercises for all (export_role.h). A worker
 * whose ring is full leaves its events in the socket until there is room.
 */
struct workers;

/* Opens the sockets, in the thread's present network namespace. 0 or -errno, with the reason logged. */
int workers_open(struct workers **workers, const struct options *options);
void workers_close(struct workers *workers); /* NULL is fine */

/* Blocks the signals that workers_run() handles (SIGTERM, SIGINT, SIGUSR1). A signalfd, or -errno. Before any
 * thread starts. */
int workers_open_signals(void);

/*
 * Runs until SIGTERM or SIGINT, or until nobody is left to export to; SIGUSR1 logs the totals. At the end
 * what the kernel has already sent is drained, what is held is sent, and the totals are logged.
 * exporter_stats is what the exporter counts in. 0 or -errno.
 */
int workers_run(struct workers *workers, struct exporter *exporter, const struct stats *exporter_stats,
                int signals);
