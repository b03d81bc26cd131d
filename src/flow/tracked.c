/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/tracked.h"

/* In either direction. */
static const uint32_t not_kept =
    3U * (FLOW_HAS_INTERFACES | FLOW_HAS_TOS | FLOW_HAS_TCP_FLAGS | FLOW_HAS_LINK_SOURCE | FLOW_HAS_VLAN);

void tracked_see(struct tracked *tracked, const struct flow *flow)
{
    for (int direction = 0; direction < 2; direction++) {
        tracked->tuple[direction] = flow->tuple[direction];
        tracked->packets[direction] = flow->packets[direction];
        tracked->octets[direction] = flow->octets[direction];
    }
    tracked->start_ns = flow_told_start_ns(flow);
    tracked->seen_ns = flow->stop_ns;
    tracked->status = flow->status;
    tracked->mark = flow->mark;
    tracked->id = flow->id;
    tracked->timeout_s = flow->timeout_s;
    tracked->has = flow->has & ~not_kept;
    tracked->zone = flow->zone;
    tracked->family = flow->family;
    tracked->protocol = flow->protocol;
    tracked->tcp_state = flow->tcp_state;
}

struct flow tracked_flow(const struct tracked *tracked)
{
    return (struct flow){
        .tuple = {tracked->tuple[0], tracked->tuple[1]},
        .packets = {tracked->packets[0], tracked->packets[1]},
        .octets = {tracked->octets[0], tracked->octets[1]},
        .start_ns = tracked->start_ns,
        .stop_ns = tracked->seen_ns,
        .status = tracked->status,
        .mark = tracked->mark,
        .id = tracked->id,
        .timeout_s = tracked->timeout_s,
        .has = tracked->has,
        .zone = tracked->zone,
        .family = tracked->family,
        .protocol = tracked->protocol,
        .tcp_state = tracked->tcp_state,
    };
}

bool tracked_is_of(const struct tracked *tracked, const struct flow *flow)
{
    return tracked->id == flow->id && tracked->start_ns == flow_told_start_ns(flow) &&
           tracked->zone == flow->zone && ((tracked->has ^ flow->has) & FLOW_ZONE_OF_EITHER) == 0 &&
           tracked->family == flow->family && tracked->protocol == flow->protocol &&
           flow_tuple_is_same(&tracked->tuple[FLOW_ORIGINAL], &flow->tuple[FLOW_ORIGINAL]);
}
