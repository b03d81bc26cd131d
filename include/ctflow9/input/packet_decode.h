/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ctflow9/flow/flow_packet.h"

/*
 * Reads the headers of a packet, of which maybe no more than the beginning is there. Pure: octets in, struct
 * and verdict out, nothing beyond data[octets - 1] is read, and the time is bounded by octets. What is inside
 * a tunnel is not looked at.
 */

enum packet_verdict {
    PACKET_IS_IP,
    PACKET_IS_OTHER,    /* ARP and whatever else is not IP: nothing to report */
    PACKET_IS_MALFORMED /* or too little of it is there to tell its addresses */
};

/*
 * ethertype, in host order, tells what data begins with: ETH_P_IP, ETH_P_IPV6, a VLAN tag's, or ETH_P_TEB for
 * an Ethernet header. Of packet->key the interfaces, is_egress and a VLAN id that is not 0 stay as the caller
 * has set them, as do the link addresses when there is no Ethernet header; all else is set. With another
 * verdict than PACKET_IS_IP the struct means nothing.
 *
 * Only the first fragment has ports. Where the packet ends before its ports, they are 0. octets is what the
 * IP header says, Ethernet's padding left out; an IPv4 packet of more than 65,535 octets says 0 (BIG TCP).
 */
enum packet_verdict packet_decode(const uint8_t *data, size_t octets, uint16_t ethertype,
                                  struct flow_packet *packet);
