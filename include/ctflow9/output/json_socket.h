/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"

enum { JSON_SOCKET_READERS_MAX = 64 };

/*
 * Flows as JSON lines (json.h) for whoever connects to a Unix stream socket. A line is made once, and only
 * while there are readers, into a ring that all of them share; each has its own place in it, and begins with
 * the next flow after it came. A reader that does not read in time loses its own oldest lines, whole ones
 * alone: it holds up nobody. What readers send is not read. A reader that leaves makes room for another.
 *
 * For each reader a line is counted in reader_lines when its socket took it whole, and in reader_lines_lost
 * when it had to make room, or when the end came first; what a reader that leaves did not take is neither.
 * One thread owns it.
 */
struct json_socket;

/* stats outlives the socket. 0, or -errno with the reason logged. */
int json_socket_open(struct json_socket **socket, const char *path, struct stats *stats);
void json_socket_close(struct json_socket *socket); /* NULL is fine; the path is free again */

/* The interfaces' names from now on, which outlive the socket or the next call; NULL = none. */
void json_socket_name_interfaces(struct json_socket *socket, const struct interface_names *names);

void json_socket_add(struct json_socket *socket, const struct flow *flow);

/* Lets readers come and go, and writes what they take. */
void json_socket_run(struct json_socket *socket, uint64_t now_ns);
void json_socket_wants(const struct json_socket *socket, struct poll_set *set);
bool json_socket_is_behind(const struct json_socket *socket); /* some reader has lines to come */

/* At the end: what readers have not taken is lost, which is told with whatever was not told yet. */
void json_socket_abandon(struct json_socket *socket);
