/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/option_row.h"

/* The types of options that are numbers, and what each has in struct options. */

/* uint32_t. */
extern const struct option_type option_number;

/* uint32_t: a number that is not 0, or "auto" = 0, settled where it is used. */
extern const struct option_type option_auto;

/* uint32_t, milliseconds: seconds with up to three decimals. */
extern const struct option_type option_seconds;

/* uint64_t, octets; with K, M or G after it 1024 times as many, and so on. */
extern const struct option_type option_size;

/* struct netlink_mark: VALUE or VALUE/MASK, decimal or 0x and hexadecimal digits. */
extern const struct option_type option_mark;

/* uint32_t: bits of a mark, 0 = none. */
extern const struct option_type option_mask;

/* uint32_t[2], MASK,MASK: each one run of bits, apart from each other; both 0 = none. */
extern const struct option_type option_mask_pair;
