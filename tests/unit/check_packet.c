/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/packet.h"

#include <arpa/inet.h>
#include <check.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ctflow9/netflow/epoch.h"
#include "ctflow9/netflow/writer.h"
#include "packet_rig.h"
#include "run_suite.h"

#define DAY_NS (86400 * NS_PER_S)

START_TEST(header_and_ipv4_record_are_octet_exact)
{
    open_packet();
    struct flow flow = udp_flow();
    const struct datagram *datagram = export(&flow);
    uint32_t first_ms = (uint32_t)(EPOCH_PAST_MS - 5001), last_ms = (uint32_t)(EPOCH_PAST_MS - 1000);
    const uint8_t original[40] = {10, 0, 0, 1, 192, 0, 2, 9, 0x9c, 0x40, 0, 53,   17, 4, 0, 1, 0, 0, 0, 0,
                                  0,  0, 0, 0, 0,   0, 0, 0, 0,    0,    1, 0x2c, 0,  0, 0, 0, 0, 0, 0, 3};
    const uint8_t reply[40] = {192, 0, 2, 9, 10, 0, 0, 1, 0, 53, 0x9c, 0x40, 17, 4, 0, 1, 0, 0, 0, 0,
                               0,   0, 0, 0, 1,  2, 3, 4, 5, 6,  7,    8,    0,  0, 0, 0, 0, 0, 0, 2};

    uint8_t want[PACKET_HEADER_OCTETS + 4 + 2 * 48];
    struct writer writer = writer_on(want, sizeof(want));
    writer_put_u16(&writer, 9);
    writer_put_u16(&writer, 2);
    writer_put_u32(&writer, (uint32_t)(EPOCH_PAST_MS + 750)); /* the next whole second is 750 ms away */
    writer_put_u32(&writer, 1790000001);
    writer_put_u32(&writer, 0);
    writer_put_u32(&writer, 0xabcdef01);
    writer_put_u16(&writer, 256);
    writer_put_u16(&writer, 100);
    writer_put(&writer, original, sizeof(original));
    writer_put_u32(&writer, first_ms);
    writer_put_u32(&writer, last_ms);
    writer_put(&writer, reply, sizeof(reply));
    writer_put_u32(&writer, first_ms);
    writer_put_u32(&writer, last_ms);
    ck_assert_uint_eq(datagram->octets, sizeof(want));
    ck_assert_mem_eq(datagram->data, want, sizeof(want));
    ck_assert_uint_eq(datagram->records, 2);
    ck_assert_uint_eq(stats.records, 2);
    ck_assert_uint_eq(stats.datagrams, 1);
}
END_TEST

START_TEST(ipv6_record_is_octet_exact)
{
    open_packet();
    struct flow flow = udp6_flow();
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 257);
    const uint8_t *original = record_of(datagram, 0, 72), *reply = record_of(datagram, 1, 72);
    ck_assert_mem_eq(original, flow.tuple[FLOW_ORIGINAL].src.v6, 16);
    ck_assert_mem_eq(original + 16, flow.tuple[FLOW_ORIGINAL].dst.v6, 16);
    ck_assert_uint_eq(get(original + 32, 2), 40000);
    ck_assert_uint_eq(original[37], 6);
    ck_assert_mem_eq(reply, flow.tuple[FLOW_ORIGINAL].dst.v6, 16);
    ck_assert_mem_eq(reply + 16, flow.tuple[FLOW_ORIGINAL].src.v6, 16);
    ck_assert_uint_eq(get(reply + 32, 2), 53);
}
END_TEST

