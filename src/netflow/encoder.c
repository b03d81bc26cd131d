/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/encoder.h"

#include <errno.h>
#include <stdlib.h>

#include "ctflow9/base/memory.h"

enum { FLOWSET_HEADER_OCTETS = 4 };

/* One data datagram in the making: header, one FlowSet, its records. */
struct open_datagram {
    struct writer writer;
    unsigned records;
    uint64_t first_added_ns; /* monotonic; when the oldest record was added */
    uint64_t earliest_ms;    /* wall clock; the earliest LAST in it */
    uint64_t latest_ms;      /* wall clock; the latest one */
    uint8_t *octets;
    struct template layout;
};

struct encoder {
    struct encoder_config config;
    packet_sink *sink;
    void *context;
    struct instant now;
    struct epoch epoch;
    unsigned count;
    unsigned open_count;         /* datagrams with records in them */
    struct open_datagram open[]; /* count of them, and after them their max_datagram octets each */
};

static uint64_t to_ms(uint64_t ns)
{
    return ns / NS_PER_MS;
}

/* An empty datagram with room for the header, written when it is sealed. Its end leaves room for padding to 4
 * octets. */
static void start_datagram(const struct encoder *encoder, struct open_datagram *open)
{
    open->writer = writer_on(open->octets, encoder->config.max_datagram & ~3U);
    packet_header_write(&open->writer, 0, (struct epoch_stamp){0}, encoder->config.source_id);
    writer_put_u16(&open->writer, open->layout.id);
    writer_put_u16(&open->writer, 0);
    open->records = 0;
    open->earliest_ms = UINT64_MAX;
    open->latest_ms = 0;
}

int encoder_open(struct encoder **encoder, const struct encoder_config *config,
                 const struct template *layouts, unsigned count, struct instant now, packet_sink *sink,
                 void *context)
{
    struct encoder *opened =
        memory_allocate(sizeof(*opened), count, sizeof(struct open_datagram) + config->max_datagram);
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->sink = sink;
    opened->context = context;
    opened->now = now;
    opened->epoch = epoch_at(to_ms(now.wall_ns));
    opened->count = count;
    uint8_t *buffers = (uint8_t *)&opened->open[count];
    for (unsigned i = 0; i < count; i++) {
        opened->open[i].layout = layouts[i];
        opened->open[i].octets = buffers + i * (size_t)config->max_datagram;
        start_datagram(opened, &opened->open[i]);
    }
    *encoder = opened;
    return 0;
}

void encoder_close(struct encoder *encoder)
{
    free(encoder);
}

const struct epoch *encoder_epoch(const struct encoder *encoder)
{
    return &encoder->epoch;
}

static void seal(struct encoder *encoder, struct open_datagram *open, struct instant now)
{
    struct writer *writer = &open->writer;
    size_t records_octets = open->records * (size_t)open->layout.record_octets;
    size_t padding = (4 - records_octets % 4) % 4;
    writer_pad(writer);
    writer_patch_u16(writer, PACKET_HEADER_OCTETS + 2,
                     (uint16_t)(FLOWSET_HEADER_OCTETS + records_octets + padding));

    struct writer header = writer_on(open->octets, PACKET_HEADER_OCTETS);
    packet_header_write(&header, open->records,
                        epoch_stamp(&encoder->epoch, to_ms(now.wall_ns), open->latest_ms),
                        encoder->config.source_id);

    stats_count(&encoder->config.stats->datagrams, 1);
    encoder->open_count--;
    encoder->sink(encoder->context, open->octets, writer_length(writer), open->records, open->earliest_ms);
    start_datagram(encoder, open);
}

void encoder_flush(struct encoder *encoder, struct instant now)
{
    for (unsigned i = 0; i < encoder->count && encoder->open_count > 0; i++)
        if (encoder->open[i].records > 0)
            seal(encoder, &encoder->open[i], now);
}

void encoder_begin(struct encoder *encoder, struct instant now)
{
    uint64_t now_ms = to_ms(now.wall_ns);
    bool over = epoch_is_over(&encoder->epoch, now_ms);
    if (over || instant_is_stepped(encoder->now, now))
        encoder_flush(encoder, encoder->now);
    if (over)
        encoder->epoch = epoch_at(now_ms);
    encoder->now = now;
}

void encoder_append(struct encoder *encoder, unsigned index, const void *values, uint64_t last_ms)
{
    struct open_datagram *open = &encoder->open[index];
    if (open->records == 0) {
        open->first_added_ns = encoder->now.monotonic_ns;
        encoder->open_count++;
    }
    template_write_record(&open->layout, values, &open->writer);
    open->records++;
    if (last_ms < open->earliest_ms)
        open->earliest_ms = last_ms;
    if (last_ms > open->latest_ms)
        open->latest_ms = last_ms;
    stats_count(&encoder->config.stats->records, 1);
    if (writer_room(&open->writer) < open->layout.record_octets)
        seal(encoder, open, encoder->now);
}

static uint64_t seal_due_ns(const struct encoder *encoder, const struct open_datagram *open)
{
    return open->first_added_ns + encoder->config.max_delay_ns;
}

void encoder_run(struct encoder *encoder, struct instant now)
{
    for (unsigned i = 0; i < encoder->count && encoder->open_count > 0; i++) {
        struct open_datagram *open = &encoder->open[i];
        if (open->records > 0 && now.monotonic_ns >= seal_due_ns(encoder, open))
            seal(encoder, open, now);
    }
}

void encoder_wants(const struct encoder *encoder, struct poll_set *set)
{
    if (encoder->open_count == 0)
        return;
    for (unsigned i = 0; i < encoder->count; i++)
        if (encoder->open[i].records > 0)
            poll_set_before(set, seal_due_ns(encoder, &encoder->open[i]));
}
