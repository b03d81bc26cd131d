/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/packet_header.h"
#include "ctflow9/netflow/template.h"

/*
 * Templates and options data on their way to a collector, in as many datagrams as it takes. Begin, add any
 * number of templates and of tables of options data, end. Its members are its own. One thread uses it.
 */
struct announcement {
    uint32_t source_id;
    uint32_t max_datagram;
    struct epoch_stamp stamp;
    unsigned count; /* records in the datagram, those of templates included */
    struct writer writer;
    packet_sink *sink;
    void *context;
    uint8_t octets[PACKET_OCTETS_MAX];
};

/*
 * Gives the values of a row of options data, in the struct that its fields stand in; NULL when there are no
 * more. Asked for each row once, from 0 on; a row need not live longer than until the next is asked for.
 */
typedef const void *announcement_rows(void *context, size_t row);

/* Who has the rows of a table; rows is NULL when nobody does. */
struct announcement_provider {
    announcement_rows *rows;
    void *context;
};

/* max_datagram: from PACKET_OCTETS_MIN to PACKET_OCTETS_MAX. sink gets each datagram, its records are 0. */
void announcement_begin(struct announcement *announcement, uint32_t source_id, uint32_t max_datagram,
                        struct epoch_stamp stamp, packet_sink *sink, void *context);

void announcement_add(struct announcement *announcement, const struct template *layout);

/*
 * An options template, and all rows after it, several to a FlowSet unless they are to be apart. Those that do
 * not fit go on in the next datagram, which has the template as well: no row depends on another datagram. A
 * table that nobody provides is left out; one without rows is its template alone.
 */
void announcement_add_options(struct announcement *announcement, const struct fields_options *options,
                              const struct announcement_provider *provider);

void announcement_end(struct announcement *announcement);
