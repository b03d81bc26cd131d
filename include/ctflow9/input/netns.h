/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Enters another network namespace for the calling thread: NAME is looked up below /run/netns, anything with
 * a '/' is a path (/proc/PID/ns/net). Returns a descriptor of the namespace left, for netns_leave(), or
 * -errno with the reason logged.
 */
int netns_enter(const char *name_or_path);

/* Goes back and closes the descriptor. 0 or -errno with the reason logged. */
int netns_leave(int left);

/* What tells a network namespace from others, as long as it exists. */
struct netns_id {
    uint64_t device, inode;
};

/* The one that a name or path, as in netns_enter(), leads to. 0 or -errno; -EINVAL when it is none, or not
 * yet. */
int netns_identify(const char *name_or_path, struct netns_id *id);

static inline bool netns_is_same(const struct netns_id *a, const struct netns_id *b)
{
    return a->device == b->device && a->inode == b->inode;
}
