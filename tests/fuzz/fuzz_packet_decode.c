/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any octets as a packet, behind one that chooses what they begin with; in a block that ends where they do.
 * The seeds are odd packets, made by hand.
 */
#include "ctflow9/input/packet_decode.h"

#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_key(const struct flow_key *key)
{
    static const uint8_t none[sizeof(key->none)];
    require(key->family == AF_INET || key->family == AF_INET6);
    require(memcmp(key->none, none, sizeof(none)) == 0);
    require(key->vlan <= 0xfff);
    require(key->in_interface == 1 && key->out_interface == 2);
    for (size_t i = sizeof(be32); key->family == AF_INET && i < sizeof(key->src); i++)
        require(key->src.v6[i] == 0 && key->dst.v6[i] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
    static const uint16_t ethertypes[] = {ETH_P_IP, ETH_P_IPV6, ETH_P_TEB, ETH_P_8021Q};
    if (octets == 0)
        return 0;
    uint16_t ethertype = ethertypes[data[0] % 4];
    uint8_t *block = malloc(octets);
    struct flow_packet packet = {.key = {.in_interface = 1, .out_interface = 2}};
    struct flow_packet again;
    require(block != NULL);
    memset(&again, 0xff, sizeof(again));
    again.key.in_interface = 1;
    again.key.out_interface = 2;
    again.key.is_egress = 0;
    again.key.vlan = 0;
    memcpy(block, data + 1, octets - 1);
    block = realloc(block, octets > 1 ? octets - 1 : 1);
    require(block != NULL);
    enum packet_verdict verdict = packet_decode(block, octets - 1, ethertype, &packet);
    require(packet_decode(block, octets - 1, ethertype, &again) == verdict);
    if (verdict == PACKET_IS_IP) {
        check_key(&packet.key);
        require(memcmp(&packet.key, &again.key, sizeof(packet.key)) == 0);
        require(packet.octets == again.octets && packet.tcp_flags == again.tcp_flags &&
                packet.ttl == again.ttl);
    }
    free(block);
    return 0;
}
