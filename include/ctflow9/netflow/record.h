/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/flow/flow.h"

/* Where a record's packets come from and go to: in IPv4 or IPv6, the other's members have no meaning. */
struct record_ends {
    uint8_t source_ipv6[16], destination_ipv6[16];
    be32 source_ipv4, destination_ipv4;
    be16 source_port, destination_port;
};

/*
 * One NetFlow data record's values, in network byte order: one direction of a flow (or of a span of it), or
 * of several that were merged.
 * Every element that any shape sends is a member here; the field table (fields.h) gives each its element
 * number. The members stand in the order of the wire, so that most shapes are one or two contiguous runs of
 * this struct; nothing but speed depends on that order.
 */
struct record {
    struct record_ends ends;
    uint8_t protocol, ip_version, flow_direction, flow_end_reason;
    be32 ingress_interface, egress_interface;
    be64 octets, packets;
    be32 first_switched_ms, last_switched_ms; /* SysUptime of the start and the end */
    struct record_ends post_nat;              /* what the ends were translated to */
    be16 icmp_type_code;
    uint8_t icmpv6_type, icmpv6_code;
    be64 mark;
    be32 vrf_id;
    be32 flows;            /* records merged into this one */
    be64 start_ms, end_ms; /* since 1970 */
    uint8_t source_prefix_bits, destination_prefix_bits;
};

/* The same of a flow of packets, which tell more than connection tracking does. */
struct packets_record {
    struct record record;
    uint8_t tos, tcp_flags;
    uint8_t link_source[6], link_destination[6];
    be16 vlan;
    uint8_t minimum_ttl, maximum_ttl;
};

/* What a named counter counted in a span of time. */
struct counter_record {
    be32 source_ipv4; /* its number once more */
    be32 destination_ipv4;
    uint8_t ip_version; /* 4 */
    be64 octets, packets;
    be32 first_switched_ms, last_switched_ms;
    uint8_t application[5]; /* that numbers are a user's own, and its number */
};

/* What an exporter tells of itself: the values of every options data record. */
struct exporter_record {
    be32 scope_system; /* always 0: the exporter as a whole */
    be32 sampling_interval;
    uint8_t sampling_algorithm;
    be16 flow_active_timeout_s, flow_idle_timeout_s;
    be64 exported_octets, exported_messages, exported_records; /* to one collector */
    be64 not_sent_records;
};

/* What it tells of an interface; texts end with their octets or before, by 0. */
struct interface_record {
    be32 scope_system;
    be32 number;
    char name[32];
    char description[64];
};

/* What it tells of a named counter. */
struct name_record {
    be32 scope_system;
    uint8_t application[5];
    char name[64];
};
