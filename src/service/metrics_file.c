/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE = 0644 }; /* whatever the umask says: another user's program reads it */

/* fd or -errno. */
static int open_temporary(const char *path, char temporary[PATH_MAX])
{
    snprintf(temporary, PATH_MAX, "%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, MODE);
    return fd < 0 ? -errno : fd;
}

int metrics_file_check(const char *path)
{
    char temporary[PATH_MAX];
    int fd = open_temporary(path, temporary);
    if (fd < 0)
        return fd;
    close(fd);
    unlink(temporary);
    return 0;
}

static int write_all(int fd, const char *text, size_t octets)
{
    while (octets > 0) {
        ssize_t written = write(fd, text, octets);
        if (written < 0)
            return -errno;
        text += written;
        octets -= (size_t)written;
    }
    return 0;
}

int metrics_file_write(const char *path, const char *text, size_t octets)
{
    char temporary[PATH_MAX];
    int fd = open_temporary(path, temporary);
    if (fd < 0)
        return fd;
    int error = fchmod(fd, MODE) == 0 ? write_all(fd, text, octets) : -errno;
    if (close(fd) != 0 && !error)
        error = -errno;
    if (!error && rename(temporary, path) != 0)
        error = -errno;
    if (error)
        unlink(temporary);
    return error;
}
