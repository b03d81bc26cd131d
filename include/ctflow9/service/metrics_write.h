/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "ctflow9/service/metrics_sample.h"

/*
 * A sample as text and as JSON. Both are made of the tables of stats.c by one walk, so that what is in one of
 * them is in the other.
 */

/* In Prometheus' text format, which is 0.0.4. Whether out took it, its error indicator tells. */
void metrics_write_text(const struct metrics_sample *sample, FILE *out);

/*
 * An object with the metrics' names as keys: a number, or, where there are labels, an array of objects with
 * them and "value". Instead of "value" a histogram has "sum", "count" and "buckets", an object in which each
 * limit has how many were no longer. NULL when there is no memory.
 */
json_t *metrics_json(const struct metrics_sample *sample);
