// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/json.h"

#include <check.h>
#include <jansson.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctflow9/base/instant.h"
#include "run_suite.h"
#include "sample_flow.h"

static char text[JSON_LINE_MAX + 1];
static struct interface_names *named;

static json_t *parsed(struct flow flow)
{
    size_t octets = json_flow(text, &flow, named);
    ck_assert_uint_le(octets, JSON_LINE_MAX);
    ck_assert_int_eq(text[octets - 1], '\n');
    ck_assert_ptr_eq(memchr(text, '\n', octets), text + octets - 1);
    json_error_t error;
    json_t *object = json_loadb(text, octets, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(object != NULL, "%s: %.*s", error.text, (int)octets, text);
    return object;
}

/* The flow's line is exactly this object, in any order. */
static void check_object(struct flow flow, const char *expected)
{
    json_error_t error;
    json_t *wanted = json_loads(expected, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(wanted != NULL, "%s, line %d", error.text, error.line);
    json_t *object = parsed(flow);
    ck_assert_msg(json_equal(object, wanted), "got %s", text);
    json_decref(object);
    json_decref(wanted);
}

static bool has_key(struct flow flow, const char *key)
{
    json_t *object = parsed(flow);
    bool found = json_object_get(object, key) != NULL;
    json_decref(object);
    return found;
}

START_TEST(tcp_with_source_nat)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "192.168.1.10", 51234, "198.51.100.1", 443);
    sample_tuple(&flow.tuple[FLOW_REPLY], AF_INET, "198.51.100.1", 443, "203.0.113.5", 40001);
    flow.has |= FLOW_HAS_TCP_STATE | FLOW_HAS_STATUS | FLOW_HAS_TIMEOUT | FLOW_REQUESTED;
    flow.tcp_state = TCP_CONNTRACK_TIME_WAIT;
    flow.status = 414;
    flow.timeout_s = 117;
    flow.mark = 42;
    flow.zone = 7;
    flow.id = 3735928559;
    flow.end_reason = FLOW_END_FORCED;
    check_object(
        flow, "{\"start\": \"2026-11-23T14:02:54.723456789Z\", \"stop\": \"2026-11-23T14:03:07.123456789Z\","
              " \"duration_ns\": 12400000000, \"ip_version\": 4, \"protocol\": 6, \"protocol_name\": \"tcp\","
              " \"src_address\": \"192.168.1.10\", \"dst_address\": \"198.51.100.1\","
              " \"src_port\": 51234, \"dst_port\": 443, \"packets\": 12, \"octets\": 3412,"
              " \"reply_src_address\": \"198.51.100.1\", \"reply_dst_address\": \"203.0.113.5\","
              " \"reply_src_port\": 443, \"reply_dst_port\": 40001,"
              " \"reply_packets\": 9, \"reply_octets\": 120345, \"translated\": true,"
              " \"end_reason\": 4, \"end_reason_name\": \"forced_end\","
              " \"tcp_state\": 7, \"tcp_state_name\": \"time_wait\", \"status\": 414,"
              " \"timeout_s\": 117, \"requested\": true, \"mark\": 42, \"zone\": 7, \"id\": 3735928559}");
}
END_TEST

START_TEST(icmpv6)
{
    struct flow flow = sample_flow(IPPROTO_ICMPV6, "fd00::10", 0, "2001:db8::1", 0);
    flow.tuple[FLOW_ORIGINAL].icmp_type = 128;
    flow.tuple[FLOW_REPLY].icmp_type = 129;
    flow.tuple[FLOW_ORIGINAL].icmp_id = flow.tuple[FLOW_REPLY].icmp_id = htobe16(4711);
    flow.zone = 2;
    flow.has |= FLOW_ZONE_OF_ONE << FLOW_REPLY;
    check_object(
        flow,
        "{\"start\": \"2026-11-23T14:02:54.723456789Z\", \"stop\": \"2026-11-23T14:03:07.123456789Z\","
        " \"duration_ns\": 12400000000, \"ip_version\": 6, \"protocol\": 58, \"protocol_name\": \"icmp6\","
        " \"src_address\": \"fd00::10\", \"dst_address\": \"2001:db8::1\","
        " \"icmp_type\": 128, \"icmp_code\": 0, \"icmp_id\": 4711, \"packets\": 12, \"octets\": 3412,"
        " \"reply_src_address\": \"2001:db8::1\", \"reply_dst_address\": \"fd00::10\","
        " \"reply_icmp_type\": 129, \"reply_icmp_code\": 0, \"reply_icmp_id\": 4711,"
        " \"reply_packets\": 9, \"reply_octets\": 120345, \"translated\": false,"
        " \"end_reason\": 1, \"end_reason_name\": \"idle_timeout\", \"requested\": false,"
        " \"mark\": 0, \"zone\": 0, \"reply_zone\": 2, \"id\": 0}");
}
END_TEST

