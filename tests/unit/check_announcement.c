/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/announcement.h"

#include <check.h>
#include <endian.h>

#include "ctflow9/base/wire.h"
#include "packet_rig.h"
#include "run_suite.h"

/* A table whose rows are 37 octets long, so that the padding is another with each. */
struct name {
    be32 scope, number;
    char text[29];
};

static const struct fields_options names = {FIELDS_ROWS_EXPORTER,
                                            271,
                                            3,
                                            false,
                                            {{1, 4, offsetof(struct name, scope), 0, 0, FIELD_KEY},
                                             {10, 4, offsetof(struct name, number), 0, 0, FIELD_KEY},
                                             {83, 29, offsetof(struct name, text), 0, 0, FIELD_KEY}}};

enum { NAME_OCTETS = 37, NAMES_TEMPLATE_OCTETS = 4 + 6 + 3 * 4 };

static struct announcement announcement;

/* An announcement_rows: context is how many there are. */
static const void *name_row(void *context, size_t row)
{
    static struct name name;
    const size_t *count = context;
    if (row == *count)
        return NULL;
    ck_assert_uint_lt(row, *count); /* nobody asks further */
    name = (struct name){.number = htobe32((uint32_t)row + 1)};
    memset(name.text, 'a' + (int)(row % 26), sizeof(name.text));
    return &name;
}

static void begin(void)
{
    sink.count = 0;
    announcement_begin(&announcement, config.source_id, config.max_datagram,
                       (struct epoch_stamp){.unix_secs = 1790000001, .sys_uptime_ms = 7}, collect, &sink);
}

static void add_names(size_t count)
{
    announcement_add_options(&announcement, &names, &(struct announcement_provider){name_row, &count});
}

START_TEST(rows_share_a_flowset_and_are_octet_exact)
{
    begin();
    add_names(2);
    announcement_end(&announcement);

    uint8_t want[256];
    struct writer writer = writer_on(want, sizeof(want));
    packet_header_write(&writer, 3, (struct epoch_stamp){.unix_secs = 1790000001, .sys_uptime_ms = 7},
                        0xabcdef01);
    static const uint16_t options_template[] = {1, 22, 271, 4, 8, 1, 4, 10, 4, 83, 29};
    for (size_t i = 0; i < sizeof(options_template) / sizeof(options_template[0]); i++)
        writer_put_u16(&writer, options_template[i]);
    writer_put_u16(&writer, 271);
    writer_put_u16(&writer, 4 + 2 * NAME_OCTETS + 2);
    for (uint32_t i = 0; i < 2; i++) {
        writer_put_u32(&writer, 0);
        writer_put_u32(&writer, i + 1);
        writer_put(&writer, i == 0 ? "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : "bbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 29);
    }
    writer_put_u16(&writer, 0); /* padding */
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(sink.datagrams[0].records, 0);
    ck_assert_uint_eq(sink.datagrams[0].octets, writer_length(&writer));
    ck_assert_mem_eq(sink.datagrams[0].data, want, writer_length(&writer));
}
END_TEST

/* A datagram with so many names. */
static size_t octets_of_names(size_t count)
{
    return PACKET_HEADER_OCTETS + NAMES_TEMPLATE_OCTETS + (4 + count * NAME_OCTETS + 3) / 4 * 4;
}

/* The names of a datagram, which begins with their template; the first is `number`. Returns how many. */
static unsigned check_names(const struct datagram *datagram, uint32_t number)
{
    size_t flowset = PACKET_HEADER_OCTETS + NAMES_TEMPLATE_OCTETS;
    ck_assert_uint_le(datagram->octets, config.max_datagram);
    ck_assert_uint_eq(get(datagram->data + PACKET_HEADER_OCTETS, 2), 1);
    ck_assert_uint_eq(get(datagram->data + PACKET_HEADER_OCTETS + 4, 2), 271);
    ck_assert_uint_eq(get(datagram->data + flowset, 2), 271);
    ck_assert_uint_eq(get(datagram->data + flowset + 2, 2), datagram->octets - flowset);

    unsigned count = (unsigned)((datagram->octets - flowset - 4) / NAME_OCTETS);
    ck_assert_uint_eq(count_of(datagram), 1 + count);
    ck_assert_uint_eq(datagram->octets, octets_of_names(count));
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(get(datagram->data + flowset + 4 + i * NAME_OCTETS + 4, 4), number + i);
    return count;
}

/* As many rows as there are; each datagram is as full as it can be, and tells what its rows are. */
START_TEST(rows_go_on_in_the_next_datagram)
{
    enum { ROWS = 200 };

    config.max_datagram = PACKET_OCTETS_MIN + (uint32_t)_i;
    begin();
    add_names(ROWS);
    announcement_end(&announcement);

    uint32_t next = 1;
    for (unsigned i = 0; i < sink.count; i++) {
        ck_assert_uint_lt(next, ROWS + 1);
        uint32_t first = next;
        next += check_names(&sink.datagrams[i], first);
        if (i + 1 < sink.count) /* no room for one more and its padding */
            ck_assert_uint_gt(octets_of_names(next - first + 1), config.max_datagram);
    }
    ck_assert_uint_eq(next, ROWS + 1);
}
END_TEST

