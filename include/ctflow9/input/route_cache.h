/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/input/routes.h"

/*
 * What the kernel's routing has answered (routes.h), in two tables of fixed size: routes of addresses, and
 * ways of connections whose addresses do not decide alone. Where there is no room the older of two gives way.
 *
 * Guarantees:
 *  1. What is found was put for just that key, and is never half written.
 *  2. Finding is wait-free: what is being written meanwhile is not found.
 *
 * Who may run beside whom: one writer (put) beside any number of readers (find).
 *
 * Orders: each place has a version, odd while it is written. The writer's release stores of its words pair
 * with the reader's acquire loads of them in read_place(): who has seen a word of the next version sees that
 * version, too.
 */
struct route_cache;

/* What, beside the addresses of both ends, decides where packets go; 0 = each address alone. */
enum route_parts {
    ROUTE_BY_BOTH = 1 << 0, /* both addresses together */
    ROUTE_BY_PORTS = 1 << 1,
    ROUTE_BY_MARK = 1 << 2,
    ROUTE_BY_TOS = 1 << 3,
    ROUTE_BY_ALL = (1 << 4) - 1,
};

/* As routing is now. */
struct route_state {
    uint32_t generation; /* from 2 on: one more with each change */
    uint64_t changed_ns; /* wall clock: the last one */
    uint8_t parts[2];    /* that rules look at: of IPv4 and IPv6; enum route_parts */
};

enum route_found {
    ROUTE_UNASKED, /* or not since the last change */
    ROUTE_UNKNOWN, /* the kernel has no answer */
    ROUTE_NOTED,   /* in the flow */
};

/* A connection that ends no later than this after a change went where it went before. */
#define ROUTE_GRACE_NS NS_PER_S

/* places of each table, a power of two. 0 or -ENOMEM. */
int route_cache_open(struct route_cache **cache, uint32_t places);
void route_cache_close(struct route_cache *cache); /* NULL is fine */

enum route_found route_cache_find(const struct route_cache *cache, const struct route_state *state,
                                  struct flow *flow);

/* The route to an address; parts: what else decides there, so that it does not tell. */
void route_cache_put_address(struct route_cache *cache, uint32_t generation, uint8_t family,
                             const union flow_address *address, const struct route *route, uint8_t parts);
/* The way that is noted in the flow, or that none is known, for all that are equal to it in these parts. */
void route_cache_put_flow(struct route_cache *cache, uint32_t generation, uint8_t parts,
                          const struct flow *flow);
