/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/template.h"

#include <assert.h>

enum { FIELD_SPECIFIER_OCTETS = 4 };

static void add_field(struct template *layout, const struct field *field)
{
    assert(layout->field_count < TEMPLATE_FIELDS_MAX);
    layout->fields[layout->field_count++] = field;
    layout->record_octets = (uint16_t)(layout->record_octets + field->octets);

    if (layout->run_count > 0) {
        struct template_run *last = &layout->runs[layout->run_count - 1];
        if (last->offset + last->octets == field->offset) {
            last->octets = (uint16_t)(last->octets + field->octets);
            return;
        }
    }
    assert(layout->run_count < TEMPLATE_RUNS_MAX);
    layout->runs[layout->run_count++] = (struct template_run){field->offset, field->octets};
}

void template_of_shape(struct template *layout, const struct fields_kind *kind, unsigned shape)
{
    *layout = (struct template){.id = (uint16_t)(kind->first_id + shape)};
    for (size_t i = 0; i < kind->count; i++) {
        const struct field *field = &kind->fields[i];
        if ((shape & field->with) == field->with && (shape & field->without) == 0)
            add_field(layout, field);
    }
}

void template_of_options(struct template *layout, const struct fields_options *options)
{
    *layout = (struct template){.id = options->template_id, .scope_count = 1};
    for (size_t i = 0; i < options->count; i++)
        add_field(layout, &options->fields[i]);
}

void template_write(const struct template *layout, struct writer *writer)
{
    writer_put_u16(writer, layout->id);
    if (layout->scope_count == 0) {
        writer_put_u16(writer, layout->field_count);
    } else {
        unsigned option_count = (unsigned)(layout->field_count - layout->scope_count);
        writer_put_u16(writer, (uint16_t)(layout->scope_count * FIELD_SPECIFIER_OCTETS));
        writer_put_u16(writer, (uint16_t)(option_count * FIELD_SPECIFIER_OCTETS));
    }
    for (size_t i = 0; i < layout->field_count; i++) {
        writer_put_u16(writer, layout->fields[i]->element);
        writer_put_u16(writer, layout->fields[i]->octets);
    }
}

size_t template_octets(const struct template *layout)
{
    size_t lengths_octets = layout->scope_count == 0 ? 2 : 4;
    return sizeof(layout->id) + lengths_octets + layout->field_count * (size_t)FIELD_SPECIFIER_OCTETS;
}
