/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/poll_set.h"

#include <errno.h>

/* The longest wait for what nobody tells. */
#define BLIND_NS (10 * NS_PER_MS)

static bool is_longer(const struct timespec *wait, uint64_t ns)
{
    return !wait || (uint64_t)wait->tv_sec * NS_PER_S + (uint64_t)wait->tv_nsec > ns;
}

int poll_fds(struct pollfd *fds, nfds_t count, const struct timespec *wait)
{
    const struct timespec blind = {.tv_nsec = BLIND_NS};
    int ready = ppoll(fds, count, wait, NULL);
    if (ready >= 0 || errno != EINVAL)
        return ready;
    ppoll(NULL, 0, is_longer(wait, BLIND_NS) ? &blind : wait, NULL);
    for (nfds_t i = 0; i < count; i++)
        fds[i].revents = fds[i].events;
    return (int)count;
}

int poll_set_wait(struct poll_set *set, uint64_t now_ns)
{
    uint64_t wait_ns = set->deadline_ns > now_ns ? set->deadline_ns - now_ns : 0;
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                  .tv_nsec = (long)(wait_ns % NS_PER_S)};
    return poll_fds(set->fds, set->count, set->deadline_ns == POLL_SET_NEVER ? NULL : &wait);
}