/* No counters, no stamps, no ports, no names. */
START_TEST(as_little_as_can_be)
{
    struct flow flow = sample_flow(253, "10.0.0.1", 0, "10.0.0.2", 0);
    flow.has = 0;
    flow.end_reason = 200;
    check_object(flow, "{\"stop\": \"2026-11-23T14:03:07.123456789Z\", \"ip_version\": 4, \"protocol\": 253,"
                       " \"src_address\": \"10.0.0.1\", \"dst_address\": \"10.0.0.2\","
                       " \"reply_src_address\": \"10.0.0.2\", \"reply_dst_address\": \"10.0.0.1\","
                       " \"translated\": false, \"end_reason\": 200, \"requested\": false,"
                       " \"mark\": 0, \"zone\": 0, \"id\": 0}");
}
END_TEST

/* Each direction's interfaces, where they are known: those of the other are not made of them. */
START_TEST(interfaces)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    ck_assert(!has_key(flow, "in_interface"));
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.out_interface[FLOW_ORIGINAL] = 17;
    flow.in_interface[FLOW_REPLY] = 18;
    flow.out_interface[FLOW_REPLY] = 4;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    ck_assert(!has_key(flow, "reply_in_interface") && !has_key(flow, "reply_out_interface"));
    flow.has |= FLOW_HAS_INTERFACES << FLOW_REPLY;
    json_t *object = parsed(flow);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "in_interface")), 3);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "out_interface")), 17);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "reply_in_interface")), 18);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "reply_out_interface")), 4);
    json_decref(object);
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

START_TEST(interfaces_by_name)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.out_interface[FLOW_ORIGINAL] = 0;
    flow.in_interface[FLOW_REPLY] = 18;
    flow.out_interface[FLOW_REPLY] = 17;
    flow.has |= FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    ck_assert(!has_key(flow, "in_interface_name"));
    named = some_names();
    ck_assert(!has_key(flow, "out_interface_name"));
    ck_assert(!has_key(flow, "reply_in_interface_name"));
    flow.has |= FLOW_HAS_INTERFACES << FLOW_REPLY;
    json_t *object = parsed(flow);
    ck_assert_str_eq(json_string_value(json_object_get(object, "in_interface_name")), "lan0");
    ck_assert_str_eq(json_string_value(json_object_get(object, "reply_in_interface_name")), "wg\"\\0");
    ck_assert_str_eq(json_string_value(json_object_get(object, "reply_out_interface_name")), "ppp0");
    json_decref(object);
    free(named);
}
END_TEST

/* Of one direction, with what only packets tell, and nothing that they do not. */
START_TEST(packets)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.kind = FLOW_PACKETS;
    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    flow.in_interface[FLOW_ORIGINAL] = 3;
    flow.tos[FLOW_ORIGINAL] = 184;
    flow.tcp_flags[FLOW_ORIGINAL] = 27;
    flow.ttl.min = 63;
    flow.ttl.max = 64;
    flow.has &= ~(unsigned)FLOW_HAS_TIMEOUT;
    flow.has |= FLOW_HAS_INTERFACES | FLOW_HAS_TOS | FLOW_HAS_TCP_FLAGS | FLOW_HAS_TTL;
#define PACKETS                                                                                            \
    "\"kind\": \"packets\", \"start\": \"2026-11-23T14:02:54.723456789Z\","                                \
    " \"stop\": \"2026-11-23T14:03:07.123456789Z\", \"duration_ns\": 12400000000, \"ip_version\": 4,"      \
    " \"protocol\": 6, \"protocol_name\": \"tcp\", \"src_address\": \"10.0.0.1\","                         \
    " \"dst_address\": \"10.0.0.2\", \"src_port\": 1, \"dst_port\": 2, \"packets\": 12, \"octets\": 3412," \
    " \"in_interface\": 3, \"out_interface\": 0, \"tos\": 184, \"tcp_flags\": 27, \"ttl_min\": 63, "       \
    "\"ttl_max\": 64, \"end_reason\": 1,"                                                                  \
    " \"end_reason_name\": \"idle_timeout\""
    check_object(flow, "{" PACKETS "}");
    flow.vlan[FLOW_ORIGINAL] = 564;
    memcpy(flow.link_source[FLOW_ORIGINAL], "\x02\0\xff\x0a\xa0\1", 6);
    memcpy(flow.link_source[FLOW_REPLY], "\x02\0\0\0\0\2", 6);
    flow.has |= FLOW_HAS_VLAN | FLOW_HAS_LINK_SOURCE << FLOW_ORIGINAL | FLOW_EGRESS;
    check_object(flow, "{" PACKETS ", \"egress\": true, \"vlan\": 564, \"src_mac\": \"02:00:ff:0a:a0:01\"}");
    flow.has |= FLOW_HAS_LINK_SOURCE << FLOW_REPLY;
    check_object(flow, "{" PACKETS ", \"egress\": true, \"vlan\": 564, \"src_mac\": \"02:00:ff:0a:a0:01\","
                       " \"dst_mac\": \"02:00:00:00:00:02\"}");
}
END_TEST

