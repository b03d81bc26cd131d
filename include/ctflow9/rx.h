/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Receives datagrams from a netlink socket, many at a time, in one of two ways that do the same: io_uring
 * writes them into a ring of buffers that kernel and program both have mapped, recvmmsg(2) is there
 * everywhere. One thread owns it: the one that calls rx_receive() first. Others may open and close it.
 */
struct rx;

enum {
    RX_BATCH = 128,          /* messages taken at once, at most */
    RX_MESSAGE_OCTETS = 2048 /* a buffer; conntrack events have 220-260 octets, 700 with every attribute */
};

/* In the order of the choices of --rx. */
enum rx_kind { RX_AUTO, RX_URING, RX_RECVMMSG };

struct rx_message {
    const void *data; /* aligned for struct nlmsghdr; valid until the next rx_receive() */
    uint32_t octets;
    uint32_t port_id; /* nl_pid of the source address: 0 = the kernel */
    bool truncated;   /* the datagram was longer than the buffer */
};

/*
 * Once at start: finds out whether io_uring is to be had. RX_AUTO becomes RX_URING if so, unless it takes
 * over 5 % more CPU time than recvmmsg on this machine; if not, RX_RECVMMSG, with one line that says why.
 * RX_URING that is not to be had is refused. 0, or -errno with the reason logged.
 */
int rx_choose(enum rx_kind *kind);

/*
 * kind is what rx_choose() came to; RX_AUTO is recvmmsg here. fd stays the caller's, and should have
 * NETLINK_NO_ENOBUFS set: otherwise an overrun is reported as -ENOBUFS, by io_uring not
 * always; netlink_socket_drops() tells it for certain. The socket is readable while something waits, except
 * for what is left by a limit. All memory is taken here. 0 or -errno.
 */
int rx_open(struct rx **rx, int fd, enum rx_kind kind);
void rx_close(struct rx *rx); /* NULL is fine */

/*
 * Takes what waits on the socket, at most limit messages (not 0) and at most RX_BATCH; never blocks. Returns
 * how many, or -errno. Fewer than were to be had: the socket is empty.
 */
int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages);
