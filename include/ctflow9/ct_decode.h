/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/netlink.h>

#include "ctflow9/flow.h"

/*
 * Decodes one ctnetlink message (IPCTNL_MSG_CT_NEW or IPCTNL_MSG_CT_DELETE, with its struct nfgenmsg) into
 * *flow; see linux/netfilter/nfnetlink_conntrack.h. message->nlmsg_len octets are readable. Pure: it reads
 * the message and writes *flow, no more. Known attributes are checked for type and length, unknown ones
 * skipped.
 *
 * Every member of *flow is set but end_reason, which is 0. nlmsg_pid other than 0 sets FLOW_REQUESTED.
 * Returns 0, or -EBADMSG when an attribute is malformed, or a tuple or its addresses are missing; *flow is
 * then undefined.
 */
int ct_decode(const struct nlmsghdr *message, struct flow *flow);
