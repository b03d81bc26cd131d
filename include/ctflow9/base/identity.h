/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A number for octets of any length, by which they are known from then on: SipHash-2-4 with a secret of this
 * process, so that nobody outside finds two that have the same. Any thread.
 */
uint64_t identity_of(const void *octets, size_t count);

/*
 * Places from 0 on for identities, in the order in which they came. Nothing is allocated after opening. One
 * thread owns it.
 */
struct identity_index;

#define IDENTITY_NOWHERE UINT32_MAX

/* capacity: places, a power of two. 0 or -ENOMEM. */
int identity_index_open(struct identity_index **index, uint32_t capacity);
void identity_index_close(struct identity_index *index); /* NULL is fine */

uint32_t identity_index_count(const struct identity_index *index);

/* The identity's place, which is count as it was before when it is new; IDENTITY_NOWHERE when all are taken.
 */
uint32_t identity_index_place(struct identity_index *index, uint64_t identity);

/* Empties it. */
void identity_index_clear(struct identity_index *index);
