/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <ctype.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * The zone after a link-local address (RFC 4007, 11), fe80::1%eth0 or fe80::1%4, as a scope id: the number
 * of the interface of that name, or of that number. 0 when there is no such interface now; both may come, go
 * and change.
 */
static inline uint32_t zone_scope_id(const char *zone)
{
    char name[IF_NAMESIZE];
    unsigned number = if_nametoindex(zone);
    if (number > 0 || !isdigit((unsigned char)*zone))
        return number;
    char *end;
    unsigned long long given = strtoull(zone, &end, 10);
    return *end == '\0' && given <= UINT32_MAX && if_indextoname((unsigned)given, name) ? (uint32_t)given : 0;
}
