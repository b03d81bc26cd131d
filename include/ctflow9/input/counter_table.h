/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * What counters that somebody else keeps, and that are read again and again, have counted since they were
 * last read. They only ever grow, unless another program sets one to 0 or makes it again: then it began at 0.
 * What is there when all are read for the first time is where counting begins. One thread owns it.
 */
struct counter_table;

enum { COUNTER_TABLE_CAPACITY = 1 << 18 };

/* One counter as it was read. */
struct counter_reading {
    uint64_t identity; /* identity.h */
    uint64_t handle;   /* another one than before: it was made again; 0 when the kernel gives it none */
    uint64_t packets, octets;
};

struct counter_increase {
    uint64_t packets, octets; /* since then; both 0: there is nothing to tell */
    uint64_t since_ns;        /* when it was last read; of a new one, when reading last began */
    bool anew;                /* it began at 0 in between */
};

/* 0 or -ENOMEM. */
int counter_table_open(struct counter_table **table);
void counter_table_close(struct counter_table *table); /* NULL is fine */

/* All are read from now on. Times are on whatever clock the caller likes. */
void counter_table_begin(struct counter_table *table, uint64_t now_ns);

/* One of them. false: there is no room for it. */
bool counter_table_see(struct counter_table *table, const struct counter_reading *reading, uint64_t now_ns,
                       struct counter_increase *increase);

/*
 * The reading is over; complete: the kernel has told all. One that is missing in a few complete readings, one
 * after the other, is forgotten: the kernel sometimes leaves some out of one.
 */
void counter_table_end(struct counter_table *table, bool complete);

/* How many are known. */
uint32_t counter_table_count(const struct counter_table *table);
