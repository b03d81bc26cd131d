/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * THE field table: every information element that is ever sent, its length, where its value stands in struct
 * record, and in which shapes it takes part. Templates, their ids and the encoder derive from it. Element
 * numbers: IANA's IPFIX registry, which RFC 3954's table is the beginning of.
 */

/*
 * A shape is the set of these bits, and its template id is 256 + the bits: an id stands for one element list
 * for ever. Bits 3 and 4 stay clear but in aggregates, for ids 264 to 287 are given out one by one (options
 * data below, NAT events, nfacct). Bits 3, 4 and 9 to 13 are set in aggregates only: what their keys leave
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

/* What can be added to every record, by name. */
enum fields_optional { FIELDS_MARK = 1 << 0, FIELDS_ZONE = 1 << 1, FIELDS_TIMES = 1 << 2 };

struct field {
    uint16_t element;
    uint16_t octets;
    uint16_t offset;        /* in struct record, or for options data in struct exporter_record */
    uint16_t with, without; /* the shapes that have it: all bits of with set, all bits of without clear */
};

extern const struct field fields_flow[];
extern const size_t fields_flow_count;

/* Who has the rows of a table of options data. */
enum fields_rows {
    FIELDS_ROWS_EXPORTER, /* one row, a struct exporter_record */
    FIELDS_ROWS           /* how many there are */
};

/* Options data (RFC 3954 6.1), one table to a row: the scope is the first field, element 1 = System. */
struct fields_options {
    enum fields_rows rows;
    uint16_t template_id;
    uint16_t count;
    struct field fields[8];
};

extern const struct fields_options fields_options[];
extern const size_t fields_options_count;