START_TEST(a_table_without_rows_is_its_template)
{
    begin();
    add_names(0);
    announcement_end(&announcement);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(count_of(&sink.datagrams[0]), 1);
    ck_assert_uint_eq(sink.datagrams[0].octets, PACKET_HEADER_OCTETS + NAMES_TEMPLATE_OCTETS);
}
END_TEST

START_TEST(a_table_that_nobody_provides_is_left_out)
{
    begin();
    announcement_add_options(&announcement, &names, &(struct announcement_provider){NULL, NULL});
    announcement_end(&announcement);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(count_of(&sink.datagrams[0]), 0);
    ck_assert_uint_eq(sink.datagrams[0].octets, PACKET_HEADER_OCTETS);
}
END_TEST

/* Templates of any number, tables of any number, in datagrams of every size. */
START_TEST(any_number_is_told_completely)
{
    enum { TEMPLATES = 40, TABLES = 7, ROWS = 5 };

    config.max_datagram = PACKET_OCTETS_MIN + (uint32_t)_i;
    begin();
    for (unsigned i = 0; i < TEMPLATES; i++) {
        struct template layout;
        template_of_shape(&layout, &fields_connection, i & (SHAPE_OF_FLOW | SHAPE_MARK));
        announcement_add(&announcement, &layout);
    }
    for (unsigned i = 0; i < TABLES; i++)
        add_names(ROWS);
    announcement_end(&announcement);

    unsigned templates = 0, tables = 0, rows = 0;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        unsigned count = 0;
        ck_assert_uint_le(datagram->octets, config.max_datagram);
        uint64_t octets;
        for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets; at += octets) {
            uint64_t id = get(datagram->data + at, 2);
            octets = get(datagram->data + at + 2, 2);
            ck_assert_uint_ge(octets, 8);
            ck_assert_uint_le(at + octets, datagram->octets);
            unsigned records = id == names.template_id ? (unsigned)(octets - 4) / NAME_OCTETS : 1;
            templates += id == 0;
            tables += id == 1;
            rows += id == names.template_id ? records : 0;
            count += records;
        }
        ck_assert_uint_gt(count, 0);
        ck_assert_uint_eq(count_of(datagram), count);
    }
    ck_assert_uint_eq(templates, TEMPLATES);
    ck_assert_uint_ge(tables, TABLES); /* one that was split has its template twice */
    ck_assert_uint_eq(rows, TABLES * ROWS);
}
END_TEST

START_TEST(template_octets_are_what_is_written)
{
    struct template layout;
    uint8_t octets[256];
    struct writer writer = writer_on(octets, sizeof(octets));
    template_of_shape(&layout, &fields_connection, SHAPE_NAT | SHAPE_IPV6);
    template_write(&layout, &writer);
    ck_assert_uint_eq(template_octets(&layout), writer_length(&writer));
    writer = writer_on(octets, sizeof(octets));
    template_of_options(&layout, &names);
    template_write(&layout, &writer);
    ck_assert_uint_eq(template_octets(&layout), writer_length(&writer));
}
END_TEST

START_TEST(rows_may_stand_apart)
{
    struct fields_options apart = names;
    size_t count = 60;
    apart.rows_apart = true;
    begin();
    announcement_add_options(&announcement, &apart, &(struct announcement_provider){name_row, &count});
    announcement_end(&announcement);
    ck_assert_uint_gt(sink.count, 1);
    unsigned rows = 0;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        uint64_t at = PACKET_HEADER_OCTETS, begin_of_rows = rows;
        ck_assert_uint_le(datagram->octets, config.max_datagram);
        ck_assert_uint_eq(get(datagram->data + at, 2), 1); /* each has the template */
        at += get(datagram->data + at + 2, 2);
        for (; at < datagram->octets; at += get(datagram->data + at + 2, 2)) {
            ck_assert_uint_eq(get(datagram->data + at, 2), 271);
            ck_assert_uint_eq(get(datagram->data + at + 2, 2), 4 + NAME_OCTETS + 3);
            ck_assert_uint_eq(get(datagram->data + at + 8, 4), ++rows);
        }
        ck_assert_uint_eq(count_of(datagram), 1 + rows - begin_of_rows);
    }
    ck_assert_uint_eq(rows, count);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("announcement");
    TCase *tests = tcase_create("announcement");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, rows_share_a_flowset_and_are_octet_exact);
    tcase_add_test(tests, rows_may_stand_apart);
    tcase_add_loop_test(tests, rows_go_on_in_the_next_datagram, 0, 48);
    tcase_add_test(tests, a_table_without_rows_is_its_template);
    tcase_add_test(tests, a_table_that_nobody_provides_is_left_out);
    tcase_add_loop_test(tests, any_number_is_told_completely, 0, 48);
    tcase_add_test(tests, template_octets_are_what_is_written);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
