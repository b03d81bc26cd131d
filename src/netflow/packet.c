/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/packet.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/base/memory.h"
#include "ctflow9/netflow/aggregate.h"
#include "ctflow9/netflow/announcement.h"
#include "ctflow9/netflow/epoch.h"
#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/record.h"
#include "ctflow9/netflow/template.h"

enum { FLOWSET_HEADER_OCTETS = 4 };

/* One data datagram in the making: header, one FlowSet, its records. */
struct open_datagram {
    struct template layout;
    struct writer writer;
    unsigned records;
    uint64_t first_added_ns; /* monotonic; when the oldest record was added */
    uint64_t latest_ms;      /* wall clock; the latest LAST in it */
    uint8_t *octets;
};

struct packet {
    struct packet_config config;
    packet_sink *sink;
    void *context;
    struct instant now;
    struct epoch epoch;
    struct aggregate *aggregate; /* NULL when flows are not merged */
    unsigned shape_mask;         /* the bits of SHAPE_OF_FLOW that are told apart */
    unsigned open_count;         /* datagrams with records in them */
    struct open_datagram open[SHAPES_OF_FLOW];
    struct record record; /* in the making; members that its shape has not are from flows before */
    struct announcement announcement;
    uint8_t buffers[]; /* SHAPES_OF_FLOW x max_datagram */
};

static uint64_t to_ms(uint64_t ns)
{
    return ns / NS_PER_MS;
}

static unsigned shape_of_fields(uint32_t fields)
{
    return (fields & FIELDS_MARK ? SHAPE_MARK : 0U) | (fields & FIELDS_ZONE ? SHAPE_ZONE : 0U) |
           (fields & FIELDS_TIMES ? SHAPE_TIMES : 0U);
}

static unsigned shape_of_flow(const struct flow *flow)
{
    return (flow->family == AF_INET6 ? SHAPE_IPV6 : 0U) | (flow_is_translated(flow) ? SHAPE_NAT : 0U) |
           (flow_is_icmp(flow) ? SHAPE_ICMP : 0U) |
           (flow_has(flow, FLOW_HAS_COUNTERS) ? 0U : SHAPE_NO_COUNTERS);
}

/* An empty datagram with room for the header, written when it is sealed. Its end leaves room for padding to 4
 * octets. */
static void start_datagram(const struct packet *packet, struct open_datagram *open)
{
    open->writer = writer_on(open->octets, packet->config.max_datagram & ~3U);
    packet_header_write(&open->writer, 0, (struct epoch_stamp){0}, packet->config.source_id);
    writer_put_u16(&open->writer, open->layout.id);
    writer_put_u16(&open->writer, 0);
    open->records = 0;
    open->latest_ms = 0;
}

/* The shape that flows of a shape are sent in. */
static unsigned shape_of_records(const struct packet *packet, unsigned shape)
{
    if (packet->aggregate)
        shape = aggregate_shape(&packet->config.aggregate, shape);
    return shape | shape_of_fields(packet->config.fields);
}

static aggregate_sink append_aggregate;

/* An optional element that is in every record is a key. */
static int open_aggregate(struct packet *packet)
{
    struct packet_config *config = &packet->config;
    config->aggregate.keys |= (config->fields & FIELDS_MARK ? AGGREGATE_KEY_MARK : 0U) |
                              (config->fields & FIELDS_ZONE ? AGGREGATE_KEY_ZONE : 0U);
    const struct aggregate_config aggregate_config = {.by = config->aggregate,
                                                      .interval_s = config->aggregate_interval_s,
                                                      .capacity = config->aggregate_capacity,
                                                      .stats = config->stats};
    return aggregate_open(&packet->aggregate, &aggregate_config, append_aggregate, packet);
}

int packet_open(struct packet **packet, const struct packet_config *config, struct instant now,
                packet_sink *sink, void *context)
{
    struct packet *opened = memory_allocate(sizeof(*opened), SHAPES_OF_FLOW, config->max_datagram);
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->sink = sink;
    opened->context = context;
    opened->now = now;
    opened->epoch = epoch_at(to_ms(now.wall_ns));
    int error = aggregate_is_wanted(&config->aggregate) ? open_aggregate(opened) : 0;
    if (error) {
        packet_close(opened);
        return error;
    }
    opened->shape_mask = shape_of_records(opened, SHAPE_OF_FLOW) & SHAPE_OF_FLOW;
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++) {
        opened->open[i].octets = opened->buffers + i * (size_t)config->max_datagram;
        template_of_shape(&opened->open[i].layout, shape_of_records(opened, shape_at(i)));
        start_datagram(opened, &opened->open[i]);
    }
    *packet = opened;
    return 0;
}

