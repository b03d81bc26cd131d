/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>

#include "ctflow9/config/option_error.h"
#include "ctflow9/netflow/aggregate.h"

/* Aggregation keys as people write them: "src4/24,src6/64,dst,proto". Pure. */

/* Adds the keys in text. 0, or -EINVAL with *why set. */
int aggregate_keys_set(struct aggregate_by *by, const char *text, struct option_error *why);

/* A new reference: an array with a string for each key; NULL when there is no memory. */
json_t *aggregate_keys_json(const struct aggregate_by *by);
