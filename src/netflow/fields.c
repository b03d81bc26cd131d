/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/fields.h"

#include "ctflow9/netflow/record.h"

#define FLOW(number, member, merge, with, without)                                                          \
    {                                                                                                       \
        number, sizeof(((struct record *)0)->member), offsetof(struct record, member), with, without, merge \
    }
#define PACKETS(number, member, with, without)                                                               \
    {                                                                                                        \
        number, sizeof(((struct packets_record *)0)->member), offsetof(struct packets_record, member), with, \
            without, FIELD_KEY                                                                               \
    }
#define COUNTER(number, member)                                                                              \
    {                                                                                                        \
        number, sizeof(((struct counter_record *)0)->member), offsetof(struct counter_record, member), 0, 0, \
            FIELD_KEY                                                                                        \
    }
#define NAME(number, member)                                                                           \
    {                                                                                                  \
        number, sizeof(((struct name_record *)0)->member), offsetof(struct name_record, member), 0, 0, \
            FIELD_KEY                                                                                  \
    }
#define EXPORTER(number, member)                                                                            \
    {                                                                                                       \
        number, sizeof(((struct exporter_record *)0)->member), offsetof(struct exporter_record, member), 0, \
            0, FIELD_KEY                                                                                    \
    }
#define INTERFACE(number, member)                                                                          \
    {                                                                                                      \
        number, sizeof(((struct interface_record *)0)->member), offsetof(struct interface_record, member), \
            0, 0, FIELD_KEY                                                                                \
    }

/* clang-format off */
static const struct field connection[] = {
    /*   element  member                  when merged        with         without */
    FLOW(8,   ends.source_ipv4,         FIELD_SOURCE,      0,           SHAPE_IPV6 | SHAPE_NO_SOURCE),
    FLOW(12,  ends.destination_ipv4,    FIELD_DESTINATION, 0,           SHAPE_IPV6 | SHAPE_NO_DESTINATION),
    FLOW(27,  ends.source_ipv6,         FIELD_SOURCE,      SHAPE_IPV6,  SHAPE_NO_SOURCE),
    FLOW(28,  ends.destination_ipv6,    FIELD_DESTINATION, SHAPE_IPV6,  SHAPE_NO_DESTINATION),
    FLOW(7,   ends.source_port,         FIELD_KEY,         0,           SHAPE_NO_SOURCE_PORT),
    FLOW(11,  ends.destination_port,    FIELD_KEY,         0,           SHAPE_NO_DESTINATION_PORT),
    FLOW(4,   protocol,                 FIELD_KEY,         0,           SHAPE_NO_PROTOCOL),
    FLOW(60,  ip_version,               FIELD_KEY,         0,           0),
    FLOW(61,  flow_direction,           FIELD_KEY,         0,           0),
    FLOW(136, flow_end_reason,          FIELD_MADE,        0,           0),
    FLOW(10,  ingress_interface,        FIELD_IN,          0,           0),
    FLOW(14,  egress_interface,         FIELD_OUT,         0,           0),
    FLOW(1,   octets,                   FIELD_SUM,         0,           SHAPE_NO_COUNTERS),
    FLOW(2,   packets,                  FIELD_SUM,         0,           SHAPE_NO_COUNTERS),
    FLOW(22,  first_switched_ms,        FIELD_FIRST,       0,           0),
    FLOW(21,  last_switched_ms,         FIELD_LAST,        0,           0),
    FLOW(225, post_nat.source_ipv4,     FIELD_SOURCE,      SHAPE_NAT,   SHAPE_IPV6 | SHAPE_NO_SOURCE),
    FLOW(226, post_nat.destination_ipv4, FIELD_DESTINATION, SHAPE_NAT,   SHAPE_IPV6 | SHAPE_NO_DESTINATION),
    FLOW(281, post_nat.source_ipv6,     FIELD_SOURCE,      SHAPE_NAT | SHAPE_IPV6, SHAPE_NO_SOURCE),
    FLOW(282, post_nat.destination_ipv6, FIELD_DESTINATION, SHAPE_NAT | SHAPE_IPV6, SHAPE_NO_DESTINATION),
    FLOW(227, post_nat.source_port,     FIELD_KEY,         SHAPE_NAT,   SHAPE_NO_SOURCE_PORT),
    FLOW(228, post_nat.destination_port, FIELD_KEY,         SHAPE_NAT,   SHAPE_NO_DESTINATION_PORT),
    FLOW(32,  icmp_type_code,           FIELD_KEY,         SHAPE_ICMP,  SHAPE_IPV6),
    FLOW(178, icmpv6_type,              FIELD_KEY,         SHAPE_ICMP | SHAPE_IPV6, 0),
    FLOW(179, icmpv6_code,              FIELD_KEY,         SHAPE_ICMP | SHAPE_IPV6, 0),
    FLOW(137, mark,                     FIELD_KEY,         SHAPE_MARK,  0), /* as ipt_NETFLOW uses it */
    FLOW(234, vrf_id,                   FIELD_KEY,         SHAPE_ZONE,  0),
    FLOW(3,   flows,                    FIELD_MADE,        SHAPE_AGGREGATED, 0),
    FLOW(152, start_ms,                 FIELD_FIRST,       SHAPE_TIMES, 0), /* after 22 and 21: collectors let the later one win */
    FLOW(153, end_ms,                   FIELD_LAST,        SHAPE_TIMES, 0),
    FLOW(9,   source_prefix_bits,       FIELD_MADE,        SHAPE_SOURCE_PREFIX, SHAPE_IPV6),
    FLOW(13,  destination_prefix_bits,  FIELD_MADE,        SHAPE_DESTINATION_PREFIX, SHAPE_IPV6),
    FLOW(29,  source_prefix_bits,       FIELD_MADE,        SHAPE_SOURCE_PREFIX | SHAPE_IPV6, 0),
    FLOW(30,  destination_prefix_bits,  FIELD_MADE,        SHAPE_DESTINATION_PREFIX | SHAPE_IPV6, 0),
};