/* A host behind source NAT: both records carry its own address, and the public one in 225 to 228. */
START_TEST(source_nat_is_mirrored)
{
    open_packet();
    struct flow flow = udp_flow();
    flow.tuple[FLOW_REPLY].dst.v4 = inet_addr("203.0.113.5");
    flow.tuple[FLOW_REPLY].dst_port = htons(50000);
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 258);
    const uint8_t *original = record_of(datagram, 0, 60), *reply = record_of(datagram, 1, 60);
    ck_assert_uint_eq(get(original, 4), 0x0a000001);
    ck_assert_uint_eq(get(original + 4, 4), 0xc0000209);
    ck_assert_uint_eq(get(original + 48, 4), 0xcb007105); /* 225 */
    ck_assert_uint_eq(get(original + 52, 4), 0xc0000209); /* 226 */
    ck_assert_uint_eq(get(original + 56, 2), 50000);      /* 227 */
    ck_assert_uint_eq(get(original + 58, 2), 53);         /* 228 */
    ck_assert_uint_eq(get(reply, 4), 0xc0000209);
    ck_assert_uint_eq(get(reply + 4, 4), 0x0a000001);
    ck_assert_uint_eq(get(reply + 48, 4), 0xc0000209);
    ck_assert_uint_eq(get(reply + 52, 4), 0xcb007105);
    ck_assert_uint_eq(get(reply + 56, 2), 53);
    ck_assert_uint_eq(get(reply + 58, 2), 50000);
}
END_TEST

START_TEST(destination_nat6_is_mirrored)
{
    open_packet();
    struct flow flow = udp6_flow();
    union flow_address inner;
    ck_assert_int_eq(inet_pton(AF_INET6, "fd00::80", inner.v6), 1);
    flow.tuple[FLOW_REPLY].src = inner;
    flow.tuple[FLOW_REPLY].src_port = htons(5353);
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 259);
    const uint8_t *original = record_of(datagram, 0, 108), *reply = record_of(datagram, 1, 108);
    ck_assert_mem_eq(original + 16, flow.tuple[FLOW_ORIGINAL].dst.v6, 16);
    ck_assert_mem_eq(original + 72, flow.tuple[FLOW_ORIGINAL].src.v6, 16);
    ck_assert_mem_eq(original + 88, inner.v6, 16);
    ck_assert_uint_eq(get(original + 104, 2), 40000);
    ck_assert_uint_eq(get(original + 106, 2), 5353);
    ck_assert_mem_eq(reply, flow.tuple[FLOW_ORIGINAL].dst.v6, 16);
    ck_assert_mem_eq(reply + 72, inner.v6, 16);
    ck_assert_mem_eq(reply + 88, flow.tuple[FLOW_ORIGINAL].src.v6, 16);
    ck_assert_uint_eq(get(reply + 104, 2), 5353);
    ck_assert_uint_eq(get(reply + 106, 2), 40000);
}
END_TEST

START_TEST(icmp_has_its_own_type_and_code_in_each_direction)
{
    open_packet();
    struct flow flow = udp_flow();
    flow.protocol = IPPROTO_ICMP;
    for (int i = 0; i < 2; i++)
        flow.tuple[i].src_port = flow.tuple[i].dst_port = 0;
    flow.tuple[FLOW_ORIGINAL].icmp_type = 8;
    flow.tuple[FLOW_ORIGINAL].icmp_code = 1;
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 260);
    const uint8_t *original = record_of(datagram, 0, 50), *reply = record_of(datagram, 1, 50);
    ck_assert_uint_eq(get(original + 8, 2), 0);
    ck_assert_uint_eq(get(original + 10, 2), 0x0801);
    ck_assert_uint_eq(get(original + 48, 2), 0x0801);
    ck_assert_uint_eq(get(reply + 8, 2), 0);
    ck_assert_uint_eq(get(reply + 10, 2), 0);
    ck_assert_uint_eq(get(reply + 48, 2), 0);

    flow = udp6_flow();
    flow.protocol = IPPROTO_ICMPV6;
    for (int i = 0; i < 2; i++)
        flow.tuple[i].src_port = flow.tuple[i].dst_port = 0;
    flow.tuple[FLOW_ORIGINAL].icmp_type = 128;
    flow.tuple[FLOW_REPLY].icmp_type = 129;
    datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 261);
    ck_assert_uint_eq(get(record_of(datagram, 0, 74) + 34, 2), 0x8000);
    ck_assert_uint_eq(get(record_of(datagram, 0, 74) + 72, 2), 0x8000);
    ck_assert_uint_eq(get(record_of(datagram, 1, 74) + 34, 2), 0x8100);
    ck_assert_uint_eq(get(record_of(datagram, 1, 74) + 72, 2), 0x8100);
}
END_TEST