/* With a name of any printable characters, and with keys of its own. */
START_TEST(counters)
{
    struct flow flow = sample_flow(IPPROTO_TCP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.kind = FLOW_COUNTER;
    flow.id = 7;
    flow.counter = (struct flow_counter){.source = FLOW_COUNTER_NFACCT, .name = "a\"\\\xc3\xa4"};
    check_object(
        flow,
        "{\"kind\": \"counter\", \"source\": \"nfacct\", \"name\": \"a\\\"\\\\\xc3\xa4\", \"number\": 7,"
        " \"start\": \"2026-11-23T14:02:54.723456789Z\", \"stop\": \"2026-11-23T14:03:07.123456789Z\","
        " \"duration_ns\": 12400000000, \"packets\": 12, \"octets\": 3412}");
}
END_TEST

/* The type of an ICMP message has no meaning in the other family. */
START_TEST(icmp_of_the_other_family)
{
    ck_assert(has_key(sample_flow(IPPROTO_ICMP, "10.0.0.1", 0, "10.0.0.2", 0), "icmp_type"));
    ck_assert(!has_key(sample_flow(IPPROTO_ICMP, "fd00::1", 0, "fd00::2", 0), "icmp_type"));
    ck_assert(!has_key(sample_flow(IPPROTO_ICMPV6, "10.0.0.1", 0, "10.0.0.2", 0), "reply_icmp_id"));
}
END_TEST

/* 64 bits, unsigned: jansson reads only signed ones, so the text is looked at. */
START_TEST(extremes)
{
    char *line = calloc(1, JSON_LINE_MAX + 1);
    struct flow flow = sample_longest_flow();
    named = some_names();
    memset(named->each[3].name, '"', IFNAMSIZ - 1);
    size_t octets = json_flow(line, &flow, named);
    ck_assert_uint_le(octets, JSON_LINE_MAX);
    ck_assert_ptr_ne(strstr(line, ",\"packets\":18446744073709551615,"), NULL);
    ck_assert_ptr_ne(strstr(line, ",\"reply_octets\":18446744073709551615,"), NULL);
    ck_assert_ptr_ne(strstr(line, ",\"duration_ns\":18446744073709551615,"), NULL);
    ck_assert_ptr_ne(strstr(line, "{\"start\":\"1970-01-01T00:00:00.000000000Z\","), NULL);
    ck_assert_ptr_ne(strstr(line, "\"stop\":\"2554-07-21T23:34:33.709551615Z\","), NULL);
    ck_assert_ptr_ne(strstr(line, "\"mark\":4294967295,\"zone\":0,\"original_zone\":65535,"), NULL);
    free(line);
    free(named);
    named = NULL;

    flow.packets[0] = flow.packets[1] = flow.octets[0] = flow.octets[1] = INT64_MAX;
    flow.start_ns = flow.stop_ns = INT64_MAX;
    json_t *object = parsed(flow);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "packets")), INT64_MAX);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "reply_octets")), INT64_MAX);
    json_decref(object);
}
END_TEST

START_TEST(stop_before_start)
{
    struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
    flow.start_ns = flow.stop_ns + 1;
    json_t *object = parsed(flow);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "duration_ns")), 0);
    json_decref(object);
}
END_TEST

/* Times are UTC whatever the machine's zone. */
START_TEST(time_zone)
{
    ck_assert_int_eq(setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1), 0);
    tzset();
    json_t *object = parsed(sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2));
    ck_assert_str_eq(json_string_value(json_object_get(object, "stop")), "2026-11-23T14:03:07.123456789Z");
    json_decref(object);
}
END_TEST

static void check_names(const char *key, size_t offset, const char *const *names, unsigned count)
{
    for (unsigned value = 0; value <= UINT8_MAX; value++) {
        struct flow flow = sample_flow(IPPROTO_UDP, "10.0.0.1", 1, "10.0.0.2", 2);
        flow.has |= FLOW_HAS_TCP_STATE;
        *((uint8_t *)&flow + offset) = (uint8_t)value;
        json_t *object = parsed(flow);
        const char *name = json_string_value(json_object_get(object, key));
        ck_assert_pstr_eq(name, value < count ? names[value] : NULL);
        json_decref(object);
    }
}

START_TEST(names)
{
    static const char *const reasons[] = {"unknown",      "idle_timeout", "active_timeout",
                                          "end_detected", "forced_end",   "lack_of_resources"};
    static const char *const states[] = {"none",       "syn_sent", "syn_recv",  "established", "fin_wait",
                                         "close_wait", "last_ack", "time_wait", "close",       "syn_sent2"};
    check_names("end_reason_name", offsetof(struct flow, end_reason), reasons, 6);
    check_names("tcp_state_name", offsetof(struct flow, tcp_state), states, 10);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("json");
    tcase_add_test(tests, tcp_with_source_nat);
    tcase_add_test(tests, icmpv6);
    tcase_add_test(tests, as_little_as_can_be);
    tcase_add_test(tests, interfaces);
    tcase_add_test(tests, interfaces_by_name);
    tcase_add_test(tests, packets);
    tcase_add_test(tests, counters);
    tcase_add_test(tests, icmp_of_the_other_family);
    tcase_add_test(tests, extremes);
    tcase_add_test(tests, stop_before_start);
    tcase_add_test(tests, time_zone);
    tcase_add_test(tests, names);

    Suite *suite = suite_create("json");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
