/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/packet_decode.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum {
    ETHERNET_OCTETS = 14,
    VLAN_TAG_OCTETS = 4,
    VLAN_ID = 0xfff,
    VLAN_TAGS_MAX = 4,
    IPV4_OCTETS = 20,
    IPV4_OFFSET = 0x1fff,
    IPV6_OCTETS = 40,
    IPV6_OFFSET = 0xfff8,
    EXTENSION_OCTETS = 8, /* the least */
    JUMBO_OPTION = 0xc2,
    TCP_FLAGS_AT = 13,
    PROTOCOL_HIP = 139,
    PROTOCOL_SHIM6 = 140
};

/* What is left of a packet. */
struct rest {
    const uint8_t *data;
    size_t octets;
};

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

static void skip(struct rest *rest, size_t octets)
{
    size_t skipped = octets < rest->octets ? octets : rest->octets;
    rest->data += skipped;
    rest->octets -= skipped;
}

/* What is behind the packet is Ethernet's padding. */
static void cut(struct rest *rest, size_t octets)
{
    if (octets < rest->octets)
        rest->octets = octets;
}

static bool has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
           protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

static bool is_icmp(const struct flow_key *key)
{
    return key->protocol == (key->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static void decode_transport(const struct rest *rest, struct flow_packet *packet)
{
    struct flow_key *key = &packet->key;
    if (is_icmp(key) && rest->octets >= sizeof(key->dst_port)) {
        memcpy(&key->dst_port, rest->data, sizeof(key->dst_port));
    } else if (has_ports(key->protocol) && rest->octets >= 2 * sizeof(key->src_port)) {
        memcpy(&key->src_port, rest->data, sizeof(key->src_port));
        memcpy(&key->dst_port, rest->data + sizeof(key->src_port), sizeof(key->dst_port));
    }
    if (key->protocol == IPPROTO_TCP && rest->octets > TCP_FLAGS_AT)
        packet->tcp_flags = rest->data[TCP_FLAGS_AT];
}

static enum packet_verdict decode_ipv4(struct rest rest, struct flow_packet *packet)
{
    const uint8_t *header = rest.data;
    if (rest.octets < IPV4_OCTETS || header[0] >> 4 != 4)
        return PACKET_IS_MALFORMED;
    size_t header_octets = (header[0] & 0xfU) * 4;
    uint16_t octets = get_u16(header + 2);
    if (header_octets < IPV4_OCTETS || (octets != 0 && octets < header_octets))
        return PACKET_IS_MALFORMED;

    struct flow_key *key = &packet->key;
    key->family = AF_INET;
    key->protocol = header[9];
    key->tos = header[1];
    packet->ttl = header[8];
    memcpy(&key->src.v4, header + 12, sizeof(key->src.v4));
    memcpy(&key->dst.v4, header + 16, sizeof(key->dst.v4));
    packet->octets = octets;
    if (octets != 0)
        cut(&rest, octets);
    skip(&rest, header_octets);
    if ((get_u16(header + 6) & IPV4_OFFSET) == 0)
        decode_transport(&rest, packet);
    return PACKET_IS_IP;
}

/* The length of a jumbogram (RFC 2675), as its hop-by-hop header has it; 0 = it has none. */
static uint32_t jumbo_octets(const uint8_t *header, size_t octets)
{
    size_t at = 2;
    while (at < octets && header[at] != JUMBO_OPTION) {
        bool is_pad1 = header[at] == 0;
        if (!is_pad1 && at + 1 >= octets)
            return 0;
        at += is_pad1 ? 1 : 2 + (size_t)header[at + 1];
    }
    return at + 6 <= octets && header[at + 1] == 4 ? get_u32(header + at + 2) : 0;
}

static bool is_extension(uint8_t protocol)
{
    return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
           protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH || protocol == IPPROTO_MH ||
           protocol == PROTOCOL_HIP || protocol == PROTOCOL_SHIM6;
}

static size_t extension_octets(uint8_t protocol, const uint8_t *header)
{
    if (protocol == IPPROTO_FRAGMENT)
        return EXTENSION_OCTETS;
    return protocol == IPPROTO_AH ? ((size_t)header[1] + 2) * 4 : ((size_t)header[1] + 1) * 8;
}

/*
 * Goes to what is behind the extension headers; the last protocol that could be told stays in the key.
 * Returns false when that is no beginning: a fragment but the first.
 */
static bool skip_extensions(struct rest *rest, struct flow_packet *packet)
{
    struct flow_key *key = &packet->key;
    while (is_extension(key->protocol) && rest->octets >= EXTENSION_OCTETS) {
        const uint8_t *header = rest->data;
        size_t octets = extension_octets(key->protocol, header);
        bool is_later = key->protocol == IPPROTO_FRAGMENT && (get_u16(header + 2) & IPV6_OFFSET) != 0;
        key->protocol = header[0];
        if (is_later)
            return false;
        skip(rest, octets);
    }
    return true;
}

/* IPv6's length has no room for that of a jumbogram, which is 0 there. */
static void see_length(struct rest *rest, uint16_t payload_octets, struct flow_packet *packet)
{
    const uint8_t *header = rest->data;
    uint32_t jumbo = 0;
    if (payload_octets == 0 && packet->key.protocol == IPPROTO_HOPOPTS && rest->octets >= EXTENSION_OCTETS) {
        size_t octets = extension_octets(IPPROTO_HOPOPTS, header);
        jumbo = jumbo_octets(header, octets < rest->octets ? octets : rest->octets);
    }
    uint32_t payload = jumbo != 0 ? jumbo : payload_octets;
    packet->octets = payload > UINT32_MAX - IPV6_OCTETS ? UINT32_MAX : payload + IPV6_OCTETS;
    cut(rest, payload);
}

static enum packet_verdict decode_ipv6(struct rest rest, struct flow_packet *packet)
{
    const uint8_t *header = rest.data;
    if (rest.octets < IPV6_OCTETS || header[0] >> 4 != 6)
        return PACKET_IS_MALFORMED;
    struct flow_key *key = &packet->key;
    key->family = AF_INET6;
    key->tos = (uint8_t)(header[0] << 4 | header[1] >> 4);
    key->protocol = header[6];
    packet->ttl = header[7];
    memcpy(&key->src, header + 8, sizeof(key->src));
    memcpy(&key->dst, header + 24, sizeof(key->dst));
    skip(&rest, IPV6_OCTETS);
    see_length(&rest, get_u16(header + 4), packet);
    if (skip_extensions(&rest, packet) && !is_extension(key->protocol))
        decode_transport(&rest, packet);
    return PACKET_IS_IP;
}

/* Takes an Ethernet header off. Returns what is behind it; 0 = too little is there. */
static uint16_t take_ethernet(struct rest *rest, struct flow_packet *packet)
{
    const uint8_t *header = rest->data;
    if (rest->octets < ETHERNET_OCTETS)
        return 0;
    memcpy(packet->link_destination, header, sizeof(packet->link_destination));
    memcpy(packet->link_source, header + 6, sizeof(packet->link_source));
    packet->has_link = true;
    skip(rest, ETHERNET_OCTETS);
    return get_u16(header + 12);
}

static bool is_vlan(uint16_t ethertype)
{
    return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD;
}

/* The same for a VLAN tag. The outermost one counts. */
static uint16_t take_vlan(struct rest *rest, struct flow_packet *packet)
{
    const uint8_t *tag = rest->data;
    if (rest->octets < VLAN_TAG_OCTETS)
        return 0;
    if (packet->key.vlan == 0)
        packet->key.vlan = get_u16(tag) & VLAN_ID;
    skip(rest, VLAN_TAG_OCTETS);
    return get_u16(tag + 2);
}

static void clear(struct flow_packet *packet)
{
    packet->key = (struct flow_key){.in_interface = packet->key.in_interface,
                                    .out_interface = packet->key.out_interface,
                                    .vlan = packet->key.vlan,
                                    .is_egress = packet->key.is_egress};
    packet->octets = 0;
    packet->tcp_flags = 0;
}

enum packet_verdict packet_decode(const uint8_t *data, size_t octets, uint16_t ethertype,
                                  struct flow_packet *packet)
{
    struct rest rest = {.data = data, .octets = octets};
    clear(packet);
    if (ethertype == ETH_P_TEB)
        ethertype = take_ethernet(&rest, packet);
    for (unsigned tags = 0; is_vlan(ethertype) && tags < VLAN_TAGS_MAX; tags++)
        ethertype = take_vlan(&rest, packet);
    switch (ethertype) {
    case 0:
        return PACKET_IS_MALFORMED;
    case ETH_P_IP:
        return decode_ipv4(rest, packet);
    case ETH_P_IPV6:
        return decode_ipv6(rest, packet);
    default:
        return PACKET_IS_OTHER;
    }
}