START_TEST(a_direction_without_packets_makes_no_record)
{
    open_packet();
    struct flow flow = udp_flow();
    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    ck_assert_uint_eq(export(&flow)->records, 1);

    flow = udp_flow();
    flow.packets[FLOW_ORIGINAL] = flow.octets[FLOW_ORIGINAL] = 0;
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(datagram->records, 1);
    ck_assert_uint_eq(get(record_of(datagram, 0, 48), 4), 0xc0000209);

    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    sink.count = 0;
    packet_add(packet, &flow);
    packet_flush(packet, now);
    ck_assert_uint_eq(sink.count, 0);
}
END_TEST

START_TEST(without_counters_the_status_tells_of_the_reply)
{
    open_packet();
    struct flow flow = udp_flow();
    memset(flow.packets, 0, sizeof(flow.packets));
    memset(flow.octets, 0, sizeof(flow.octets));
    flow.has &= ~(uint32_t)FLOW_HAS_COUNTERS;
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 288);
    ck_assert_uint_eq(datagram->records, 1);
    flow.status = IPS_SEEN_REPLY;
    ck_assert_uint_eq(export(&flow)->records, 2);
}
END_TEST

START_TEST(optional_elements_follow)
{
    config.fields = FIELDS_MARK | FIELDS_ZONE | FIELDS_TIMES;
    open_packet();
    struct flow flow = udp_flow();
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 256 + 64 + 128 + 256);
    const uint8_t *record = record_of(datagram, 0, 76);
    ck_assert_uint_eq(get(record + 48, 8), 0x1234);
    ck_assert_uint_eq(get(record + 56, 4), 7);
    ck_assert_uint_eq(get(record + 60, 8), (NOW_NS - 5 * NS_PER_S - 1) / NS_PER_MS);
    ck_assert_uint_eq(get(record + 68, 8), (NOW_NS - NS_PER_S) / NS_PER_MS);
}
END_TEST

/* FIRST and LAST, read as collectors read them, are the flow's own stamps for as long as ctflow9 may run. */
START_TEST(stamps_stay_exact_through_60_days)
{
    open_packet();
    for (unsigned hour = 0; hour < 60 * 24; hour++) {
        struct flow flow = udp_flow();
        flow.stop_ns = now.wall_ns - hour * 977;
        flow.start_ns = flow.stop_ns - (hour % 100) * 3600 * NS_PER_S;
        const struct datagram *datagram = export(&flow);
        const uint8_t *record = record_of(datagram, 0, 48);
        uint64_t first_ms = get(record + 40, 4), last_ms = get(record + 44, 4);
        ck_assert_uint_eq(wall_ms_of(datagram, first_ms), flow.start_ns / NS_PER_MS);
        ck_assert_uint_eq(wall_ms_of(datagram, last_ms), flow.stop_ns / NS_PER_MS);
        ck_assert_uint_le(last_ms, uptime_of(datagram));
        ck_assert_uint_ge(unix_secs_of(datagram) * NS_PER_S, now.wall_ns);
        ck_assert_uint_lt(unix_secs_of(datagram) * NS_PER_S, now.wall_ns + NS_PER_S);
        advance(3600 * NS_PER_S + 12345678);
    }
}
END_TEST

/* A datagram that is open while the epoch moves is sealed with the epoch that its records are counted from.
 */
