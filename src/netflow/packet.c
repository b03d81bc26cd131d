/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/packet.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/netflow/aggregate.h"
#include "ctflow9/netflow/announcement.h"
#include "ctflow9/netflow/encoder.h"
#include "ctflow9/netflow/fields.h"
#include "ctflow9/netflow/flow_record.h"
#include "ctflow9/netflow/template.h"

/* Of packets that this one took the place of: whose templates are announced still. */
enum { EARLIER_MAX = 4 };

struct packet {
    struct packet_config config;
    struct instant now;
    struct encoder *encoder;   /* a template for each shape: of connections at shape_index(), then of packets,
                                  then that of counters */
    const struct epoch *epoch; /* the encoder's */
    struct aggregate *aggregate; /* NULL when flows are not merged */
    unsigned shape_mask;         /* the bits of SHAPE_OF_FLOW that are told apart */
    unsigned shape_of_all;       /* the bits that every record has */
    struct packets_record made;  /* in the making; members that its shape has not are from flows before */
    const struct interface_names *names; /* NULL = none */
    uint64_t names_table;                /* how often they were given */
    struct announcement announcement;
    unsigned earlier_count;
    struct packet_config earlier[EARLIER_MAX]; /* the latest first */
};

enum { COUNTERS = SHAPES_OF_FLOW + SHAPES_OF_PACKETS, TEMPLATES };

static unsigned shape_of_packets(uint32_t fields)
{
    return (fields & FIELDS_TIMES ? SHAPE_TIMES : 0U) | (fields & FIELDS_MAC ? SHAPE_MAC : 0U) |
           (fields & FIELDS_VLAN ? SHAPE_VLAN : 0U) | (fields & FIELDS_TTL ? SHAPE_TTL : 0U);
}

static unsigned shape_of_fields(uint32_t fields)
{
    return (fields & FIELDS_MARK ? SHAPE_MARK : 0U) | (fields & FIELDS_ZONE ? SHAPE_ZONE : 0U) |
           (fields & FIELDS_TIMES ? SHAPE_TIMES : 0U);
}

/* The shape that flows of a shape are sent in. */
static unsigned shape_of_records(const struct packet_config *config, unsigned shape)
{
    if (aggregate_is_wanted(&config->aggregate))
        shape = aggregate_shape(&config->aggregate, shape);
    return shape | shape_of_fields(config->fields);
}

static void template_of_connections(struct template *layout, const struct packet_config *config,
                                    unsigned index)
{
    template_of_shape(layout, &fields_connection, shape_of_records(config, shape_at(index)));
}

static void template_of_packets(struct template *layout, const struct packet_config *config, unsigned index)
{
    template_of_shape(layout, &fields_packets, shape_of_packets_at(index) | shape_of_packets(config->fields));
}

/* Records of the kind of their own; as aggregates they are like connections'. */
static bool has_packets(const struct packet_config *config)
{
    return config->has_packets && !aggregate_is_wanted(&config->aggregate);
}

/* An aggregate_sink. */
static void append_aggregate(void *context, unsigned shape, struct record *record)
{
    struct packet *packet = context;
    uint64_t end_ms = be64toh(record->end_ms);
    flow_record_fill_times(record, packet->epoch, be64toh(record->start_ms), end_ms);
    encoder_append(packet->encoder, shape_index(shape), record, end_ms);
}

static int open_aggregate(struct packet *packet)
{
    const struct packet_config *config = &packet->config;
    if (!aggregate_is_wanted(&config->aggregate))
        return 0;
    const struct aggregate_config aggregate_config = {.by = config->aggregate,
                                                      .interval_s = config->aggregate_interval_s,
                                                      .capacity = config->aggregate_capacity,
                                                      .stats = config->stats};
    return aggregate_open(&packet->aggregate, &aggregate_config, append_aggregate, packet);
}

static int open_encoder(struct packet *packet, packet_sink *sink, void *context)
{
    const struct packet_config *config = &packet->config;
    const struct encoder_config encoder_config = {.source_id = config->source_id,
                                                  .max_datagram = config->max_datagram,
                                                  .max_delay_ns = config->max_delay_ns,
                                                  .stats = config->stats};
    struct template layouts[TEMPLATES];
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++)
        template_of_connections(&layouts[i], config, i);
    for (unsigned i = 0; i < SHAPES_OF_PACKETS; i++)
        template_of_packets(&layouts[SHAPES_OF_FLOW + i], config, i);
    template_of_shape(&layouts[COUNTERS], &fields_counter, 0);
    int error =
        encoder_open(&packet->encoder, &encoder_config, layouts, TEMPLATES, packet->now, sink, context);
    if (!error)
        packet->epoch = encoder_epoch(packet->encoder);
    return error;
}

