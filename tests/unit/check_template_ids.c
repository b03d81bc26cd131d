/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An id that was once sent stands for its element list for ever: collectors, and files that they wrote, go by
 * it. template_ids.inc lists all ids that were given out, and the elements of each. A line of it is never
 * changed; what can be sent newly is added. (Options data: check_template.)
 */
#include <check.h>
#include <stdlib.h>

#include "ctflow9/netflow/packet.h"
#include "packet_rig.h"
#include "run_suite.h"

/* Elements and their octets, in the order of the wire; bit 0 of a mask is the first one. */
static const uint16_t elements[][2] = {
    {8, 4},    {12, 4},   {27, 16}, {28, 16}, {7, 2},  {11, 2},  {4, 1},   {60, 1},  {61, 1},
    {136, 1},  {10, 4},   {14, 4},  {1, 8},   {2, 8},  {22, 4},  {21, 4},  {225, 4}, {226, 4},
    {281, 16}, {282, 16}, {227, 2}, {228, 2}, {32, 2}, {178, 1}, {179, 1}, {137, 8}, {234, 4},
    {3, 4},    {152, 8},  {153, 8}, {9, 1},   {13, 1}, {29, 1},  {30, 1},  {5, 1},   {6, 1},
    {56, 6},   {80, 6},   {58, 2},  {52, 1},  {53, 1}, {95, 5},
};

enum { ELEMENTS = sizeof(elements) / sizeof(elements[0]) };

static const struct listed {
    uint16_t id;
    uint64_t mask;
} listed[] = {
#include "template_ids.inc"
};

enum { LISTED = sizeof(listed) / sizeof(listed[0]) };

static bool seen[LISTED];

static int compare_ids(const void *a, const void *b)
{
    return ((const struct listed *)a)->id - ((const struct listed *)b)->id;
}

/* A template record as it stands on the wire: id, field count, type and length of each field. */
static void check_template_record(const uint8_t *at)
{
    const struct listed key = {.id = (uint16_t)get(at, 2)};
    const struct listed *known = bsearch(&key, listed, LISTED, sizeof(listed[0]), compare_ids);
    ck_assert_msg(known != NULL, "%u is sent but not listed", key.id);

    const uint8_t *field = at + 4;
    for (unsigned i = 0; i < ELEMENTS; i++) {
        if ((known->mask >> i & 1) == 0)
            continue;
        ck_assert_msg(get(field, 2) == elements[i][0] && get(field + 2, 2) == elements[i][1],
                      "%u has %u of %u octets where it had %u of %u", key.id, (unsigned)get(field, 2),
                      (unsigned)get(field + 2, 2), elements[i][0], elements[i][1]);
        field += 4;
    }
    ck_assert_msg((size_t)(field - at) == 4 + 4 * get(at + 2, 2), "%u has %u elements", key.id,
                  (unsigned)get(at + 2, 2));
    seen[known - listed] = true;
}

/* Every template of what is configured. */
static void check_announced(void)
{
    sink.count = 0;
    open_packet();
    packet_templates(packet, &(struct packet_totals){0}, &(struct packet_naming){0}, now, collect, &sink);
    packet_close(packet);
    packet = NULL;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        for (uint64_t at = PACKET_HEADER_OCTETS; at < datagram->octets; at += get(datagram->data + at + 2, 2))
            if (get(datagram->data + at, 2) == 0)
                check_template_record(datagram->data + at + 4);
    }
}

START_TEST(ids_keep_their_elements)
{
    static const struct aggregate_by ends[] = {
        {0},
        {.source_ipv4_bits = 24, .source_ipv6_bits = 64},
        {.source_ipv4_bits = 32, .source_ipv6_bits = 128},
        {.destination_ipv4_bits = 24, .destination_ipv6_bits = 64},
        {.destination_ipv4_bits = 32, .destination_ipv6_bits = 128},
    };
    enum { OF_PACKETS = FIELDS_TIMES | FIELDS_MAC | FIELDS_VLAN | FIELDS_TTL };
    enum { FIELDS = FIELDS_MARK | FIELDS_ZONE | FIELDS_TIMES, KEYS = (AGGREGATE_KEY_NAT << 1) - 1 };

    config.aggregate_interval_s = 60;
    config.aggregate_capacity = 1;
    for (uint32_t fields = 0; fields <= FIELDS; fields++) {
        config.fields = fields;
        config.aggregate = (struct aggregate_by){0};
        check_announced();
        for (uint32_t keys = 0; keys <= KEYS; keys++) {
            for (unsigned i = 0; i < 9; i++) {
                const struct aggregate_by *source = &ends[i % 3];
                const struct aggregate_by *destination = &ends[i / 3 == 0 ? 0 : i / 3 + 2];
                config.aggregate = *source;
                config.aggregate.destination_ipv4_bits = destination->destination_ipv4_bits;
                config.aggregate.destination_ipv6_bits = destination->destination_ipv6_bits;
                config.aggregate.keys = keys;
                check_announced();
            }
        }
    }
    config.aggregate = (struct aggregate_by){0};
    config.has_packets = true;
    for (uint32_t fields = 0; fields <= OF_PACKETS; fields++) {
        config.fields = fields & OF_PACKETS;
        check_announced();
    }
    struct name_numbers *numbers;
    ck_assert_int_eq(name_numbers_open(&numbers), 0);
    config.counters = numbers;
    check_announced();
    name_numbers_close(numbers);
    for (unsigned i = 0; i < LISTED; i++)
        ck_assert_msg(seen[i], "%u is listed but not sent", listed[i].id);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("template_ids");
    TCase *tests = tcase_create("template_ids");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60); /* 4,645 configurations */
    tcase_add_test(tests, ids_keep_their_elements);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