START_TEST(moving_the_epoch_seals_what_is_open)
{
    open_packet();
    struct flow flow = udp_flow();
    packet_begin(packet, now);
    packet_add(packet, &flow);
    advance(20 * DAY_NS);
    packet_begin(packet, now);
    ck_assert_uint_eq(sink.count, 1);
    const struct datagram *datagram = &sink.datagrams[0];
    ck_assert_uint_eq(wall_ms_of(datagram, get(record_of(datagram, 0, 48) + 44, 4)),
                      flow.stop_ns / NS_PER_MS);
}
END_TEST

START_TEST(clock_steps_never_put_last_behind_the_header)
{
    static const int64_t steps_s[] = {-1, -3600, -86400 * 11, -86400 * 1000, 3600, 86400 * 14, 86400 * 4000};
    open_packet();
    struct flow flow = udp_flow();
    packet_begin(packet, now);
    packet_add(packet, &flow);
    now.wall_ns += (uint64_t)(steps_s[_i] * (int64_t)NS_PER_S);
    packet_begin(packet, now);
    struct flow later = udp_flow();
    later.start_ns = later.stop_ns = now.wall_ns;
    packet_add(packet, &later);
    packet_flush(packet, now);
    unsigned records = 0;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        for (unsigned r = 0; r < datagram->records; r++, records++) {
            const uint8_t *record = record_of(datagram, r, 48);
            const struct flow *of = records < 2 ? &flow : &later;
            ck_assert_uint_le(get(record + 44, 4), uptime_of(datagram));
            ck_assert_uint_eq(wall_ms_of(datagram, get(record + 44, 4)), of->stop_ns / NS_PER_MS);
        }
    }
    ck_assert_uint_eq(records, 4);
}
END_TEST

START_TEST(forged_stamps_are_clamped)
{
    open_packet();
    struct flow flow = udp_flow();
    flow.start_ns = 0; /* long before the epoch */
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(get(record_of(datagram, 0, 48) + 40, 4), 0);

    flow.start_ns = flow.stop_ns + 1000 * NS_PER_S; /* start after stop */
    datagram = export(&flow);
    ck_assert_uint_eq(get(record_of(datagram, 0, 48) + 40, 4), get(record_of(datagram, 0, 48) + 44, 4));

    flow.start_ns = flow.stop_ns = UINT64_MAX; /* far beyond the epoch */
    datagram = export(&flow);
    ck_assert_uint_le(get(record_of(datagram, 0, 48) + 44, 4), uptime_of(datagram));
    ck_assert_uint_le(uptime_of(datagram), EPOCH_MAX_MS + 1000);
}
END_TEST

START_TEST(templates_fit_one_datagram_and_tell_everything)
{
    open_packet();
    const struct packet_totals totals = {
        .octets = 1234567, .datagrams = 890, .records = 4242, .records_dropped = 17};
    packet_templates(packet, &totals, &(struct packet_naming){0}, now, collect, &sink);
    ck_assert_uint_eq(sink.count, 1);
    unsigned templates, options_templates, options_records;
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, 16);
    ck_assert_uint_eq(options_templates,
                      fields_options_count - 2); /* neither interfaces nor counters have a name */
    ck_assert_uint_eq(options_records, fields_options_count - 2);

    const struct datagram *datagram = &sink.datagrams[0];
    for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets; at += get(datagram->data + at + 2, 2)) {
        const uint8_t *data = datagram->data + at + 4;
        switch (get(datagram->data + at, 2)) {
        case 270:
            ck_assert_mem_eq(data, "\0\0\0\0\0\0\0\1\1\0\0\0", 12);
            break;
        case 273:
            ck_assert_uint_eq(get(data + 4, 8), 1234567);
            ck_assert_uint_eq(get(data + 12, 8), 890);
            ck_assert_uint_eq(get(data + 20, 8), 4242);
            ck_assert_uint_eq(get(data + 28, 2), 60);
            ck_assert_uint_eq(get(data + 30, 2), 15);
            break;
        case 274:
            ck_assert_uint_eq(get(data + 4, 8), 17);
            break;
        }
    }
}
END_TEST

