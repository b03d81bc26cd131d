/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/encoder.h"

#include <check.h>
#include <endian.h>
#include <stdlib.h>

#include "ctflow9/base/wire.h"
#include "packet_rig.h"

/* Records that are of no flow: 7 octets, and 12. */
struct values {
    be32 number;
    uint8_t octet;
    be16 half;
    be64 whole;
};

static const struct field fields[] = {{8, 4, offsetof(struct values, number), 0, 0, FIELD_KEY},
                                      {4, 1, offsetof(struct values, octet), 0, 0, FIELD_KEY},
                                      {7, 2, offsetof(struct values, half), 0, 0, FIELD_KEY},
                                      {1, 8, offsetof(struct values, whole), 0, 0, FIELD_KEY}};

enum { ODD, EVEN, LAYOUTS, ODD_OCTETS = 7, EVEN_OCTETS = 12 };

static const struct template layouts[LAYOUTS] = {
    [ODD] = {.id = 300,
             .field_count = 3,
             .record_octets = ODD_OCTETS,
             .fields = {&fields[0], &fields[1], &fields[2]},
             .run_count = 2,
             .runs = {{offsetof(struct values, number), 5}, {offsetof(struct values, half), 2}}},
    [EVEN] = {.id = 65535,
              .field_count = 2,
              .record_octets = EVEN_OCTETS,
              .fields = {&fields[0], &fields[3]},
              .run_count = 2,
              .runs = {{offsetof(struct values, number), 4}, {offsetof(struct values, whole), 8}}},
};

static struct encoder *encoder;

static void open_encoder(void)
{
    const struct encoder_config encoder_config = {.source_id = config.source_id,
                                                  .max_datagram = config.max_datagram,
                                                  .max_delay_ns = config.max_delay_ns,
                                                  .stats = &stats};
    ck_assert_int_eq(encoder_open(&encoder, &encoder_config, layouts, LAYOUTS, now, collect, &sink), 0);
}

static void close_encoder(void)
{
    encoder_close(encoder);
    encoder = NULL;
}

static void append(unsigned index, uint32_t number)
{
    const struct values values = {.number = htobe32(number), .octet = 0xee, .half = htobe16(0x0102)};
    encoder_append(encoder, index, &values, now.wall_ns / NS_PER_MS);
}

START_TEST(datagrams_are_octet_exact)
{
    open_encoder();
    append(ODD, 1);
    append(ODD, 2);
    encoder_flush(encoder, now);

    uint8_t want[64];
    struct writer writer = writer_on(want, sizeof(want));
    packet_header_write(&writer, 2,
                        (struct epoch_stamp){.unix_secs = NOW_S + 1, .sys_uptime_ms = EPOCH_PAST_MS + 750},
                        0xabcdef01);
    writer_put_u16(&writer, 300);
    writer_put_u16(&writer, 4 + 2 * ODD_OCTETS + 2);
    writer_put(&writer, (const uint8_t[]){0, 0, 0, 1, 0xee, 1, 2, 0, 0, 0, 2, 0xee, 1, 2, 0, 0}, 16);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(sink.datagrams[0].records, 2);
    ck_assert_uint_eq(sink.datagrams[0].octets, writer_length(&writer));
    ck_assert_mem_eq(sink.datagrams[0].data, want, writer_length(&writer));
    ck_assert_uint_eq(stats.records, 2);
    ck_assert_uint_eq(stats.datagrams, 1);
    close_encoder();
}
END_TEST

