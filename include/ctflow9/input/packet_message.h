/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow_packet.h"

/*
 * A message of nfnetlink_log's or nfnetlink_queue's that has a packet in it: they say the same in attributes
 * of other numbers. Attributes that are too short are as if they were not there.
 */

/* What an attribute is, whatever its number. */
enum packet_part {
    PACKET_PART_OTHER,
    PACKET_PART_LOG_HEADER,   /* struct nfulnl_msg_packet_hdr */
    PACKET_PART_QUEUE_HEADER, /* struct nfqnl_msg_packet_hdr */
    PACKET_PART_IN,
    PACKET_PART_OUT,
    PACKET_PART_PORT_IN, /* a bridge's port, which tells more than the bridge */
    PACKET_PART_PORT_OUT,
    PACKET_PART_VLAN,
    PACKET_PART_LINK_TYPE,   /* ARPHRD_*, of the link header */
    PACKET_PART_LINK_HEADER, /* of that type */
    PACKET_PART_ETHERNET,    /* an Ethernet header */
    PACKET_PART_SENDER,      /* struct nfqnl_msg_packet_hw */
    PACKET_PART_NUMBER,
    PACKET_PART_LENGTH,
    PACKET_PART_MARK,
    PACKET_PART_PAYLOAD
};

enum { PACKET_PARTS = 32 }; /* attributes of a higher number are other ones */

struct packet_message {
    const struct nlattr *payload; /* NULL: there is none */
    uint16_t group;               /* or queue */
    uint8_t family;               /* NFPROTO_* */
    uint8_t hook;
    uint16_t hw_protocol;
    bool has_number;
    uint32_t number; /* which one of its group's or queue's it is */
    uint32_t octets; /* of the whole packet; 0 = its own header has to tell */
    uint32_t mark;
};

/*
 * part[]: what each attribute is, by its number. Sets all of *read, which points into the message, and of
 * *packet what packet_decode() leaves to its caller. false: it is too short to be such a message.
 */
bool packet_message_read(struct packet_message *read, struct flow_packet *packet,
                         const struct nlmsghdr *message, const uint8_t part[PACKET_PARTS]);

/*
 * The rest of *packet, from the payload. false: there is nothing to report. Counts packets_other, _malformed
 * and _unsized.
 */
bool packet_message_decode(const struct packet_message *read, struct flow_packet *packet,
                           struct stats *stats);
