/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/interface_names.h"

#include <stdlib.h>

#include "ctflow9/base/memory.h"

struct interface_names *interface_names_allocate(size_t count)
{
    struct interface_names *names = memory_allocate(sizeof(*names), count, sizeof(names->each[0]));
    if (names)
        names->count = count;
    return names;
}

static int compare(const void *a, const void *b)
{
    const struct interface_name *first = a, *second = b;
    return (first->number > second->number) - (first->number < second->number);
}

void interface_names_sort(struct interface_names *names)
{
    qsort(names->each, names->count, sizeof(names->each[0]), compare);
}

const struct interface_name *interface_names_find(const struct interface_names *names, uint32_t number)
{
    const struct interface_name wanted = {.number = number};
    return names ? bsearch(&wanted, names->each, names->count, sizeof(wanted), compare) : NULL;
}
