/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
/*
 * THE field tables, one for each kind of record: every information element that is ever sent, its length,
 * where its value stands in the kind's struct, in which shapes it takes part, and what becomes of it when
 * records are merged. Templates, their ids, the encoder and aggregates derive from them. Element numbers:
 * IANA's IPFIX registry, which RFC 3954's table is the beginning of.
 *
 * An id stands for one element list for ever. A new element is a new bit or a new kind, never a new meaning;
 * a kind has a range of ids of its own, so that its shapes can use all of their bits:
 *
 *     256 to 33023    connections: 256 + shape, bits 0 to 14
 *       264 to 287    of these, given out one by one: 264 and 265 kept for NAT events, 266 for named counters,
 *                     270 to 287 options data
 *     33024 to 34047  kept for connections with TOS, VLAN or link-layer addresses: bits 0 to 2 and 5 to 8 of
 *                     the shape, moved together, and three bits for those
 *     34048 to 36095  packet flows: 34048 + shape, bits 0 to 10
 *     36096 to 49151  free
 *     49152 to 65535  kept for aggregates with TOS as a key: bits 0 to 13 of the shape. Aggregates of packet
 *                     flows have the elements of those of connections, so they have their ids too
 */
/* clang-format on */

/*
 * A shape of connections is the set of these bits. Bits 3 and 4 stay clear but in aggregates, for the ids 264
 * to 287 are given out one by one. Bits 3, 4 and 9 to 13 are set in aggregates only: what their keys leave
 * out, or of what they are the prefix.
 */
enum shape {
    SHAPE_IPV6 = 1 << 0,
    SHAPE_NAT = 1 << 1,
    SHAPE_ICMP = 1 << 2, /* ICMP, or with SHAPE_IPV6 ICMPv6 */
    SHAPE_SOURCE_PREFIX = 1 << 3,
    SHAPE_DESTINATION_PREFIX = 1 << 4,
    SHAPE_NO_COUNTERS = 1 << 5,
    SHAPE_MARK = 1 << 6,
    SHAPE_ZONE = 1 << 7,
    SHAPE_TIMES = 1 << 8,
    SHAPE_NO_SOURCE = 1 << 9,
    SHAPE_NO_DESTINATION = 1 << 10,
    SHAPE_NO_SOURCE_PORT = 1 << 11,
    SHAPE_NO_DESTINATION_PORT = 1 << 12, /* and no ICMP type and code: never with SHAPE_ICMP */
    SHAPE_NO_PROTOCOL = 1 << 13,
    SHAPE_AGGREGATED = 1 << 14,
};

/* The bits that differ from flow to flow; the others are the same for all that is sent. */
enum { SHAPE_OF_FLOW = SHAPE_IPV6 | SHAPE_NAT | SHAPE_ICMP | SHAPE_NO_COUNTERS, SHAPES_OF_FLOW = 16 };

/* Numbers their combinations from 0 to SHAPES_OF_FLOW - 1, whatever else is in shape; and back. */
static inline unsigned shape_index(unsigned shape)
{
    return (shape & (SHAPE_IPV6 | SHAPE_NAT | SHAPE_ICMP)) | (shape & SHAPE_NO_COUNTERS) >> 2;
}

static inline unsigned shape_at(unsigned index)
{
    return (index & (SHAPE_IPV6 | SHAPE_NAT | SHAPE_ICMP)) | (index << 2 & SHAPE_NO_COUNTERS);
}

/*
 * The shape of packet flows: SHAPE_IPV6, SHAPE_ICMP, SHAPE_TIMES and these. SHAPE_NAT and bit 6 are kept
 * for translations and the rule's prefix.
 */
enum shape_of_packets { SHAPE_MAC = 1 << 3, SHAPE_VLAN = 1 << 4, SHAPE_TTL = 1 << 5 };

/* The bits that differ from flow to flow. */
enum { SHAPE_OF_PACKETS = SHAPE_IPV6 | SHAPE_ICMP, SHAPES_OF_PACKETS = 4 };

/* Numbers their combinations from 0 to SHAPES_OF_PACKETS - 1; and back. */
static inline unsigned shape_index_of_packets(unsigned shape)
{
    return (shape & SHAPE_IPV6) | (shape & SHAPE_ICMP) >> 1;
}

static inline unsigned shape_of_packets_at(unsigned index)
{
    return (index & SHAPE_IPV6) | (index << 1 & SHAPE_ICMP);
}

/* What can be added to records, by name: to those whose source knows it. */
enum fields_optional {
    FIELDS_MARK = 1 << 0, /* of connections */
    FIELDS_ZONE = 1 << 1, /* of connections */
    FIELDS_TIMES = 1 << 2,
    FIELDS_MAC = 1 << 3,  /* of packet flows */
    FIELDS_VLAN = 1 << 4, /* of packet flows */
    FIELDS_TTL = 1 << 5   /* of packet flows */
};

/* What becomes of a field when records are merged (aggregate.h). */
enum field_merge {
    FIELD_KEY,         /* the same in all of them */
    FIELD_SOURCE,      /* an address of the source: its prefix is a key */
    FIELD_DESTINATION, /* of the destination */
    FIELD_SUM,
    FIELD_FIRST, /* the earliest time */
    FIELD_LAST,  /* the latest one */
    FIELD_MADE,  /* made by merging */
    FIELD_IN,    /* an interface: a key when that is asked for, else 0, not known */
    FIELD_OUT,   /* the other one */
};

struct field {
    uint16_t element;
    uint16_t octets;
    uint16_t offset;        /* in the struct of its kind: struct record, for options data that of its rows */
    uint16_t with, without; /* the shapes that have it: all bits of with set, all bits of without clear */
    enum field_merge merge;
};

/* A kind of record: the template id of a shape is first_id + shape. */
struct fields_kind {
    uint16_t first_id;
    size_t count;
    const struct field *fields;
};

extern const struct fields_kind fields_connection; /* struct record */
extern const struct fields_kind fields_packets;    /* struct packets_record; they are not merged */
extern const struct fields_kind fields_counter;    /* struct counter_record; shape 0, not merged */

/* Who has the rows of a table of options data. */
enum fields_rows {
    FIELDS_ROWS_EXPORTER,   /* one row, a struct exporter_record */
    FIELDS_ROWS_INTERFACES, /* one for each interface, a struct interface_record */
    FIELDS_ROWS_NAMES,      /* one for each named counter, a struct name_record */
    FIELDS_ROWS             /* how many there are */
};

/* Options data (RFC 3954 6.1), one table to a row: the scope is the first field, element 1 = System. */
struct fields_options {
    enum fields_rows rows;
    uint16_t template_id;
    uint16_t count;
    bool rows_apart; /* each row has a FlowSet of its own */
    struct field fields[8];
};

extern const struct fields_options fields_options[];
extern const size_t fields_options_count;
