/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <sys/types.h>

enum { LOCAL_SOCKET_PATH_MAX = 107 }; /* octets of the path, as the kernel has it */

/*
 * A Unix stream socket that others connect to at a path. Who may write to its file may connect: its mode is
 * 0777 less the umask. One thread owns it.
 */
struct local_socket {
    int fd; /* does not block */
    char path[LOCAL_SOCKET_PATH_MAX + 1];
    dev_t device; /* of the file that was made */
    ino_t inode;
};

/*
 * Listens. What an ended program left at the path is taken away first, and nothing else is: what is no socket
 * (-ENOTSOCK), or one that a program listens at (-EADDRINUSE), stays as it is. 0 or -errno; fd is then -1.
 */
int local_socket_open(struct local_socket *socket, const char *path);
/* Takes the file away, unless another one is there by now; when that is not allowed it is logged that it
 * stays. fd of -1 is fine. */
void local_socket_close(struct local_socket *socket);
