/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/option_row.h"

/* The types of options that are lists of names, separated by commas, and what each has in struct options. */

/* uint32_t, enum fields_optional. */
extern const struct option_type option_fields;

/* struct aggregate_by: aggregate_keys.h. */
extern const struct option_type option_aggregate;

/* struct nflog_groups, in option_groups.c. */
extern const struct option_type option_groups;

/* struct nfqueue_range, in option_queues.c. */
extern const struct option_type option_queues;
