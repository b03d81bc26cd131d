/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

#include "ctflow9/flow.h"

enum { JSON_LINE_MAX = 2048 };

/*
 * One flow as one JSON object and a newline, not terminated, with every member of struct flow that is known.
 * The keys are stable and stand in the JSON section of ctflow9(8). line has JSON_LINE_MAX octets. Returns the
 * octets written. Pure.
 */
size_t json_flow(char *line, const struct flow *flow);
