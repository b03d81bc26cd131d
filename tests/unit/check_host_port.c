/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/host_port.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "run_suite.h"

static struct host_port host_port;
static struct host_port_parts parts;

/* The texts that the option takes and refuses are in check_option_value.c; here is what they come to. */
static const struct {
    const char *text;
    enum host_port_fault fault;
    const char *host, *port; /* as written */
    bool is_ipv6;
} texts[] = {
    {"192.0.2.1", HOST_PORT_FINE, "192.0.2.1", NULL, false},
    {"flows.example:99", HOST_PORT_FINE, "flows.example", "99", false},
    {"2001:DB8::0:1", HOST_PORT_FINE, "2001:DB8::0:1", NULL, true},
    {"[fe80::1%eth0]:99", HOST_PORT_FINE, "fe80::1%eth0", "99", true},
    {"[::1", HOST_PORT_BAD_BRACKETS, "", NULL, true},
    {"[::1]99", HOST_PORT_BAD_BRACKETS, "", NULL, true},
    {"10.0.0.256:99", HOST_PORT_BAD_NAME, "10.0.0.256", "99", false},
    {":99", HOST_PORT_BAD_NAME, "", "99", false},
    {"[host]", HOST_PORT_BAD_IPV6, "host", NULL, true},
    {"::ffff:192.0.2.1%lo", HOST_PORT_IPV4_WITH_ZONE, "::ffff:192.0.2.1%lo", NULL, true},
    {"fe80::1%", HOST_PORT_BAD_ZONE, "fe80::1%", NULL, true},
    {"fe80::1%sixteenoctetname", HOST_PORT_BAD_ZONE, "fe80::1%sixteenoctetname", NULL, true},
    {"[fe80::1]:99", HOST_PORT_NO_ZONE, "fe80::1", "99", true},
    {"ff02::1", HOST_PORT_NO_ZONE, "ff02::1", NULL, true},
    {"ff05::1", HOST_PORT_FINE, "ff05::1", NULL, true},
    {"host:", HOST_PORT_BAD_PORT, "host", "", false},
    {"host:0", HOST_PORT_BAD_PORT, "host", "0", false},
    {"host:65536", HOST_PORT_BAD_PORT, "host", "65536", false},
    {"host:99999999999999999999", HOST_PORT_BAD_PORT, "host", "99999999999999999999", false},
    {"host:+1", HOST_PORT_BAD_PORT, "host", "+1", false},
};

START_TEST(a_text_in_its_parts)
{
    ck_assert_int_eq(host_port_read(&host_port, &parts, texts[_i].text, 2055), texts[_i].fault);
    ck_assert_str_eq(parts.host, texts[_i].host);
    ck_assert_pstr_eq(parts.port, texts[_i].port);
    ck_assert_int_eq(parts.is_ipv6, texts[_i].is_ipv6);
}
END_TEST

START_TEST(too_long_for_a_host)
{
    char text[HOST_PORT_HOST_MAX + 2];
    memset(text, ':', sizeof(text));
    text[HOST_PORT_HOST_MAX + 1] = '\0';
    ck_assert_int_eq(host_port_read(&host_port, &parts, text, 2055), HOST_PORT_TOO_LONG);
    ck_assert_str_eq(parts.host, "");
    text[HOST_PORT_HOST_MAX] = '\0';
    ck_assert_int_eq(host_port_read(&host_port, &parts, text, 2055), HOST_PORT_BAD_IPV6);
    ck_assert_str_eq(parts.host, text);
}
END_TEST

/* What is written is read as the same. */
START_TEST(read_and_written)
{
    static const char *const pairs[][2] = {{"192.0.2.1", "192.0.2.1:2055"},
                                           {"flows.example.:65535", "flows.example.:65535"},
                                           {"2001:DB8:0::0:1", "[2001:db8::1]:2055"},
                                           {"[::ffff:192.0.2.1]:1", "192.0.2.1:1"},
                                           {"fe80::1%eth0", "[fe80::1%eth0]:2055"}};
    char text[HOST_PORT_TEXT_MAX];
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        ck_assert_int_eq(host_port_read(&host_port, &parts, pairs[i][0], 2055), HOST_PORT_FINE);
        ck_assert_str_eq(host_port_write(&host_port, text), pairs[i][1]);
        ck_assert_int_eq(host_port_read(&host_port, &parts, pairs[i][1], 99), HOST_PORT_FINE);
        ck_assert_str_eq(host_port_write(&host_port, text), pairs[i][1]);
    }
}
END_TEST

