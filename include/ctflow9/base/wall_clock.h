/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/instant.h"

/*
 * What the wall clock did while it was watched. The kernel stamps connections by CLOCK_REALTIME, which may be
 * set back or forward at any time; ages and time-outs are measured on CLOCK_BOOTTIME ("boot time" below: it
 * never steps, and goes on while the machine sleeps). The difference between both is constant until somebody
 * sets the clock: slewing changes both alike. Each such step ends an era; a stamp is taken to boot time by
 * the difference of its era, and comes back as what the clock would have shown had it always been right as it
 * is now.
 *
 * After the clock was set back, times come twice, and a stamp may be of either. Nothing but the present era
 * is possible for a stamp that is sure (wall_clock_is_sure()): as long as the clock was never set, that is
 * every one. One that no era explains, in the future or before the machine began, proves that the clock was
 * set before it was watched.
 *
 * Plain memory, one thread owns it; it is watched before a stamp is asked about, so that no stamp is later.
 */
enum { WALL_CLOCK_ERAS = 16 }; /* that are remembered */

/* Less is no step, and what is measured on the boot clock is exact to that. */
#define WALL_CLOCK_TOLERANCE_NS (10 * NS_PER_MS)

/* The boot time of a stamp that no era explains. */
#define WALL_CLOCK_UNKNOWN UINT64_C(0)

struct wall_era {
    uint64_t since_ns, until_ns; /* boot time: it lasted no longer than that */
    uint64_t offset_ns;          /* wall clock less boot time, modulo 2^64 */
};

struct wall_clock {
    uint64_t unsure_until_ns;  /* wall clock: stamps up to here may be of another era */
    uint64_t wall_ns, boot_ns; /* when it was last watched */
    struct wall_era present;   /* until it was last watched */
    uint64_t steps;            /* how often the clock was set, */
    int64_t last_step_ns;      /* and how far the last time */
    unsigned past_count;
    struct wall_era past[WALL_CLOCK_ERAS]; /* the oldest first */
};

/* Begins to watch: reads both clocks. */
void wall_clock_start(struct wall_clock *clock);
/* Reads both clocks. */
void wall_clock_watch(struct wall_clock *clock);

/* The same only when the stamp is later than the last time: of what others hand in one after the other. */
static inline void wall_clock_watch_for(struct wall_clock *clock, uint64_t stamp_ns)
{
    if (stamp_ns > clock->wall_ns)
        wall_clock_watch(clock);
}

/* The same with times that are given. */
void wall_clock_start_at(struct wall_clock *clock, uint64_t wall_ns, uint64_t boot_ns);
void wall_clock_see(struct wall_clock *clock, uint64_t wall_ns, uint64_t boot_ns);

static inline bool wall_clock_is_sure(const struct wall_clock *clock, uint64_t stamp_ns)
{
    return stamp_ns > clock->unsure_until_ns && stamp_ns <= clock->wall_ns;
}

/*
 * Boot time of a stamp; of several that are possible the latest that is not later than a boot time that is
 * given, or the earliest. WALL_CLOCK_UNKNOWN when none is.
 */
uint64_t wall_clock_latest(struct wall_clock *clock, uint64_t stamp_ns, uint64_t not_after_ns);
uint64_t wall_clock_earliest(struct wall_clock *clock, uint64_t stamp_ns);

/* By the present clock. */
static inline uint64_t wall_clock_at(const struct wall_clock *clock, uint64_t boot_ns)
{
    return boot_ns + clock->present.offset_ns;
}
