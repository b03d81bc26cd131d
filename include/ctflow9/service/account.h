/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <sys/types.h>

/* Who a process is to the kernel. */
struct account {
    uid_t uid;
    gid_t gid; /* of its main group */
};

#define ACCOUNT_FILE "/etc/passwd"

/*
 * The account that a user's name or number means, by a file like ACCOUNT_FILE and nothing else: the C
 * library's name service would load modules into a statically linked program. A number that the file does not
 * have is that of its group too, and "nobody" is then 65534, as everywhere: containers may have no such file.
 * 0, or -ENOENT when there is no such user, or another -errno when the file cannot be read.
 */
int account_find(struct account *account, const char *user, const char *file);
