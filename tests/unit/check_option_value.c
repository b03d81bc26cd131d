/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_table.h"
#include "ctflow9/config/option_type.h"
#include "ctflow9/config/option_value.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/config/options.h"
#include "ctflow9/input/rx.h"

#include "run_suite.h"

static struct options options;
static struct option_error why;

static void setup(void)
{
    option_table_default(&options);
}

static int set(const char *name, const char *text)
{
    why.text[0] = '\0';
    return option_value_set(option_table_find(name), &options, text, &why);
}

static void check_set(const char *name, const char *text)
{
    ck_assert_msg(set(name, text) == 0, "--%s %s was refused: %s", name, text, why.text);
}

/* The value is refused, and the error says what the value was and what would be right. */
static void check_refused(const char *name, const char *text, const char *hint)
{
    ck_assert_msg(set(name, text) == -EINVAL, "--%s '%s' was taken", name, text);
    ck_assert_msg(strstr(why.text, hint), "--%s '%s' says: %s", name, text, why.text);
}

/* What --check would print for the option; to be freed. */
static char *json_text(const char *name)
{
    json_t *value = option_value_json(option_table_find(name), &options);
    ck_assert_ptr_nonnull(value);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
    json_decref(value);
    return text;
}

static void check_json(const char *name, const char *wanted)
{
    char *text = json_text(name);
    ck_assert_str_eq(text, wanted);
    free(text);
}

START_TEST(flags)
{
    check_set("print", "true");
    ck_assert(options.print);
    check_json("print", "true");
    check_set("print", "false");
    ck_assert(!options.print);
    check_json("print", "false");
    check_refused("print", "yes", "'yes' is neither true nor false");
    check_refused("print", "", "neither true nor false");
}
END_TEST

START_TEST(choices_by_name)
{
    check_json("adopt", "\"baseline\"");
    check_set("adopt", "full");
    ck_assert_uint_eq(options.adopt, ADOPT_FULL);
    check_json("adopt", "\"full\"");
    check_refused("adopt", "half", "'half' is not possible: give one of: baseline full");
    check_refused("adopt", "base", "give one of");
    check_refused("adopt", "", "give one of");
}
END_TEST

START_TEST(a_choice_that_was_not_built)
{
    check_json("rx", "\"auto\"");
    check_set("rx", "recvmmsg");
    ck_assert_uint_eq(options.rx, RX_RECVMMSG);
    if (CTFLOW9_URING) {
        check_set("rx", "uring");
        ck_assert_uint_eq(options.rx, RX_URING);
    } else {
        check_refused("rx", "uring", "'uring' is not possible: ctflow9 was built without io_uring");
        ck_assert_uint_eq(options.rx, RX_RECVMMSG);
    }
}
END_TEST

/* What it comes to depends on the machine: a configuration that is written says what was asked for. */
START_TEST(auto_stays_auto)
{
    check_json("workers", "1");
    check_set("workers", "64");
    ck_assert_uint_eq(options.workers, 64);
    check_set("workers", "auto");
    check_json("workers", "\"auto\"");
    check_refused("workers", "0", "give 1 to 64 threads or auto");
    check_refused("workers", "65", "give 1 to 64 threads or auto");
    check_refused("workers", "many", "many");
    check_json("table-size", "\"auto\"");
    check_set("table-size", "67108864");
    check_json("table-size", "67108864");
    check_set("table-size", "auto");
    check_json("table-size", "\"auto\"");
    check_refused("table-size", "67108865", "give 1 to 67108864 flows or auto");
}
END_TEST

