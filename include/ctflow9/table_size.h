/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/*
 * What --table-size comes to.
 *
 * auto is a place for every connection that the kernel's table can hold, so that none is without one: memory
 * is only touched as far as a table fills. CTA_ID does not divide connections evenly among workers, and
 * entries of connections that have ended stay for a while, so each worker gets an eighth and 1024 more. When
 * the system grants no address space for that, it is halved until four times as much would be granted, and
 * a warning says so. Then the first guess is no more than TABLE_SIZE_DEFAULT.
 */
enum { TABLE_SIZE_MAX = 67108864, TABLE_SIZE_DEFAULT = 262144 };

/*
 * The places in the table of each worker. given: of all workers together, or 0 = auto. table_limit:
 * nf_conntrack_max, or 0 = not known.
 */
uint32_t table_size_of_worker(uint32_t given, uint32_t table_limit, unsigned workers);
