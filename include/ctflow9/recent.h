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
 * other memory: looking a hash up in a table of that size would miss the cache and take as long as a quarter
 * of the receiving. The few that come late have a table of their own, an eighth as large, which forgets what
 * it has not seen for longest.
 *
 * Something new is taken for a repeat once in about 10^13 times. Nobody may run beside anybody.
 */
struct recent;

enum { RECENT_CAPACITY_MIN = 64 };

/*
 * Remembers the last capacity connections, a power of two from RECENT_CAPACITY_MIN on, 17 octets each. All
 * memory is taken here, resident memory too, for it fills within seconds anyway. 0 or -ENOMEM.
 */
int recent_open(struct recent **recent, size_t capacity);
void recent_close(struct recent *recent); /* NULL is fine */

/*
 * Whether the connection, known by the kernel's stamp of its end and by a number whose upper half is well
 * spread, was seen lately; now it was.
 */
bool recent_seen(struct recent *recent, uint64_t stop_ns, uint64_t number);
