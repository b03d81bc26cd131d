/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/input/ct_events.h"

/*
 * The end of reading conntrack: awaits events that the kernel keeps, has the table looked through for the
 * last time, which ends the dump's thread, and awaits events that were kept meanwhile: connections that last
 * go on while events are awaited, so the look comes after that. Worker 0 owns it.
 */
enum ct_end_step { CT_END_BEGIN, CT_END_EVENTS, CT_END_LOOK, CT_END_LATE_EVENTS, CT_END_OVER };

struct ct_end {
    struct ct_events **events; /* of each worker */
    unsigned workers;
    struct ct_dump *dump; /* NULL without looks */
    struct stats *stats;
    enum ct_end_step step;
    bool is_counted;         /* what was left behind was counted and said */
    uint32_t settled;        /* deliveries that had not fit when the kernel kept none */
    uint32_t deferred;       /* when they were last counted */
    uint64_t ask_ns, end_ns; /* monotonic; when to ask the kernel again, and to give up */
    uint64_t look_begin_ns;
};

/* Between the turns of the workers: whether there is something to wait for; see await() in source.h. */
bool ct_end_await(struct ct_end *end, bool hurried);

/* When nobody listens any more: counts and says what the kernel has kept since, if ct_end_await() came to its
 * end. */
void ct_end_see_left_behind(struct ct_end *end);
