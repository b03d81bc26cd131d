/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/packet_message.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <string.h>

#include "ctflow9/input/packet_decode.h"

enum {
    NETDEV_EGRESS = 1, /* NF_NETDEV_EGRESS, since Linux 5.16 */
    VLAN_TCI = 2,      /* NFULA_VLAN_TCI, NFQA_VLAN_TCI */
    VLAN_ID = 0xfff
};

_Static_assert(VLAN_TCI == (int)NFULA_VLAN_TCI && VLAN_TCI == (int)NFQA_VLAN_TCI, "the same for both");

/* What only all attributes together tell. */
struct link {
    const struct nlattr *header;
    uint16_t type;
};

static bool has_octets(const struct nlattr *attribute, size_t octets)
{
    return mnl_attr_get_payload_len(attribute) >= octets;
}

static uint32_t get_be32(const struct nlattr *attribute)
{
    be32 value = 0;
    if (has_octets(attribute, sizeof(value)))
        memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
    return be32toh(value);
}

static uint16_t get_be16(const struct nlattr *attribute)
{
    be16 value = 0;
    if (has_octets(attribute, sizeof(value)))
        memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
    return be16toh(value);
}

static bool is_attribute(const struct nlattr *attribute, const void *end)
{
    return mnl_attr_ok(attribute, (int)((const char *)end - (const char *)attribute));
}

static void read_vlan(const struct nlattr *nest, struct flow_key *key)
{
    const struct nlattr *attribute = mnl_attr_get_payload(nest);
    const char *end = (const char *)attribute + mnl_attr_get_payload_len(nest);
    for (; is_attribute(attribute, end); attribute = mnl_attr_next(attribute)) {
        if (mnl_attr_get_type(attribute) == VLAN_TCI)
            key->vlan = get_be16(attribute) & VLAN_ID;
    }
}

static void read_log_header(const struct nlattr *attribute, struct packet_message *read)
{
    struct nfulnl_msg_packet_hdr header;
    if (!has_octets(attribute, sizeof(header)))
        return;
    memcpy(&header, mnl_attr_get_payload(attribute), sizeof(header));
    read->hw_protocol = be16toh(header.hw_protocol);
    read->hook = header.hook;
}

static void read_queue_header(const struct nlattr *attribute, struct packet_message *read)
{
    struct nfqnl_msg_packet_hdr header;
    if (!has_octets(attribute, sizeof(header)))
        return;
    memcpy(&header, mnl_attr_get_payload(attribute), sizeof(header));
    read->number = be32toh(header.packet_id);
    read->has_number = true;
    read->hw_protocol = be16toh(header.hw_protocol);
    read->hook = header.hook;
}

static void read_sender(const struct nlattr *attribute, struct flow_packet *packet)
{
    struct nfqnl_msg_packet_hw address;
    if (!has_octets(attribute, sizeof(address)))
        return;
    memcpy(&address, mnl_attr_get_payload(attribute), sizeof(address));
    if (be16toh(address.hw_addrlen) != ETH_ALEN || packet->has_link)
        return;
    memcpy(packet->link_source, address.hw_addr, ETH_ALEN);
    packet->has_link = true;
}

static void read_ethernet(const struct nlattr *attribute, struct flow_packet *packet)
{
    if (!has_octets(attribute, ETH_HLEN))
        return;
    const uint8_t *header = mnl_attr_get_payload(attribute);
    memcpy(packet->link_destination, header, ETH_ALEN);
    memcpy(packet->link_source, header + ETH_ALEN, ETH_ALEN);
    packet->has_link = true;
}

