/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <check.h>
#include <endian.h>

#include "ctflow9/netflow/record.h"
#include "ctflow9/netflow/template.h"

#include "run_suite.h"

/* An element list as it must stand on the wire: pairs of type and length, up to a pair of zeros. */
struct expected {
    unsigned shape;
    uint16_t id, record_octets;
    uint16_t fields[32][2];
};

#define PORTS_TO_LAST                                                                               \
    {7, 2}, {11, 2}, {4, 1}, {60, 1}, {61, 1}, {136, 1}, {10, 4}, {14, 4}, {1, 8}, {2, 8}, {22, 4}, \
    {                                                                                               \
        21, 4                                                                                       \
    }
#define PORTS_TO_LAST_UNCOUNTED                                                     \
    {7, 2}, {11, 2}, {4, 1}, {60, 1}, {61, 1}, {136, 1}, {10, 4}, {14, 4}, {22, 4}, \
    {                                                                               \
        21, 4                                                                       \
    }
#define VERSION_TO_LAST                                                    \
    {60, 1}, {61, 1}, {136, 1}, {10, 4}, {14, 4}, {1, 8}, {2, 8}, {22, 4}, \
    {                                                                      \
        21, 4                                                              \
    }
#define IPV4  \
    {8, 4},   \
    {         \
        12, 4 \
    }
#define IPV6   \
    {27, 16},  \
    {          \
        28, 16 \
    }
#define NAT4                      \
    {225, 4}, {226, 4}, {227, 2}, \
    {                             \
        228, 2                    \
    }
#define NAT6                        \
    {281, 16}, {282, 16}, {227, 2}, \
    {                               \
        228, 2                      \
    }

static const struct expected shapes[] = {
    {0, 256, 48, {IPV4, PORTS_TO_LAST}},
    {SHAPE_IPV6, 257, 72, {IPV6, PORTS_TO_LAST}},
    {SHAPE_NAT, 258, 60, {IPV4, PORTS_TO_LAST, NAT4}},
    {SHAPE_NAT | SHAPE_IPV6, 259, 108, {IPV6, PORTS_TO_LAST, NAT6}},
    {SHAPE_ICMP, 260, 50, {IPV4, PORTS_TO_LAST, {32, 2}}},
    {SHAPE_ICMP | SHAPE_IPV6, 261, 74, {IPV6, PORTS_TO_LAST, {178, 1}, {179, 1}}},
    {SHAPE_ICMP | SHAPE_NAT, 262, 62, {IPV4, PORTS_TO_LAST, NAT4, {32, 2}}},
    {SHAPE_ICMP | SHAPE_NAT | SHAPE_IPV6, 263, 110, {IPV6, PORTS_TO_LAST, NAT6, {178, 1}, {179, 1}}},
    {SHAPE_NO_COUNTERS, 288, 32, {IPV4, PORTS_TO_LAST_UNCOUNTED}},
    {SHAPE_NO_COUNTERS | SHAPE_NAT | SHAPE_IPV6, 291, 92, {IPV6, PORTS_TO_LAST_UNCOUNTED, NAT6}},
    {SHAPE_MARK, 320, 56, {IPV4, PORTS_TO_LAST, {137, 8}}},
    {SHAPE_ZONE, 384, 52, {IPV4, PORTS_TO_LAST, {234, 4}}},
    {SHAPE_TIMES, 512, 64, {IPV4, PORTS_TO_LAST, {152, 8}, {153, 8}}},
    {SHAPE_MARK | SHAPE_ZONE | SHAPE_TIMES | SHAPE_ICMP | SHAPE_IPV6,
     709,
     102,
     {IPV6, PORTS_TO_LAST, {178, 1}, {179, 1}, {137, 8}, {234, 4}, {152, 8}, {153, 8}}},
    {SHAPE_AGGREGATED, 16640, 52, {IPV4, PORTS_TO_LAST, {3, 4}}},
    {SHAPE_AGGREGATED | SHAPE_NO_SOURCE_PORT | SHAPE_NO_DESTINATION_PORT,
     22784,
     48,
     {IPV4, {4, 1}, VERSION_TO_LAST, {3, 4}}},
    {SHAPE_AGGREGATED | SHAPE_IPV6 | SHAPE_NAT | SHAPE_NO_DESTINATION | SHAPE_NO_SOURCE_PORT |
         SHAPE_SOURCE_PREFIX | SHAPE_NO_PROTOCOL,
     27915,
     76,
     {{27, 16}, {11, 2}, VERSION_TO_LAST, {281, 16}, {228, 2}, {3, 4}, {29, 1}}},
    {SHAPE_AGGREGATED | SHAPE_NO_SOURCE | SHAPE_NO_SOURCE_PORT | SHAPE_NO_DESTINATION_PORT |
         SHAPE_DESTINATION_PREFIX | SHAPE_MARK | SHAPE_TIMES | SHAPE_NO_COUNTERS,
     23664,
     53,
     {{12, 4},
      {4, 1},
      {60, 1},
      {61, 1},
      {136, 1},
      {10, 4},
      {14, 4},
      {22, 4},
      {21, 4},
      {137, 8},
      {3, 4},
      {152, 8},
      {153, 8},
      {13, 1}}},
    {SHAPE_AGGREGATED | SHAPE_IPV6 | SHAPE_SOURCE_PREFIX | SHAPE_DESTINATION_PREFIX | SHAPE_ICMP | SHAPE_ZONE,
     16797,
     84,
     {IPV6, PORTS_TO_LAST, {178, 1}, {179, 1}, {234, 4}, {3, 4}, {29, 1}, {30, 1}}},
};

