/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Merged records on the wire; what is merged and when is aggregate.c's, with tests of its own. */
#include <arpa/inet.h>
#include <check.h>

#include "ctflow9/netflow/epoch.h"
#include "ctflow9/netflow/packet.h"
#include "ctflow9/netflow/writer.h"
#include "packet_rig.h"
#include "run_suite.h"

static void open_merging(uint32_t keys, uint8_t ipv4_bits)
{
    config.aggregate = (struct aggregate_by){
        .keys = keys, .source_ipv4_bits = ipv4_bits, .destination_ipv4_bits = ipv4_bits};
    config.aggregate_interval_s = 60;
    config.aggregate_capacity = 100;
    open_packet();
}

/* Flows that differ in what is no key: one record a direction, when the interval is over. */
START_TEST(merged_records_are_octet_exact)
{
    open_merging(AGGREGATE_KEY_PROTO, 32);
    packet_begin(packet, now);
    struct flow flow = udp_flow();
    packet_add(packet, &flow);
    flow.tuple[FLOW_ORIGINAL].src_port = flow.tuple[FLOW_REPLY].dst_port = htons(40001);
    flow.start_ns -= 2 * NS_PER_S;
    packet_add(packet, &flow);
    flow.tuple[FLOW_REPLY].dst.v4 = inet_addr("203.0.113.5"); /* translated, but nobody asked */
    flow.start_ns = flow.stop_ns = NOW_NS;
    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    packet_add(packet, &flow);

    struct poll_set set;
    poll_set_clear(&set);
    packet_wants(packet, &set);
    ck_assert_uint_eq(set.deadline_ns, now.monotonic_ns + 60 * NS_PER_S);
    advance(60 * NS_PER_S - 1);
    packet_begin(packet, now);
    packet_run(packet, now);
    advance(1);
    packet_begin(packet, now);
    ck_assert_uint_eq(stats.records, 0);
    packet_run(packet, now);
    ck_assert_uint_eq(stats.records, 2);
    advance(NS_PER_S);
    packet_run(packet, now);
    ck_assert_uint_eq(sink.count, 1);

    uint32_t first_ms = (uint32_t)(EPOCH_PAST_MS - 7001);
    const uint8_t original[32] = {10, 0, 0, 1, 192, 0, 2, 9, 17, 4, 0,        2,         0, 0, 0, 0,
                                  0,  0, 0, 0, 0,   0, 0, 0, 0,  0, 900 >> 8, 900 & 255, 0, 0, 0, 0};
    const uint8_t reply[32] = {192, 0, 2, 9, 10, 0, 0, 1, 17, 4,  0,  2,  0, 0, 0, 0,
                               0,   0, 0, 0, 2,  4, 6, 8, 10, 12, 14, 16, 0, 0, 0, 0};
    uint8_t want[2 * 48];
    struct writer writer = writer_on(want, sizeof(want));
    writer_put(&writer, original, sizeof(original));
    writer_put_u32(&writer, 9); /* packets, the low half; the high one is 0 */
    writer_put_u32(&writer, first_ms);
    writer_put_u32(&writer, (uint32_t)EPOCH_PAST_MS);
    writer_put_u32(&writer, 3);
    writer_put(&writer, reply, sizeof(reply));
    writer_put_u32(&writer, 4);
    writer_put_u32(&writer, first_ms);
    writer_put_u32(&writer, (uint32_t)(EPOCH_PAST_MS - 1000));
    writer_put_u32(&writer, 2);
    ck_assert_uint_eq(template_of(&sink.datagrams[0]), 22784);
    ck_assert_uint_eq(sink.datagrams[0].records, 2);
    ck_assert_uint_eq(sink.datagrams[0].octets, PACKET_HEADER_OCTETS + 4 + sizeof(want));
    ck_assert_mem_eq(record_of(&sink.datagrams[0], 0, 0), want, sizeof(want));
}
END_TEST

