/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/input/netlink_filter.h"
#include "ctflow9/input/source.h"

/*
 * NFQUEUE: packets that firewall rules queue (nfnetlink_queue), put together to one-way flows. Each queue has
 * a thread of its own, which lets the packets go on at once; see packet_queue.h. Worker i takes the flows of
 * the queues whose place in the range is i modulo workers.
 */
extern const struct source_ops nfqueue_source;

enum { NFQUEUE_QUEUES_MAX = 64 };

/* first, first + 1, … */
struct nfqueue_range {
    uint16_t first;
    uint16_t count; /* 0 = none */
};

enum nfqueue_verdict { NFQUEUE_ACCEPT, NFQUEUE_REPEAT };

struct nfqueue_config {
    struct nfqueue_range queues;
    uint32_t verdict;         /* enum nfqueue_verdict */
    struct netlink_mark mark; /* that packets get with it, if given: the bits of the mask */
    uint64_t rcvbuf_octets;   /* of each queue's socket */
    uint32_t flow_cache;      /* flows, of all queues together */
    uint64_t inactive_timeout_ns;
    uint64_t active_timeout_ns; /* 0 = none */
};
