/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/flow/flow.h"
#include "ctflow9/input/counter_table.h"
#include "ctflow9/input/source.h"

/*
 * What sources of named counters have in common: a thread of its own reads all of them once in an interval,
 * and once more at the end, so that no worker waits for the kernel; what they have counted in between
 * (counter_table.h) goes through a bounded ring to worker 0, which hands it on as flows. The thread waits
 * when that ring is full.
 */
struct counter_poll;

struct counter_poll_config {
    const char *what; /* that is read, for people: "nfacct's counters" */
    uint64_t interval_ns;
    /*
     * Reads all counters there are, and calls counter_poll_see() for each. fd is a netlink socket in the
     * network namespace of opening. 0, or -errno: not all were read.
     */
    int (*read)(int fd, struct counter_poll *poll);
};

/* 0 or -errno, with the reason logged. Reads nothing yet. */
int counter_poll_open(struct source **source, const struct source_ops *ops,
                      const struct counter_poll_config *config, const struct source_worker *worker);

/* Its socket, for what is to be asked before the start. */
int counter_poll_fd(const struct source *source);

/* For read(): a counter, and how it is to be shown; identity is that of the reading. */
void counter_poll_see(struct counter_poll *poll, const struct counter_reading *reading,
                      enum flow_counter_source source, const char *name);

/* These are members of source_ops, all that such a source has besides open. */
void counter_poll_close(struct source *source);
int counter_poll_start(struct source *source);
unsigned counter_poll_drain(struct source *source, unsigned worker, unsigned limit);
bool counter_poll_is_drained(const struct source *source, unsigned worker);
bool counter_poll_await(struct source *source, bool hurried);
void counter_poll_halt(struct source *source);

#define COUNTER_POLL_OPS                                                                   \
    .close = counter_poll_close, .start = counter_poll_start, .drain = counter_poll_drain, \
    .is_drained = counter_poll_is_drained, .await = counter_poll_await, .halt = counter_poll_halt
