/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/base/tell_once.h"

/*
 * Keeps reliable delivery from harming the router. Events that the kernel keeps to send again keep their
 * entries in the conntrack table, and a full table refuses new connections. So reliable delivery is let go of
 * when the table is nearly full while events do not fit into the receive buffer, and taken up again when the
 * table has drained. Only the decisions and the bookkeeping are here, no system call but in ct_guard_ask();
 * the caller reads the drop counter and sets the socket.
 */

enum { CT_GUARD_RELEASE_PERCENT = 90, CT_GUARD_RETURN_PERCENT = 75 };

struct ct_guard {
    struct stats *stats;
    bool wanted;         /* reliable delivery is asked for */
    bool released;       /* … and let go of at present */
    uint32_t drops_seen; /* the socket's drop counter at the last booking */
    struct tell_once losses;
};

struct ct_guard_table {
    uint32_t entries;
    uint32_t limit; /* nf_conntrack_max; 0 = none, or an old kernel that does not tell */
};

enum ct_guard_verdict { CT_GUARD_STAY, CT_GUARD_RELEASE, CT_GUARD_RETURN };

/* For a socket that has dropped nothing yet. stats outlives the guard. */
void ct_guard_init(struct ct_guard *guard, bool reliable, struct stats *stats);

/*
 * Books what the socket dropped since the last call (its counter, which wraps, is given): deferred in
 * reliable mode, lost in the other. Call it on the reliable side of every change of the mode, before
 * releasing and after returning, so that a drop in between counts as lost, never as deferred. Returns how
 * many dropped.
 */
uint32_t ct_guard_book(struct ct_guard *guard, uint32_t drops);

/* Whether ct_guard_judge() needs to know the table: reliability may have to change. dropped: what
 * ct_guard_book() said. */
bool ct_guard_is_concerned(const struct ct_guard *guard, uint32_t dropped);

/* What to do about a table this full. */
enum ct_guard_verdict ct_guard_judge(const struct ct_guard *guard, const struct ct_guard_table *table);

/* The mode was changed as the verdict said: notes it and counts a release. */
void ct_guard_changed(struct ct_guard *guard, enum ct_guard_verdict verdict);

/* Losses that are to be told now: those of the past minute, once a minute; else 0. */
uint64_t ct_guard_losses_to_tell(struct ct_guard *guard, uint64_t now_ns);

/* Asks the kernel (IPCTNL_MSG_CT_GET_STATS) through a socket for requests. 0 or -errno. */
int ct_guard_ask(int request_fd, struct ct_guard_table *table);
