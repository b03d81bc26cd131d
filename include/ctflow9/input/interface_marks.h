/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * Interfaces that the firewall's rules have written into the connection mark: the only source of them that
 * needs nothing from the kernel but the event. Pure.
 */
struct interface_marks {
    uint32_t masks[2];    /* in and out: each one run of bits, apart from each other; both 0 = not given */
    uint32_t egress_mask; /* 0 = not given */
};

/* Notes of the flow what its mark says. */
void interface_marks_note(const struct interface_marks *marks, struct flow *flow);

static inline bool interface_marks_are_given(const struct interface_marks *marks)
{
    return (marks->masks[0] | marks->egress_mask) != 0;
}
