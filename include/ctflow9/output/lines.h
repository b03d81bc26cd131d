/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"

/*
 * Flows as lines on standard output: for people, or as JSON. Every flow is counted once, in lines when its
 * line was written whole, in lines_lost when it was not; what is held is yet to be counted. Lines that are
 * lost are told of at once and then once a minute, a full disk when that begins and when it ends. One thread
 * owns it.
 */
struct lines;

struct lines_config {
    int fd; /* standard output; stream.h tells what becomes of it */
    bool json;
    struct stats *stats; /* outlives the lines */
};

/* 0, or -errno with the reason logged. A terminal is given a heading. */
int lines_open(struct lines **lines, const struct lines_config *config);
void lines_close(struct lines *lines); /* NULL is fine */

/* The interfaces' names from now on, which outlive the lines or the next call; NULL = none. */
void lines_name_interfaces(struct lines *lines, const struct interface_names *names);

void lines_add(struct lines *lines, const struct flow *flow);

/* Writes what can be written. 0, or -errno, each time, when standard output will never take a line again;
 * what comes then is lost and counted, and the caller says so. */
int lines_run(struct lines *lines, uint64_t now_ns);
void lines_wants(const struct lines *lines, struct poll_set *set);
bool lines_are_held(const struct lines *lines);

/* At the end: what is held is lost, which is told with whatever was not told yet. */
void lines_abandon(struct lines *lines);
