/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/input/source.h"

/*
 * NFLOG: packets that firewall rules log to a group (nfnetlink_log), put together to one-way flows by a flow
 * cache of each worker's. Worker i reads the groups whose place in the list is i modulo workers, all of them
 * through one socket.
 *
 * The kernel numbers the packets of a group, so those that were lost are counted exactly; but for the last
 * ones, behind which no other comes. A group that another program holds is asked for again each second.
 */
extern const struct source_ops nflog_source;

enum { NFLOG_GROUPS_MAX = 64, NFLOG_SIZE_MIN = 64, NFLOG_SIZE_MAX = 8192 };

struct nflog_groups {
    unsigned count;
    uint16_t group[NFLOG_GROUPS_MAX];
};

struct nflog_config {
    struct nflog_groups groups;
    uint32_t size_octets;   /* of each packet, that the kernel copies at most */
    uint64_t rcvbuf_octets; /* of each worker's socket */
    uint32_t flow_cache;    /* flows, of all workers together */
    uint64_t inactive_timeout_ns;
    uint64_t active_timeout_ns; /* 0 = none */
};
