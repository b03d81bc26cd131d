/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/service/exporter.h"
#include "ctflow9/service/metrics.h"
#include "ctflow9/service/notify.h"
#include "ctflow9/service/reload.h"
#include "ctflow9/service/signals.h"
#include "ctflow9/service/workers_config.h"

/*
 * The threads that read. Each worker does its part of every source (source.h), and knows nothing else of
 * them. At rest it waits for the first event; from then on it drains its sources once a millisecond, because
 * being woken for every event costs reader and kernel half as much again; a drain that finds nothing ends
 * that. The first worker is the calling thread, and handles signals.
 *
 * A worker never waits for another: what it has to export goes into its ring (with one worker, straight to
 * the exporter), and the exporter is a role that whoever gets it exercises for all (export_role.h). A worker
 * whose ring is full leaves its events in the socket until there is room.
 */
struct workers;

/* Opens all sources, in the thread's present network namespace. 0 or -errno, with the reason logged. */
int workers_open(struct workers **workers, const struct workers_config *config);
void workers_close(struct workers *workers); /* NULL is fine */

/*
 * Runs until a signal says to end, or until nobody is left to export to; SIGUSR1 logs the totals, SIGHUP
 * reloads. signals is what signals_open() returned. At the end what the kernel has kept and already sent is
 * read, what is known of connections that last is handed on, and what the kernel still keeps is counted as
 * left behind. The exporter still holds flows then. totals is what the exporter counts in; what the workers
 * counted is added to it.
 *
 * With --netns: when the name leads to another namespace than the one that was opened, all this is done as
 * well, and WORKERS_MOVED returned: open other workers there. Else 0 or -errno.
 */
enum { WORKERS_MOVED = 1 };
int workers_run(struct workers *workers, struct exporter *exporter, struct stats *totals,
                struct signals *signals);

/*
 * After WORKERS_MOVED: until there is a namespace of that name, for it may be gone again by now. What is held
 * goes on being exported, notify and metrics are told of totals, and a reload that is under way comes to its
 * end. false: a signal said to end.
 */
bool workers_await_netns(const char *netns, struct exporter *exporter, const struct stats *totals,
                         struct signals *signals, struct notify *notify, struct metrics *metrics,
                         struct reload *reload);
