/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/name_numbers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/identity.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/base/utf8.h"

typedef char name_text[FLOW_NAME_MAX + 1];

struct name_numbers {
    struct identity_index *index; /* a name's place is its number - 1 */
    name_text *names;
};

int name_numbers_open(struct name_numbers **numbers)
{
    struct name_numbers *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->names = memory_map(NAME_NUMBERS_MAX, sizeof(opened->names[0]), MEMORY_WHEN_TOUCHED);
    if (!opened->names || identity_index_open(&opened->index, NAME_NUMBERS_MAX) != 0) {
        name_numbers_close(opened);
        return -ENOMEM;
    }
    *numbers = opened;
    return 0;
}

void name_numbers_close(struct name_numbers *numbers)
{
    if (!numbers)
        return;
    identity_index_close(numbers->index);
    memory_unmap(numbers->names, NAME_NUMBERS_MAX, sizeof(numbers->names[0]));
    free(numbers);
}

uint32_t name_numbers_of(struct name_numbers *numbers, uint64_t identity, const char *name)
{
    uint32_t count = identity_index_count(numbers->index);
    uint32_t place = identity_index_place(numbers->index, identity);
    if (place == IDENTITY_NOWHERE)
        return 0;
    if (place == count)
        utf8_copy(numbers->names[place], sizeof(numbers->names[place]), name, strlen(name));
    return place + 1;
}

uint32_t name_numbers_count(const struct name_numbers *numbers)
{
    return identity_index_count(numbers->index);
}

const char *name_numbers_name(const struct name_numbers *numbers, uint32_t number)
{
    return numbers->names[number - 1];
}
