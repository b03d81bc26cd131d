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
 * it lets go, or the one takes that the holder wakes when it gives the role up.
 *  4. Nobody has it for ever: while others ask again and again, the holder may give it up after any round.
 *
 * Progress: asking, beginning and giving up are wait-free; releasing is one compare-exchange, and another
 * round of the holder's work when somebody has asked since the last one began.
 */
struct export_role {
    _Atomic int state;
};

enum export_role_state { EXPORT_ROLE_FREE, EXPORT_ROLE_HELD, EXPORT_ROLE_ASKED };

/* true: the role is the caller's, until export_role_release() says so. */
static inline bool export_role_take(struct export_role *role)
{
    /* Acquire pairs with the releases in export_role_release() and export_role_give_up(): all that the last
     * holder did. Release pairs with the acquires in export_role_begin() and export_role_give_up(): what the
     * caller has put into its ring. */
    return atomic_exchange_explicit(&role->state, EXPORT_ROLE_ASKED, memory_order_acq_rel) ==
           EXPORT_ROLE_FREE;
}

/* Before the holder looks into the rings. */
static inline void export_role_begin(struct export_role *role)
{
    /* Pairs with the release in export_role_take() of everybody who asked until now. */
    atomic_exchange_explicit(&role->state, EXPORT_ROLE_HELD, memory_order_acquire);
}

/* false: somebody has asked since export_role_begin(). There is another round to do, or the role to be given
 * up. */
static inline bool export_role_release(struct export_role *role)
{
    int held = EXPORT_ROLE_HELD;
    return atomic_compare_exchange_strong_explicit(&role->state, &held, EXPORT_ROLE_FREE,
                                                   memory_order_release, memory_order_relaxed);
}

/* Instead of another round. The caller then wakes one that will take the role. */
static inline void export_role_give_up(struct export_role *role)
{
    /* Acquire pairs with the release in export_role_take() of those who asked in vain, release with the
     * acquire of the one that takes it next: that one sees what all of them have put into their rings. */
    atomic_exchange_explicit(&role->state, EXPORT_ROLE_FREE, memory_order_acq_rel);
}