static const struct expected options[] = {
    {0, 270, 9, {{1, 4}, {34, 4}, {35, 1}}},
    {0, 273, 32, {{1, 4}, {40, 8}, {41, 8}, {42, 8}, {36, 2}, {37, 2}}},
    {0, 274, 12, {{1, 4}, {166, 8}}},
    {0, 271, 104, {{1, 4}, {10, 4}, {82, 32}, {83, 64}}},
    {0, 275, 73, {{1, 4}, {95, 5}, {96, 64}}},
};

static size_t count_fields(const struct expected *expected)
{
    size_t count = 0;
    while (expected->fields[count][0] != 0)
        count++;
    return count;
}

/* The template record of RFC 3954, 5.2 (or with scope, 6.1), octet by octet. */
static void check_wire(const struct template *layout, const struct expected *expected, bool scope)
{
    uint8_t got[512], want[512];
    struct writer writer = writer_on(got, sizeof(got));
    template_write(layout, &writer);
    ck_assert(!writer.overflow);

    struct writer reference = writer_on(want, sizeof(want));
    size_t count = count_fields(expected);
    writer_put_u16(&reference, expected->id);
    if (scope) {
        writer_put_u16(&reference, 4);
        writer_put_u16(&reference, (uint16_t)((count - 1) * 4));
    } else {
        writer_put_u16(&reference, (uint16_t)count);
    }
    size_t record_octets = 0;
    for (size_t i = 0; i < count; i++) {
        writer_put_u16(&reference, expected->fields[i][0]);
        writer_put_u16(&reference, expected->fields[i][1]);
        record_octets += expected->fields[i][1];
    }
    ck_assert_uint_eq(record_octets, expected->record_octets);
    ck_assert_uint_eq(layout->record_octets, record_octets);
    ck_assert_uint_eq(writer_length(&writer), writer_length(&reference));
    ck_assert_mem_eq(got, want, writer_length(&reference));
}

START_TEST(shapes_are_octet_exact)
{
    struct template layout;
    template_of_shape(&layout, &fields_connection, shapes[_i].shape);
    check_wire(&layout, &shapes[_i], false);
}
END_TEST

#define OF_PACKETS \
    {5, 1},        \
    {              \
        6, 1       \
    }

static const struct expected packets[] = {
    {0, 34048, 50, {IPV4, PORTS_TO_LAST, OF_PACKETS}},
    {SHAPE_IPV6, 34049, 74, {IPV6, PORTS_TO_LAST, OF_PACKETS}},
    {SHAPE_ICMP, 34052, 52, {IPV4, PORTS_TO_LAST, {32, 2}, OF_PACKETS}},
    {SHAPE_ICMP | SHAPE_IPV6, 34053, 76, {IPV6, PORTS_TO_LAST, {178, 1}, {179, 1}, OF_PACKETS}},
    {SHAPE_MAC, 34056, 62, {IPV4, PORTS_TO_LAST, OF_PACKETS, {56, 6}, {80, 6}}},
    {SHAPE_VLAN, 34064, 52, {IPV4, PORTS_TO_LAST, OF_PACKETS, {58, 2}}},
    {SHAPE_TTL, 34080, 52, {IPV4, PORTS_TO_LAST, OF_PACKETS, {52, 1}, {53, 1}}},
    {SHAPE_TIMES | SHAPE_MAC | SHAPE_VLAN | SHAPE_ICMP | SHAPE_IPV6,
     34333,
     106,
     {IPV6, PORTS_TO_LAST, {178, 1}, {179, 1}, {152, 8}, {153, 8}, OF_PACKETS, {56, 6}, {80, 6}, {58, 2}}},
};

START_TEST(packets_are_octet_exact)
{
    struct template layout;
    template_of_shape(&layout, &fields_packets, packets[_i].shape);
    check_wire(&layout, &packets[_i], false);
}
END_TEST

START_TEST(counters_are_octet_exact)
{
    const struct expected counter = {
        0, 266, 38, {{8, 4}, {12, 4}, {60, 1}, {1, 8}, {2, 8}, {22, 4}, {21, 4}, {95, 5}}};
    struct template layout;
    template_of_shape(&layout, &fields_counter, 0);
    check_wire(&layout, &counter, false);
}
END_TEST