void packet_close(struct packet *packet)
{
    if (!packet)
        return;
    aggregate_close(packet->aggregate);
    free(packet);
}

static void seal(struct packet *packet, struct open_datagram *open, struct instant now)
{
    struct writer *writer = &open->writer;
    size_t records_octets = open->records * (size_t)open->layout.record_octets;
    size_t padding = (4 - records_octets % 4) % 4;
    writer_pad(writer);
    writer_patch_u16(writer, PACKET_HEADER_OCTETS + 2,
                     (uint16_t)(FLOWSET_HEADER_OCTETS + records_octets + padding));

    struct writer header = writer_on(open->octets, PACKET_HEADER_OCTETS);
    packet_header_write(&header, open->records,
                        epoch_stamp(&packet->epoch, to_ms(now.wall_ns), open->latest_ms),
                        packet->config.source_id);

    stats_count(&packet->config.stats->datagrams, 1);
    packet->open_count--;
    packet->sink(packet->context, open->octets, writer_length(writer), open->records);
    start_datagram(packet, open);
}

static void seal_all(struct packet *packet, struct instant now)
{
    for (unsigned i = 0; i < SHAPES_OF_FLOW && packet->open_count > 0; i++)
        if (packet->open[i].records > 0)
            seal(packet, &packet->open[i], now);
}

void packet_flush(struct packet *packet, struct instant now)
{
    if (packet->aggregate)
        aggregate_flush(packet->aggregate);
    seal_all(packet, now);
}

void packet_begin(struct packet *packet, struct instant now)
{
    uint64_t now_ms = to_ms(now.wall_ns);
    if (instant_is_stepped(packet->now, now))
        packet_flush(packet, packet->now);
    if (epoch_is_over(&packet->epoch, now_ms)) {
        seal_all(packet, packet->now);
        packet->epoch = epoch_at(now_ms);
    }
    packet->now = now;
}

static uint64_t seal_due_ns(const struct packet *packet, const struct open_datagram *open)
{
    return open->first_added_ns + packet->config.max_delay_ns;
}

void packet_run(struct packet *packet, struct instant now)
{
    if (packet->aggregate)
        aggregate_run(packet->aggregate, now.monotonic_ns);
    if (packet->open_count == 0)
        return;
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++) {
        struct open_datagram *open = &packet->open[i];
        if (open->records > 0 && now.monotonic_ns >= seal_due_ns(packet, open))
            seal(packet, open, now);
    }
}

void packet_wants(const struct packet *packet, struct poll_set *set)
{
    if (packet->aggregate)
        aggregate_wants(packet->aggregate, set);
    if (packet->open_count == 0)
        return;
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++)
        if (packet->open[i].records > 0)
            poll_set_before(set, seal_due_ns(packet, &packet->open[i]));
}

/* FIRST and LAST, given as wall-clock times. */
static void fill_times(const struct packet *packet, uint64_t start_ms, uint64_t stop_ms,
                       struct record *record)
{
    record->first_switched_ms = htobe32(epoch_uptime_ms(&packet->epoch, start_ms));
    record->last_switched_ms = htobe32(epoch_uptime_ms(&packet->epoch, stop_ms));
}

/* What both directions share. Returns LAST as a wall-clock time. */
static uint64_t fill_common(const struct packet *packet, const struct flow *flow, struct record *record)
{
    uint64_t stop_ms = to_ms(flow->stop_ns);
    uint64_t start_ms = to_ms(flow->start_ns < flow->stop_ns ? flow->start_ns : flow->stop_ns);

    record->protocol = flow->protocol;
    record->ip_version = flow->family == AF_INET6 ? 6 : 4;
    record->flow_direction = 0; /* ingress */
    record->flow_end_reason = flow->end_reason;
    record->ingress_interface = 0;
    record->egress_interface = 0;
    fill_times(packet, start_ms, stop_ms, record);
    if (packet->config.fields != 0 || packet->aggregate) {
        record->mark = htobe64(flow->mark);
        record->vrf_id = htobe32(flow_zone(flow));
        record->start_ms = htobe64(start_ms);
        record->end_ms = htobe64(stop_ms);
    }
    return stop_ms;
}

/* The ends of a tuple, as seen from its source or, turned round, from its destination. */
static void fill_ends(const struct flow *flow, enum flow_direction direction, bool turned,
                      struct record_ends *ends)
{
    const struct flow_tuple *tuple = &flow->tuple[direction];
    const union flow_address *source = turned ? &tuple->dst : &tuple->src;
    const union flow_address *destination = turned ? &tuple->src : &tuple->dst;