/* Each fills a datagram of its own, to the limit, padded with zeros; every record arrives once, in order. */
START_TEST(templates_have_datagrams_of_their_own)
{
    enum { RECORDS = 5000 };

    static const uint32_t limits[] = {512, 513, 514, 515, 1399, 1400, 1401, 8972};
    static const size_t record_octets[LAYOUTS] = {ODD_OCTETS, EVEN_OCTETS};
    config.max_datagram = limits[_i];
    open_encoder();
    for (uint32_t i = 0; i < RECORDS; i++) {
        append(ODD, i);
        append(EVEN, i);
    }
    encoder_flush(encoder, now);
    ck_assert_uint_eq(stats.records, 2 * RECORDS);
    ck_assert_uint_eq(stats.datagrams, sink.count);

    uint32_t next[LAYOUTS] = {0};
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        unsigned index = template_of(datagram) == layouts[ODD].id ? ODD : EVEN;
        size_t octets = datagram->records * record_octets[index];
        ck_assert_uint_eq(template_of(datagram), layouts[index].id);
        ck_assert_uint_eq(datagram->octets, PACKET_HEADER_OCTETS + (4 + octets + 3) / 4 * 4);
        ck_assert_uint_eq(get(datagram->data + PACKET_HEADER_OCTETS + 2, 2),
                          datagram->octets - PACKET_HEADER_OCTETS);
        ck_assert_uint_le(datagram->octets, config.max_datagram);
        ck_assert_uint_eq(count_of(datagram), datagram->records);
        for (size_t at = PACKET_HEADER_OCTETS + 4 + octets; at < datagram->octets; at++)
            ck_assert_uint_eq(datagram->data[at], 0);
        for (unsigned k = 0; k < datagram->records; k++)
            ck_assert_uint_eq(get(record_of(datagram, k, record_octets[index]), 4), next[index]++);
        if (next[index] < RECORDS) /* one more did not fit */
            ck_assert_uint_gt(PACKET_HEADER_OCTETS + (4 + octets + record_octets[index] + 3) / 4 * 4,
                              config.max_datagram);
    }
    ck_assert_uint_eq(next[ODD], RECORDS);
    ck_assert_uint_eq(next[EVEN], RECORDS);
    close_encoder();
}
END_TEST

/* max_delay is that of each datagram's oldest record. */
START_TEST(each_partial_datagram_leaves_after_its_own_delay)
{
    open_encoder();
    struct poll_set set;
    poll_set_clear(&set);
    encoder_wants(encoder, &set);
    ck_assert_uint_eq(set.deadline_ns, POLL_SET_NEVER);

    uint64_t first_ns = now.monotonic_ns;
    append(EVEN, 1);
    advance(NS_PER_S / 4);
    encoder_begin(encoder, now);
    append(EVEN, 2);
    append(ODD, 1);
    encoder_wants(encoder, &set);
    ck_assert_uint_eq(set.deadline_ns, first_ns + NS_PER_S);
    advance(NS_PER_S * 3 / 4 - 1);
    encoder_run(encoder, now);
    ck_assert_uint_eq(sink.count, 0);
    advance(1);
    encoder_run(encoder, now);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(template_of(&sink.datagrams[0]), 65535);
    ck_assert_uint_eq(sink.datagrams[0].records, 2);

    poll_set_clear(&set);
    encoder_wants(encoder, &set);
    ck_assert_uint_eq(set.deadline_ns, first_ns + NS_PER_S + NS_PER_S / 4);
    advance(NS_PER_S / 4);
    encoder_run(encoder, now);
    ck_assert_uint_eq(sink.count, 2);
    ck_assert_uint_eq(template_of(&sink.datagrams[1]), 300);
    close_encoder();
}
END_TEST

/* A step of the clock, or a moved epoch: what is open leaves by the old one. */
START_TEST(no_datagram_spans_two_clocks)
{
    open_encoder();
    append(ODD, 1);
    uint64_t first_ms = now.wall_ns / NS_PER_MS;
    uint64_t begin_ms = encoder_epoch(encoder)->begin_ms;
    advance(NS_PER_S / 4);
    encoder_begin(encoder, now);
    append(ODD, 3);
    ck_assert_uint_eq(sink.count, 0);
    if (_i == 0)
        now.wall_ns += 60 * NS_PER_S;
    else if (_i == 1)
        now.wall_ns -= 60 * NS_PER_S;
    else
        advance(16 * EPOCH_DAY_MS * NS_PER_MS);
    encoder_begin(encoder, now);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(sink.datagrams[0].ended_ms, first_ms);
    ck_assert_uint_eq(unix_secs_of(&sink.datagrams[0]), NOW_S + 1);
    ck_assert_int_eq(encoder_epoch(encoder)->begin_ms != begin_ms, _i == 2);
    append(ODD, 2);
    encoder_flush(encoder, now);
    ck_assert_uint_eq(wall_ms_of(&sink.datagrams[1], uptime_of(&sink.datagrams[1])),
                      unix_secs_of(&sink.datagrams[1]) * 1000);
    close_encoder();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encoder");
    TCase *tests = tcase_create("encoder");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, datagrams_are_octet_exact);
    tcase_add_loop_test(tests, templates_have_datagrams_of_their_own, 0, 8);
    tcase_add_test(tests, each_partial_datagram_leaves_after_its_own_delay);
    tcase_add_loop_test(tests, no_datagram_spans_two_clocks, 0, 3);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
