/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * Which connections have a row in a dump. Who dumps and who hears of it go by the same rule: the one hands on
 * no other rows, the other remembers the ends of just those of whom a row may still come. All boot times.
 */
struct row_rule {
    uint64_t began_ns; /* when ctflow9 began to listen: those from before have a row however young they are */
    uint64_t age_ns;   /* what the others must have lived; 0 = nothing, as for the last dump */
    uint64_t dump_ns;  /* when the dump began */
};

/*
 * start_ns: when the connection began, the earliest time where that is not sure; WALL_CLOCK_UNKNOWN counts as
 * before ctflow9. Rows without counters tell nothing, so there are none.
 */
static inline bool row_rule_wants(const struct row_rule *rule, const struct flow *flow, uint64_t start_ns)
{
    uint64_t age_ns = rule->dump_ns > start_ns ? rule->dump_ns - start_ns : 0;
    return flow_has(flow, FLOW_HAS_COUNTERS) && (start_ns < rule->began_ns || age_ns >= rule->age_ns);
}
