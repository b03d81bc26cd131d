/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The moment that SysUptime 0 stands for (RFC 3954 5.1). FIRST, LAST and the header's SysUptime are
 * milliseconds since then, in 32 bits, that must never wrap in front of a collector. So the epoch lies
 * EPOCH_PAST_MS in the past, which leaves room for flows that began before we did, and moves forward (or
 * back, after a clock step) whenever the present leaves the window between EPOCH_MIN_MS and EPOCH_MAX_MS.
 * Each datagram names its own epoch (unix_secs - SysUptime), so moving it between datagrams is invisible.
 */
#define EPOCH_DAY_MS  UINT64_C(86400000)
#define EPOCH_MIN_MS  (20 * EPOCH_DAY_MS)
#define EPOCH_PAST_MS (30 * EPOCH_DAY_MS)
#define EPOCH_MAX_MS  (45 * EPOCH_DAY_MS) /* 2^32 ms are 49.7 days */

struct epoch {
    uint64_t begin_ms; /* wall clock, since 1970 */
};

static inline struct epoch epoch_at(uint64_t now_ms)
{
    return (struct epoch){.begin_ms = now_ms > EPOCH_PAST_MS ? now_ms - EPOCH_PAST_MS : 0};
}

/* The present has left the window: seal what is open and take a new one. */
static inline bool epoch_is_over(const struct epoch *epoch, uint64_t now_ms)
{
    if (now_ms > epoch->begin_ms + EPOCH_MAX_MS)
        return true;
    return now_ms < epoch->begin_ms + EPOCH_MIN_MS && epoch->begin_ms > 0; /* nothing lies before 1970 */
}

/* SysUptime of a moment; one outside of the epoch is clamped to its beginning or to EPOCH_MAX_MS. */
static inline uint32_t epoch_uptime_ms(const struct epoch *epoch, uint64_t wall_ms)
{
    if (wall_ms < epoch->begin_ms)
        return 0;
    uint64_t uptime_ms = wall_ms - epoch->begin_ms;
    return (uint32_t)(uptime_ms < EPOCH_MAX_MS ? uptime_ms : EPOCH_MAX_MS);
}

/* The header's two stamps, which name one instant: the first whole second that is not before now_ms nor
 * before latest_ms. */
struct epoch_stamp {
    uint32_t unix_secs;
    uint32_t sys_uptime_ms;
};

struct epoch_stamp epoch_stamp(const struct epoch *epoch, uint64_t now_ms, uint64_t latest_ms);
