/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/flow/interface_names.h"

/*
 * The interfaces of a network namespace: that which the calling thread is in when they are opened, whatever
 * it enters later. The kernel is asked for all of them once and tells of changes from then on; when some of
 * that was lost it is asked again. Nothing here waits. One thread owns it.
 */
struct links;

/* Its texts are UTF-8 without control characters (utf8.h). */
struct link {
    uint32_t index;
    char name[IFNAMSIZ];
    char alias[INTERFACE_ALIAS_MAX + 1]; /* "" = none */
};

/* 0 or -errno. There are none before the first links_run(). */
int links_open(struct links **links);
void links_close(struct links *links); /* NULL is fine */

/*
 * Takes what the kernel has told. *changed is set when links are not as they were, and left alone else. 0, or
 * -errno when it refused to tell all of them or there was no memory: it is asked again by the next call, for
 * which the caller waits a while.
 */
int links_run(struct links *links, bool *changed);
void links_wants(const struct links *links, struct poll_set *set);

/* Whether all that there were when the kernel was asked are known. */
bool links_are_complete(const struct links *links);

/* In the order of their indexes. Valid until the next links_run(). */
size_t links_count(const struct links *links);
const struct link *links_at(const struct links *links, size_t place);
