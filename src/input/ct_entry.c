/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_entry.h"

#include <netinet/in.h>
#include <string.h>

#include "ctflow9/flow/flow.h"

static void read_tuple(const struct ct_entry_tuple *entry, struct flow_tuple *tuple)
{
    memcpy(&tuple->src, entry->src, sizeof(tuple->src));
    memcpy(&tuple->dst, entry->dst, sizeof(tuple->dst));
    if (entry->protocol == IPPROTO_ICMP || entry->protocol == IPPROTO_ICMPV6) {
        uint8_t type_and_code[2];
        memcpy(type_and_code, &entry->dst_id, sizeof(type_and_code));
        tuple->icmp_id = entry->src_id;
        tuple->icmp_type = type_and_code[0];
        tuple->icmp_code = type_and_code[1];
    } else {
        tuple->src_port = entry->src_id;
        tuple->dst_port = entry->dst_id;
    }
}

static void read_zone(const struct ct_entry *entry, struct flow *flow)
{
    const unsigned both = 1 << FLOW_ORIGINAL | 1 << FLOW_REPLY;
    flow->zone = entry->zone;
    if (entry->zone != 0 && entry->zone_directions != both)
        flow->has |= FLOW_ZONE_OF_ONE * entry->zone_directions;
}

void ct_entry_read(const struct ct_entry *entry, struct flow *flow)
{
    *flow = (struct flow){.family = (uint8_t)entry->tuple[FLOW_ORIGINAL].family,
                          .protocol = entry->tuple[FLOW_ORIGINAL].protocol,
                          .status = entry->status,
                          .mark = entry->mark,
                          .id = entry->id,
                          .timeout_s = entry->timeout_s,
                          .has = FLOW_HAS_STATUS};
    for (int i = FLOW_ORIGINAL; i <= FLOW_REPLY; i++)
        read_tuple(&entry->tuple[i], &flow->tuple[i]);
    if (entry->has & CT_ENTRY_HAS_COUNTERS) {
        flow->has |= FLOW_HAS_COUNTERS;
        for (int i = FLOW_ORIGINAL; i <= FLOW_REPLY; i++) {
            flow->packets[i] = entry->counter[i].packets;
            flow->octets[i] = entry->counter[i].octets;
        }
    }
    if (entry->has & CT_ENTRY_HAS_STAMPS) {
        flow->has |= FLOW_HAS_START | FLOW_HAS_STOP;
        flow->start_ns = entry->stamps.start_ns;
        flow->stop_ns = entry->stamps.stop_ns;
    }
    if (entry->timeout_s != 0)
        flow->has |= FLOW_HAS_TIMEOUT;
    if (entry->tuple[FLOW_ORIGINAL].protocol == IPPROTO_TCP) {
        flow->has |= FLOW_HAS_TCP_STATE;
        flow->tcp_state = entry->tcp_state;
    }
    if (entry->has & CT_ENTRY_REQUESTED)
        flow->has |= FLOW_REQUESTED;
    read_zone(entry, flow);
}
