/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/input/netlink_socket.h"

/*
 * Receives datagrams from a netlink socket, many at a time, in one of three ways. Two of them use a ring that
 * kernel and program both have mapped: a BPF ring buffer, into which a socket filter copies each message
 * before it is ever queued, or io_uring's ring of buffers, into which the kernel receives them. recvmmsg(2)
 * is there everywhere. One thread owns it: the one that calls rx_receive() first. Others may open and close
 * it.
 */
struct rx;

enum {
    RX_BATCH = 128,          /* messages taken at once, at most */
    RX_MESSAGE_OCTETS = 2048 /* a buffer; conntrack events have 220-260 octets, 700 with every attribute */
};

/* In the order of the choices of --rx. */
enum rx_kind { RX_AUTO, RX_BPF, RX_URING, RX_RECVMMSG };

struct rx_message {
    const void *data; /* aligned for struct nlmsghdr; valid until the next rx_receive() */
    uint32_t octets;
    bool truncated;    /* the datagram was longer than the buffer */
    bool from_program; /* not the kernel sent it, see rx_tells_programs() */
};

/*
 * kind: RX_AUTO is recvmmsg here. fd stays the caller's, is in no group yet, has its receive buffer, and
 * should have NETLINK_NO_ENOBUFS set: otherwise an overrun is reported as -ENOBUFS, by io_uring not always;
 * netlink_socket_drops() tells it for certain. Only what the filter asks for is received. The ring of RX_BPF
 * is as large as the receive buffer, up to 4 MiB; where memory is limited it may become smaller, which is
 * logged. All memory is taken here. 0 or -errno.
 */
int rx_open(struct rx **rx, int fd, enum rx_kind kind, const struct netlink_filter *filter);

/* What --rx asks for, and what it has come to. One for all workers; they open one after the other. */
struct rx_choice {
    enum rx_kind asked;
    enum rx_kind kind; /* tried next; RX_AUTO = nothing was tried yet */
};

/*
 * Opens what is to be had. RX_AUTO is RX_BPF; if that cannot be opened RX_URING, unless it takes over 5 %
 * more CPU time than recvmmsg on this machine; if not that either, RX_RECVMMSG. One line for each that is not
 * to be had says why; later workers do not try it again, and earlier ones keep what they have. What was asked
 * for by name is refused when it is not to be had. 0, or -errno with the reason logged.
 */
int rx_open_choice(struct rx **rx, int fd, struct rx_choice *choice, const struct netlink_filter *filter);
void rx_close(struct rx *rx); /* NULL is fine */

/*
 * Takes what waits, at most limit messages (not 0) and at most RX_BATCH; never blocks. Returns how many, or
 * -errno. Fewer than were to be had: nothing else is there, unless rx_is_pending(). Messages come in their
 * order, except that with RX_BPF those that found no room in the ring may come later.
 */
int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages);

/* The last rx_receive() stopped in front of a message that the kernel was still writing: more waits behind.
 */
bool rx_is_pending(const struct rx *rx);

/*
 * Whether from_program is known of every message. Not with RX_BPF without CAP_PERFMON, or where the kernel is
 * locked down: of what comes through the ring nothing then tells who sent it.
 */
bool rx_tells_programs(const struct rx *rx);

/* What becomes readable when something waits, and is so until it was taken, except for what a limit left. */
void rx_wants(const struct rx *rx, struct poll_set *set);
