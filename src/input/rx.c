/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/rx.h"

#include <errno.h>
#include <string.h>

#include "ctflow9/log.h"
#include "ctflow9/rx_backend.h"

static const struct rx_backend *const backends[] = {
    [RX_AUTO] = &rx_recvmmsg,
    [RX_URING] = CTFLOW9_URING ? &rx_uring : NULL,
    [RX_RECVMMSG] = &rx_recvmmsg,
};

/*
 * 0 when all that rx_uring.c needs is to be had. Receiving from no socket tells: only a ring that works comes
 * to the point of missing it.
 */
static int try_uring(void)
{
    struct rx *rx;
    const struct rx_message *messages;
    if (backends[RX_URING] == NULL)
        return -EOPNOTSUPP;
    int error = rx_open(&rx, -1, RX_URING);
    if (error)
        return error;
    error = rx_receive(rx, 1, &messages);
    rx_close(rx);
    return error == -EBADF ? 0 : error;
}

static const char *reason(int error)
{
    switch (error) {
    case -EOPNOTSUPP:
        return "ctflow9 was built without io_uring";
    case -ENOSYS:
        return "this kernel has no io_uring, or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        return "io_uring is switched off (sysctl kernel.io_uring_disabled) or refused by a seccomp filter";
    case -EINVAL:
        return "this kernel's io_uring is too old, it takes Linux 6.1";
    case -ENOMEM:
        return "the limit on locked memory is too low (ulimit -l, systemd's LimitMEMLOCK=)";
    default:
        return strerror(-error);
    }
}

/* Not when it cannot be found out: the ring is the first choice. */
static bool is_ring_dearer(void)
{
    enum { DEARER_PERCENT = 105 };

    int percent = rx_compare();
    if (percent < 0)
        return false;
    log_debug("receiving through io_uring takes %d %% of the CPU time that recvmmsg takes", percent);
    return percent > DEARER_PERCENT;
}

int rx_choose(enum rx_kind *kind)
{
    int error = *kind == RX_RECVMMSG ? 0 : try_uring();
    if (error && *kind == RX_URING) {
        log_error("cannot receive with io_uring: %s; use --rx=auto or --rx=recvmmsg", reason(error));
        return error;
    }
    if (error && error != -EOPNOTSUPP) /* who built it without knows */
        log_info("receiving with recvmmsg instead of io_uring: %s", reason(error));
    if (*kind == RX_AUTO)
        *kind = error || is_ring_dearer() ? RX_RECVMMSG : RX_URING;
    log_debug("receiving with %s", *kind == RX_URING ? "io_uring" : "recvmmsg");
    return 0;
}

int rx_open(struct rx **rx, int fd, enum rx_kind kind)
{
    return backends[kind]->open(rx, fd);
}

void rx_close(struct rx *rx)
{
    if (rx != NULL)
        rx->backend->close(rx);
}

int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    return rx->backend->receive(rx, limit < RX_BATCH ? limit : RX_BATCH, messages);
}
