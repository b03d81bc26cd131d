// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/print.h"

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "ctflow9/base/instant.h"
#include "run_suite.h"
#include "sample_flow.h"

static char text[PRINT_LINE_MAX + 1];
static struct interface_names *named;

static const char *printed(struct flow flow)
{
    size_t octets = print_flow(text, &flow, named);
    ck_assert_uint_le(octets, PRINT_LINE_MAX);
    ck_assert_int_eq(text[octets - 1], '\n');
    text[octets - 1] = '\0';
    return text;
}

static struct flow with_lasted(uint64_t duration_ns)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.start_ns = flow.stop_ns - duration_ns;
    return flow;
}

static struct flow with_counters(uint64_t packets, uint64_t octets)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.packets[FLOW_ORIGINAL] = packets;
    flow.octets[FLOW_ORIGINAL] = octets;
    return flow;
}

/* The columns of a line by their place. */
static const char *cell(const char *line, size_t from, size_t to)
{
    static char cells[8][64];
    static unsigned turn;
    char *copy = cells[turn++ % 8];
    while (line[from] == ' ')
        from++;
    memcpy(copy, line + from, to - from);
    copy[to - from] = '\0';
    return copy;
}

#define HEADING                                                                                         \
    "ENDED                   LASTED PROTO FROM                     TO                   ->PKTS  OCTETS" \
    " <-PKTS  OCTETS END     NAT"

START_TEST(heading)
{
    size_t octets = print_heading(text);
    text[octets] = '\0';
    ck_assert_str_eq(text, HEADING "\n");
}
END_TEST

START_TEST(ipv4)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "192.168.100.210", 51234, "198.51.100.134", 8443);
    flow.end_reason = FLOW_END_DETECTED;
    ck_assert_str_eq(printed(flow),
                     "2026-11-23 14:03:07.123 12.40s tcp   192.168.100.210:51234 -> 198.51.100.134:8443  "
                     "    12  3412 B      9  120 kB closed");
}
END_TEST

/* Of the other direction nothing is known. */
START_TEST(packets)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "192.168.100.210", 51234, "198.51.100.134", 8443);
    flow.kind = FLOW_PACKETS;
    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.has |= FLOW_HAS_INTERFACES;
    ck_assert_str_eq(printed(flow),
                     "2026-11-23 14:03:07.123 12.40s tcp   192.168.100.210:51234 -> 198.51.100.134:8443  "
                     "    12  3412 B      -       - idle    via 3>0");
}
END_TEST

START_TEST(counters)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.kind = FLOW_COUNTER;
    flow.counter = (struct flow_counter){.source = FLOW_COUNTER_NFACCT, .name = "customer 17"};
    ck_assert_str_eq(printed(flow),
                     "2026-11-23 14:03:07.123 12.40s nfacct customer 17                                  "
                     "    12  3412 B");
    memset(flow.counter.name, 'x', FLOW_NAME_MAX);
    ck_assert_str_eq(printed(flow), "2026-11-23 14:03:07.123 12.40s nfacct "
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                    "    12  3412 B");
}
END_TEST

START_TEST(ipv6)
{
    ck_assert_str_eq(printed(sample_flow(IPPROTO_TCP, "fd00::10", 51234, "2001:db8::1", 443)),
                     "2026-11-23 14:03:07.123 12.40s tcp   [fd00::10]:51234      -> [2001:db8::1]:443    "
                     "    12  3412 B      9  120 kB idle");
}
END_TEST

/* Long ends move the rest of the line, which keeps its shape. */
START_TEST(ipv6_long)
{
    ck_assert_str_eq(printed(sample_flow(IPPROTO_UDP, "2001:db8:1234:5678:9abc:def0:1234:5678", 51234,
                                         "2001:db8::1", 443)),
                     "2026-11-23 14:03:07.123 12.40s udp   [2001:db8:1234:5678:9abc:def0:1234:5678]:51234 -> "
                     "[2001:db8::1]:443    12  3412 B      9  120 kB idle");
}
END_TEST

START_TEST(source_nat)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "192.168.1.10", 51234, "198.51.100.1", 443);
    sample_tuple(&flow.tuple[FLOW_REPLY], AF_INET, "198.51.100.1", 443, "203.0.113.5", 40001);
    ck_assert_str_eq(printed(flow),
                     "2026-11-23 14:03:07.123 12.40s tcp   192.168.1.10:51234    -> 198.51.100.1:443     "
                     "    12  3412 B      9  120 kB idle    snat 203.0.113.5:40001");
}
END_TEST

START_TEST(destination_nat_of_the_port_alone)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "192.168.1.10", 51234, "198.51.100.1", 443);
    flow.tuple[FLOW_REPLY].src_port = htobe16(8443);
    ck_assert_str_eq(printed(flow) + 121, "dnat 198.51.100.1:8443");
}
END_TEST

