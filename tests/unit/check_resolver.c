/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/host_port.h"
#include "ctflow9/output/resolver.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slow.h"

/* Names that need a name server are looked up by tests/kernel/check_udp_recovery.c, in a namespace. */

static struct resolver *resolver;

static struct answer {
    unsigned calls;
    size_t count;
    struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX];
    char why[128];
} answer;

static void done(void *context, const struct sockaddr_storage *addresses, size_t count, const char *why)
{
    struct answer *to = context;
    to->calls++;
    to->count = count;
    memcpy(to->addresses, addresses, count * sizeof(*addresses));
    strncpy(to->why, why, sizeof(to->why) - 1);
}

static void look_up(const char *host, int family)
{
    answer = (struct answer){0};
    resolver_look_up(resolver, host, 2055, family, done, &answer);
    for (unsigned i = 0; i < 100 * slow_factor() && answer.calls == 0; i++) {
        struct poll_set set;
        poll_set_clear(&set);
        resolver_wants(resolver, &set);
        poll(set.fds, set.count, 100);
        resolver_run(resolver);
    }
    ck_assert_uint_eq(answer.calls, 1);
}

static void open_resolver(void)
{
    ck_assert_int_eq(resolver_open(&resolver), 0);
}

static void close_resolver(void)
{
    resolver_close(resolver);
}

START_TEST(localhost_resolves)
{
    struct sockaddr_storage expected;
    ck_assert_int_eq(host_port_numeric("127.0.0.1", 2055, &expected), 0);
    look_up("localhost", AF_INET);
    ck_assert_uint_ge(answer.count, 1);
    ck_assert_mem_eq(&answer.addresses[0], &expected, sizeof(expected));
    look_up("localhost", AF_UNSPEC);
    ck_assert_uint_ge(answer.count, 1);
}
END_TEST

START_TEST(a_bad_name_fails_with_a_reason)
{
    char name[81];
    memset(name, 'a', 80);
    name[80] = '\0';
    look_up(name, AF_UNSPEC);
    ck_assert_uint_eq(answer.count, 0);
    ck_assert_uint_gt(strlen(answer.why), 0);
    look_up("localhost", AF_INET);
    ck_assert_uint_ge(answer.count, 1);
}
END_TEST

START_TEST(at_rest_it_wants_nothing)
{
    look_up("localhost", AF_INET);
    resolver_run(resolver);
    struct poll_set set;
    poll_set_clear(&set);
    resolver_wants(resolver, &set);
    ck_assert_uint_eq(set.count, 0);
    ck_assert_uint_eq(set.deadline_ns, POLL_SET_NEVER);
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
    TCase *tests = tcase_create("resolver");
    tcase_add_checked_fixture(tests, open_resolver, close_resolver);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, localhost_resolves);
    tcase_add_test(tests, a_bad_name_fails_with_a_reason);
    tcase_add_test(tests, at_rest_it_wants_nothing);
    tcase_add_test(tests, numeric_ipv4);
    tcase_add_test(tests, numeric_ipv6);
    tcase_add_test(tests, numeric_ipv4_in_ipv6);
    tcase_add_test(tests, not_numeric);

    Suite *suite = suite_create("resolver");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