START_TEST(templates_are_split_when_datagrams_are_small)
{
    config.max_datagram = PACKET_OCTETS_MIN;
    config.fields = FIELDS_MARK | FIELDS_ZONE | FIELDS_TIMES;
    open_packet();
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    ck_assert_uint_ge(sink.count, 3);
    unsigned templates, options_templates, options_records;
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, 16);
    ck_assert_uint_eq(options_templates,
                      fields_options_count - 2); /* neither interfaces nor counters have a name */
    ck_assert_uint_eq(options_records, fields_options_count - 2);
}
END_TEST

/* Every shape that a flow can have is announced before. */
START_TEST(every_data_template_was_announced)
{
    open_packet();
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    bool announced[65536] = {false};
    const struct datagram *datagram = &sink.datagrams[0];
    for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets; at += get(datagram->data + at + 2, 2))
        if (get(datagram->data + at, 2) == 0)
            announced[get(datagram->data + at + 4, 2)] = true;
    for (unsigned i = 0; i < 16; i++) {
        struct flow flow = any_shape(i);
        uint16_t id = template_of(export(&flow));
        ck_assert(announced[id]);
        announced[id] = false; /* each its own */
    }
}
END_TEST

/* The numbers in the rows of 271 that the sink got, in their order. Returns how many. */
static unsigned told(uint32_t *numbers)
{
    enum { ROW = 104 };
    unsigned count = 0;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        bool has_template = false;
        ck_assert_uint_le(datagram->octets, config.max_datagram);
        for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets;
             at += get(datagram->data + at + 2, 2)) {
            uint64_t id = get(datagram->data + at, 2);
            has_template |= id == 1 && get(datagram->data + at + 4, 2) == 271;
            ck_assert(id != 271 || has_template);
            for (uint64_t row = 4; id == 271 && row < get(datagram->data + at + 2, 2); row += ROW)
                numbers[count++] = (uint32_t)get(datagram->data + at + row + 4, 4);
        }
    }
    return count;
}

static struct interface_names *names_of(size_t count)
{
    struct interface_names *names = interface_names_allocate(count);
    for (size_t i = 0; i < count; i++) {
        names->each[i].number = 100 + (uint32_t)i;
        snprintf(names->each[i].name, sizeof(names->each[i].name), "veth%u", (unsigned)i);
    }
    return names;
}

static unsigned tell(struct packet_naming *naming, uint32_t *numbers)
{
    sink.count = 0;
    packet_templates(packet, &(struct packet_totals){0}, naming, now, collect, &sink);
    return told(numbers);
}

START_TEST(names_of_interfaces_are_octet_exact)
{
    struct packet_naming naming = {0};
    struct interface_names *names = names_of(2);
    uint32_t numbers[8];
    open_packet();
    ck_assert(packet_has_named(packet, &naming)); /* there are none */
    ck_assert_uint_eq(tell(&naming, numbers), 0);
    names->each[0] = (struct interface_name){7, "ppp0", "the uplink"};
    memset(names->each[1].name, 'n', sizeof(names->each[1].name) - 1);
    memset(names->each[1].alias, 'a', sizeof(names->each[1].alias) - 1);
    packet_name_interfaces(packet, names);
    ck_assert(!packet_has_named(packet, &naming));
    ck_assert_uint_eq(tell(&naming, numbers), 2);
    ck_assert(packet_has_named(packet, &naming));

    enum { FLOWSET = 4 + 104 };
    uint8_t want[2][FLOWSET] = {{1, 15, 0, FLOWSET}, {1, 15, 0, FLOWSET}};
    want[0][4 + 7] = 7;
    memcpy(want[0] + 4 + 8, "ppp0", 4);
    memcpy(want[0] + 4 + 40, "the uplink", 10);
    want[1][4 + 7] = 101;
    memset(want[1] + 4 + 8, 'n', 15);
    memset(want[1] + 4 + 40, 'a', 64);
    const struct datagram *last = &sink.datagrams[sink.count - 1];
    ck_assert_uint_eq(count_of(last), 3); /* with its template */
    ck_assert_mem_eq(last->data + last->octets - sizeof(want), want, sizeof(want));
    free(names);
}
END_TEST

