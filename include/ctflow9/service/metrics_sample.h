/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

#include "ctflow9/base/host_port.h"
#include "ctflow9/base/stats.h"

/* All that there is to tell at one moment: a copy, which belongs to whoever has it. */

enum { METRICS_COLLECTORS_MAX = 64 };

struct metrics_collector {
    char name[HOST_PORT_TEXT_MAX];
    struct collector_stats stats;
};

struct metrics_sample {
    struct stats total; /* of all workers and the exporter */
    size_t collector_count;
    struct metrics_collector collector[METRICS_COLLECTORS_MAX];
};
