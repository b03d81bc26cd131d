/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ctflow9/base/log.h"

static const char *what_to_do(int error)
{
    switch (error) {
    case ENOENT:
        return " (ip netns list shows the names)";
    case EPERM:
        return " (it needs CAP_SYS_ADMIN: run as root)";
    case EINVAL:
        return " (it is not a network namespace)";
    default:
        return "";
    }
}

static int write_path(char path[PATH_MAX], const char *name_or_path)
{
    int octets =
        snprintf(path, PATH_MAX, "%s%s", strchr(name_or_path, '/') ? "" : "/run/netns/", name_or_path);
    return octets < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int netns_identify(const char *name_or_path, struct netns_id *id)
{
    char path[PATH_MAX];
    struct statfs filesystem;
    struct stat status;
    int error = write_path(path, name_or_path);
    if (error)
        return error;
    if (statfs(path, &filesystem) != 0 || stat(path, &status) != 0)
        return -errno;
    if (filesystem.f_type !=
        NSFS_MAGIC) /* ip-netns(8) makes a file first, and mounts the namespace over it */
        return -EINVAL;
    *id = (struct netns_id){.device = status.st_dev, .inode = status.st_ino};
    return 0;
}

int netns_enter(const char *name_or_path)
{
    char path[PATH_MAX];
    int left = -1, target = -1;

    int error = write_path(path, name_or_path);
    if (error)
        goto out;
    left = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (left < 0) {
        error = -errno;
        log_error("cannot open /proc/thread-self/ns/net: %s (is /proc mounted?)", strerror(errno));
        return error;
    }
    target = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for a writer */
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
