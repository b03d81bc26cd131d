/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

bool memory_octets(size_t *octets, size_t head, uint64_t count, size_t each)
{
    size_t many;
    return !__builtin_mul_overflow(count, each, &many) && !__builtin_add_overflow(head, many, octets);
}

void *memory_allocate(size_t head, uint64_t count, size_t each)
{
    size_t octets;
    return memory_octets(&octets, head, count, each) ? calloc(1, octets) : NULL;
}

void *memory_map(uint64_t count, size_t each, enum memory_pages pages)
{
    int when = pages == MEMORY_AT_ONCE ? MAP_POPULATE : MAP_NORESERVE;
    size_t octets;
    if (!memory_octets(&octets, 0, count, each))
        return NULL;
    void *slab = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | when, -1, 0);
    return slab == MAP_FAILED ? NULL : slab;
}

void memory_unmap(void *slab, uint64_t count, size_t each)
{
    size_t octets;
    if (slab && memory_octets(&octets, 0, count, each))
        munmap(slab, octets);
}