START_TEST(options_are_octet_exact)
{
    ck_assert_uint_eq(fields_options_count, sizeof(options) / sizeof(options[0]));
    struct template layout;
    template_of_options(&layout, &fields_options[_i]);
    check_wire(&layout, &options[_i], true);
}
END_TEST

/* An id must never mean two things, nor collide with those given out one by one (264 to 287). */
START_TEST(ids_are_unique)
{
    enum {
        BITS = 15,
        OF_AGGREGATES = SHAPE_SOURCE_PREFIX | SHAPE_DESTINATION_PREFIX | SHAPE_NO_SOURCE |
                        SHAPE_NO_DESTINATION | SHAPE_NO_SOURCE_PORT | SHAPE_NO_DESTINATION_PORT |
                        SHAPE_NO_PROTOCOL
    };
    bool seen[65536] = {false};
    for (size_t i = 0; i < fields_options_count; i++) {
        ck_assert(!seen[fields_options[i].template_id]);
        seen[fields_options[i].template_id] = true;
        ck_assert_uint_ge(fields_options[i].template_id, 264);
        ck_assert_uint_le(fields_options[i].template_id, 287);
    }
    ck_assert(!seen[fields_counter.first_id]);
    seen[fields_counter.first_id] = true;
    for (unsigned shape = 0; shape < 1U << BITS; shape++) {
        if ((shape & OF_AGGREGATES) != 0 && (shape & SHAPE_AGGREGATED) == 0)
            continue;
        struct template layout;
        template_of_shape(&layout, &fields_connection, shape);
        ck_assert(!seen[layout.id]);
        seen[layout.id] = true;
        ck_assert(layout.id < 264 || layout.id > 287);
    }
}
END_TEST

/* What the runs copy is what the fields say, in their order. */
START_TEST(records_hold_the_fields_in_order)
{
    struct record record;
    for (size_t i = 0; i < sizeof(record); i++)
        ((uint8_t *)&record)[i] = (uint8_t)(i * 7 + 1);

    struct template layout;
    template_of_shape(&layout, &fields_connection, shapes[_i].shape);
    uint8_t got[256], want[256];
    struct writer writer = writer_on(got, sizeof(got));
    struct writer reference = writer_on(want, sizeof(want));
    template_write_record(&layout, &record, &writer);
    for (size_t i = 0; i < layout.field_count; i++)
        writer_put(&reference, (const uint8_t *)&record + layout.fields[i]->offset, layout.fields[i]->octets);
    ck_assert_uint_eq(writer_length(&writer), layout.record_octets);
    ck_assert_uint_eq(writer_length(&reference), layout.record_octets);
    ck_assert_mem_eq(got, want, layout.record_octets);
}
END_TEST

START_TEST(default_shapes_are_few_runs)
{
    struct template layout;
    template_of_shape(&layout, &fields_connection, 0);
    ck_assert_uint_eq(layout.run_count, 1);
    template_of_shape(&layout, &fields_connection, SHAPE_IPV6);
    ck_assert_uint_eq(layout.run_count, 2);
    template_of_shape(&layout, &fields_connection, SHAPE_NAT);
    ck_assert_uint_eq(layout.run_count, 2);
}
END_TEST

START_TEST(writer_refuses_what_does_not_fit_and_stays_refused)
{
    uint8_t octets[7] = {0};
    struct writer writer = writer_on(octets, 6);
    writer_put_u32(&writer, 0x01020304);
    ck_assert(!writer.overflow);
    writer_put_u32(&writer, 0x05060708);
    ck_assert(writer.overflow);
    writer_put_u16(&writer, 0x090a);
    ck_assert(writer.overflow);
    ck_assert_uint_eq(writer_length(&writer), 4);
    ck_assert_mem_eq(octets, "\x01\x02\x03\x04\0\0", 7);
    writer_patch_u16(&writer, 2, 0xfffe);
    writer_patch_u16(&writer, 3, 0xaaaa); /* past what was written */
    ck_assert_mem_eq(octets, "\x01\x02\xff\xfe\0\0", 7);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("template");
    TCase *tests = tcase_create("template");
    tcase_add_loop_test(tests, shapes_are_octet_exact, 0, sizeof(shapes) / sizeof(shapes[0]));
    tcase_add_loop_test(tests, packets_are_octet_exact, 0, sizeof(packets) / sizeof(packets[0]));
    tcase_add_test(tests, counters_are_octet_exact);
    tcase_add_loop_test(tests, options_are_octet_exact, 0, sizeof(options) / sizeof(options[0]));
    tcase_add_loop_test(tests, records_hold_the_fields_in_order, 0, sizeof(shapes) / sizeof(shapes[0]));
    tcase_add_test(tests, ids_are_unique);
    tcase_add_test(tests, default_shapes_are_few_runs);
    tcase_add_test(tests, writer_refuses_what_does_not_fit_and_stays_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