static void read_attribute(const struct nlattr *attribute, enum packet_part part, struct packet_message *read,
                           struct link *link, struct flow_packet *packet)
{
    struct flow_key *key = &packet->key;
    switch (part) {
    case PACKET_PART_OTHER:
        break;
    case PACKET_PART_LOG_HEADER:
        read_log_header(attribute, read);
        break;
    case PACKET_PART_QUEUE_HEADER:
        read_queue_header(attribute, read);
        break;
    case PACKET_PART_IN:
        key->in_interface = key->in_interface ? key->in_interface : get_be32(attribute);
        break;
    case PACKET_PART_OUT:
        key->out_interface = key->out_interface ? key->out_interface : get_be32(attribute);
        break;
    case PACKET_PART_PORT_IN:
        key->in_interface = get_be32(attribute);
        break;
    case PACKET_PART_PORT_OUT:
        key->out_interface = get_be32(attribute);
        break;
    case PACKET_PART_VLAN:
        read_vlan(attribute, key);
        break;
    case PACKET_PART_LINK_TYPE:
        link->type = get_be16(attribute);
        break;
    case PACKET_PART_LINK_HEADER:
        link->header = attribute;
        break;
    case PACKET_PART_ETHERNET:
        read_ethernet(attribute, packet);
        break;
    case PACKET_PART_SENDER:
        read_sender(attribute, packet);
        break;
    case PACKET_PART_NUMBER:
        read->number = get_be32(attribute);
        read->has_number = has_octets(attribute, sizeof(be32));
        break;
    case PACKET_PART_LENGTH:
        read->octets = get_be32(attribute);
        break;
    case PACKET_PART_MARK:
        read->mark = get_be32(attribute);
        break;
    case PACKET_PART_PAYLOAD:
        read->payload = attribute;
        break;
    }
}

static bool is_egress(const struct packet_message *read)
{
    if (read->family == NFPROTO_NETDEV)
        return read->hook == NETDEV_EGRESS;
    return read->hook == NF_INET_LOCAL_OUT || read->hook == NF_INET_POST_ROUTING;
}

bool packet_message_read(struct packet_message *read, struct flow_packet *packet,
                         const struct nlmsghdr *message, const uint8_t part[PACKET_PARTS])
{
    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
        return false;
    const struct nfgenmsg *general = mnl_nlmsg_get_payload(message);
    const struct nlattr *attribute = mnl_nlmsg_get_payload_offset(message, sizeof(*general));
    const void *end = mnl_nlmsg_get_payload_tail(message);
    struct link link = {0};
    *read = (struct packet_message){.group = be16toh(general->res_id), .family = general->nfgen_family};
    memset(packet, 0, sizeof(*packet));
    for (; is_attribute(attribute, end); attribute = mnl_attr_next(attribute)) {
        uint16_t type = mnl_attr_get_type(attribute);
        if (type < PACKET_PARTS)
            read_attribute(attribute, part[type], read, &link, packet);
    }
    if (link.type == ARPHRD_ETHER && link.header)
        read_ethernet(link.header, packet);
    packet->key.is_egress = is_egress(read);
    return true;
}

/* Of the IP layer: its octets are IP's, without what Ethernet pads. */
static bool is_inet(const struct packet_message *read)
{
    return read->family == NFPROTO_IPV4 || read->family == NFPROTO_IPV6;
}

static uint16_t ethertype_of(const struct packet_message *read)
{
    if (is_inet(read))
        return read->family == NFPROTO_IPV4 ? ETH_P_IP : ETH_P_IPV6;
    return read->family == NFPROTO_NETDEV && is_egress(read) ? ETH_P_TEB : read->hw_protocol;
}

bool packet_message_decode(const struct packet_message *read, struct flow_packet *packet, struct stats *stats)
{
    enum packet_verdict verdict = PACKET_IS_MALFORMED;
    if (read->payload)
        verdict = packet_decode(mnl_attr_get_payload(read->payload), mnl_attr_get_payload_len(read->payload),
                                ethertype_of(read), packet);
    if (verdict == PACKET_IS_OTHER)
        stats_count(&stats->packets_other, 1);
    if (verdict == PACKET_IS_MALFORMED)
        stats_count(&stats->packets_malformed, 1);
    if (verdict != PACKET_IS_IP)
        return false;
    if (read->octets != 0 && (is_inet(read) || packet->octets == 0))
        packet->octets = read->octets;
    if (packet->octets == 0)
        stats_count(&stats->packets_unsized, 1);
    return true;
}