/* An optional element that is in every record is a key. */
static void add_keys(struct aggregate_by *by, uint32_t fields)
{
    if (aggregate_is_wanted(by))
        by->keys |= (fields & FIELDS_MARK ? AGGREGATE_KEY_MARK : 0U) |
                    (fields & FIELDS_ZONE ? AGGREGATE_KEY_ZONE : 0U);
}

int packet_open(struct packet **packet, const struct packet_config *config, struct instant now,
                packet_sink *sink, void *context)
{
    struct packet *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->now = now;
    add_keys(&opened->config.aggregate, config->fields);
    unsigned shape = shape_of_records(&opened->config, SHAPE_OF_FLOW);
    opened->shape_mask = shape & SHAPE_OF_FLOW;
    opened->shape_of_all = shape & (SHAPE_MARK | SHAPE_ZONE | SHAPE_TIMES | SHAPE_AGGREGATED);
    int error = open_encoder(opened, sink, context);
    if (!error)
        error = open_aggregate(opened);
    if (error) {
        packet_close(opened);
        return error;
    }
    *packet = opened;
    return 0;
}

void packet_close(struct packet *packet)
{
    if (!packet)
        return;
    aggregate_close(packet->aggregate);
    encoder_close(packet->encoder);
    free(packet);
}

void packet_flush(struct packet *packet, struct instant now)
{
    if (packet->aggregate)
        aggregate_flush(packet->aggregate);
    encoder_flush(packet->encoder, now);
}

void packet_begin(struct packet *packet, struct instant now)
{
    if (packet->aggregate && instant_is_stepped(packet->now, now))
        aggregate_flush(packet->aggregate);
    encoder_begin(packet->encoder, now);
    packet->now = now;
}

void packet_run(struct packet *packet, struct instant now)
{
    if (packet->aggregate)
        aggregate_run(packet->aggregate, now.monotonic_ns);
    encoder_run(packet->encoder, now);
}

void packet_wants(const struct packet *packet, struct poll_set *set)
{
    if (packet->aggregate)
        aggregate_wants(packet->aggregate, set);
    encoder_wants(packet->encoder, set);
}

/* A record of a kind of its own. */
static void add_packets(struct packet *packet, const struct flow *flow)
{
    unsigned shape = flow_record_shape(flow) & SHAPE_OF_PACKETS;
    struct packets_record *made = &packet->made;
    uint64_t last_ms = flow_record_fill(&made->record, flow, shape | packet->shape_of_all, packet->epoch);
    flow_record_fill_direction(&made->record, flow, shape, FLOW_ORIGINAL);
    flow_record_fill_packets(made, flow);
    encoder_append(packet->encoder, SHAPES_OF_FLOW + shape_index_of_packets(shape), made, last_ms);
}

/* One for each direction. */
static void add_connection(struct packet *packet, const struct flow *flow)
{
    unsigned shape = flow_record_shape(flow) & packet->shape_mask;
    struct record *record = &packet->made.record;
    uint64_t last_ms = flow_record_fill(record, flow, shape | packet->shape_of_all, packet->epoch);

    for (enum flow_direction direction = FLOW_ORIGINAL; direction <= FLOW_REPLY; direction++) {
        if (!flow_has_direction(flow, direction))
            continue;
        flow_record_fill_direction(record, flow, shape, direction);
        if (packet->aggregate)
            aggregate_add(packet->aggregate, shape, record, packet->now.monotonic_ns);
        else
            encoder_append(packet->encoder, shape_index(shape), record, last_ms);
    }
}

/* Application selectors of a user's own (RFC 6759, 4). */
static void fill_application(uint8_t application[5], uint32_t number)
{
    enum { USER_DEFINED = 6 };

    application[0] = USER_DEFINED;
    memcpy(application + 1, &(be32){htobe32(number)}, sizeof(be32));
}

