/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/route_rules.h"

#include "ctflow9/input/route_cache.h"
#include "unit/ct_lab.h"

static struct route_rules *rules;

static void ip(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof(command), "ip %s", arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void setup(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "this needs root: %s", strerror(errno));
    lab_loopback_up();
    ip("link add up0 type veth peer up1");
    ip("link set up1 up");
    ip("link set up0 up");
    ip("address add 10.1.0.1/24 dev up0");
    ck_assert_int_eq(route_rules_open(&rules), 0);
}

static void teardown(void)
{
    route_rules_close(rules);
}

START_TEST(what_rules_look_at)
{
    static const struct {
        const char *rule;
        uint8_t parts;
    } each[] = {{"to 192.0.2.0/24 table 100", 0},
                {"from 10.1.0.0/24 table 100", ROUTE_BY_BOTH},
                {"iif up0 table 100", ROUTE_BY_BOTH},
                {"fwmark 0x1/0xff table 100", ROUTE_BY_BOTH | ROUTE_BY_MARK},
                {"ipproto udp dport 53 table 100", ROUTE_BY_BOTH | ROUTE_BY_PORTS},
                {"tos 0x10 table 100", ROUTE_BY_BOTH | ROUTE_BY_TOS},
                {"uidrange 0-1000 table 100", ROUTE_BY_ALL}};
    ck_assert_uint_eq(route_rules_read(rules, AF_INET), 0);
    ck_assert_uint_eq(route_rules_read(rules, AF_INET6), 0);
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        char arguments[128];
        snprintf(arguments, sizeof(arguments), "rule add %s", each[i].rule);
        ip(arguments);
        ck_assert_msg(route_rules_read(rules, AF_INET) == each[i].parts, "%s: %u", each[i].rule,
                      route_rules_read(rules, AF_INET));
        ck_assert_uint_eq(route_rules_read(rules, AF_INET6), 0);
        snprintf(arguments, sizeof(arguments), "rule del %s", each[i].rule);
        ip(arguments);
    }
    ip("-6 rule add from fd01::/64 table 100");
    ck_assert_uint_eq(route_rules_read(rules, AF_INET), 0);
    ck_assert_uint_eq(route_rules_read(rules, AF_INET6), ROUTE_BY_BOTH);
}
END_TEST

/* More than one datagram holds. */
START_TEST(many_rules)
{
    for (int i = 0; i < 300; i++) {
        char arguments[128];
        snprintf(arguments, sizeof(arguments), "rule add to 192.0.2.%d table 100", i % 256);
        ip(arguments);
    }
    ck_assert_uint_eq(route_rules_read(rules, AF_INET), 0);
    ip("rule add pref 32765 fwmark 1 table 100");
    ck_assert_uint_eq(route_rules_read(rules, AF_INET), ROUTE_BY_BOTH | ROUTE_BY_MARK);
}
END_TEST

START_TEST(what_balances)
{
    static const char *const path[] = {"/proc/sys/net/ipv4/fib_multipath_hash_policy",
                                       "/proc/sys/net/ipv6/fib_multipath_hash_policy"};
    static const uint8_t family[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        for (int policy = 0; policy < 3; policy++) {
            FILE *file = fopen(path[i], "w");
            ck_assert_ptr_nonnull(file);
            fprintf(file, "%d\n", policy);
            ck_assert_int_eq(fclose(file), 0);
            ck_assert_uint_eq(route_rules_read_balancing(rules, family[i]),
                              policy == 0 ? ROUTE_BY_BOTH : ROUTE_BY_BOTH | ROUTE_BY_PORTS);
        }
    }
}
END_TEST

START_TEST(changes_are_noticed)
{
    static const char *const each[] = {"route add 192.0.2.0/24 via 10.1.0.2",
                                       "-6 route add 2001:db8::/32 dev up0",
                                       "rule add to 192.0.2.0/24 table 100",
                                       "-6 rule add to 2001:db8::/32 table 100",
                                       "address add 10.1.0.9/24 dev up0",
                                       "address add fd01::1/64 dev up0 nodad",
                                       "link set up0 alias uplink"};
    while (route_rules_take_notices(rules))
        ;
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        ip(each[i]);
        ck_assert_msg(route_rules_take_notices(rules), "%s", each[i]);
        ck_assert(!route_rules_take_notices(rules));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route_rules");
    TCase *tests = tcase_create("route_rules");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_rules_look_at);
    tcase_add_test(tests, many_rules);
    tcase_add_test(tests, what_balances);
    tcase_add_test(tests, changes_are_noticed);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
