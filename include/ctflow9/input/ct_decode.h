/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/netlink.h>

#include "ctflow9/flow/flow.h"

/*
 * Decodes ctnetlink's messages about connections (IPCTNL_MSG_CT_NEW or IPCTNL_MSG_CT_DELETE, as an event or
 * as a row of a dump; see linux/netfilter/nfnetlink_conntrack.h). What a message comes to depends on that
 * message alone; a decoder only remembers, for speed, how the kinds of messages that it saw are laid out. One
 * thread owns it.
 */
struct ct_decoder;

/* 0 or -ENOMEM. All memory, some 40 KiB, is taken here. */
int ct_decoder_open(struct ct_decoder **decoder);
void ct_decoder_close(struct ct_decoder *decoder); /* NULL is fine */

/*
 * One message into *flow. The header and nlmsg_len octets are readable, and aligned for the header. Known
 * attributes are checked for type and length, unknown ones skipped.
 *
 * Every member of *flow is set; end_reason is 0. A DELETE whose nlmsg_pid is not 0 sets FLOW_REQUESTED (in
 * other messages nlmsg_pid says who made the entry, or who asked for the dump).
 * Returns 0, or -EBADMSG when the message is too short, its family is neither AF_INET nor AF_INET6, an
 * attribute is malformed, or a tuple, its protocol or its addresses are missing; *flow is then undefined.
 */
int ct_decode(struct ct_decoder *decoder, const struct nlmsghdr *message, struct flow *flow);