/* nfdump shows 83 alone. */
START_TEST(an_interface_without_alias_is_described_by_its_name)
{
    struct packet_naming naming = {0};
    struct interface_names *names = names_of(1);
    uint32_t numbers[8];
    open_packet();
    packet_name_interfaces(packet, names);
    ck_assert_uint_eq(tell(&naming, numbers), 1);
    const struct datagram *last = &sink.datagrams[sink.count - 1];
    ck_assert_str_eq((const char *)last->data + last->octets - 64, "veth0");
    free(names);
}
END_TEST

START_TEST(many_interfaces_take_turns)
{
    enum { MANY = 100, TURNS = (MANY + PACKET_NAMES_MAX - 1) / PACKET_NAMES_MAX };
    struct packet_naming naming = {0};
    struct interface_names *names = names_of(MANY), *others = names_of(MANY - 50);
    uint32_t numbers[PACKET_NAMES_MAX];
    bool seen[100 + MANY] = {false};
    config.max_datagram = _i == 0 ? 1400 : PACKET_OCTETS_MIN;
    open_packet();
    packet_name_interfaces(packet, names);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        ck_assert(!packet_has_named(packet, &naming));
        unsigned count = tell(&naming, numbers);
        ck_assert_uint_eq(count, PACKET_NAMES_MAX);
        for (unsigned i = 0; i < count; i++)
            seen[numbers[i]] = true;
    }
    ck_assert(packet_has_named(packet, &naming));
    for (unsigned i = 0; i < MANY; i++)
        ck_assert(seen[100 + i]);

    /* It goes on where it was, with a shorter table too. */
    tell(&naming, numbers);
    ck_assert_uint_eq(numbers[0], 100 + TURNS * PACKET_NAMES_MAX % MANY);
    for (unsigned turn = 1; turn < 6; turn++)
        tell(&naming, numbers);
    ck_assert_uint_gt(naming.next, 50);
    packet_name_interfaces(packet, others);
    memset(seen, 0, sizeof(seen));
    while (!packet_has_named(packet, &naming))
        for (unsigned i = tell(&naming, numbers); i > 0; i--)
            seen[numbers[i - 1]] = true;
    for (unsigned i = 0; i < 50; i++)
        ck_assert(seen[100 + i]);
    packet_name_interfaces(packet, NULL);
    ck_assert_uint_eq(tell(&naming, numbers), 0);
    free(names);
    free(others);
}
END_TEST

/* One record, though connections have two. */
START_TEST(packets_are_octet_exact)
{
    config.fields =
        FIELDS_MARK | FIELDS_ZONE | FIELDS_MAC | FIELDS_VLAN | FIELDS_TTL; /* mark and zone it has not */
    open_packet();
    const struct flow flow = any_packets(0);
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 34048 + 8 + 16 + 32);
    ck_assert_uint_eq(count_of(datagram), 1);
    const uint8_t *record = record_of(datagram, 0, 0);
    ck_assert_mem_eq(record, "\x0a\0\0\1\xc0\0\2\x09\x9c\x40\0\x35\x11\4\1\1\0\0\0\5\0\0\0\6", 24);
    ck_assert_uint_eq(get(record + 24, 8), 300);
    ck_assert_uint_eq(get(record + 32, 8), 3);
    ck_assert_uint_eq(wall_ms_of(datagram, get(record + 44, 4)), flow.stop_ns / NS_PER_MS);
    ck_assert_mem_eq(record + 48, "\xb8\x1b\x02\0\0\0\0\1\x02\0\0\0\0\2\x02\x34\x3d\x40", 18);
}
END_TEST

