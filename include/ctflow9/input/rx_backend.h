/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/input/rx.h"

/* A way to receive, behind rx.h. Each function does what rx.h says of its namesake; filter may be NULL:
 * everything that the socket's own filter lets pass. */
struct rx_backend {
    int (*open)(struct rx **rx, int fd, const struct netlink_filter *filter);
    void (*close)(struct rx *rx);
    int (*receive)(struct rx *rx, unsigned limit, const struct rx_message **messages);
};

/* The first member of what a backend opens. */
struct rx {
    const struct rx_backend *backend;
    int fd;          /* the socket */
    int ring_fd;     /* what else becomes readable when something is there; -1 = nothing */
    bool is_pending; /* see rx_is_pending() */
    bool tells_programs;
};

extern const struct rx_backend rx_bpf; /* always attaches a filter: that is what fills its ring */
extern const struct rx_backend rx_recvmmsg;
extern const struct rx_backend rx_uring; /* not there when built without io_uring: CTFLOW9_URING is 0 */

/*
 * The CPU time that receiving takes through io_uring, in percent of what it takes with recvmmsg, on this
 * machine now. Takes some 20 ms. -errno when that cannot be found out.
 */
int rx_compare(void);
