/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * One packet that a source saw itself, as far as its flow is concerned. It owns nothing.
 */

/* What packets of one flow have in common. It has no padding, so that it is hashed and compared in words. */
struct flow_key {
    union flow_address src, dst;
    be16 src_port, dst_port;              /* ICMP: 0, and type and code; 0 where there are none to be read */
    uint32_t in_interface, out_interface; /* 0 = none */
    uint16_t vlan;                        /* of the outermost tag; 0 = none */
    uint8_t family;                       /* AF_INET or AF_INET6 */
    uint8_t protocol;
    uint8_t tos;       /* IPv6: the traffic class */
    uint8_t is_egress; /* 1: it was seen on its way out, else 0 */
    uint8_t none[6];
};

_Static_assert(sizeof(struct flow_key) == 56, "no padding");

struct flow_packet {
    struct flow_key key;
    uint32_t octets; /* from the IP header on; 0 = it does not tell */
    uint8_t tcp_flags;
    uint8_t ttl;   /* IPv6: the hop limit */
    bool has_link; /* the addresses below */
    uint8_t link_source[6], link_destination[6];
};
