/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The signals that ctflow9 handles, through a descriptor: SIGTERM, SIGINT and SIGHUP end it, SIGUSR1 asks for
 * the totals. SIGPIPE and SIGXFSZ are ignored. A SIGHUP that was ignored when ctflow9 was started (nohup)
 * stays so.
 */

/* What was asked for. */
enum signals_wish { SIGNALS_END = 1 << 0, SIGNALS_TOTALS = 1 << 1 };

/* Blocks the signals for the calling thread and those that it makes. A descriptor that becomes readable when
 * one comes, or -errno. */
int signals_open(void);

/* Takes all that have come: enum signals_wish, or 0. */
unsigned signals_take(int fd);
