/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/wall_clock.h"

#include <string.h>

/* Both clocks, read one after the other. */
struct reading {
    uint64_t wall_ns, boot_ns;
    uint64_t took_ns;
};

static struct reading read_clocks(void)
{
    uint64_t before_ns = instant_read_clock(CLOCK_BOOTTIME);
    uint64_t wall_ns = instant_read_clock(CLOCK_REALTIME);
    uint64_t took_ns = instant_read_clock(CLOCK_BOOTTIME) - before_ns;
    return (struct reading){.wall_ns = wall_ns, .boot_ns = before_ns + took_ns / 2, .took_ns = took_ns};
}

/* Whoever was interrupted between them has read them at different times. */
static struct reading read_closely(void)
{
    enum { ATTEMPTS = 8, CLOSE_NS = 20000 };

    struct reading closest = read_clocks();
    for (int i = 1; i < ATTEMPTS && closest.took_ns > CLOSE_NS; i++) {
        const struct reading reading = read_clocks();
        if (reading.took_ns < closest.took_ns)
            closest = reading;
    }
    return closest;
}

static int64_t step_of(const struct wall_clock *clock, uint64_t wall_ns, uint64_t boot_ns)
{
    int64_t step_ns = (int64_t)(wall_ns - boot_ns - clock->present.offset_ns);
    bool is_step =
        step_ns >= (int64_t)WALL_CLOCK_TOLERANCE_NS || step_ns <= -(int64_t)WALL_CLOCK_TOLERANCE_NS;
    return is_step ? step_ns : 0;
}

static void see_time(struct wall_clock *clock, uint64_t wall_ns, uint64_t boot_ns)
{
    clock->wall_ns = wall_ns;
    clock->boot_ns = boot_ns;
    clock->present.until_ns = boot_ns;
}

void wall_clock_start_at(struct wall_clock *clock, uint64_t wall_ns, uint64_t boot_ns)
{
    *clock = (struct wall_clock){.unsure_until_ns = wall_ns > boot_ns ? wall_ns - boot_ns : 0,
                                 .present = {.offset_ns = wall_ns - boot_ns}};
    see_time(clock, wall_ns, boot_ns);
}

void wall_clock_start(struct wall_clock *clock)
{
    const struct reading reading = read_closely();
    wall_clock_start_at(clock, reading.wall_ns, reading.boot_ns);
}

static void end_era(struct wall_clock *clock)
{
    if (clock->past_count == WALL_CLOCK_ERAS)
        memmove(clock->past, clock->past + 1, --clock->past_count * sizeof(clock->past[0]));
    clock->past[clock->past_count++] = clock->present;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What the clock showed until now, and what it would have shown until then if it had been so before, is not
 * sure. */
static void begin_era(struct wall_clock *clock, uint64_t since_ns, uint64_t offset_ns)
{
    clock->unsure_until_ns = later(clock->unsure_until_ns, clock->wall_ns + WALL_CLOCK_TOLERANCE_NS);
    clock->unsure_until_ns = later(clock->unsure_until_ns, since_ns + offset_ns);
    clock->present = (struct wall_era){.since_ns = since_ns, .offset_ns = offset_ns};
    clock->steps++;
}

void wall_clock_see(struct wall_clock *clock, uint64_t wall_ns, uint64_t boot_ns)
{
    int64_t step_ns = step_of(clock, wall_ns, boot_ns);
    if (step_ns != 0) {
        uint64_t watched_ns = clock->boot_ns;
        see_time(clock, wall_clock_at(clock, boot_ns), boot_ns);
        end_era(clock);
        begin_era(clock, watched_ns, wall_ns - boot_ns);
        clock->last_step_ns = step_ns;
    }
    see_time(clock, wall_ns, boot_ns);
}

void wall_clock_watch(struct wall_clock *clock)
{
    struct reading reading = {.boot_ns = instant_read_clock(CLOCK_BOOTTIME),
                              .wall_ns = instant_read_clock(CLOCK_REALTIME)};
    if (step_of(clock, reading.wall_ns, reading.boot_ns) != 0)
        reading = read_closely();
    wall_clock_see(clock, reading.wall_ns, reading.boot_ns);
}

/* WALL_CLOCK_UNKNOWN when the stamp is not of this era. */
static uint64_t boot_time_in(const struct wall_era *era, uint64_t stamp_ns)
{
    uint64_t boot_ns = stamp_ns - era->offset_ns;
    uint64_t first_ns = era->since_ns > WALL_CLOCK_TOLERANCE_NS ? era->since_ns - WALL_CLOCK_TOLERANCE_NS : 0;
    bool is_inside = boot_ns >= first_ns && boot_ns <= era->until_ns + WALL_CLOCK_TOLERANCE_NS;
    return is_inside ? boot_ns : WALL_CLOCK_UNKNOWN;
}

/* Whoever has a stamp in the future had it before the clock was set back: times up to there come again. */
static uint64_t learn(struct wall_clock *clock, uint64_t stamp_ns, uint64_t found_ns)
{
    if (found_ns == WALL_CLOCK_UNKNOWN && stamp_ns > clock->unsure_until_ns)
        clock->unsure_until_ns = stamp_ns;
    return found_ns;
}

uint64_t wall_clock_latest(struct wall_clock *clock, uint64_t stamp_ns, uint64_t not_after_ns)
{
    uint64_t latest_ns = boot_time_in(&clock->present, stamp_ns);
    uint64_t limit_ns = not_after_ns + WALL_CLOCK_TOLERANCE_NS;
    if (latest_ns > limit_ns)
        latest_ns = WALL_CLOCK_UNKNOWN;
    for (unsigned i = 0; i < clock->past_count; i++) {
        uint64_t boot_ns = boot_time_in(&clock->past[i], stamp_ns);
        if (boot_ns <= limit_ns && boot_ns > latest_ns)
            latest_ns = boot_ns;
    }
    return learn(clock, stamp_ns, latest_ns < not_after_ns ? latest_ns : not_after_ns);
}

uint64_t wall_clock_earliest(struct wall_clock *clock, uint64_t stamp_ns)
{
    uint64_t earliest_ns = boot_time_in(&clock->present, stamp_ns);
    for (unsigned i = 0; i < clock->past_count; i++) {
        uint64_t boot_ns = boot_time_in(&clock->past[i], stamp_ns);
        if (boot_ns != WALL_CLOCK_UNKNOWN && (earliest_ns == WALL_CLOCK_UNKNOWN || boot_ns < earliest_ns))
            earliest_ns = boot_ns;
    }
    return learn(clock, stamp_ns, earliest_ns);
}
