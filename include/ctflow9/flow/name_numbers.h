/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * Numbers for the names that counters have: records name them by number, and collectors are told what each
 * one is called. A number is given when a name first comes, from 1 on, and stays its own: there is no other
 * name for it later. When all are given, the others share 0. One thread owns it.
 */
struct name_numbers;

enum { NAME_NUMBERS_MAX = 1 << 18 };

/* 0 or -ENOMEM. Memory is taken as names come. */
int name_numbers_open(struct name_numbers **numbers);
void name_numbers_close(struct name_numbers *numbers); /* NULL is fine */

/* identity: what tells it from all others, for two may look the same. Copies the name when it is new. */
uint32_t name_numbers_of(struct name_numbers *numbers, uint64_t identity, const char *name);

/* The highest one given, 0 = none. */
uint32_t name_numbers_count(const struct name_numbers *numbers);

/* number: 1 to that. UTF-8 without control characters. */
const char *name_numbers_name(const struct name_numbers *numbers, uint32_t number);