static void add_counter(struct packet *packet, const struct flow *flow)
{
    uint64_t start_ns = flow->start_ns < flow->stop_ns ? flow->start_ns : flow->stop_ns;
    uint64_t stop_ms = flow->stop_ns / NS_PER_MS;
    struct counter_record record = {
        .ip_version = 4,
        .source_ipv4 = htobe32(flow->id),
        .octets = htobe64(flow->octets[FLOW_ORIGINAL]),
        .packets = htobe64(flow->packets[FLOW_ORIGINAL]),
        .first_switched_ms = htobe32(epoch_uptime_ms(packet->epoch, start_ns / NS_PER_MS)),
        .last_switched_ms = htobe32(epoch_uptime_ms(packet->epoch, stop_ms)),
    };
    fill_application(record.application, flow->id);
    encoder_append(packet->encoder, COUNTERS, &record, stop_ms);
}

void packet_add(struct packet *packet, const struct flow *flow)
{
    if (flow->kind == FLOW_COUNTER)
        add_counter(packet, flow);
    else if (flow->kind == FLOW_PACKETS && !packet->aggregate)
        add_packets(packet, flow);
    else
        add_connection(packet, flow);
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

/* ---- interfaces ---- */

void packet_name_interfaces(struct packet *packet, const struct interface_names *names)
{
    packet->names = names;
    packet->names_table++;
}

static size_t names_count(const struct packet *packet)
{
    return packet->names ? packet->names->count : 0;
}

bool packet_has_named(const struct packet *packet, const struct packet_naming *naming)
{
    return names_count(packet) == 0 || (naming->table == packet->names_table && naming->left == 0);
}

/* The rows of one turn. */
struct interface_rows {
    const struct packet *packet;
    uint32_t first, count;
    struct interface_record record;
};

/*
 * The rows that come next. When there is another table the turns go on from where they are: changes that come
 * faster than all of it can be told keep none from its turn.
 */
static struct interface_rows next_rows(const struct packet *packet, struct packet_naming *naming)
{
    uint32_t all = (uint32_t)names_count(packet);
    if (naming->table != packet->names_table)
        *naming = (struct packet_naming){.table = packet->names_table, .next = naming->next, .left = all};
    uint32_t count = all < PACKET_NAMES_MAX ? all : PACKET_NAMES_MAX;
    struct interface_rows rows = {.packet = packet, .first = naming->next, .count = count};
    naming->next = all > 0 ? (naming->next + count) % all : 0;
    naming->left -= naming->left < count ? naming->left : count;
    return rows;
}

/* An announcement_rows. Collectors that show one name of an interface show 83, so there always is one. */
static const void *interface_row(void *context, size_t row)
{
    struct interface_rows *rows = context;
    const struct interface_names *names = rows->packet->names;
    if (row == rows->count)
        return NULL;
    const struct interface_name *name = &names->each[(rows->first + row) % names->count];
    struct interface_record *record = &rows->record;
    const char *description = name->alias[0] != '\0' ? name->alias : name->name;
    *record = (struct interface_record){.number = htobe32(name->number)};
    memcpy(record->name, name->name, strlen(name->name));
    memcpy(record->description, description, strlen(description));
    return record;
}

/* ---- counters ---- */

/* Numbers of one turn, from one on; after the last comes the first. */
struct counter_rows {
    const struct packet *packet;
    uint32_t first, count;
    struct name_record record;
};

static uint32_t counters_count(const struct packet *packet)
{
    return packet->config.counters ? name_numbers_count(packet->config.counters) : 0;
}

bool packet_has_named_counters(const struct packet *packet, const struct packet_naming *naming)
{
    return naming->counters_told == counters_count(packet);
}

/* Those that were not told yet; when all were, some of them again, for what was told may have been lost. */
static struct counter_rows next_counters(const struct packet *packet, struct packet_naming *naming)
{
    uint32_t all = counters_count(packet);
    uint32_t untold = all - naming->counters_told;
    struct counter_rows rows = {.packet = packet};
    if (untold > 0) {
        rows.first = naming->counters_told;
        rows.count = untold < PACKET_COUNTERS_MAX ? untold : PACKET_COUNTERS_MAX;
        naming->counters_told += rows.count;
    } else if (all > 0) {
        rows.first = naming->counters_next;
        rows.count = all < PACKET_COUNTERS_AGAIN_MAX ? all : PACKET_COUNTERS_AGAIN_MAX;
        naming->counters_next = (rows.first + rows.count) % all;
    }
    return rows;
}

/* An announcement_rows. */
static const void *counter_row(void *context, size_t row)
{
    struct counter_rows *rows = context;
    if (row == rows->count)
        return NULL;
    uint32_t number = (rows->first + (uint32_t)row) % counters_count(rows->packet) + 1;
    const char *name = name_numbers_name(rows->packet->config.counters, number);
    rows->record = (struct name_record){0};
    fill_application(rows->record.application, number);
    memcpy(rows->record.name, name, strlen(name));
    return &rows->record;
}

/* ---- in another one's place ---- */

static bool has_same_templates(const struct packet_config *one, const struct packet_config *other)
{
    return one->fields == other->fields &&
           memcmp(&one->aggregate, &other->aggregate, sizeof(one->aggregate)) == 0;
}

static void remember(struct packet *packet, const struct packet_config *config)
{
    bool is_known = has_same_templates(&packet->config, config);
    for (unsigned i = 0; i < packet->earlier_count; i++)
        is_known |= has_same_templates(&packet->earlier[i], config);
    if (!is_known && packet->earlier_count < EARLIER_MAX)
        packet->earlier[packet->earlier_count++] = *config;
}

void packet_follow(struct packet *packet, const struct packet *earlier)
{
    packet->names = earlier->names;
    packet->names_table = earlier->names_table;
    remember(packet, &earlier->config);
    for (unsigned i = 0; i < earlier->earlier_count; i++)
        remember(packet, &earlier->earlier[i]);
}

void packet_forget_earlier(struct packet *packet)
{
    packet->earlier_count = 0;
}

bool packet_leave(struct packet *packet, struct instant now)
{
    if (packet->aggregate && aggregate_leave(packet->aggregate))
        return true;
    encoder_flush(packet->encoder, now);
    return false;
}

void packet_seal(struct packet *packet, struct instant now)
{
    encoder_flush(packet->encoder, now);
}

/* ---- announcing ---- */

static void announce(struct packet *packet, const struct packet_config *config)
{
    unsigned possible = shape_of_records(config, SHAPE_OF_FLOW);
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++) {
        struct template layout;
        if ((shape_at(i) & ~possible) != 0)
            continue;
        template_of_connections(&layout, config, i);
        announcement_add(&packet->announcement, &layout);
    }
    for (unsigned i = 0; i < SHAPES_OF_PACKETS && has_packets(config); i++) {
        struct template layout;
        template_of_packets(&layout, config, i);
        announcement_add(&packet->announcement, &layout);
    }
}

