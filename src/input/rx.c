/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/rx.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/input/rx_backend.h"

static const struct rx_backend *const backends[] = {
    [RX_AUTO] = &rx_recvmmsg,
    [RX_BPF] = &rx_bpf,
    [RX_URING] = CTFLOW9_URING ? &rx_uring : NULL,
    [RX_RECVMMSG] = &rx_recvmmsg,
};

static const char *lack(int error)
{
    switch (error) {
    case -ENOMEM:
        return "there is not enough memory, or the limit of the control group is too low (systemd's "
               "MemoryMax=)";
    case -EMFILE:
        return "too many open files (ulimit -n, systemd's LimitNOFILE=)";
    default:
        return strerror(-error);
    }
}

static const char *bpf_reason(int error)
{
    switch (error) {
    case -ENOSYS:
        return "this kernel has no BPF, or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        return "it takes CAP_BPF outside any container, or a seccomp filter refuses it; before Linux 5.11 "
               "also locked memory (ulimit -l, systemd's LimitMEMLOCK=)";
    case -EINVAL:
        return "this kernel's BPF is too old, it takes Linux 5.8";
    case -EOPNOTSUPP:
        return "a big-endian program of 32 bits cannot know where a kernel of 64 bits writes";
    default:
        return lack(error);
    }
}

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
    int error = rx_open(&rx, -1, RX_URING, NULL);
    if (error)
        return error;
    error = rx_receive(rx, 1, &messages);
    rx_close(rx);
    return error == -EBADF ? 0 : error;
}

static const char *uring_reason(int error)
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
        return "the limit on memory or on locked memory is too low (ulimit -l, systemd's LimitMEMLOCK=)";
    default:
        return lack(error);
    }
}

/* Not when it cannot be found out. */
static bool is_uring_dearer(void)
{
    enum { DEARER_PERCENT = 105 };

    int percent = rx_compare();
    if (percent < 0)
        return false;
    log_debug("receiving through io_uring takes %d %% of the CPU time that recvmmsg takes", percent);
    return percent > DEARER_PERCENT;
}

static const char *reason(enum rx_kind kind, int error)
{
    switch (kind) {
    case RX_BPF:
        return bpf_reason(error);
    case RX_URING:
        return uring_reason(error);
    default:
        return lack(error);
    }
}

/* From what is not to be had to the next, saying why. */
static void step_down(struct rx_choice *choice, int error)
{
    if (choice->kind == RX_BPF) {
        log_info("receiving without a BPF ring buffer, which takes several times the CPU: %s",
                 bpf_reason(error));
        choice->kind = is_uring_dearer() ? RX_RECVMMSG : RX_URING;
        return;
    }
    if (error != -EOPNOTSUPP) /* who built it without knows */
        log_info("receiving with recvmmsg instead of io_uring: %s", uring_reason(error));
    choice->kind = RX_RECVMMSG;
}

int rx_open(struct rx **rx, int fd, enum rx_kind kind, const struct netlink_filter *filter)
{
    return backends[kind]->open(rx, fd, filter);
}

static int try_to_open(struct rx **rx, int fd, enum rx_kind kind, const struct netlink_filter *filter)
{
    int error = kind == RX_URING ? try_uring() : 0;
    return error ? error : rx_open(rx, fd, kind, filter);
}

int rx_open_choice(struct rx **rx, int fd, struct rx_choice *choice, const struct netlink_filter *filter)
{
    static const char *const names[] = {
        [RX_BPF] = "a BPF ring buffer", [RX_URING] = "io_uring", [RX_RECVMMSG] = "recvmmsg"};

    if (choice->kind == RX_AUTO)
        choice->kind = choice->asked == RX_AUTO ? RX_BPF : choice->asked;
    int error;
    while ((error = try_to_open(rx, fd, choice->kind, filter)) != 0) {
        if (choice->asked != RX_AUTO || choice->kind == RX_RECVMMSG) {
            log_error("cannot receive with %s: %s%s", names[choice->kind], reason(choice->kind, error),
                      choice->kind == RX_RECVMMSG ? "" : "; use --rx=auto or --rx=recvmmsg");
            return error;
        }
        step_down(choice, error);
    }
    log_debug("receiving with %s", names[choice->kind]);
    return 0;
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

bool rx_is_pending(const struct rx *rx)
{
    return rx->is_pending;
}

bool rx_tells_programs(const struct rx *rx)
{
    return rx->tells_programs;
}

void rx_wants(const struct rx *rx, struct poll_set *set)
{
    poll_set_add(set, rx->fd, POLLIN);
    if (rx->ring_fd >= 0)
        poll_set_add(set, rx->ring_fd, POLLIN);
}
