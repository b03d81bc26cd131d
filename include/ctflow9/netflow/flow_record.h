/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/netflow/epoch.h"
#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/record.h"

/*
 * The values of a flow's records, one for each direction. Pure; inline, for it is done for every event. First
 * what both share, then for each direction what is its own, into the same record; what its shape does not
 * send may be of flows before.
 */

/* The bits of SHAPE_OF_FLOW that the flow has. */
static inline unsigned flow_record_shape(const struct flow *flow)
{
    return (flow->family == AF_INET6 ? SHAPE_IPV6 : 0U) | (flow_is_translated(flow) ? SHAPE_NAT : 0U) |
           (flow_is_icmp(flow) ? SHAPE_ICMP : 0U) |
           (flow_has(flow, FLOW_HAS_COUNTERS) ? 0U : SHAPE_NO_COUNTERS);
}

/* FIRST and LAST, given as wall-clock times. */
static inline void flow_record_fill_times(struct record *record, const struct epoch *epoch, uint64_t start_ms,
                                          uint64_t stop_ms)
{
    record->first_switched_ms = htobe32(epoch_uptime_ms(epoch, start_ms));
    record->last_switched_ms = htobe32(epoch_uptime_ms(epoch, stop_ms));
}

/* What both directions share; shape with all that is sent. Returns LAST as a wall-clock time. */
static inline uint64_t flow_record_fill(struct record *record, const struct flow *flow, unsigned shape,
                                        const struct epoch *epoch)
{
    uint64_t stop_ms = flow->stop_ns / NS_PER_MS;
    uint64_t start_ms = (flow->start_ns < flow->stop_ns ? flow->start_ns : flow->stop_ns) / NS_PER_MS;

    record->protocol = flow->protocol;
    record->ip_version = flow->family == AF_INET6 ? 6 : 4;
    record->flow_direction = 0; /* ingress; 1 = egress */
    record->flow_end_reason = flow->end_reason;
    record->ingress_interface = 0;
    record->egress_interface = 0;
    flow_record_fill_times(record, epoch, start_ms, stop_ms);
    if (shape & (SHAPE_MARK | SHAPE_ZONE | SHAPE_TIMES | SHAPE_AGGREGATED)) {
        record->mark = htobe64(flow->mark);
        record->vrf_id = htobe32(flow_zone(flow));
        record->start_ms = htobe64(start_ms);
        record->end_ms = htobe64(stop_ms);
    }
    return stop_ms;
}

/* The ends of a tuple, as seen from its source or, turned round, from its destination. */
static inline void flow_record_fill_ends(struct record_ends *ends, const struct flow *flow,
                                         enum flow_direction direction, bool turned)
{
    const struct flow_tuple *tuple = &flow->tuple[direction];
    const union flow_address *source = turned ? &tuple->dst : &tuple->src;
    const union flow_address *destination = turned ? &tuple->src : &tuple->dst;

    if (flow->family == AF_INET6) {
        memcpy(ends->source_ipv6, source, sizeof(ends->source_ipv6));
        memcpy(ends->destination_ipv6, destination, sizeof(ends->destination_ipv6));
    } else {
        ends->source_ipv4 = source->v4;
        ends->destination_ipv4 = destination->v4;
    }
    ends->source_port = turned ? tuple->dst_port : tuple->src_port;
    ends->destination_port = turned ? tuple->src_port : tuple->dst_port;
}

/* Type and code come from the direction's own tuple, and stand in the destination port too. */
static inline void flow_record_fill_icmp(struct record *record, const struct flow_tuple *tuple)
{
    record->icmp_type_code = htobe16((uint16_t)(tuple->icmp_type << 8 | tuple->icmp_code));
    record->icmpv6_type = tuple->icmp_type;
    record->icmpv6_code = tuple->icmp_code;
    record->ends.source_port = 0;
    record->ends.destination_port = record->icmp_type_code;
}

/* The other direction's interfaces, swapped, when its own are not known. */
static inline void flow_record_fill_way(struct record *record, const struct flow *flow,
                                        enum flow_direction direction)
{
    uint32_t in, out;
    if (flow_interfaces(flow, direction, &in, &out)) {
        record->ingress_interface = htobe32(in);
        record->egress_interface = htobe32(out);
    }
    record->flow_direction = flow_has_of(flow, FLOW_EGRESS, direction);
}

/* What is the direction's own. The reply's record is the original's mirror: seen from inside, whatever was
 * translated. */
static inline void flow_record_fill_direction(struct record *record, const struct flow *flow, unsigned shape,
                                              enum flow_direction direction)
{
    flow_record_fill_ends(&record->ends, flow, FLOW_ORIGINAL, direction == FLOW_REPLY);
    if (shape & SHAPE_NAT)
        flow_record_fill_ends(&record->post_nat, flow, FLOW_REPLY, direction == FLOW_ORIGINAL);
    if (shape & SHAPE_ICMP)
        flow_record_fill_icmp(record, &flow->tuple[direction]);
    if (flow->has & FLOW_HAS_WAY)
        flow_record_fill_way(record, flow, direction);
    record->packets = htobe64(flow->packets[direction]);
    record->octets = htobe64(flow->octets[direction]);
}

/* What packets tell besides, of their one direction. */
static inline void flow_record_fill_packets(struct packets_record *record, const struct flow *flow)
{
    record->tos = flow->tos[FLOW_ORIGINAL];
    record->tcp_flags = flow->tcp_flags[FLOW_ORIGINAL];
    record->vlan = htobe16(flow->vlan[FLOW_ORIGINAL]);
    record->minimum_ttl = flow->ttl.min;
    record->maximum_ttl = flow->ttl.max;
    memcpy(record->link_source, flow->link_source[FLOW_ORIGINAL], sizeof(record->link_source));
    memcpy(record->link_destination, flow->link_source[FLOW_REPLY], sizeof(record->link_destination));
}
