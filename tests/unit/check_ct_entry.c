/* SPDX-License-Identifier: GPL-2.0-or-later */
/* That the kernel's entries and their DESTROY messages come to the same: tests/kernel/check_fentry.c. */
#include "ctflow9/input/ct_entry.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>

#include "ctflow9/flow/flow.h"
#include "run_suite.h"

static struct ct_entry entry_of(uint8_t protocol)
{
    const struct ct_entry_tuple original = {.src = {1, 2, 3, 4},
                                            .src_id = htons(1000),
                                            .family = AF_INET6,
                                            .dst = {5, 6, 7, 8},
                                            .dst_id = htons(0x0803),
                                            .protocol = protocol};
    struct ct_entry_tuple reply = original;
    reply.src_id = htons(2000);
    reply.direction = FLOW_REPLY;
    return (struct ct_entry){.tuple = {original, reply},
                             .counter = {{.packets = 1, .octets = 2}, {.packets = 3, .octets = 4}},
                             .stamps = {.start_ns = 5, .stop_ns = 6},
                             .id = 7,
                             .status = 8,
                             .mark = 9,
                             .timeout_s = 10,
                             .tcp_state = 11,
                             .has = CT_ENTRY_HAS_COUNTERS | CT_ENTRY_HAS_STAMPS | CT_ENTRY_REQUESTED};
}

static struct flow read_entry(const struct ct_entry *entry)
{
    struct flow flow;
    memset(&flow, 0xff, sizeof(flow));
    ct_entry_read(entry, &flow);
    return flow;
}

START_TEST(reads_everything)
{
    const struct ct_entry entry = entry_of(IPPROTO_TCP);
    const struct flow flow = read_entry(&entry);
    ck_assert_uint_eq(flow.has, FLOW_HAS_STATUS | FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP |
                                    FLOW_HAS_TIMEOUT | FLOW_HAS_TCP_STATE | FLOW_REQUESTED);
    ck_assert_uint_eq(flow.family, AF_INET6);
    ck_assert_uint_eq(flow.protocol, IPPROTO_TCP);
    ck_assert_mem_eq(&flow.tuple[FLOW_ORIGINAL].src, entry.tuple[0].src, 16);
    ck_assert_mem_eq(&flow.tuple[FLOW_REPLY].dst, entry.tuple[1].dst, 16);
    ck_assert_uint_eq(flow.tuple[FLOW_ORIGINAL].src_port, htons(1000));
    ck_assert_uint_eq(flow.tuple[FLOW_REPLY].src_port, htons(2000));
    ck_assert_uint_eq(flow.tuple[FLOW_ORIGINAL].dst_port, htons(0x0803));
    ck_assert_uint_eq(flow.packets[FLOW_ORIGINAL], 1);
    ck_assert_uint_eq(flow.octets[FLOW_REPLY], 4);
    ck_assert_uint_eq(flow.start_ns, 5);
    ck_assert_uint_eq(flow.stop_ns, 6);
    ck_assert_uint_eq(flow.id, 7);
    ck_assert_uint_eq(flow.status, 8);
    ck_assert_uint_eq(flow.mark, 9);
    ck_assert_uint_eq(flow.timeout_s, 10);
    ck_assert_uint_eq(flow.tcp_state, 11);
}
END_TEST

START_TEST(reads_what_icmp_has)
{
    const struct ct_entry entry = entry_of(IPPROTO_ICMPV6);
    const struct flow flow = read_entry(&entry);
    const struct flow_tuple *tuple = &flow.tuple[FLOW_ORIGINAL];
    ck_assert_uint_eq(tuple->src_port | tuple->dst_port, 0);
    ck_assert_uint_eq(tuple->icmp_id, htons(1000));
    ck_assert_uint_eq(tuple->icmp_type, 8);
    ck_assert_uint_eq(tuple->icmp_code, 3);
    ck_assert_uint_eq(flow.tcp_state, 0);
    ck_assert(!flow_has(&flow, FLOW_HAS_TCP_STATE));
}
END_TEST

/* What the kernel does not have is 0, whatever stands in the ring's memory. */
START_TEST(leaves_out_what_there_is_not)
{
    struct ct_entry entry = entry_of(IPPROTO_UDP);
    entry.has = 0;
    entry.timeout_s = 0;
    const struct flow flow = read_entry(&entry);
    ck_assert_uint_eq(flow.has, FLOW_HAS_STATUS);
    ck_assert_uint_eq(flow.packets[0] | flow.packets[1] | flow.octets[0] | flow.octets[1], 0);
    ck_assert_uint_eq(flow.start_ns | flow.stop_ns, 0);
}
END_TEST

START_TEST(tells_zones_of_a_direction)
{
    static const struct {
        uint8_t directions;
        uint16_t zone;
        uint32_t has;
    } zones[] = {{3, 0, 0},
                 {3, 77, 0},
                 {1, 77, FLOW_ZONE_OF_ONE << FLOW_ORIGINAL},
                 {2, 77, FLOW_ZONE_OF_ONE << FLOW_REPLY},
                 {2, 0, 0}};
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        struct ct_entry entry = entry_of(IPPROTO_UDP);
        entry.zone = zones[i].zone;
        entry.zone_directions = zones[i].directions;
        const struct flow flow = read_entry(&entry);
        ck_assert_uint_eq(flow.zone, zones[i].zone);
        ck_assert_uint_eq(flow.has & FLOW_ZONE_OF_EITHER, zones[i].has);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ct_entry");
    tcase_add_test(tcase, reads_everything);
    tcase_add_test(tcase, reads_what_icmp_has);
    tcase_add_test(tcase, leaves_out_what_there_is_not);
    tcase_add_test(tcase, tells_zones_of_a_direction);
    Suite *suite = suite_create("ct_entry");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
