/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/announcement.h"

#include <assert.h>

enum { FLOWSET_HEADER_OCTETS = 4, FLOWSET_TEMPLATES = 0, FLOWSET_OPTIONS_TEMPLATES = 1 };

static void start_datagram(struct announcement *announcement)
{
    announcement->writer = writer_on(announcement->octets, announcement->max_datagram);
    announcement->count = 0;
    packet_header_write(&announcement->writer, 0, announcement->stamp, announcement->source_id);
}

static void send_datagram(struct announcement *announcement)
{
    enum { COUNT_OFFSET = 2 };

    writer_patch_u16(&announcement->writer, COUNT_OFFSET, (uint16_t)announcement->count);
    announcement->sink(announcement->context, announcement->octets, writer_length(&announcement->writer), 0,
                       0);
}

/* Returns where it begins. */
static size_t begin_flowset(struct announcement *announcement, uint16_t id)
{
    size_t begin = writer_length(&announcement->writer);
    writer_put_u16(&announcement->writer, id);
    writer_put_u16(&announcement->writer, 0);
    return begin;
}

static void end_flowset(struct announcement *announcement, size_t begin)
{
    enum { LENGTH_OFFSET = 2 };

    writer_patch_u16(&announcement->writer, begin + LENGTH_OFFSET,
                     (uint16_t)(writer_length(&announcement->writer) - begin));
}

/* A FlowSet with one template in it. No padding: nfdump takes it for another template. */
static void write_template(struct announcement *announcement, const struct template *layout)
{
    size_t begin =
        begin_flowset(announcement, layout->scope_count > 0 ? FLOWSET_OPTIONS_TEMPLATES : FLOWSET_TEMPLATES);
    template_write(layout, &announcement->writer);
    end_flowset(announcement, begin);
    announcement->count++;
}

static size_t padding(size_t octets)
{
    return (4 - octets % 4) % 4;
}

/* A FlowSet with as many rows as there is room for, or one; values is the first. Returns the one that did not
 * fit, NULL when that was all. */
static const void *write_rows(struct announcement *announcement, const struct template *layout,
                              const struct announcement_provider *provider, size_t *row, const void *values,
                              size_t rows_max)
{
    struct writer *writer = &announcement->writer;
    size_t begin = begin_flowset(announcement, layout->id);
    size_t octets = FLOWSET_HEADER_OCTETS + layout->record_octets; /* with the next row */

    for (size_t rows = 0;
         rows < rows_max && values && writer_room(writer) >= layout->record_octets + padding(octets);
         rows++) {
        template_write_record(layout, values, writer);
        announcement->count++;
        octets += layout->record_octets;
        values = provider->rows(provider->context, ++*row);
    }
    writer_put(writer, (const uint8_t[4]){0}, padding(writer_length(writer) - begin));
    end_flowset(announcement, begin);
    return values;
}

/* Makes room in the next datagram when there is too little in this one; an empty one has enough. */
static void make_room(struct announcement *announcement, size_t octets)
{
    if (writer_room(&announcement->writer) >= octets)
        return;
    send_datagram(announcement);
    start_datagram(announcement);
    assert(writer_room(&announcement->writer) >= octets);
}

static size_t template_flowset_octets(const struct template *layout)
{
    return FLOWSET_HEADER_OCTETS + template_octets(layout);
}

void announcement_begin(struct announcement *announcement, uint32_t source_id, uint32_t max_datagram,
                        struct epoch_stamp stamp, packet_sink *sink, void *context)
{
    announcement->source_id = source_id;
    announcement->max_datagram = max_datagram;
    announcement->stamp = stamp;
    announcement->sink = sink;
    announcement->context = context;
    start_datagram(announcement);
}

void announcement_add(struct announcement *announcement, const struct template *layout)
{
    make_room(announcement, template_flowset_octets(layout));
    write_template(announcement, layout);
}

void announcement_add_options(struct announcement *announcement, const struct fields_options *options,
                              const struct announcement_provider *provider)
{
    if (!provider->rows)
        return;

    struct template layout;
    template_of_options(&layout, options);
    size_t first_row_octets = FLOWSET_HEADER_OCTETS + layout.record_octets;
    first_row_octets += padding(first_row_octets);

    size_t row = 0;
    size_t rows_max = options->rows_apart ? 1 : SIZE_MAX;
    const void *values = provider->rows(provider->context, row);
    do {
        make_room(announcement, template_flowset_octets(&layout) + (values ? first_row_octets : 0));
        write_template(announcement, &layout);
        while (values && writer_room(&announcement->writer) >= first_row_octets)
            values = write_rows(announcement, &layout, provider, &row, values, rows_max);
    } while (values);
}

void announcement_end(struct announcement *announcement)
{
    send_datagram(announcement);
}
