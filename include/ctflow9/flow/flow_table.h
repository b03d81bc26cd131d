/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/tracked.h"

/*
 * The connections that are known before their end: those that live long enough to be reported in parts.
 *
 * Guarantees:
 *  1. Fixed memory: flow_table_open() takes all of it, and pages are touched only as far as the table fills.
 *  2. Every call ends after a number of steps that does not depend on other threads; finding takes one look
 * at a bucket and at the few entries chained to it.
 *  3. A full table refuses; an entry leaves only when its owner removes it.
 *  4. Two connections are one only when original tuple, zones, id and start time are all equal: CTA_ID alone
 * is used again, for the same tuple too.
 *
 * Who may run beside whom: nobody. Each worker owns the table of the connections whose events its socket
 * filter lets through (CTA_ID modulo workers), so that nothing here is shared and nothing has to be ordered;
 * what others know about a connection reaches its owner through a flow_ring.
 */
struct flow_table;

/* Whether the system would grant the address space for so many connections now. Touches none of it. */
bool flow_table_would_fit(uint64_t capacity);

/* Room for capacity connections, at least 1. 0 or -ENOMEM. */
int flow_table_open(struct flow_table **table, uint32_t capacity);
void flow_table_close(struct flow_table *table); /* NULL is fine */

/* hash is flow_hash() of the flow; the caller needs it elsewhere, too. */

/* The entry of the same connection, or NULL. */
struct tracked *flow_table_find(struct flow_table *table, const struct flow *flow, uint64_t hash);

/* A new entry for a connection that has none: LIVE, seen as in flow, nothing reported; or NULL when the table
 * is full. */
struct tracked *flow_table_add(struct flow_table *table, const struct flow *flow, uint64_t hash);

/* Its memory stays, FREE, until the next connection gets it. */
void flow_table_remove(struct flow_table *table, struct tracked *tracked);

uint32_t flow_table_count(const struct flow_table *table);

/* Walking: slots run from 0 to flow_table_slots() - 1; a free one gives NULL. */
uint32_t flow_table_slots(const struct flow_table *table);
struct tracked *flow_table_at(struct flow_table *table, uint32_t slot);
