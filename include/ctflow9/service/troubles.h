/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/base/tell_once.h"

/*
 * Counters that ought to stay 0: when one has grown a line says what it means and what to do, at once, and
 * then once a minute. All 0 at first. One thread owns it.
 */
enum { TROUBLES = 9 };

struct troubles {
    uint64_t seen[TROUBLES];
    struct tell_once told[TROUBLES];
};

/* total: of all workers. now_ns is monotonic; UINT64_MAX at the end, when all that is left is told. */
void troubles_see(struct troubles *troubles, const struct stats *total, uint64_t now_ns);
