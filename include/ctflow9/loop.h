/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/ct_events.h"
#include "ctflow9/exporter.h"
#include "ctflow9/stats.h"

/*
 * The one loop: at rest it waits for the first event; from then on it drains the socket once a millisecond,
 * because being woken for every event costs reader and kernel half as much again; a drain that finds nothing
 * ends that.
 */

/* Blocks the signals that the loop handles (SIGTERM, SIGINT, SIGUSR1). A signalfd, or -errno. Before any
 * thread starts. */
int loop_open_signals(void);

/*
 * Runs until SIGTERM or SIGINT, or until nobody is left to export to; SIGUSR1 logs the totals. At the end
 * what the kernel has already sent is drained, what is held is sent, and the totals are logged. 0 or -errno.
 */
int loop_run(struct ct_events *events, struct exporter *exporter, struct stats *stats, int signals);
