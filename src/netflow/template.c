/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/template.h"

#include <assert.h>

static void add_field(struct template *template, const struct field *field)
{
    assert(template->field_count < TEMPLATE_FIELDS_MAX);
    template->fields[template->field_count++] = field;
    template->record_octets = (uint16_t)(template->record_octets + field->octets);

    if (template->run_count > 0) {
        struct template_run *last = &template->runs[template->run_count - 1];
        if (last->offset + last->octets == field->offset) {
            last->octets = (uint16_t)(last->octets + field->octets);
            return;
        }
    }
    assert(template->run_count < TEMPLATE_RUNS_MAX);
    template->runs[template->run_count++] = (struct template_run){field->offset, field->octets};
}

void template_of_shape(struct template *template, unsigned shape)
{
    *template = (struct template){.id = (uint16_t)(256 + shape)};
    for (size_t i = 0; i < fields_flow_count; i++) {
        const struct field *field = &fields_flow[i];
        if ((shape & field->with) == field->with && (shape & field->without) == 0)
            add_field(template, field);
    }
}

void template_of_options(struct template *template, const struct fields_options *options)
{
    *template = (struct template){.id = options->template_id, .scope_count = 1};
    for (size_t i = 0; i < options->count; i++)
        add_field(template, &options->fields[i]);
}

void template_write(const struct template *template, struct writer *writer)
{
    enum { FIELD_SPECIFIER_OCTETS = 4 };

    writer_put_u16(writer, template->id);
    if (template->scope_count == 0) {
        writer_put_u16(writer, template->field_count);
    } else {
        unsigned option_count = (unsigned)(template->field_count - template->scope_count);
        writer_put_u16(writer, (uint16_t)(template->scope_count * FIELD_SPECIFIER_OCTETS));
        writer_put_u16(writer, (uint16_t)(option_count * FIELD_SPECIFIER_OCTETS));
    }
    for (size_t i = 0; i < template->field_count; i++) {
        writer_put_u16(writer, template->fields[i]->element);
        writer_put_u16(writer, template->fields[i]->octets);
    }
}