START_TEST(numbers_at_both_ends_of_the_range)
{
    check_set("source-id", "4294967295");
    ck_assert_uint_eq(options.source_id, UINT32_MAX);
    check_json("source-id", "4294967295");
    check_set("source-id", "0");
    ck_assert_uint_eq(options.source_id, 0);
    check_set("max-datagram", "512");
    ck_assert_uint_eq(options.max_datagram, 512);
    check_set("max-datagram", "8972");
    ck_assert_uint_eq(options.max_datagram, 8972);
    check_set("queue", "16777216");
    ck_assert_uint_eq(options.queue, 16777216);
    check_refused("queue", "16777217", "out of range: give 1 to 16777216 records");
    check_refused("queue", "0", "out of range");
    check_refused("max-datagram", "511", "out of range: give 512 to 8972 octets");
    check_refused("max-datagram", "8973", "out of range");
    check_refused("source-id", "4294967296", "out of range: give 0 to 4294967295");
    check_refused("source-id", "18446744073709551616", "out of range");
    check_refused("source-id", "99999999999999999999999999", "out of range");
    ck_assert_uint_eq(options.queue, 16777216); /* what was refused changed nothing */
}
END_TEST

START_TEST(groups_are_a_list)
{
    check_json("nflog", "[]");
    check_set("nflog", "5,0,65535");
    ck_assert_uint_eq(options.nflog.count, 3);
    ck_assert_uint_eq(options.nflog.group[0], 5);
    ck_assert_uint_eq(options.nflog.group[2], 65535);
    check_set("nflog", "7");
    check_json("nflog", "[\"5\",\"0\",\"65535\",\"7\"]");
    check_refused("nflog", "5", "group 5 is named twice");
    static const char *const texts[] = {"",   ",",  "8,", ",8",  "65536", "-1",
                                        "+1", " 8", "8 ", "0x8", "all",   "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("nflog", texts[i], "is no list of NFLOG groups: give numbers from 0 to 65535");
}
END_TEST

START_TEST(groups_have_a_limit)
{
    char text[8];
    for (unsigned i = 0; i < NFLOG_GROUPS_MAX; i++) {
        snprintf(text, sizeof(text), "%u", i);
        check_set("nflog", text);
    }
    check_refused("nflog", "1000", "more than 64 NFLOG groups");
    ck_assert_uint_eq(options.nflog.count, NFLOG_GROUPS_MAX);
}
END_TEST

START_TEST(queues_are_a_range)
{
    check_json("nfqueue", "null");
    check_set("nfqueue", "0");
    check_json("nfqueue", "\"0\"");
    check_set("nfqueue", "65472-65535");
    ck_assert_uint_eq(options.nfqueue.first, 65472);
    ck_assert_uint_eq(options.nfqueue.count, NFQUEUE_QUEUES_MAX);
    check_json("nfqueue", "\"65472-65535\"");
    check_set("nfqueue", "3-3");
    check_json("nfqueue", "\"3\"");
    check_refused("nfqueue", "0-64", "is more than 64 NFQUEUE queues");
    static const char *const texts[] = {"",    "-",  "3-",  "-3",  "4-3",   "65536",  "+1",
                                        "3,4", "3 ", "3:4", "0x3", "3-4-5", "3-65536"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("nfqueue", texts[i], "is no range of NFQUEUE queues: give NUM or NUM-NUM");
}
END_TEST

START_TEST(numbers_that_are_none)
{
    static const char *const texts[] = {"",     " 1",  "1 ",    "-1",  "+1",         "1e3",
                                        "0x10", "1.0", "1400k", "ten", "1400 octets"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("max-rate", texts[i], "is not a whole number: give 0 to 100000000 records per second");
}
END_TEST

START_TEST(seconds_have_milliseconds)
{
    check_set("max-delay", "0");
    ck_assert_uint_eq(options.max_delay_ms, 0);
    check_json("max-delay", "0");
    check_set("max-delay", "0.1");
    ck_assert_uint_eq(options.max_delay_ms, 100);
    check_json("max-delay", "0.1");
    check_set("max-delay", "12.345");
    ck_assert_uint_eq(options.max_delay_ms, 12345);
    check_json("max-delay", "12.345");
    check_set("max-delay", "0.05");
    ck_assert_uint_eq(options.max_delay_ms, 50);
    check_set("max-delay", "3600.000");
    ck_assert_uint_eq(options.max_delay_ms, 3600000);
    check_json("max-delay", "3600");
    check_refused("max-delay", "3600.001", "out of range: give 0 to 3600 seconds");
    check_refused("max-delay", "18446744073709551.615", "out of range");
    check_refused("max-delay", "99999999999999999999", "out of range");
    static const char *const texts[] = {"", ".5", "1.", "1.2345", "1,5", "-0.1", "1e0", "1.5s", "0.1 "};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("max-delay", texts[i], "is not a number with three decimals at most");
}
END_TEST

START_TEST(sizes_have_suffixes)
{
    check_set("rcvbuf", "4096");
    ck_assert_uint_eq(options.rcvbuf_octets, 4096);
    check_set("rcvbuf", "4K");
    ck_assert_uint_eq(options.rcvbuf_octets, 4096);
    check_set("rcvbuf", "64M");
    ck_assert_uint_eq(options.rcvbuf_octets, 67108864);
    check_json("rcvbuf", "67108864");
    check_set("rcvbuf", "1G");
    ck_assert_uint_eq(options.rcvbuf_octets, 1073741824);
    check_refused("rcvbuf", "4095", "out of range: give 4K to 1G octets");
    check_refused("rcvbuf", "3K", "out of range");
    check_refused("rcvbuf", "1073741825", "out of range");
    check_refused("rcvbuf", "2G", "out of range");
    check_refused("rcvbuf", "17179869184G", "out of range"); /* 2^64 octets */
    check_refused("rcvbuf", "17179869185G", "out of range");
    static const char *const texts[] = {"", "M", "64MB", "64 M", "64KK", "-1K", "1.5M", "64m", "64T"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("rcvbuf", texts[i], "is not a whole number, with K, M or G after it or without");
}
END_TEST

START_TEST(ranges_in_words)
{
    char text[OPTION_RANGE_MAX];
    ck_assert_str_eq(option_value_range(option_table_find("max-datagram"), text), "512 to 8972 octets");
    ck_assert_str_eq(option_value_range(option_table_find("max-delay"), text), "0 to 3600 seconds");
    ck_assert_str_eq(option_value_range(option_table_find("rcvbuf"), text), "4K to 1G octets");
    ck_assert_str_eq(option_value_range(option_table_find("source-id"), text), "0 to 4294967295");
    ck_assert_str_eq(option_value_range(option_table_find("netns"), text), "");
}
END_TEST

START_TEST(marks)
{
    check_json("mark", "null");
    check_set("mark", "0");
    ck_assert(options.mark.given);
    ck_assert_uint_eq(options.mark.value, 0);
    ck_assert_uint_eq(options.mark.mask, UINT32_MAX);
    check_json("mark", "\"0x0\"");
    check_set("mark", "0x10/0xff");
    ck_assert_uint_eq(options.mark.value, 0x10);
    ck_assert_uint_eq(options.mark.mask, 0xff);
    check_json("mark", "\"0x10/0xff\"");
    check_set("mark", "4294967295/0xffffffff");
    ck_assert_uint_eq(options.mark.value, UINT32_MAX);
    check_set("mark", "010"); /* decimal */
    ck_assert_uint_eq(options.mark.value, 10);
    static const char *const texts[] = {"",   "x",     "0x",   "0x0x1",      "-1",           "1/",
                                        "/1", "1/2/3", "1 /1", "4294967296", "1/4294967296", "0x1g"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("mark", texts[i], "is not a mark: give VALUE or VALUE/MASK");
    check_refused("mark", "0x11/0x10", "matches no mark");
}
END_TEST

START_TEST(masks)
{
    check_json("mark-direction", "null");
    check_set("mark-direction", "0x10000");
    ck_assert_uint_eq(options.interface_marks.egress_mask, 0x10000);
    check_json("mark-direction", "\"0x10000\"");
    check_set("mark-direction", "5");
    ck_assert_uint_eq(options.interface_marks.egress_mask, 5);
    static const char *const texts[] = {"", "0", "x", "0x", "1,2", "-1", "0x100000000"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("mark-direction", texts[i], "is no bits of a mark: give 1 to 0xffffffff");
}
END_TEST

/* Names are shown in JSON, which is UTF-8. */
START_TEST(interface_names_are_text)
{
    check_set("interface-index", "\xc3\xa9th0=1");
    check_refused("interface-index", "<0<\xa7=4", "not the name of an interface");
    check_refused("interface-index", "eth\x01=4", "not the name of an interface");
}
END_TEST

START_TEST(pairs_of_masks)
{
    check_json("mark-interface", "null");
    check_set("mark-interface", "255,0xff00");
    ck_assert_uint_eq(options.interface_marks.masks[0], 0xff);
    ck_assert_uint_eq(options.interface_marks.masks[1], 0xff00);
    check_json("mark-interface", "\"0xff,0xff00\"");
    check_set("mark-interface", "0x80000000,0x7fffffff");
    ck_assert_uint_eq(options.interface_marks.masks[0], 0x80000000);
    static const char *const texts[] = {"", "1", "1,", ",1", "1,2,4", "1, 2", "0xff/0xff00", "1,0x100000000"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("mark-interface", texts[i], "give two masks like 0xff,0xff00");
    check_refused("mark-interface", "0,1", "must be one run");
    check_refused("mark-interface", "1,0", "must be one run");
    check_refused("mark-interface", "5,0xff00", "must be one run");
    check_refused("mark-interface", "0xff,0x80000100", "must be one run");
    check_refused("mark-interface", "0xff,0xff80", "both masks have the bits 0x80");
}
END_TEST

START_TEST(fields)
{
    check_json("fields", "[]");
    check_set("fields", "times");
    check_set("fields", "mark");
    ck_assert_uint_eq(options.fields, FIELDS_MARK | FIELDS_TIMES);
    check_json("fields", "[\"mark\",\"times\"]");
    option_value_clear(option_table_find("fields"), &options);
    check_set("fields", "zone,mark,times,zone");
    ck_assert_uint_eq(options.fields, FIELDS_MARK | FIELDS_ZONE | FIELDS_TIMES);
    static const char *const texts[] = {"",    ",",     "mark,",     ",mark", "mark,,zone",
                                        "mar", "marks", "mark zone", "Mark"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused("fields", texts[i],
                      "is not a field: give some of mark, zone, times, mac, vlan and ttl");
}
END_TEST

static const struct {
    const char *text, *host;
    uint16_t port;
} collectors[] = {
    {"192.0.2.1", "192.0.2.1", 2055},
    {"192.0.2.1:9995", "192.0.2.1", 9995},
    {"192.0.2.1:65535", "192.0.2.1", 65535},
    {"192.0.2.1:1", "192.0.2.1", 1},
    {"flows.example.net", "flows.example.net", 2055},
    {"flows.example.net.:99", "flows.example.net.", 99},
    {"localhost", "localhost", 2055},
    {"my_host-2", "my_host-2", 2055},
    {"3com.example", "3com.example", 2055},
    {"::1", "::1", 2055},
    {"2001:db8::1", "2001:db8::1", 2055},
    {"2001:DB8:0::0:1", "2001:db8::1", 2055},
    {"[2001:db8::1]", "2001:db8::1", 2055},
    {"[2001:db8::1]:4739", "2001:db8::1", 4739},
    {"[::ffff:192.0.2.1]:4739", "192.0.2.1", 4739},
    {"fe80::1%4", "fe80::1%4", 2055},
    {"fe80::1%eth0", "fe80::1%eth0", 2055},
    {"[fe80::1%br-lan.7]:99", "fe80::1%br-lan.7", 99},
};

START_TEST(a_collector)
{
    check_set("collector", collectors[_i].text);
    ck_assert_uint_eq(options.collector_count, 1);
    ck_assert_str_eq(options.collectors[0].host, collectors[_i].host);
    ck_assert_uint_eq(options.collectors[0].port, collectors[_i].port);

    /* What --check prints for it means the same. */
    json_t *value = option_value_json(option_table_find("collector"), &options);
    option_value_clear(option_table_find("collector"), &options);
    check_set("collector", json_string_value(json_array_get(value, 0)));
    ck_assert_str_eq(options.collectors[0].host, collectors[_i].host);
    ck_assert_uint_eq(options.collectors[0].port, collectors[_i].port);
    json_decref(value);
}
END_TEST

/* With commas they share the flows; what --check prints for them means the same. */
START_TEST(groups_of_collectors)
{
    static const uint8_t groups[] = {1, 1, 1, 0, 2, 2};
    static const char printed[] = "[\"a:2055,192.0.2.1:99,[2001:db8::1]:2055\",\"b:2055\",\"c:1,c:2\"]";
    check_set("collector", "a,192.0.2.1:99,2001:db8::1");
    check_set("collector", "b");
    check_set("collector", "c:1,c:2");
    ck_assert_uint_eq(options.collector_count, sizeof(groups));
    ck_assert_mem_eq(options.collector_groups, groups, sizeof(groups));
    ck_assert_str_eq(options.collectors[2].host, "2001:db8::1");
    check_json("collector", printed);
    option_value_clear(option_table_find("collector"), &options);

    json_t *array = json_loads(printed, 0, NULL), *value;
    size_t index;
    json_array_foreach(array, index, value)
        ck_assert_int_eq(option_value_set_json(option_table_find("collector"), &options, value, &why), 0);
    json_decref(array);
    ck_assert_mem_eq(options.collector_groups, groups, sizeof(groups));
    check_json("collector", printed);
}
END_TEST

START_TEST(no_group_of_collectors)
{
    check_refused("collector", "a,", "'a,' lacks a collector beside a comma");
    check_refused("collector", ",a", "lacks a collector beside a comma");
    check_refused("collector", "b,,c", "lacks a collector beside a comma");
    check_refused("collector", "d,d:2055", "'d:2055' is given twice");
    check_refused("collector", "e,f:0", "'0' is not a port");
    check_refused("collector", "g, h", "' h' is neither an address nor a host name");
}
END_TEST

static const struct {
    const char *text, *hint;
} no_collectors[] = {
    {"", "'' is neither an address nor a host name"},
    {":2055", "'' is neither an address nor a host name"},
    {"host:", "'' is not a port: give 1 to 65535"},
    {"host:0", "'0' is not a port"},
    {"host:65536", "'65536' is not a port"},
    {"host:99999999999999999999", "is not a port"},
    {"host:-1", "'-1' is not a port"},
    {"host:+1", "'+1' is not a port"},
    {"host:http", "'http' is not a port"},
    {"host:20 ", "'20 ' is not a port"},
    {"10.0.0.256", "'10.0.0.256' is neither an address nor a host name"},
    {"10.0.0", "neither an address nor a host name"},
    {"1", "neither an address nor a host name"},
    {"a b", "'a b' is neither an address nor a host name"},
    {"a..b", "neither an address nor a host name"},
    {".a", "neither an address nor a host name"},
    {"-a", "neither an address nor a host name"},
    {"a-.b", "neither an address nor a host name"},
    {"h\xc3\xb6st", "neither an address nor a host name"},
    {"udp://host", "'//host' is not a port"},
    {"[::1", "[ADDRESS]:PORT"},
    {"[::1]2055", "[ADDRESS]:PORT"},
    {"[::1]]:2055", "[ADDRESS]:PORT"},
    {"[]:2055", "'' is not an IPv6 address"},
    {"[192.0.2.1]:2055", "'192.0.2.1' is not an IPv6 address"},
    {"[host]:2055", "'host' is not an IPv6 address"},
    {"::1::", "'::1::' is not an IPv6 address"},
    {"2001:db8:0:0:0:0:0:1:2055", "is not an IPv6 address"},
    {"192.0.2.1:2055:1", "is not an IPv6 address"},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", "is not an IPv6 address"},
    {"fe80::1", "'fe80::1' is link-local: give its interface too, as in fe80::1%eth0"},
    {"[fe80::1]:2055", "is link-local"},
    {"fe80::1%", "not the name of an interface"},
    {"fe80::1%anamelongerthan15", "not the name of an interface"},
    {"fe80::1%eth\n0", "not the name of an interface"},
    {"fe80::1%eth0:1", "not the name of an interface"},
    {"fe80::1%eth/0", "not the name of an interface"},
    {"fe80::1%eth]0", "not the name of an interface"},
    {"fe80::1%eth 0", "not the name of an interface"},
};

START_TEST(no_collector)
{
    check_refused("collector", no_collectors[_i].text, no_collectors[_i].hint);
    ck_assert_uint_eq(options.collector_count, 0);
}
END_TEST

START_TEST(host_names_have_limits)
{
    char name[400];
    memset(name, 'a', sizeof(name));
    name[63] = '\0';
    check_set("collector", name);
    name[63] = 'a';
    name[64] = '\0';
    check_refused("collector", name, "neither an address nor a host name");
    for (size_t i = 63; i < sizeof(name); i += 64)
        name[i] = '.';
    name[64] = 'a';
    name[253] = '\0';
    check_set("collector", name);
    name[253] = 'a';
    name[254] = '\0';
    check_refused("collector", name, "neither an address nor a host name");
    name[254] = 'a';
    name[399] = '\0';
    check_refused("collector", name, "too long for a host");
}
END_TEST

START_TEST(a_place_to_listen_at)
{
    static const struct {
        const char *text, *host, *written;
    } places[] = {
        {"9469", "127.0.0.1", "127.0.0.1:9469"},
        {"192.0.2.1:9469", "192.0.2.1", "192.0.2.1:9469"},
        {"[::]:9469", "::", "[::]:9469"},
        {"[2001:DB8::1]:9469", "2001:db8::1", "[2001:db8::1]:9469"},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        check_set("metrics", places[i].text);
        ck_assert_str_eq(options.metrics.host, places[i].host);
        ck_assert_uint_eq(options.metrics.port, 9469);
        json_t *value = option_value_json(option_table_find("metrics"), &options);
        ck_assert_str_eq(json_string_value(value), places[i].written);
        json_decref(value);
    }
    check_refused("metrics", "", "neither an address nor a host name");
    check_refused("metrics", "0", "'0' is not a port: give 1 to 65535");
    check_refused("metrics", "65536", "'65536' is not a port: give 1 to 65535");
    check_refused("metrics", "123456789012345678901234567890", "is neither an address nor a host name");
    check_refused("metrics", "192.0.2.1", "'192.0.2.1' has no port: give [ADDRESS:]PORT");
    check_refused("metrics", "localhost:9469", "'localhost' is not an address to listen at");
    check_refused("metrics", "[::1", "is no place to listen at: give PORT, ADDRESS:PORT or [IPV6]:PORT");
}
END_TEST

START_TEST(the_same_collector_twice)
{
    check_set("collector", "Host");
    check_set("collector", "host:99");
    check_refused("collector", "host:2055", "'host:2055' is given twice");
    check_set("collector", "::1");
    check_refused("collector", "[0:0::1]:2055", "is given twice");
    check_set("collector", "192.0.2.1");
    check_refused("collector", "[::ffff:192.0.2.1]", "is given twice");
}
END_TEST

/* An IPv6 socket would send IPv4, and ICMP errors would not be seen. */
START_TEST(an_ipv4_address_in_ipv6_is_ipv4)
{
    check_set("collector", "[::FFFF:7f00:1]:99");
    ck_assert_str_eq(options.collectors[0].host, "127.0.0.1");
    check_json("collector", "[\"127.0.0.1:99\"]");
    check_set("source-address", "::ffff:192.0.2.7");
    ck_assert_str_eq(options.source_address, "192.0.2.7");
    check_refused("collector", "::ffff:192.0.2.7%eth0", "is IPv4, which has no interface after it");
}
END_TEST

START_TEST(broadcast_is_no_collector)
{
    check_refused("collector", "255.255.255.255", "is a broadcast address");
    check_refused("collector", "[::ffff:255.255.255.255]", "is a broadcast address");
}
END_TEST

START_TEST(too_many_collectors)
{
    char text[32];
    for (int i = 1; i <= OPTIONS_COLLECTORS_MAX; i++) {
        snprintf(text, sizeof(text), "192.0.2.1:%d", i);
        check_set("collector", text);
    }
    check_refused("collector", "192.0.2.2", "is one too many: give 64 at most");
    ck_assert_uint_eq(options.collector_count, OPTIONS_COLLECTORS_MAX);
    option_value_clear(option_table_find("collector"), &options);
    ck_assert_uint_eq(options.collector_count, 0);
}
END_TEST

START_TEST(addresses)
{
    check_json("source-address", "null");
    check_set("source-address", "192.0.2.7");
    ck_assert_str_eq(options.source_address, "192.0.2.7");
    check_json("source-address", "\"192.0.2.7\"");
    check_set("source-address", "2001:DB8::0:7");
    ck_assert_str_eq(options.source_address, "2001:db8::7");
    check_set("source-address", "fe80::7%eth0");
    ck_assert_str_eq(options.source_address, "fe80::7%eth0");
    check_refused("source-address", "", "neither an IPv4 nor an IPv6 address");
    check_refused("source-address", "host", "neither an IPv4 nor an IPv6 address");
    check_refused("source-address", "192.0.2.7:99", "is not an IPv6 address");
    check_refused("source-address", "[::1]", "is not an IPv6 address");
    check_refused("source-address", "fe80::7", "is link-local");
    check_refused("source-address", "0.0.0.0", "is no address to send from");
    check_refused("source-address", "::", "is no address to send from");
    check_refused("source-address", "::ffff:255.255.255.255", "is no address to send from");
    check_refused("source-address", "224.0.0.1", "is no address to send from");
    check_refused("source-address", "ff02::1", "is no address to send from");
}
END_TEST

START_TEST(texts)
{
    char text[OPTIONS_TEXT_MAX + 2];
    check_json("netns", "null");
    check_set("netns", "/proc/1/ns/net");
    check_json("netns", "\"/proc/1/ns/net\"");
    memset(text, 'n', sizeof(text));
    text[OPTIONS_TEXT_MAX] = '\0';
    check_set("netns", text);
    ck_assert_str_eq(options.netns, text);
    text[OPTIONS_TEXT_MAX] = 'n';
    text[OPTIONS_TEXT_MAX + 1] = '\0';
    check_refused("netns", text, "give 1 to 255 printable ASCII characters");
    check_refused("netns", "", "give 1 to 255 printable ASCII characters");
    check_refused("netns", "a\nb", "printable ASCII");
    check_refused("netns", "\xff", "printable ASCII");
    memset(text, 'n', 108);
    text[108] = '\0';
    check_refused("json-socket", text, "give 1 to 107 printable ASCII characters");
    check_set("json-socket", text + 1);
    ck_assert_str_eq(options.json_socket, text + 1);
}
END_TEST

START_TEST(interface_numbers)
{
    check_json("interface-index", "{}");
    check_set("interface-index", "lan0=1");
    check_set("interface-index", "a=b=2147483647"); /* the kernel takes such a name */
    check_json("interface-index", "{\"lan0\":1,\"a=b\":2147483647}");
    ck_assert_uint_eq(options.interface_numbers.count, 2);
    ck_assert_str_eq(options.interface_numbers.each[1].name, "a=b");
    check_refused("interface-index", "lan0=3", "interface lan0 is given twice");
    check_refused("interface-index", "lan1=1", "lan0 and lan1 have the number 1");
    const char *const names[] = {"=1", "a name=1", "eth0:1=1", "a/b=1", "sixteen-octets-0=1", ".=1", "..=1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        check_refused("interface-index", names[i], "is not the name of an interface");
    const char *const numbers[] = {"eth0=",   "eth0=0",    "eth0=2147483648", "eth0=1x",
                                   "eth0=-1", "eth0=0x10", "eth0= 1",         "eth0=99999999999999999999"};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        check_refused("interface-index", numbers[i],
                      "is not the number of an interface: give 1 to 2147483647");
    check_refused("interface-index", "eth0", "give NAME=NUMBER, as in eth0=2");
    check_refused("interface-index", "", "give NAME=NUMBER, as in eth0=2");
    option_value_clear(option_table_find("interface-index"), &options);
    check_json("interface-index", "{}");
    char text[32];
    for (unsigned i = 0; i < INTERFACE_NUMBERS_MAX; i++) {
        snprintf(text, sizeof(text), "veth%u=%u", i, i + 1);
        check_set("interface-index", text);
    }
    check_refused("interface-index", "last=1000", "interface last is one too many: give 256 at most");
}
END_TEST

/* What a reload takes over, or takes back. */
START_TEST(every_value_is_copied)
{
    static struct options from, to;
    memset(&from, 0x5a, sizeof(from));
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!option_is_setting(row))
            continue;
        ck_assert_msg(row->type->octets > 0, "%s", row->name);
        memset(&to, 0, sizeof(to));
        option_value_copy(row, &to, &from);
        const uint8_t *value = (const uint8_t *)&to + row->offset;
        ck_assert_msg(memcmp(value, (const uint8_t *)&from + row->offset, row->type->octets) == 0, "%s",
                      row->name);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("option_value");
    TCase *tests = tcase_create("option_value");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, interface_names_are_text);
    tcase_add_test(tests, flags);
    tcase_add_test(tests, choices_by_name);
    tcase_add_test(tests, a_choice_that_was_not_built);
    tcase_add_test(tests, auto_stays_auto);
    tcase_add_test(tests, numbers_at_both_ends_of_the_range);
    tcase_add_test(tests, numbers_that_are_none);
    if (CTFLOW9_NFLOG) {
        tcase_add_test(tests, groups_are_a_list);
        tcase_add_test(tests, groups_have_a_limit);
    }
    if (CTFLOW9_NFQUEUE)
        tcase_add_test(tests, queues_are_a_range);
    tcase_add_test(tests, seconds_have_milliseconds);
    tcase_add_test(tests, sizes_have_suffixes);
    tcase_add_test(tests, ranges_in_words);
    tcase_add_test(tests, marks);
    tcase_add_test(tests, masks);
    tcase_add_test(tests, pairs_of_masks);
    tcase_add_test(tests, fields);
    tcase_add_loop_test(tests, a_collector, 0, sizeof(collectors) / sizeof(collectors[0]));
    tcase_add_test(tests, groups_of_collectors);
    tcase_add_test(tests, no_group_of_collectors);
    tcase_add_loop_test(tests, no_collector, 0, sizeof(no_collectors) / sizeof(no_collectors[0]));
    tcase_add_test(tests, host_names_have_limits);
    tcase_add_test(tests, a_place_to_listen_at);
    tcase_add_test(tests, the_same_collector_twice);
    tcase_add_test(tests, an_ipv4_address_in_ipv6_is_ipv4);
    tcase_add_test(tests, broadcast_is_no_collector);
    tcase_add_test(tests, too_many_collectors);
    tcase_add_test(tests, addresses);
    tcase_add_test(tests, texts);
    tcase_add_test(tests, interface_numbers);
    tcase_add_test(tests, every_value_is_copied);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
