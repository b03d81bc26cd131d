/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A bounded set of the connections whose end was seen lately: tells a repeat from something new. When
 * delivery of a DESTROY to any reliable listener fails, the kernel sends it again to all, so the same one may
 * come several times.
 *
 * What ended later than everything before it cannot be a repeat, and is noted in order, without a look at
 * other memory: measured, 3 ns, where a place in a hash table that is not in the cache takes 50 and more.
 * What comes late is looked for among those and in a hash table of its own, which takes 130 ns: connections
 * that time out, for the kernel finds them some time after their end, and everything after a clock was set
 * back.
 *
 * Something new is taken for a repeat once in about 10^13 times. Nobody may run beside anybody.
 */
struct recent;

/*
 * Remembers at least the last capacity connections, from 1 to 2^30 and rounded up to a power of two, that
 * came in order, and as many that came late. All memory is taken here: 16 octets for each, resident from the
 * start, and 24 that are touched when something comes late. 0 or -ENOMEM.
 */
int recent_open(struct recent **recent, uint32_t capacity);
void recent_close(struct recent *recent); /* NULL is fine */

/*
 * Whether the connection, known by the kernel's stamp of its end and by a number that tells it from others
 * that ended at the same time, was seen lately; now it was.
 */
bool recent_seen(struct recent *recent, uint64_t stop_ns, uint64_t number);
