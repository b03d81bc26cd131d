/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/writer.h"

/*
 * A template (RFC 3954 5.2) or an options template (6.1), compiled from the field table: the element list,
 * and the runs of memory that a data record is put together from. Filled once, then read only.
 */
enum { TEMPLATE_FIELDS_MAX = 28, TEMPLATE_RUNS_MAX = 16 };

struct template
{
    uint16_t id;
    uint16_t scope_count; /* of the fields, how many are scopes: 0 for flow templates */
    uint16_t field_count;
    uint16_t record_octets; /* of one data record */
    const struct field *fields[TEMPLATE_FIELDS_MAX];
    uint16_t run_count;
    struct template_run {
        uint16_t offset, octets;
    } runs[TEMPLATE_RUNS_MAX];
};

/* The template of a shape: its records come from the struct of its kind. */
void template_of_shape(struct template *layout, const struct fields_kind *kind, unsigned shape);

/* An options template: its records come from the struct of its rows. */
void template_of_options(struct template *layout, const struct fields_options *options);

/*
 * Writes the template record: id, field count (for an options template the lengths of scope and options in
 * octets), then type and length of each field. The FlowSet around it is the caller's.
 */
void template_write(const struct template *layout, struct writer *writer);

/* What that takes. */
size_t template_octets(const struct template *layout);

/* Writes one data record; values is the struct that the template's fields stand in. */
static inline void template_write_record(const struct template *layout, const void *values,
                                         struct writer *writer)
{
    for (unsigned i = 0; i < layout->run_count; i++)
        writer_put(writer, (const uint8_t *)values + layout->runs[i].offset, layout->runs[i].octets);
}
