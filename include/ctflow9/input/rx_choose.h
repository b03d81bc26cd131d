/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/input/rx.h"

/* Which way to receive: what is asked for, what is available, and what costs least. */

/*
 * kind: RX_AUTO is recvmmsg here. fd stays the caller's, is in no group yet, has its receive buffer, and
 * should have NETLINK_NO_ENOBUFS set: otherwise an overrun is reported as -ENOBUFS, by io_uring not always;
 * netlink_socket_drops() tells it for certain. Only what the filter asks for is received. The ring of RX_BPF
 * is as large as the receive buffer, up to 4 MiB; where memory is limited it may become smaller, which is
 * logged. That of RX_FENTRY is as large as the receive buffer. All memory is taken here. 0 or -errno.
 */
int rx_open(struct rx **rx, int fd, enum rx_kind kind, const struct netlink_filter *filter);

/* What --rx asks for, and what it has come to. One for all workers; they open one after the other. */
struct rx_choice {
    enum rx_kind asked;
    enum rx_kind kind; /* tried next; RX_AUTO = nothing was tried yet */
};

/*
 * Opens what is available. RX_AUTO is RX_BPF; if that cannot be opened RX_URING, unless it takes over 5 %
 * more CPU time than recvmmsg on this machine; if not that either, RX_RECVMMSG. One line for each that is not
 * available says why; later workers do not try it again, and earlier ones keep what they have. What was asked
 * for by name is refused when it is not available; RX_FENTRY, which may lose what the others do not, is only
 * taken so. 0, or -errno with the reason logged.
 */
int rx_open_choice(struct rx **rx, int fd, struct rx_choice *choice, const struct netlink_filter *filter);
