/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/host_port.h"
#include "ctflow9/output/resolver.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "run_suite.h"
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

int main(void)
{
    TCase *tests = tcase_create("resolver");
    tcase_add_checked_fixture(tests, open_resolver, close_resolver);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, localhost_resolves);
    tcase_add_test(tests, a_bad_name_fails_with_a_reason);
    tcase_add_test(tests, at_rest_it_wants_nothing);

    Suite *suite = suite_create("resolver");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