START_TEST(ways)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.out_interface[FLOW_ORIGINAL] = 17;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    flow.mark = 1;
    ck_assert_str_eq(printed(flow) + 121, "via 3>17 mark 0x1");
    flow.mark = 0;
    flow.in_interface[FLOW_REPLY] = 17;
    flow.out_interface[FLOW_REPLY] = 3;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_REPLY;
    ck_assert_str_eq(printed(flow) + 121, "via 3>17");
    flow.in_interface[FLOW_REPLY] = 18;
    ck_assert_str_eq(printed(flow) + 121, "via 3>17 back 18>3");
    flow.has &= ~(uint32_t)FLOW_HAS_INTERFACES;
    ck_assert_str_eq(printed(flow) + 121, "via 3>18");
}
END_TEST

/* Four interfaces, one with what a name may have at its worst. */
static struct interface_names *some_names(void)
{
    static const struct interface_name each[] = {
        {3, "lan0", ""}, {17, "ppp0", "uplink"}, {18, "wg\"\\0", ""}, {UINT32_MAX, "fifteen-octets0", ""}};
    struct interface_names *names = interface_names_allocate(sizeof(each) / sizeof(each[0]));
    memcpy(names->each, each, sizeof(each));
    return names;
}

START_TEST(ways_by_name)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.out_interface[FLOW_ORIGINAL] = 17;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    named = some_names();
    ck_assert_str_eq(printed(flow) + 121, "via lan0>ppp0");
    flow.out_interface[FLOW_ORIGINAL] = 4;
    ck_assert_str_eq(printed(flow) + 121, "via lan0>4");
    flow.out_interface[FLOW_ORIGINAL] = 0;
    ck_assert_str_eq(printed(flow) + 121, "via lan0>0");
    free(named);
}
END_TEST

START_TEST(both_nats_mark_and_zone)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "fd00::1", 51234, "fd00::2", 443);
    sample_tuple(&flow.tuple[FLOW_REPLY], AF_INET6, "fd00::b", 80, "fd00::a", 40001);
    flow.mark = 0x2a;
    flow.zone = 7;
    ck_assert_str_eq(printed(flow) + 121, "snat [fd00::a]:40001 dnat [fd00::b]:80 mark 0x2a zone 7");
    flow.zone = 8;
    flow.has |= FLOW_ZONE_OF_ONE << FLOW_ORIGINAL;
    flow.mark = UINT32_MAX;
    ck_assert_str_eq(printed(flow) + 121, "snat [fd00::a]:40001 dnat [fd00::b]:80 mark 0xffffffff zone 8");
}
END_TEST

START_TEST(icmp)
{
    struct flow flow = sample_flow(IPPROTO_ICMP, "192.168.1.10", 0, "198.51.100.1", 0);
    flow.tuple[FLOW_ORIGINAL].icmp_type = 8;
    ck_assert_str_eq(printed(flow),
                     "2026-11-23 14:03:07.123 12.40s icmp  192.168.1.10          -> 198.51.100.1 echo    "
                     "    12  3412 B      9  120 kB idle");
    flow.tuple[FLOW_ORIGINAL].icmp_code = 1;
    ck_assert_str_eq(cell(printed(flow), 75, 78), "8/1");
    flow.tuple[FLOW_ORIGINAL].icmp_type = 13;
    flow.tuple[FLOW_ORIGINAL].icmp_code = 0;
    ck_assert_str_eq(cell(printed(flow), 75, 79), "13/0");
}
END_TEST

START_TEST(icmpv6)
{
    struct flow flow = sample_flow(IPPROTO_ICMPV6, "fd00::1", 0, "fd00::2", 0);
    flow.tuple[FLOW_ORIGINAL].icmp_type = 128;
    ck_assert_str_eq(cell(printed(flow), 31, 74), "icmp6 fd00::1               -> fd00::2 echo");
    flow.tuple[FLOW_ORIGINAL].icmp_type = 8;
    ck_assert_str_eq(cell(printed(flow), 62, 73), "fd00::2 8/0");
}
END_TEST

START_TEST(protocols)
{
    ck_assert_str_eq(cell(printed(sample_flow(IPPROTO_GRE, "10.0.0.1", 0, "10.0.0.2", 0)), 31, 70),
                     "gre   10.0.0.1              -> 10.0.0.2");
    ck_assert_str_eq(cell(printed(sample_flow(IPPROTO_UDPLITE, "10.0.0.1", 1, "10.0.0.2", 2)), 31, 72),
                     "udplite 10.0.0.1:1          -> 10.0.0.2:2");
    ck_assert_str_eq(cell(printed(sample_flow(253, "10.0.0.1", 0, "10.0.0.2", 0)), 31, 70),
                     "253   10.0.0.1              -> 10.0.0.2");
}
END_TEST

