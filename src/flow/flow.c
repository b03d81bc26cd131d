/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow.h"

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"

static uint32_t zone_direction(const struct flow *flow)
{
    return flow->has & FLOW_ZONE_OF_EITHER;
}

bool flow_is_same(const struct flow *a, const struct flow *b)
{
    return a->id == b->id && flow_told_start_ns(a) == flow_told_start_ns(b) && a->zone == b->zone &&
           zone_direction(a) == zone_direction(b) && a->family == b->family && a->protocol == b->protocol &&
           flow_tuple_is_same(&a->tuple[FLOW_ORIGINAL], &b->tuple[FLOW_ORIGINAL]);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint64_t mix_address(uint64_t hash, const union flow_address *address)
{
    uint64_t words[2];
    memcpy(words, address, sizeof(words));
    return mix(mix(hash, words[0]), words[1]);
}

uint64_t flow_hash(const struct flow *flow)
{
    const struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    uint64_t hash = mix(mix(0, flow_told_start_ns(flow)), flow->id);
    hash = mix_address(hash, &tuple->src);
    hash = mix_address(hash, &tuple->dst);
    hash = mix(hash, (uint64_t)tuple->src_port << 48 | (uint64_t)tuple->dst_port << 32 |
                         (uint64_t)tuple->icmp_id << 16 | (uint64_t)tuple->icmp_type << 8 | tuple->icmp_code);
    hash = mix(hash, (uint64_t)zone_direction(flow) << 32 | (uint64_t)flow->zone << 16 |
                         (uint64_t)flow->family << 8 | flow->protocol);
    return mix(hash, 0);
}

uint16_t flow_zone_of(const struct flow *flow, enum flow_direction direction)
{
    return flow_has_of(flow, FLOW_ZONE_OF_ONE, direction) ? flow->zone : 0;
}

uint16_t flow_zone_of_both(const struct flow *flow)
{
    return zone_direction(flow) == 0 ? flow->zone : 0;
}

uint16_t flow_zone(const struct flow *flow)
{
    return flow_has_of(flow, FLOW_ZONE_OF_ONE, FLOW_REPLY) ? 0 : flow->zone;
}

static bool is_closing(const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_TCP_STATE) && flow->tcp_state >= TCP_CONNTRACK_FIN_WAIT &&
           flow->tcp_state <= TCP_CONNTRACK_CLOSE;
}

enum flow_end_reason flow_end_reason(const struct flow *flow)
{
    if (flow_has(flow, FLOW_REQUESTED))
        return FLOW_END_FORCED;
    if (is_closing(flow))
        return FLOW_END_DETECTED;
    if (flow_has(flow, FLOW_HAS_TIMEOUT) && flow->timeout_s > 0)
        return FLOW_END_FORCED;
    return flow_has(flow, FLOW_END_TOLD) ? FLOW_END_IDLE_TIMEOUT : FLOW_END_UNKNOWN;
}

enum flow_end_reason flow_end_reason_since(const struct flow *row, const struct flow *end)
{
    if (is_closing(row))
        return FLOW_END_DETECTED;
    bool was_idle = flow_has(row, FLOW_HAS_COUNTERS) &&
                    row->packets[FLOW_ORIGINAL] == end->packets[FLOW_ORIGINAL] &&
                    row->packets[FLOW_REPLY] == end->packets[FLOW_REPLY];
    bool ran_out =
        flow_has(row, FLOW_HAS_TIMEOUT) && end->stop_ns >= row->stop_ns + row->timeout_s * NS_PER_S;
    return was_idle && ran_out ? FLOW_END_IDLE_TIMEOUT : FLOW_END_UNKNOWN;
}