static const struct field packets[] = {
    /*      element  member                           with                     without */
    PACKETS(8,   record.ends.source_ipv4,      0,                       SHAPE_IPV6),
    PACKETS(12,  record.ends.destination_ipv4, 0,                       SHAPE_IPV6),
    PACKETS(27,  record.ends.source_ipv6,      SHAPE_IPV6,              0),
    PACKETS(28,  record.ends.destination_ipv6, SHAPE_IPV6,              0),
    PACKETS(7,   record.ends.source_port,      0,                       0),
    PACKETS(11,  record.ends.destination_port, 0,                       0),
    PACKETS(4,   record.protocol,              0,                       0),
    PACKETS(60,  record.ip_version,            0,                       0),
    PACKETS(61,  record.flow_direction,        0,                       0),
    PACKETS(136, record.flow_end_reason,       0,                       0),
    PACKETS(10,  record.ingress_interface,     0,                       0),
    PACKETS(14,  record.egress_interface,      0,                       0),
    PACKETS(1,   record.octets,                0,                       0),
    PACKETS(2,   record.packets,               0,                       0),
    PACKETS(22,  record.first_switched_ms,     0,                       0),
    PACKETS(21,  record.last_switched_ms,      0,                       0),
    PACKETS(32,  record.icmp_type_code,        SHAPE_ICMP,              SHAPE_IPV6),
    PACKETS(178, record.icmpv6_type,           SHAPE_ICMP | SHAPE_IPV6, 0),
    PACKETS(179, record.icmpv6_code,           SHAPE_ICMP | SHAPE_IPV6, 0),
    PACKETS(152, record.start_ms,              SHAPE_TIMES,             0),
    PACKETS(153, record.end_ms,                SHAPE_TIMES,             0),
    PACKETS(5,   tos,                          0,                       0),
    PACKETS(6,   tcp_flags,                    0,                       0),
    PACKETS(56,  link_source,                  SHAPE_MAC,               0),
    PACKETS(80,  link_destination,             SHAPE_MAC,               0),
    PACKETS(58,  vlan,                         SHAPE_VLAN,              0),
    PACKETS(52,  minimum_ttl,                  SHAPE_TTL,               0),
    PACKETS(53,  maximum_ttl,                  SHAPE_TTL,               0),
};

/* Elements 60 and addresses: nfacctd drops a record without. The number is the source address, by which nfdump's JSON tells them
 * apart. */
static const struct field counter[] = {
    COUNTER(8,  source_ipv4),
    COUNTER(12, destination_ipv4),
    COUNTER(60, ip_version),
    COUNTER(1,  octets),
    COUNTER(2,  packets),
    COUNTER(22, first_switched_ms),
    COUNTER(21, last_switched_ms),
    COUNTER(95, application),
};

const struct fields_options fields_options[] = {
    /* Sampling: Akvorado drops the flows of an exporter that never told its rate. */
    {FIELDS_ROWS_EXPORTER, 270, 3, false, {EXPORTER(1, scope_system), EXPORTER(34, sampling_interval), EXPORTER(35, sampling_algorithm)}},
    {FIELDS_ROWS_EXPORTER, 273, 6, false, {EXPORTER(1, scope_system), EXPORTER(40, exported_octets), EXPORTER(41, exported_messages),
              EXPORTER(42, exported_records), EXPORTER(36, flow_active_timeout_s), EXPORTER(37, flow_idle_timeout_s)}},
    /* Losses, apart from the totals: a collector that does not know 166 then loses nothing else. */
    {FIELDS_ROWS_EXPORTER, 274, 2, false, {EXPORTER(1, scope_system), EXPORTER(166, not_sent_records)}},
    /* Last, for these have many rows: the others are in the first datagram. nfdump 1.7.1 goes from row to row by the octets of
     * the fields that it takes (10 and 83), and so finds no other than the first of a FlowSet. */
    {FIELDS_ROWS_INTERFACES, 271, 4, true, {INTERFACE(1, scope_system), INTERFACE(10, number), INTERFACE(82, name), INTERFACE(83, description)}},
    {FIELDS_ROWS_NAMES, 275, 3, true, {NAME(1, scope_system), NAME(95, application), NAME(96, name)}},
};
/* clang-format on */

const struct fields_kind fields_connection = {
    .first_id = 256,
    .count = sizeof(connection) / sizeof(connection[0]),
    .fields = connection,
};
const struct fields_kind fields_packets = {
    .first_id = 34048,
    .count = sizeof(packets) / sizeof(packets[0]),
    .fields = packets,
};
const struct fields_kind fields_counter = {
    .first_id = 266,
    .count = sizeof(counter) / sizeof(counter[0]),
    .fields = counter,
};
const size_t fields_options_count = sizeof(fields_options) / sizeof(fields_options[0]);