/* With the key nat, both directions carry what the chosen ends were translated to. */
START_TEST(merged_records_are_mirrored_too)
{
    open_merging(AGGREGATE_KEY_NAT, 24);
    struct flow flow = udp_flow();
    flow.tuple[FLOW_REPLY].dst.v4 = inet_addr("203.0.113.5");
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 256 + 16384 + 2048 + 4096 + 8192 + 2 + 8 + 16);
    const uint8_t *original = record_of(datagram, 0, 57), *reply = record_of(datagram, 1, 57);
    ck_assert_uint_eq(datagram->records, 2);
    ck_assert_uint_eq(get(original, 4), 0x0a000000);
    ck_assert_uint_eq(get(original + 4, 4), 0xc0000200);
    ck_assert_uint_eq(get(original + 43, 4), 0xcb007100);
    ck_assert_uint_eq(get(original + 47, 4), 0xc0000200);
    ck_assert_uint_eq(get(original + 55, 2), 24 << 8 | 24);
    ck_assert_uint_eq(get(reply, 4), 0xc0000200);
    ck_assert_uint_eq(get(reply + 47, 4), 0xcb007100);
}
END_TEST

/* ICMP's type and code belong to dport. */
START_TEST(merged_icmp_has_its_type_with_dport_only)
{
    open_merging(AGGREGATE_KEY_DPORT, 0);
    struct flow flow = udp_flow();
    flow.protocol = IPPROTO_ICMP;
    for (int i = 0; i < 2; i++)
        flow.tuple[i].src_port = flow.tuple[i].dst_port = 0;
    flow.tuple[FLOW_ORIGINAL].icmp_type = 8;
    const struct datagram *datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 256 + 16384 + 512 + 1024 + 2048 + 8192 + 4);
    ck_assert_uint_eq(datagram->records, 2);
    ck_assert_uint_eq(get(record_of(datagram, 0, 43), 2), 0x0800);
    ck_assert_uint_eq(get(record_of(datagram, 0, 43) + 37, 2), 0x0800);
    ck_assert_uint_eq(get(record_of(datagram, 1, 43), 2), 0);
    packet_close(packet);

    open_merging(AGGREGATE_KEY_PROTO, 0);
    datagram = export(&flow);
    ck_assert_uint_eq(template_of(datagram), 256 + 16384 + 512 + 1024 + 2048 + 4096);
    ck_assert_uint_eq(datagram->records, 1); /* both directions are equal in the keys */
}
END_TEST

/* What --fields adds to every record is a key, but for the times. */
START_TEST(optional_elements_are_keys)
{
    config.fields = FIELDS_MARK | FIELDS_ZONE | FIELDS_TIMES;
    open_merging(AGGREGATE_KEY_PROTO, 0);
    packet_begin(packet, now);
    struct flow flow = udp_flow();
    packet_add(packet, &flow);
    flow.start_ns -= NS_PER_S;
    packet_add(packet, &flow);
    flow.mark++;
    packet_add(packet, &flow);
    packet_flush(packet, now);
    ck_assert_uint_eq(sink.count, 1);
    const struct datagram *datagram = &sink.datagrams[0];
    ck_assert_uint_eq(template_of(datagram), 256 + 16384 + 512 + 1024 + 2048 + 4096 + 64 + 128 + 256);
    ck_assert_uint_eq(datagram->records, 2);
    const uint8_t *record = record_of(datagram, 0, 68);
    ck_assert_uint_eq(get(record + 36, 8), 0x1234);
    ck_assert_uint_eq(get(record + 44, 4), 7);
    ck_assert_uint_eq(get(record + 48, 4), 4);
    ck_assert_uint_eq(get(record + 52, 8), (NOW_NS - 6 * NS_PER_S - 1) / NS_PER_MS);
    ck_assert_uint_eq(get(record + 60, 8), (NOW_NS - NS_PER_S) / NS_PER_MS);
    ck_assert_uint_eq(get(record_of(datagram, 1, 68) + 36, 8), 0x1235);
}
END_TEST

