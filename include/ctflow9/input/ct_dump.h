/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow_ring.h"
#include "ctflow9/input/netlink_filter.h"

/*
 * Looks at the whole conntrack table again and again, in a thread of its own: hands rows to the workers that
 * own the connections and answers their questions about connections that a dump did not show. It waits for
 * workers that are busy, they never wait for it. The kernel's counters are only read, never reset.
 *
 * Looks are as many as cost little: a connection needs one row in each active timeout. The more a look takes,
 * the further they are apart, between the two intervals of the config. So that a connection is reported as
 * near to its time as may be, one is due whose time comes before the middle of the next interval.
 *
 * What it says to them and they to it, in which order, and what that proves: flow_note.h.
 */
struct ct_dump;

enum { CT_DUMP_WORKERS_MAX = 64 };

struct ct_dump_config {
    uint64_t interval_min_ns;   /* from the beginning of one dump to that of the next, */
    uint64_t interval_max_ns;   /* and at most, where it would take more than a hundredth of a core */
    uint64_t active_timeout_ns; /* what is due half an interval before or after it is handed on */
    uint64_t began_ns;          /* boot time; when ctflow9 began to listen */
    struct netlink_mark mark;
    struct stats *stats; /* the dump's thread counts its looks in it; outlives the dump */
    unsigned workers;    /* a connection belongs to worker CTA_ID modulo workers */
    struct ct_dump_worker {
        struct flow_ring *notes;     /* this thread is the producer */
        struct flow_ring *questions; /* this thread is the consumer */
        int wake_fd;                 /* wake.h: notes are waiting */
    } worker[CT_DUMP_WORKERS_MAX];
};

/* Sets the first three: looks as many as they need be for that. */
void ct_dump_config_timeout(struct ct_dump_config *config, uint64_t active_timeout_ns);

/* Opens the socket, in the thread's present network namespace. 0 or -errno, with the reason logged. */
int ct_dump_open(struct ct_dump **dump, const struct ct_dump_config *config);
void ct_dump_close(struct ct_dump *dump); /* after the thread ended; NULL is fine */

/* Starts the thread, with every signal blocked; the first dump begins at once. 0 or -errno. */
int ct_dump_start(struct ct_dump *dump);
/* Ends it, wherever it is; returns when it has ended. One that does not run, and NULL, is fine. */
void ct_dump_stop(struct ct_dump *dump);

/*
 * Before that, any thread: one more dump, as soon as a present one has ended, that hands on every connection
 * however young it is. When it does not show everything it begins again, a few times. When the workers have
 * taken all of it, it is over, and the first worker is woken.
 */
void ct_dump_finish(struct ct_dump *dump);
bool ct_dump_is_over(const struct ct_dump *dump);

/* Any thread: from the next dump on, which begins early. Not 0. */
void ct_dump_set_timeout(struct ct_dump *dump, uint64_t active_timeout_ns);

/*
 * Any thread: the next dump begins early, because events were lost; not before four times the CPU time that
 * the last one took has gone by.
 */
void ct_dump_hurry(struct ct_dump *dump);
