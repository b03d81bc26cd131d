/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/netlink.h>

#include "ctflow9/flow.h"

/*
 * Decodes one ctnetlink message about a connection (IPCTNL_MSG_CT_NEW or IPCTNL_MSG_CT_DELETE, as an event or
 * as a row of a dump) into *flow; see linux/netfilter/nfnetlink_conntrack.h. The header and nlmsg_len octets
 * are readable, and aligned for the header. Pure: it reads the message and writes *flow, no more. Known
 * attributes are checked for type and length, unknown ones skipped.
 *
 * Every member of *flow is set; end_reason is 0. A DELETE whose nlmsg_pid is not 0 sets FLOW_REQUESTED (in
 * other messages nlmsg_pid says who made the entry, or who asked for the dump).
 * Returns 0, or -EBADMSG when the message is too short, its family is neither AF_INET nor AF_INET6, an
 * attribute is malformed, or a tuple, its protocol or its addresses are missing; *flow is then undefined.
 */
int ct_decode(const struct nlmsghdr *message, struct flow *flow);