START_TEST(templates_of_packets_go_before_their_data)
{
    config.has_packets = true;
    open_packet();
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    unsigned templates, options_templates, options_records;
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, 20);
    bool announced[65536] = {false};
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets; at += get(datagram->data + at + 2, 2))
            if (get(datagram->data + at, 2) == 0)
                announced[get(datagram->data + at + 4, 2)] = true;
    }
    for (unsigned i = 0; i < SHAPES_OF_PACKETS; i++) {
        const struct flow flow = any_packets(i);
        uint16_t id = template_of(export(&flow));
        ck_assert_uint_ge(id, 34048);
        ck_assert(announced[id]);
        announced[id] = false; /* each its own */
    }
}
END_TEST

/* Merged, they are like any other record, and have the ids of those. */
START_TEST(packets_are_merged_with_connections)
{
    config.has_packets = true;
    config.aggregate = (struct aggregate_by){.keys = AGGREGATE_KEY_PROTO, .source_ipv4_bits = 32};
    config.aggregate_interval_s = 60;
    config.aggregate_capacity = 8;
    open_packet();
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    unsigned templates, options_templates, options_records;
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, 2 * 2);
    struct flow flow = udp_flow();
    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    packet_begin(packet, now);
    packet_add(packet, &flow);
    flow = any_packets(0);
    flow.has &= ~(uint32_t)FLOW_EGRESS;
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(count_of(datagram), 1);
    ck_assert_uint_lt(template_of(datagram), 33024);
}
END_TEST

/* What was made by it may still be on its way, also to a collector that was started anew. */
START_TEST(templates_of_an_earlier_one_go_too)
{
    unsigned templates, options_templates, options_records;
    config.has_packets = true;
    open_packet();
    struct packet *earlier = packet;
    config.fields = FIELDS_TIMES;
    open_packet();
    packet_follow(packet, earlier);
    packet_close(earlier);
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, 2 * 20);

    packet_forget_earlier(packet);
    sink.count = 0;
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, 20);
}
END_TEST

START_TEST(sequence_is_set_and_nothing_else)
{
    uint8_t header[PACKET_HEADER_OCTETS] = {0};
    packet_header_set_sequence(header, 0x01020304);
    const uint8_t want[PACKET_HEADER_OCTETS] = {[12] = 1, 2, 3, 4};
    ck_assert_mem_eq(header, want, sizeof(want));
}
END_TEST

static struct flow counter_flow(void)
{
    struct flow flow = udp_flow();
    flow.kind = FLOW_COUNTER;
    flow.id = 0x010203;
    return flow;
}

START_TEST(counters_are_octet_exact)
{
    open_packet();
    const struct flow flow = counter_flow();
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(datagram->records, 1);
    ck_assert_uint_eq(template_of(datagram), 266);
    const uint8_t *record = record_of(datagram, 0, 38);
    ck_assert_mem_eq(record, "\0\1\2\3\0\0\0\0\4", 9);
    ck_assert_uint_eq(get(record + 9, 8), 300);
    ck_assert_uint_eq(get(record + 17, 8), 3);
    ck_assert_uint_eq(wall_ms_of(datagram, get(record + 25, 4)), flow.start_ns / NS_PER_MS);
    ck_assert_uint_eq(wall_ms_of(datagram, get(record + 29, 4)), flow.stop_ns / NS_PER_MS);
    ck_assert_mem_eq(record + 33, "\6\0\1\2\3", 5);
}
END_TEST

START_TEST(counters_are_not_merged)
{
    config.aggregate = (struct aggregate_by){.source_ipv4_bits = 32, .source_ipv6_bits = 128};
    config.aggregate_interval_s = 60;
    config.aggregate_capacity = 16;
    open_packet();
    const struct flow flow = counter_flow();
    ck_assert_uint_eq(template_of(export(&flow)), 266);
}
END_TEST