    if (flow->family == AF_INET6) {
        memcpy(ends->source_ipv6, source, sizeof(ends->source_ipv6));
        memcpy(ends->destination_ipv6, destination, sizeof(ends->destination_ipv6));
    } else {
        ends->source_ipv4 = source->v4;
        ends->destination_ipv4 = destination->v4;
    }
    ends->source_port = turned ? tuple->dst_port : tuple->src_port;
    ends->destination_port = turned ? tuple->src_port : tuple->dst_port;
}

/* Type and code come from the direction's own tuple, and stand in the destination port too. */
static void fill_icmp(const struct flow_tuple *tuple, struct record *record)
{
    record->icmp_type_code = htobe16((uint16_t)(tuple->icmp_type << 8 | tuple->icmp_code));
    record->icmpv6_type = tuple->icmp_type;
    record->icmpv6_code = tuple->icmp_code;
    record->ends.source_port = 0;
    record->ends.destination_port = record->icmp_type_code;
}

static void append(struct packet *packet, struct open_datagram *open, const struct record *record,
                   uint64_t last_ms)
{
    if (open->records == 0) {
        open->first_added_ns = packet->now.monotonic_ns;
        packet->open_count++;
    }
    template_write_record(&open->layout, record, &open->writer);
    open->records++;
    if (last_ms > open->latest_ms)
        open->latest_ms = last_ms;
    stats_count(&packet->config.stats->records, 1);
    if (writer_room(&open->writer) < open->layout.record_octets)
        seal(packet, open, packet->now);
}

static void append_aggregate(void *context, unsigned shape, struct record *record)
{
    struct packet *packet = context;
    uint64_t end_ms = be64toh(record->end_ms);
    fill_times(packet, be64toh(record->start_ms), end_ms, record);
    append(packet, &packet->open[shape_index(shape)], record, end_ms);
}

void packet_add(struct packet *packet, const struct flow *flow)
{
    unsigned shape = shape_of_flow(flow) & packet->shape_mask;
    struct open_datagram *open = &packet->open[shape_index(shape)];
    struct record *record = &packet->record;
    uint64_t last_ms = fill_common(packet, flow, record);

    for (enum flow_direction direction = FLOW_ORIGINAL; direction <= FLOW_REPLY; direction++) {
        if (!flow_has_direction(flow, direction))
            continue;
        /* The reply's record is the original's mirror: seen from inside, whatever was translated. */
        fill_ends(flow, FLOW_ORIGINAL, direction == FLOW_REPLY, &record->ends);
        if (shape & SHAPE_NAT)
            fill_ends(flow, FLOW_REPLY, direction == FLOW_ORIGINAL, &record->post_nat);
        if (shape & SHAPE_ICMP)
            fill_icmp(&flow->tuple[direction], record);
        record->packets = htobe64(flow->packets[direction]);
        record->octets = htobe64(flow->octets[direction]);
        if (packet->aggregate)
            aggregate_add(packet->aggregate, shape, record, packet->now.monotonic_ns);
        else
            append(packet, open, record, last_ms);
    }
}

static void fill_exporter(const struct packet *packet, const struct packet_totals *totals,
                          struct exporter_record *record)
{
    enum { DETERMINISTIC_SAMPLING = 1 };

    *record = (struct exporter_record){
        .sampling_interval = htobe32(1),
        .sampling_algorithm = DETERMINISTIC_SAMPLING,
        .flow_active_timeout_s = htobe16(packet->config.active_timeout_s),
        .flow_idle_timeout_s = htobe16(packet->config.idle_timeout_s),
        .exported_octets = htobe64(totals->octets),
        .exported_messages = htobe64(totals->datagrams),
        .exported_records = htobe64(totals->records),
        .not_sent_records = htobe64(totals->records_dropped),
    };
}

/* An announcement_rows: the only one there is. */
static const void *exporter_row(void *context, size_t row)
{
    return row == 0 ? context : NULL;
}

void packet_templates(struct packet *packet, const struct packet_totals *totals, struct instant now,
                      packet_sink *sink, void *context)
{
    struct announcement *announcement = &packet->announcement;
    struct exporter_record record;
    fill_exporter(packet, totals, &record);
    const struct announcement_provider providers[FIELDS_ROWS] = {
        [FIELDS_ROWS_EXPORTER] = {exporter_row, &record},
    };

    announcement_begin(announcement, packet->config.source_id, packet->config.max_datagram,
                       epoch_stamp(&packet->epoch, to_ms(now.wall_ns), 0), sink, context);
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++)
        if ((shape_at(i) & ~packet->shape_mask) == 0)
            announcement_add(announcement, &packet->open[i].layout);
    for (size_t i = 0; i < fields_options_count; i++)
        announcement_add_options(announcement, &fields_options[i], &providers[fields_options[i].rows]);
    announcement_end(announcement);
}
