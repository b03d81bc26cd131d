/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A bounded set of what was seen lately, by 64-bit hashes: tells a repeat from something new. When delivery
 * of a DESTROY to any reliable listener fails, the kernel sends it again to all, so the same one may come
 * several times. The oldest of each line of eight is forgotten first. Nobody may run beside anybody.
 */
struct recent;

/* Remembers about the last capacity hashes. All memory is taken here. 0 or -ENOMEM. */
int recent_open(struct recent **recent, size_t capacity);
void recent_close(struct recent *recent); /* NULL is fine */

/* Whether the hash was seen lately; it is now. */
bool recent_seen(struct recent *recent, uint64_t hash);
