/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/epoch.h"

struct epoch_stamp epoch_stamp(const struct epoch *epoch, uint64_t now_ms, uint64_t latest_ms)
{
    uint64_t latest_stamp_ms = epoch->begin_ms + EPOCH_MAX_MS;
    uint64_t ms = now_ms > latest_ms ? now_ms : latest_ms;
    if (ms > latest_stamp_ms)
        ms = latest_stamp_ms;
    if (ms < epoch->begin_ms)
        ms = epoch->begin_ms;
    uint64_t seconds = (ms + 999) / 1000;
    return (struct epoch_stamp){.unix_secs = (uint32_t)seconds,
                                .sys_uptime_ms = (uint32_t)(seconds * 1000 - epoch->begin_ms)};
}
