/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/rx.h"

/* A way to receive, behind rx.h. Each function does what rx.h says of its namesake. */
struct rx_backend {
    int (*open)(struct rx **rx, int fd);
    void (*close)(struct rx *rx);
    int (*receive)(struct rx *rx, unsigned limit, const struct rx_message **messages);
};

/* The first member of what a backend opens. */
struct rx {
    const struct rx_backend *backend;
};

extern const struct rx_backend rx_recvmmsg;
extern const struct rx_backend rx_uring; /* not there when built without io_uring: CTFLOW9_URING is 0 */

/*
 * The CPU time that receiving takes through io_uring, in percent of what it takes with recvmmsg, on this
 * machine now. Takes some 20 ms. -errno when that cannot be found out.
 */
int rx_compare(void);
