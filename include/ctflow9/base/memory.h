/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Memory for many things of one size. How many may come from an option: here a size that size_t does not hold
 * is no memory, never a smaller one. Any thread may call.
 */

/* *octets = head + count * each. Returns false when that does not fit; *octets means nothing then. Pure. */
bool memory_octets(size_t *octets, size_t head, uint64_t count, size_t each);

/* A struct of head octets with count elements after it, all 0, for free(3); or NULL. */
void *memory_allocate(size_t head, uint64_t count, size_t each);

enum memory_pages {
    MEMORY_WHEN_TOUCHED, /* a page is taken when it is first used, */
    MEMORY_AT_ONCE       /* or all are now */
};

/* A slab of pages for count things, all 0; or NULL. */
void *memory_map(uint64_t count, size_t each, enum memory_pages pages);
/* With the count and size that it was mapped with. NULL is fine. */
void memory_unmap(void *slab, uint64_t count, size_t each);
