/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/*
 * What --table-size comes to, in places of each worker's table.
 *
 * auto is a place for every connection that the kernel's table can hold, so that none is without one: memory
 * is only touched as far as a table fills. CTA_ID does not divide connections evenly among workers, and
 * entries of connections that have ended stay for a while, so each worker gets an eighth and 1024 more. A
 * number that was given is shared evenly; what auto would have beyond is the reserve (tracker.h).
 *
 * When the system grants too little address space, auto is no more than TABLE_SIZE_DEFAULT, and then halved
 * until four times as much would be granted; a warning says so.
 */
enum { TABLE_SIZE_MAX = 67108864, TABLE_SIZE_DEFAULT = 262144 };

struct table_size {
    uint32_t capacity, reserve;
};

/*
 * given: places of all workers together, or 0 = auto. table_limit: nf_conntrack_max, or 0 = not known.
 */
struct table_size table_size_of_worker(uint32_t given, uint32_t table_limit, unsigned workers);
