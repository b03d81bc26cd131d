/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/local_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"

_Static_assert(LOCAL_SOCKET_PATH_MAX + 1 == sizeof(((struct sockaddr_un *)0)->sun_path),
               "a path and its end");

enum { BACKLOG = 16, LOCK_TRIES = 100 };
#define LOCK_PAUSE_NS (10 * NS_PER_MS)

static int open_stream(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

/*
 * Two that begin at the same time must not take away each other's socket for one that was left behind: the
 * directory is locked meanwhile. Anybody may hold such a lock, so it is not waited for much longer than a
 * beginning takes. A descriptor, or -1.
 */
static int lock_directory(const char *path)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    char directory[LOCAL_SOCKET_PATH_MAX + 1] = ".";
    const char *slash = strrchr(path, '/');
    if (slash)
        memcpy(directory, path, (size_t)(slash - path) + 1); /* zeros follow */
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int tries = 0; lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0 && tries < LOCK_TRIES; tries++)
        nanosleep(&pause, NULL);
    return lock;
}

/* 0 when a program that has ended left its socket at the address, else why it is to stay. */
static int see_left_behind(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0)
        return -errno;
    if (!S_ISSOCK(status.st_mode))
        return -ENOTSOCK;
    int probe = open_stream();
    if (probe < 0)
        return probe;
    int error = connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
    close(probe);
    switch (error) {
    case -ECONNREFUSED:
        return 0;
    case 0:
    case -EAGAIN:     /* it has much to do */
    case -EPROTOTYPE: /* it takes datagrams */
        return -EADDRINUSE;
    default:
        return error;
    }
}

static int bind_to(int fd, const struct sockaddr_un *address)
{
    return bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
}

static int claim(struct local_socket *opened, const struct sockaddr_un *address)
{
    struct stat status;
    int error = bind_to(opened->fd, address);
    if (error == -EADDRINUSE) {
        error = see_left_behind(address);
        if (!error && unlink(address->sun_path) != 0)
            error = -errno;
        if (!error)
            error = bind_to(opened->fd, address);
    }
    if (error)
        return error;
    if (listen(opened->fd, BACKLOG) != 0 || lstat(address->sun_path, &status) != 0)
        return -errno;
    opened->device = status.st_dev;
    opened->inode = status.st_ino;
    return 0;
}

int local_socket_open(struct local_socket *opened, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *opened = (struct local_socket){.fd = -1};
    if (strlen(path) > LOCAL_SOCKET_PATH_MAX)
        return -ENAMETOOLONG;
    strcpy(opened->path, path);
    strcpy(address.sun_path, path);
    opened->fd = open_stream();
    if (opened->fd < 0) {
        int error = opened->fd;
        opened->fd = -1;
        return error;
    }
    int lock = lock_directory(path);
    int error = claim(opened, &address);
    if (lock >= 0)
        close(lock);
    if (error) {
        close(opened->fd);
        opened->fd = -1;
    }
    return error;
}

void local_socket_close(struct local_socket *closed)
{
    struct stat status;
    if (closed->fd < 0)
        return;
    if (lstat(closed->path, &status) == 0 && status.st_dev == closed->device &&
        status.st_ino == closed->inode && unlink(closed->path) != 0)
        log_info("%s stays (%s): user %u may not remove it, but the next start replaces it", closed->path,
                 strerror(errno), geteuid());
    close(closed->fd);
    closed->fd = -1;
}
