/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

bool flow_is_icmp(const struct flow *flow)
{
    return flow->protocol == (flow->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static bool same_address(const struct flow *flow, const union flow_address *a, const union flow_address *b)
{
    return flow->family == AF_INET ? a->v4 == b->v4 : memcmp(a->v6, b->v6, sizeof(a->v6)) == 0;
}

bool flow_is_translated(const struct flow *flow)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL];
    const struct flow_tuple *reply = &flow->tuple[FLOW_REPLY];
    return !same_address(flow, &original->src, &reply->dst) ||
           !same_address(flow, &original->dst, &reply->src) || original->src_port != reply->dst_port ||
           original->dst_port != reply->src_port;
}

bool flow_has_direction(const struct flow *flow, enum flow_direction direction)
{
    if (flow_has(flow, FLOW_HAS_COUNTERS))
        return flow->packets[direction] != 0;
    return direction == FLOW_ORIGINAL || (flow->status & IPS_SEEN_REPLY) != 0;
}

uint16_t flow_zone(const struct flow *flow)
{
    return flow->zone != 0 ? flow->zone : flow->tuple[FLOW_ORIGINAL].zone;
}

enum flow_end_reason flow_end_reason(const struct flow *flow)
{
    if (flow_has(flow, FLOW_REQUESTED))
        return FLOW_END_FORCED;
    if (flow_has(flow, FLOW_HAS_TCP_STATE) && flow->tcp_state >= TCP_CONNTRACK_FIN_WAIT &&
        flow->tcp_state <= TCP_CONNTRACK_CLOSE)
        return FLOW_END_DETECTED;
    return flow_has(flow, FLOW_HAS_TIMEOUT) && flow->timeout_s > 0 ? FLOW_END_FORCED : FLOW_END_IDLE_TIMEOUT;
}
