/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/*
 * One moment on both clocks. It is read once per drain and handed down, so that everything done for one drain
 * agrees on the time and tests can give any time they like.
 */
struct instant {
    uint64_t wall_ns;      /* CLOCK_REALTIME, since 1970; may step in both directions */
    uint64_t monotonic_ns; /* CLOCK_MONOTONIC; for intervals and deadlines */
};

static inline uint64_t instant_read_clock(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static inline struct instant instant_now(void)
{
    return (struct instant){.wall_ns = instant_read_clock(CLOCK_REALTIME),
                            .monotonic_ns = instant_read_clock(CLOCK_MONOTONIC)};
}

/* The wall clock was set in between, by half a second or more, or the machine slept. */
static inline bool instant_is_stepped(struct instant before, struct instant after)
{
    const int64_t step_ns =
        (int64_t)(after.wall_ns - before.wall_ns - (after.monotonic_ns - before.monotonic_ns));
    return step_ns >= (int64_t)NS_PER_S / 2 || step_ns <= -(int64_t)NS_PER_S / 2;
}
