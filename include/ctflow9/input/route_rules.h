/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"

/*
 * What the rules of routing look at (RTM_GETRULE), and when routing changes: the kernel's notices of routes,
 * next hops, rules, links and addresses. In the network namespace that the calling thread is in when they are
 * opened. Nothing here waits. One thread owns it.
 */
struct route_rules;

/* 0 or -errno. */
int route_rules_open(struct route_rules **rules);
void route_rules_close(struct route_rules *rules); /* NULL is fine */

/* Whether the kernel has told of a change since the last call. */
bool route_rules_take_notices(struct route_rules *rules);
void route_rules_wants(const struct route_rules *rules, struct poll_set *set);

/*
 * What rules of AF_INET or AF_INET6 look at beside the destination, as they are now: enum route_parts. All of
 * it when the kernel does not tell.
 */
uint8_t route_rules_read(struct route_rules *rules, uint8_t family);

/* What decides among several next hops, as the kernel is set now; likewise. */
uint8_t route_rules_read_balancing(const struct route_rules *rules, uint8_t family);
