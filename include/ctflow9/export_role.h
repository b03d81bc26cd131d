/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/*
 * Exporting is a role, not a thread: whichever worker has finished its drain takes it, unless another has it
 * already.
 *
 * Guarantees:
 *  1. One thread at a time has the role, and sees all that the one before it did.
 *  2. Nobody waits: asking is one atomic exchange. Who does not get the role goes on with its own work.
 *  3. Nothing is left lying: what a thread put into its ring before it asked in vain, the holder takes before
 * it lets go.
 *
 * Progress: asking is wait-free; letting go is one compare-exchange, and another round of the holder's work
 * for each time that somebody has asked since the last one began.
 */
struct export_role {
    _Atomic int state;
};

enum export_role_state { EXPORT_ROLE_FREE, EXPORT_ROLE_HELD, EXPORT_ROLE_ASKED };

/* true: the role is the caller's, until export_role_release() says so. */
static inline bool export_role_take(struct export_role *role)
{
    /* Acquire pairs with the release in export_role_release(): all that the last holder did. Release pairs
     * with the acquire in export_role_begin(): what the caller has put into its ring. */
    return atomic_exchange_explicit(&role->state, EXPORT_ROLE_ASKED, memory_order_acq_rel) ==
           EXPORT_ROLE_FREE;
}

/* Before the holder looks into the rings. */
static inline void export_role_begin(struct export_role *role)
{
    /* Pairs with the release in export_role_take() of everybody who asked until now. */
    atomic_exchange_explicit(&role->state, EXPORT_ROLE_HELD, memory_order_acquire);
}

/* false: somebody has asked since export_role_begin(), there is another round to do. */
static inline bool export_role_release(struct export_role *role)
{
    int held = EXPORT_ROLE_HELD;
    return atomic_compare_exchange_strong_explicit(&role->state, &held, EXPORT_ROLE_FREE,
                                                   memory_order_release, memory_order_relaxed);
}
