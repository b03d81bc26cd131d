/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/flow/flow.h"
#include "ctflow9/input/netlink_socket.h"

/*
 * Asks the kernel about the conntrack entry that has flow's original tuple and zone: type is
 * IPCTNL_MSG_CT_GET (the answer is one message, as an event's) or IPCTNL_MSG_CT_DELETE. fd and the answer as
 * in netlink_socket_request(). 0, -ENOENT when there is no such entry, or another -errno.
 */
int ct_request_entry(int fd, uint8_t type, const struct flow *flow, netlink_socket_on_message *on_message,
                     void *context);

/*
 * Dumps entries: type is IPCTNL_MSG_CT_GET (the conntrack table) or IPCTNL_MSG_CT_GET_DYING (those whose
 * DESTROY is not delivered yet). mark may be NULL: all. 0 or -errno.
 */
int ct_request_dump(int fd, uint8_t type, const struct netlink_mark *mark,
                    netlink_socket_on_message *on_message, void *context);