START_TEST(an_address_alone)
{
    char host[HOST_PORT_HOST_MAX + 1] = "unchanged";
    ck_assert_int_eq(host_port_read_address(host, "host"), HOST_PORT_BAD_ADDRESS);
    ck_assert_int_eq(host_port_read_address(host, ""), HOST_PORT_BAD_ADDRESS);
    ck_assert_int_eq(host_port_read_address(host, "[::1]"), HOST_PORT_BAD_IPV6);
    ck_assert_int_eq(host_port_read_address(host, "192.0.2.7:99"), HOST_PORT_BAD_IPV6);
    ck_assert_int_eq(host_port_read_address(host, "fe80::7"), HOST_PORT_NO_ZONE);
    ck_assert_str_eq(host, "unchanged");
    ck_assert_int_eq(host_port_read_address(host, "192.0.2.7"), HOST_PORT_FINE);
    ck_assert_str_eq(host, "192.0.2.7");
    ck_assert_int_eq(host_port_read_address(host, "2001:DB8::0:7"), HOST_PORT_FINE);
    ck_assert_str_eq(host, "2001:db8::7");
}
END_TEST

START_TEST(numeric_ipv4)
{
    struct sockaddr_storage address;
    const struct sockaddr_in *ipv4 = (void *)&address;
    memset(&address, 0xaa, sizeof(address));
    ck_assert_int_eq(host_port_numeric("192.0.2.33", 9995, &address), 0);
    ck_assert_int_eq(ipv4->sin_family, AF_INET);
    ck_assert_uint_eq(ntohs(ipv4->sin_port), 9995);
    ck_assert_uint_eq(ntohl(ipv4->sin_addr.s_addr), 0xc0000221);
    ck_assert_mem_eq(ipv4->sin_zero, ((char[8]){0}), sizeof(ipv4->sin_zero));
}
END_TEST

START_TEST(numeric_ipv6)
{
    struct sockaddr_storage address;
    const struct sockaddr_in6 *ipv6 = (void *)&address;
    ck_assert_int_eq(host_port_numeric("2001:db8::7", 2055, &address), 0);
    ck_assert_int_eq(ipv6->sin6_family, AF_INET6);
    ck_assert_uint_eq(ntohs(ipv6->sin6_port), 2055);
    ck_assert_uint_eq(ipv6->sin6_addr.s6_addr[15], 7);
    ck_assert_uint_eq(ipv6->sin6_scope_id, 0);
    ck_assert_int_eq(host_port_numeric("fe80::1%lo", 2055, &address), 0);
    ck_assert_uint_eq(ipv6->sin6_scope_id, if_nametoindex("lo"));
    char by_number[32];
    snprintf(by_number, sizeof(by_number), "fe80::1%%%u", if_nametoindex("lo"));
    ck_assert_int_eq(host_port_numeric(by_number, 2055, &address), 0);
    ck_assert_uint_eq(ipv6->sin6_scope_id, if_nametoindex("lo"));
}
END_TEST

START_TEST(numeric_ipv4_in_ipv6)
{
    struct sockaddr_storage address, ipv4;
    ck_assert_int_eq(host_port_numeric("192.0.2.33", 9995, &ipv4), 0);
    ck_assert_int_eq(host_port_numeric("::ffff:192.0.2.33", 9995, &address), 0);
    ck_assert_mem_eq(&address, &ipv4, sizeof(address));
}
END_TEST

START_TEST(not_numeric)
{
    static const char *const names[] = {"",           "localhost", "10.1",  "1.2.3.4.5", "256.1.1.1",
                                        "1.2.3.4%lo", "fe80::g",   "::1::", "%lo"};
    struct sockaddr_storage address;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        ck_assert_msg(host_port_numeric(names[i], 1, &address) == -EINVAL, "%s", names[i]);
    char longest[256];
    memset(longest, '1', 255);
    longest[255] = '\0';
    ck_assert_int_eq(host_port_numeric(longest, 1, &address), -EINVAL);
    ck_assert_int_eq(host_port_numeric("fe80::1%nowhere0", 1, &address), -ENODEV);
    ck_assert_int_eq(host_port_numeric("fe80::1%", 1, &address), -ENODEV);
    ck_assert_int_eq(host_port_numeric("fe80::1%0", 1, &address), -ENODEV);
    ck_assert_int_eq(host_port_numeric("fe80::1%1x", 1, &address), -ENODEV);
    ck_assert_int_eq(host_port_numeric("fe80::1%2000000000", 1, &address), -ENODEV);
    ck_assert_int_eq(host_port_numeric("fe80::1%4294967297", 1, &address), -ENODEV);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("host_port");
    tcase_add_loop_test(tests, a_text_in_its_parts, 0, sizeof(texts) / sizeof(*texts));
    tcase_add_test(tests, too_long_for_a_host);
    tcase_add_test(tests, read_and_written);
    tcase_add_test(tests, an_address_alone);
    tcase_add_test(tests, numeric_ipv4);
    tcase_add_test(tests, numeric_ipv6);
    tcase_add_test(tests, numeric_ipv4_in_ipv6);
    tcase_add_test(tests, not_numeric);
    Suite *suite = suite_create("host_port");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
