/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/flow_ring.h"

/*
 * Where the flows of one worker's sources go: the same way out for one worker and for many. What stands
 * behind it is the worker's business: with many a ring that the holder of the export role empties, with one
 * the exporter itself, for which there is always room.
 *
 * Whoever hands flows on asks for room first, and never hands on more: sink has nowhere else to put them. It
 * is called by the worker's thread only.
 */
struct flow_outlet {
    flow_sink *sink;
    void *context;
    struct flow_ring *ring; /* that sink puts them into; NULL = there is always room */
};

/* How many flows there is room for now, limit at most. */
static inline unsigned flow_outlet_room(const struct flow_outlet *outlet, unsigned limit)
{
    size_t room = outlet->ring ? flow_ring_room(outlet->ring) : limit;
    return room < limit ? (unsigned)room : limit;
}
