/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * Which member of a group a flow goes to: by its original source address, or each in turn. A flow is whole:
 * both of its directions, and every part of a connection that lasts, go to one member by its address.
 *
 *  - BALANCE_HASH is rendezvous hashing: each member has a weight for each address, made of the member's
 * name, and the heaviest one gets it. Members' order does not matter, and one that comes or goes moves only
 * what it gets.
 *  - A member that is passed over gets nothing: its addresses go to the next heaviest each, in turn to the
 *    next. When all are passed over it is as if none were.
 *
 * One thread owns it.
 */
struct balance;

enum balance_kind { BALANCE_HASH, BALANCE_ROUNDROBIN };

/* names: of count members, at least one; they are not kept. 0 or -ENOMEM. */
int balance_open(struct balance **balance, enum balance_kind kind, const char *const *names, size_t count);
void balance_close(struct balance *balance); /* NULL is fine */

/* Whether a member is passed over from now on. */
void balance_pass_over(struct balance *balance, size_t member, bool is_passed_over);

/* Whose flow it would be if none were passed over; and who gets it. */
struct balance_choice {
    size_t owner, taker;
};
struct balance_choice balance_choose(struct balance *balance, const struct flow *flow);
