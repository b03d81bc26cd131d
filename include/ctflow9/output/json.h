/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"

enum { JSON_LINE_MAX = 2048 };

/*
 * One flow as one JSON object and a newline, not terminated, with every member of struct flow that is known:
 * what the kernel did not tell has no key. The keys are stable, stand in the table at the top of json.c, and
 * are explained in ctflow9(8). line has JSON_LINE_MAX octets. Returns the octets written. Pure.
 *
 *  - Times are RFC 3339 strings in UTC with nine digits of the second: "2026-11-23T13:03:07.123456789Z". As
 *    numbers, nanoseconds since 1970 would not survive readers that keep numbers as doubles (jq, JavaScript).
 *  - Counters are numbers, up to 2^64-1.
 *  - An enum is a number; beside it stands KEY_name when the value has a name.
 *  - An interface is a number as well; its name is one of names, which may be NULL.
 *  - A named counter has keys of its own, in a table of theirs.
 *  - Keys without a prefix speak of the original direction, the one that began; reply_… of the other.
 */
size_t json_flow(char *line, const struct flow *flow, const struct interface_names *names);

/* The key with that number, in the order of the line: of flows, then of counters; NULL after the last. Some
 * are keys of both. */
const char *json_key(size_t number);
