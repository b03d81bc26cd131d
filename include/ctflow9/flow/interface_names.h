/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the interfaces that flows name by number are called. Made by one thread, then never changed: whoever
 * holds it looks names up without a lock. Texts are UTF-8 without control characters.
 */
enum { INTERFACE_ALIAS_MAX = 64 }; /* octets */

struct interface_name {
    uint32_t number; /* as in struct flow */
    char name[IFNAMSIZ];
    char alias[INTERFACE_ALIAS_MAX + 1]; /* "" = none */
};

struct interface_names {
    size_t count;
    struct interface_name each[]; /* interface_names_sort() puts them into the order of their numbers */
};

/* Room for so many, all 0; free(3) it. NULL when there is no memory. */
struct interface_names *interface_names_allocate(size_t count);
void interface_names_sort(struct interface_names *names);

/* NULL when there is none of that number, or names is NULL. */
const struct interface_name *interface_names_find(const struct interface_names *names, uint32_t number);
