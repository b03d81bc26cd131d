/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/wake.h"

#include <errno.h>
#include <sys/eventfd.h>

int wake_open(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void wake(int fd)
{
    /* Fails only when the count is full: then the other side is awake for sure. */
    (void)eventfd_write(fd, 1);
}

bool wake_take(int fd)
{
    eventfd_t count;
    return eventfd_read(fd, &count) == 0;
}
