/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/account.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY 65534U

/* The last number says "no user" to the kernel. */
static bool read_number(const char *user, uid_t *uid)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(user, &end, 10);
    if (!isdigit((unsigned char)user[0]) || *end != '\0' || errno != 0 || number >= UINT32_MAX)
        return false;
    *uid = (uid_t)number;
    return true;
}

/* 0, or -ENOENT when it is not there. */
static int search(struct account *account, const char *user, const uid_t *uid, FILE *file)
{
    const struct passwd *entry;
    while ((entry = fgetpwent(file))) {
        if (entry->pw_name[0] == '+' || entry->pw_name[0] == '-') /* asks for another name service */
            continue;
        if (uid ? entry->pw_uid == *uid : strcmp(entry->pw_name, user) == 0) {
            *account = (struct account){.uid = entry->pw_uid, .gid = entry->pw_gid};
            return 0;
        }
    }
    return -ENOENT;
}

int account_find(struct account *account, const char *user, const char *file)
{
    uid_t uid;
    bool is_number = read_number(user, &uid);
    FILE *opened = fopen(file, "re");
    if (!opened && errno != ENOENT)
        return -errno;
    int error = opened ? search(account, user, is_number ? &uid : NULL, opened) : -ENOENT;
    if (opened)
        fclose(opened);
    if (error && !is_number && strcmp(user, "nobody") != 0)
        return error;
    if (error)
        *account = is_number ? (struct account){uid, uid} : (struct account){NOBODY, NOBODY};
    return 0;
}
