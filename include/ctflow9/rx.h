/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A way to receive datagrams from a netlink socket, many at a time. One thread owns it. */
struct rx;

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
 * Takes what waits on the socket, up to one batch; never blocks. Returns how many messages (0 = the socket is
 * empty), or -errno: -ENOBUFS says that the kernel dropped events since the last call; the next call reads
 * on.
 */
int rx_receive(struct rx *rx, const struct rx_message **messages);