static void announce_counters(struct packet *packet)
{
    struct template layout;
    template_of_shape(&layout, &fields_counter, 0);
    announcement_add(&packet->announcement, &layout);
}

void packet_templates(struct packet *packet, const struct packet_totals *totals, struct packet_naming *naming,
                      struct instant now, packet_sink *sink, void *context)
{
    struct announcement *announcement = &packet->announcement;
    struct exporter_record record;
    struct interface_rows interfaces = next_rows(packet, naming);
    struct counter_rows counters = next_counters(packet, naming);
    fill_exporter(packet, totals, &record);
    const struct announcement_provider providers[FIELDS_ROWS] = {
        [FIELDS_ROWS_EXPORTER] = {exporter_row, &record},
        [FIELDS_ROWS_INTERFACES] = {interfaces.count > 0 ? interface_row : NULL, &interfaces},
        [FIELDS_ROWS_NAMES] = {counters.count > 0 ? counter_row : NULL, &counters},
    };

    announcement_begin(announcement, packet->config.source_id, packet->config.max_datagram,
                       epoch_stamp(packet->epoch, now.wall_ns / NS_PER_MS, 0), sink, context);
    announce(packet, &packet->config);
    for (unsigned i = 0; i < packet->earlier_count; i++)
        announce(packet, &packet->earlier[i]);
    if (packet->config.counters)
        announce_counters(packet);
    for (size_t i = 0; i < fields_options_count; i++)
        announcement_add_options(announcement, &fields_options[i], &providers[fields_options[i].rows]);
    announcement_end(announcement);
}
