/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

#include "ctflow9/flow.h"

enum { PRINT_LINE_MAX = 512 };

/*
 * One flow as one aligned line for people, newline included, not terminated: end time (local), duration,
 * protocol, both ends, NAT ends where they differ, packets and octets both ways, mark and zone where there
 * are some, why it ended. line has PRINT_LINE_MAX octets. Returns the octets written. Pure but for the time
 * zone.
 */
size_t print_flow(char *line, const struct flow *flow);

/* The heading that names the columns, same shape. */
size_t print_heading(char *line);
