/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What of the kernel's conntrack messages is heard; sockets filter by it (netlink_socket.h, bpf_filter.h). */

/* Connections with (mark & mask) == value, if it is given. */
struct netlink_mark {
    bool given;
    uint32_t value, mask;
};

/* A worker's part of all events: those of connections with CTA_ID modulo count == index. */
struct netlink_share {
    unsigned index, count; /* a count of 0 or 1 means all of them */
};

/* What is heard. All 0 = everything. */
struct netlink_filter {
    struct netlink_mark mark; /* connections with (mark & mask) == value; one without CTA_MARK has mark 0 */
    struct netlink_share share;
};
