/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/interface_marks.h"

/* The bits of the mask, moved down to where a number begins. */
static uint32_t number_in(uint32_t mark, uint32_t mask)
{
    return mask != 0 ? (mark & mask) / (mask & -mask) : 0;
}

void interface_marks_note(const struct interface_marks *marks, struct flow *flow)
{
    uint32_t in = number_in(flow->mark, marks->masks[0]);
    uint32_t out = number_in(flow->mark, marks->masks[1]);
    if ((in | out) != 0) {
        flow->in_interface[FLOW_ORIGINAL] = in;
        flow->out_interface[FLOW_ORIGINAL] = out;
        /* What else was known of the other direction may have other numbers. */
        flow->has &= ~(uint32_t)(FLOW_HAS_INTERFACES << FLOW_REPLY);
        flow->has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    }
    if (marks->egress_mask != 0)
        flow->has |=
            (flow->mark & marks->egress_mask) != 0 ? FLOW_EGRESS << FLOW_ORIGINAL : FLOW_EGRESS << FLOW_REPLY;
}
