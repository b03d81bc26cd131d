/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/rx_choose.h"

#include <errno.h>

#include "ctflow9/base/log.h"
#include "ctflow9/input/rx_compare.h"

static const struct rx_backend *const backends[] = {
    [RX_AUTO] = &rx_recvmmsg,
    [RX_BPF] = &rx_bpf,
    [RX_URING] = CTFLOW9_URING ? &rx_uring : NULL,
    [RX_RECVMMSG] = &rx_recvmmsg,
    [RX_FENTRY] = CTFLOW9_FENTRY ? &rx_fentry : NULL,
};

static const char *reason(enum rx_kind kind, int error)
{
    if (backends[kind] != NULL)
        return backends[kind]->reason(error);
    return kind == RX_FENTRY ? "ctflow9 was built without it" : "ctflow9 was built without io_uring";
}

/* Not when it cannot be found out. */
static bool is_uring_dearer(void)
{
    enum { DEARER_PERCENT = 105 };

    int percent = CTFLOW9_URING ? rx_compare(&rx_uring, &rx_recvmmsg) : -EOPNOTSUPP;
    if (percent < 0)
        return false;
    log_debug("receiving through io_uring takes %d %% of the CPU time that recvmmsg takes", percent);
    return percent > DEARER_PERCENT;
}

/* From what is not available to the next, saying why. */
static void step_down(struct rx_choice *choice, int error)
{
    if (choice->kind == RX_BPF) {
        log_info("receiving without a BPF ring buffer, which takes several times the CPU: %s",
                 reason(RX_BPF, error));
        choice->kind = is_uring_dearer() ? RX_RECVMMSG : RX_URING;
        return;
    }
    if (error != -EOPNOTSUPP) /* who built it without knows */
        log_info("receiving with recvmmsg instead of io_uring: %s", reason(RX_URING, error));
    choice->kind = RX_RECVMMSG;
}

int rx_open(struct rx **rx, int fd, enum rx_kind kind, const struct netlink_filter *filter)
{
    return backends[kind]->open(rx, fd, filter);
}

static int try_to_open(struct rx **rx, int fd, enum rx_kind kind, const struct netlink_filter *filter)
{
    if (backends[kind] == NULL)
        return -EOPNOTSUPP;
    int error = backends[kind]->probe ? backends[kind]->probe() : 0;
    return error ? error : rx_open(rx, fd, kind, filter);
}

int rx_open_choice(struct rx **rx, int fd, struct rx_choice *choice, const struct netlink_filter *filter)
{
    static const char *const names[] = {[RX_BPF] = "a BPF ring buffer",
                                        [RX_URING] = "io_uring",
                                        [RX_RECVMMSG] = "recvmmsg",
                                        [RX_FENTRY] = "a BPF program at the end of connections"};

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
