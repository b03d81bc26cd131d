/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/input/source.h"

/*
 * The kernel's accounting objects (nfnetlink_acct), which rules count packets in by name: read, never set to
 * 0, for that would begin their quotas anew. The kernel tells of none when it was made: one that has counted
 * less than when it was last read was made again, or set to 0.
 */
extern const struct source_ops nfacct_source;

struct nfacct_config {
    uint64_t interval_ns;
};
