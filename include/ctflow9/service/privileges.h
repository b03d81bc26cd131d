/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

#include "ctflow9/service/account.h"

/*
 * What ctflow9 may do, given up for good once everything is open, in the calling thread and those that it
 * starts from then on. What is left:
 *
 *   the user     --user, when it was started as root; else the one that it was started as
 *   CAP_NET_ADMIN  to ask for connections in the kernel's table, and what modules ask
 *   CAP_SYS_NICE   for the last look at that table, which is in a hurry
 *   CAP_SYS_ADMIN  with --netns: to go over to another namespace of that name, with all that opening takes
 *   CAP_SYS_PTRACE with --netns /proc/...: to see which namespace that is
 *
 * of the last four those that it was started with. No program that is executed gets more (no_new_privs, and
 * the bounding set is empty where CAP_SETPCAP allows that), and syscall_filter.h says which system calls are
 * left.
 */
struct privileges_config {
    const char *user;  /* a name or number; outlives the privileges */
    const char *netns; /* likewise; "" = none */
    const char *file;  /* likewise, the configuration, which may be read again; NULL = none */
    bool keep;         /* --no-drop: give up nothing */
};

struct privileges {
    struct privileges_config config;
    bool is_root; /* and is to be another one */
    struct account account;
};

/* Before anything is opened: whether there is such a user. 0, or -errno with the reason logged. */
int privileges_prepare(struct privileges *privileges, const struct privileges_config *config);

/* For the only thread, and once. 0, or -errno with the reason logged: then some of them may be left. */
int privileges_drop(const struct privileges *privileges);
