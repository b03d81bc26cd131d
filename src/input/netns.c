/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/log.h"

static const char *what_to_do(int error)
{
    switch (error) {
    case ENOENT:
        return " (ip netns list shows the names)";
    case EPERM:
        return " (it takes CAP_SYS_ADMIN: run as root)";
    case EINVAL:
        return " (it is not a network namespace)";
    default:
        return "";
    }
}

int netns_enter(const char *name_or_path)
{
    char path[PATH_MAX];
    int error = 0;
    int left = -1, target = -1;

    int octets =
        snprintf(path, sizeof(path), "%s%s", strchr(name_or_path, '/') ? "" : "/run/netns/", name_or_path);
    if (octets >= (int)sizeof(path)) {
        error = -ENAMETOOLONG;
        goto out;
    }
    left = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (left < 0) {
        error = -errno;
        log_error("cannot open /proc/thread-self/ns/net: %s (is /proc mounted?)", strerror(errno));
        return error;
    }
    target = open(path, O_RDONLY | O_CLOEXEC);
    if (target < 0 || setns(target, CLONE_NEWNET) != 0)
        error = -errno;
out:
    if (target >= 0)
        close(target);
    if (error == 0)
        return left;
    if (left >= 0)
        close(left);
    log_error("cannot enter network namespace %s: %s%s", path, strerror(-error), what_to_do(-error));
    return error;
}

int netns_leave(int left)
{
    int error = setns(left, CLONE_NEWNET) == 0 ? 0 : -errno;
    if (error != 0)
        log_error("cannot go back to the network namespace that ctflow9 was started in: %s%s",
                  strerror(-error), what_to_do(-error));
    close(left);
    return error;
}