/* The rows of 275, which are those from first on. */
static unsigned count_names(uint32_t first)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets;
             at += get(datagram->data + at + 2, 2)) {
            const uint8_t *row = datagram->data + at + 4;
            char name[FLOW_NAME_MAX] = {0};
            if (get(datagram->data + at, 2) != 275)
                continue;
            uint32_t number = first + count++;
            snprintf(name, sizeof(name), "counter %u", number);
            ck_assert_uint_eq(get(row + 4, 1), 6);
            ck_assert_uint_eq(get(row + 5, 4), number);
            ck_assert_mem_eq(row + 9, name, sizeof(name));
        }
    }
    return count;
}

/* New ones first, many at a time; then a few again each time. */
START_TEST(names_of_counters_are_told)
{
    enum { MORE = 5 };
    static const struct {
        uint32_t first, count;
        bool are_all;
    } turns[] = {
        {1, PACKET_COUNTERS_MAX, false},
        {PACKET_COUNTERS_MAX + 1, MORE, true},
        {1, PACKET_COUNTERS_AGAIN_MAX, true},
        {PACKET_COUNTERS_AGAIN_MAX + 1, PACKET_COUNTERS_AGAIN_MAX, true},
    };
    struct packet_naming naming = {0};
    struct name_numbers *numbers;
    ck_assert_int_eq(name_numbers_open(&numbers), 0);
    config.counters = numbers;
    open_packet();
    ck_assert(packet_has_named_counters(packet, &naming));
    for (uint32_t i = 1; i <= PACKET_COUNTERS_MAX + MORE; i++) {
        char name[FLOW_NAME_MAX];
        snprintf(name, sizeof(name), "counter %u", i);
        ck_assert_uint_eq(name_numbers_of(numbers, i, name), i);
    }
    ck_assert(!packet_has_named_counters(packet, &naming));
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
        sink.count = 0;
        packet_templates(packet, &(struct packet_totals){0}, &naming, now, collect, &sink);
        ck_assert_uint_eq(count_names(turns[i].first), turns[i].count);
        ck_assert_int_eq(packet_has_named_counters(packet, &naming), turns[i].are_all);
    }
    packet_close(packet);
    packet = NULL;
    name_numbers_close(numbers);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("packet");
    TCase *tests = tcase_create("packet");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, header_and_ipv4_record_are_octet_exact);
    tcase_add_test(tests, ipv6_record_is_octet_exact);
    tcase_add_test(tests, source_nat_is_mirrored);
    tcase_add_test(tests, destination_nat6_is_mirrored);
    tcase_add_test(tests, icmp_has_its_own_type_and_code_in_each_direction);
    tcase_add_test(tests, a_direction_without_packets_makes_no_record);
    tcase_add_test(tests, without_counters_the_status_tells_of_the_reply);
    tcase_add_test(tests, optional_elements_follow);
    tcase_add_test(tests, stamps_stay_exact_through_60_days);
    tcase_add_test(tests, moving_the_epoch_seals_what_is_open);
    tcase_add_loop_test(tests, clock_steps_never_put_last_behind_the_header, 0, 7);
    tcase_add_test(tests, forged_stamps_are_clamped);
    tcase_add_test(tests, templates_fit_one_datagram_and_tell_everything);
    tcase_add_test(tests, templates_are_split_when_datagrams_are_small);
    tcase_add_test(tests, every_data_template_was_announced);
    tcase_add_test(tests, names_of_interfaces_are_octet_exact);
    tcase_add_test(tests, an_interface_without_alias_is_described_by_its_name);
    tcase_add_loop_test(tests, many_interfaces_take_turns, 0, 2);
    tcase_add_test(tests, packets_are_octet_exact);
    tcase_add_test(tests, templates_of_packets_go_before_their_data);
    tcase_add_test(tests, packets_are_merged_with_connections);
    tcase_add_test(tests, templates_of_an_earlier_one_go_too);
    tcase_add_test(tests, counters_are_octet_exact);
    tcase_add_test(tests, counters_are_not_merged);
    tcase_add_test(tests, names_of_counters_are_told);
    tcase_add_test(tests, sequence_is_set_and_nothing_else);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