START_TEST(unknown)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.has = 0;
    flow.packets[0] = flow.packets[1] = flow.octets[0] = flow.octets[1] = 0;
    ck_assert_str_eq(printed(flow), "2026-11-23 14:03:07.123      - udp   10.0.0.1:1            -> 10.0.0.2:2"
                                    "                -       -      -       - idle");
}
END_TEST

START_TEST(end_reasons)
{
    static const char *const words[] = {"-", "idle", "active", "closed", "forced", "lack", "-"};
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    for (uint8_t reason = 0; reason < 7; reason++) {
        flow.end_reason = reason;
        ck_assert_str_eq(printed(flow) + 113, words[reason]);
    }
}
END_TEST

static const struct {
    uint64_t duration_ns;
    const char *lasted;
} durations[] = {
    {0, "0.00s"},
    {19 * NS_PER_MS, "0.01s"},
    {60 * NS_PER_S - 1, "59.99s"},
    {60 * NS_PER_S, "1m00s"},
    {3600 * NS_PER_S - 1, "59m59s"},
    {3600 * NS_PER_S, "1h00m"},
    {86400 * NS_PER_S - 1, "23h59m"},
    {86400 * NS_PER_S, "1d00h"},
    {100 * 86400 * NS_PER_S - 1, "99d23h"},
};

START_TEST(lasted)
{
    ck_assert_str_eq(cell(printed(with_lasted(durations[_i].duration_ns)), 24, 30), durations[_i].lasted);
}
END_TEST

/* A clock that stepped back. */
START_TEST(lasted_negative)
{
    ck_assert_str_eq(cell(printed(with_lasted(-NS_PER_S)), 24, 30), "0.00s");
}
END_TEST

static const struct {
    uint64_t number;
    const char *packets, *octets;
} amounts[] = {
    {0, "0", "0 B"},
    {99999, "99999", "99999 B"},
    {100000, "100k", "100 kB"},
    {999999, "999k", "999 kB"},
    {1000000, "1.00M", "1.00 MB"},
    {9999999, "9.99M", "9.99 MB"},
    {10000000, "10.0M", "10.0 MB"},
    {99999999, "99.9M", "99.9 MB"},
    {123456789, "123M", "123 MB"},
    {UINT64_C(1050000000), "1.05G", "1.05 GB"},
    {UINT64_C(2345678901234), "2.34T", "2.34 TB"},
    {UINT64_C(3456789012345678), "3.45P", "3.45 PB"},
    {UINT64_MAX, "18.4E", "18.4 EB"},
};

START_TEST(scaled)
{
    const char *line = printed(with_counters(amounts[_i].number, amounts[_i].number));
    ck_assert_str_eq(cell(line, 84, 89), amounts[_i].packets);
    ck_assert_str_eq(cell(line, 90, 97), amounts[_i].octets);
}
END_TEST

START_TEST(local_time)
{
    ck_assert_int_eq(setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1), 0);
    tzset();
    ck_assert_str_eq(cell(printed(with_lasted(0)), 0, 23), "2026-11-23 09:03:07.123");
}
END_TEST

START_TEST(longest)
{
    char *line = malloc(PRINT_LINE_MAX); /* so that AddressSanitizer sees one octet more */
    struct flow flow = sample_longest_flow();
    named = some_names();
    size_t octets = print_flow(line, &flow, named);
    ck_assert_uint_le(octets, PRINT_LINE_MAX);
    ck_assert_uint_gt(octets, 250);
    free(named);
    free(line);
}
END_TEST

int main(void)
{
    setenv("TZ", "UTC", 1);
    TCase *tests = tcase_create("print");
    tcase_add_test(tests, heading);
    tcase_add_test(tests, ipv4);
    tcase_add_test(tests, packets);
    tcase_add_test(tests, counters);
    tcase_add_test(tests, ipv6);
    tcase_add_test(tests, ipv6_long);
    tcase_add_test(tests, source_nat);
    tcase_add_test(tests, destination_nat_of_the_port_alone);
    tcase_add_test(tests, ways);
    tcase_add_test(tests, ways_by_name);
    tcase_add_test(tests, both_nats_mark_and_zone);
    tcase_add_test(tests, icmp);
    tcase_add_test(tests, icmpv6);
    tcase_add_test(tests, protocols);
    tcase_add_test(tests, unknown);
    tcase_add_test(tests, end_reasons);
    tcase_add_loop_test(tests, lasted, 0, sizeof(durations) / sizeof(durations[0]));
    tcase_add_test(tests, lasted_negative);
    tcase_add_loop_test(tests, scaled, 0, sizeof(amounts) / sizeof(amounts[0]));
    tcase_add_test(tests, local_time);
    tcase_add_test(tests, longest);

    Suite *suite = suite_create("print");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
