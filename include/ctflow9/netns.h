/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Enters another network namespace for the calling thread: NAME is looked up below /run/netns, anything with
 * a '/' is a path (/proc/PID/ns/net). Returns a descriptor of the namespace left, for netns_leave(), or
 * -errno with the reason logged.
 */
int netns_enter(const char *name_or_path);

/* Goes back and closes the descriptor. 0 or -errno with the reason logged. */
int netns_leave(int left);