/* A moved epoch leaves what is being merged where it is; its times are right by the new one. */
START_TEST(merging_outlives_the_epoch)
{
    open_merging(AGGREGATE_KEY_PROTO, 32);
    packet_begin(packet, now);
    struct flow flow = udp_flow();
    packet_add(packet, &flow);
    advance(20 * 86400 * NS_PER_S);
    packet_begin(packet, now);
    ck_assert_uint_eq(sink.count, 0);
    packet_flush(packet, now);
    const struct datagram *datagram = &sink.datagrams[0];
    ck_assert_uint_eq(datagram->records, 2);
    ck_assert_uint_eq(wall_ms_of(datagram, get(record_of(datagram, 0, 48) + 40, 4)),
                      flow.stop_ns / NS_PER_MS);
}
END_TEST

/* A clock that was set back after the flows ended. */
START_TEST(last_is_never_behind_the_header)
{
    open_merging(AGGREGATE_KEY_PROTO, 32);
    packet_begin(packet, now);
    struct flow flow = udp_flow();
    packet_add(packet, &flow);
    now.wall_ns -= 3600 * NS_PER_S;
    packet_begin(packet, now);
    packet_flush(packet, now);
    const struct datagram *datagram = &sink.datagrams[0];
    ck_assert_uint_le(get(record_of(datagram, 0, 48) + 40, 4), uptime_of(datagram));
}
END_TEST

/* Else a record would last as long as the step. */
START_TEST(a_step_of_the_clock_ends_what_is_being_merged)
{
    open_merging(AGGREGATE_KEY_PROTO, 32);
    packet_begin(packet, now);
    struct flow flow = udp_flow();
    packet_add(packet, &flow);
    advance(NS_PER_S);
    packet_begin(packet, now);
    ck_assert_uint_eq(sink.count, 0);
    now.wall_ns += _i == 0 ? 3600 * NS_PER_S : -(3600 * NS_PER_S);
    packet_begin(packet, now);
    ck_assert_uint_eq(sink.count, 1);
    flow.start_ns = flow.stop_ns = now.wall_ns;
    packet_add(packet, &flow);
    packet_flush(packet, now);
    ck_assert_uint_eq(sink.count, 2);
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *record = record_of(&sink.datagrams[i], 0, 48);
        ck_assert_uint_le(get(record + 40, 4) - get(record + 36, 4), 10000);
    }
}
END_TEST

/* The templates of shapes that cannot come are left out. */
START_TEST(only_possible_templates_are_announced)
{
    static const struct {
        uint32_t keys;
        unsigned templates;
    } cases[] = {{AGGREGATE_KEY_PROTO, 4},
                 {AGGREGATE_KEY_DPORT, 8},
                 {AGGREGATE_KEY_NAT, 8},
                 {AGGREGATE_KEY_NAT | AGGREGATE_KEY_DPORT, 16}};
    open_merging(cases[_i].keys, 32);
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    unsigned templates, options_templates, options_records;
    count_announced(&templates, &options_templates, &options_records);
    ck_assert_uint_eq(templates, cases[_i].templates);
    bool announced[65536] = {false};
    for (uint64_t at = PACKET_HEADER_OCTETS; at < sink.datagrams[0].octets;
         at += get(sink.datagrams[0].data + at + 2, 2))
        announced[get(sink.datagrams[0].data + at + 4, 2)] = true;
    for (unsigned i = 0; i < 16; i++) {
        struct flow flow = any_shape(i);
        ck_assert(announced[template_of(export(&flow))]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("packet_merging");
    TCase *tests = tcase_create("packet_merging");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, merged_records_are_octet_exact);
    tcase_add_test(tests, merged_records_are_mirrored_too);
    tcase_add_test(tests, merged_icmp_has_its_type_with_dport_only);
    tcase_add_test(tests, optional_elements_are_keys);
    tcase_add_test(tests, merging_outlives_the_epoch);
    tcase_add_test(tests, last_is_never_behind_the_header);
    tcase_add_loop_test(tests, a_step_of_the_clock_ends_what_is_being_merged, 0, 2);
    tcase_add_loop_test(tests, only_possible_templates_are_announced, 0, 4);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
