/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "ctflow9/base/instant.h"

/*
 * What the loop waits for until its next turn. Before each wait every part adds the descriptors and the
 * deadline that it cares about (its …_wants() function); after the wait every part is run and looks for
 * itself. One thread owns it.
 */
enum { POLL_SET_MAX = 256 };
#define POLL_SET_NEVER UINT64_MAX

struct poll_set {
    struct pollfd fds[POLL_SET_MAX];
    nfds_t count;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; POLL_SET_NEVER = none */
};

static inline void poll_set_clear(struct poll_set *set)
{
    set->count = 0;
    set->deadline_ns = POLL_SET_NEVER;
}

/* A descriptor past POLL_SET_MAX is left out; its owner is then run at the next deadline or event of another.
 */
static inline void poll_set_add(struct poll_set *set, int fd, short events)
{
    if (set->count < POLL_SET_MAX)
        set->fds[set->count++] = (struct pollfd){.fd = fd, .events = events};
}

static inline void poll_set_before(struct poll_set *set, uint64_t deadline_ns)
{
    if (deadline_ns < set->deadline_ns)
        set->deadline_ns = deadline_ns;
}

/* Waits until a descriptor is ready, a signal arrives or the deadline is there; returns poll_fds()'s result.
 */
int poll_set_wait(struct poll_set *set, uint64_t now_ns);

/*
 * ppoll(2) without a mask. The kernel refuses to wait for more descriptors than RLIMIT_NOFILE, which may have
 * been lowered since they were opened: then all are told ready after some milliseconds, and whoever is run
 * tries. wait: NULL = for ever.
 */
int poll_fds(struct pollfd *fds, nfds_t count, const struct timespec *wait);
