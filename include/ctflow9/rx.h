/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A way to receive datagrams from a netlink socket, many at a time. One thread owns it. */
struct rx;

enum {
    RX_BATCH = 128,          /* messages taken at once, at most */
    RX_MESSAGE_OCTETS = 2048 /* a buffer; conntrack events have 220-260 octets, 700 with every attribute */
};

struct rx_message {
    const void *data; /* aligned for struct nlmsghdr; valid until the next rx_receive() */
    uint32_t octets;
    uint32_t port_id; /* nl_pid of the source address: 0 = the kernel */
    bool truncated;   /* the datagram was longer than the buffer */
};

/* fd stays the caller's. All memory is taken here. 0 or -errno. */
int rx_open(struct rx **rx, int fd);
void rx_close(struct rx *rx); /* NULL is fine */

/*
 * Takes what waits on the socket, at most limit messages and at most RX_BATCH; never blocks. Returns how
 * many, or -errno. Fewer than were to be had: the socket is empty.
 */
int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages);
