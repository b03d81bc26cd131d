/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/route_cache.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "run_suite.h"

static struct route_cache *cache;
static struct route_state state;

static void setup(void)
{
    ck_assert_int_eq(route_cache_open(&cache, 1024), 0);
    state = (struct route_state){.generation = 2};
}

static void teardown(void)
{
    route_cache_close(cache);
}

static struct flow flow_between(uint32_t from, uint32_t to)
{
    struct flow flow = {.family = AF_INET, .protocol = IPPROTO_UDP};
    flow.tuple[FLOW_ORIGINAL].src.v4 = flow.tuple[FLOW_REPLY].dst.v4 = htonl(from);
    flow.tuple[FLOW_ORIGINAL].dst.v4 = flow.tuple[FLOW_REPLY].src.v4 = htonl(to);
    flow.tuple[FLOW_ORIGINAL].src_port = flow.tuple[FLOW_REPLY].dst_port = htons(1);
    flow.tuple[FLOW_ORIGINAL].dst_port = flow.tuple[FLOW_REPLY].src_port = htons(2);
    return flow;
}

static void put_address(uint32_t address, uint32_t out_interface, uint8_t parts)
{
    const struct route route = {.out_interface = out_interface};
    const union flow_address at = {.v4 = htonl(address)};
    route_cache_put_address(cache, state.generation, AF_INET, &at, &route, parts);
}

static void expect_way(struct flow flow, uint32_t in, uint32_t out)
{
    ck_assert_int_eq(route_cache_find(cache, &state, &flow), ROUTE_NOTED);
    ck_assert(flow_has_of(&flow, FLOW_HAS_INTERFACES, FLOW_ORIGINAL));
    ck_assert_uint_eq(flow.in_interface[FLOW_ORIGINAL], in);
    ck_assert_uint_eq(flow.out_interface[FLOW_ORIGINAL], out);
}

static void expect(struct flow flow, enum route_found found)
{
    ck_assert_int_eq(route_cache_find(cache, &state, &flow), found);
    ck_assert(!flow_has(&flow, FLOW_HAS_INTERFACES));
}

START_TEST(two_addresses)
{
    expect(flow_between(1, 2), ROUTE_UNASKED);
    put_address(1, 10, 0);
    expect(flow_between(1, 2), ROUTE_UNASKED);
    put_address(2, 20, 0);
    expect_way(flow_between(1, 2), 10, 20);
    expect_way(flow_between(2, 1), 20, 10);
    put_address(2, 21, 0);
    expect_way(flow_between(1, 2), 10, 21);

    struct flow other = flow_between(1, 2); /* the same octets, of the other family */
    other.family = AF_INET6;
    expect(other, ROUTE_UNASKED);
}
END_TEST

START_TEST(own_addresses)
{
    put_address(1, 0, 0);
    put_address(2, 20, 0);
    expect_way(flow_between(1, 2), 0, 20);
    expect_way(flow_between(1, 1), 1, 1); /* over the loopback interface */
}
END_TEST

START_TEST(broadcast)
{
    const union flow_address all = {.v4 = htonl(255)};
    const struct route route = {.out_interface = 10, .is_to_all = true};
    put_address(1, 10, 0);
    put_address(2, 0, 0);
    route_cache_put_address(cache, state.generation, AF_INET, &all, &route, 0);
    expect_way(flow_between(1, 255), 10, 0);
    expect_way(flow_between(2, 255), 0, 10);
}
END_TEST

/* Each way that is put holds for what is equal in its parts, and for nothing else. */
START_TEST(parts_that_decide)
{
    struct flow flow = flow_between(1, 2), other;
    flow.in_interface[FLOW_ORIGINAL] = flow.out_interface[FLOW_REPLY] = 10;
    flow.out_interface[FLOW_ORIGINAL] = flow.in_interface[FLOW_REPLY] = 20;
    flow.has = FLOW_HAS_INTERFACES << FLOW_ORIGINAL | FLOW_HAS_INTERFACES << FLOW_REPLY;
    flow.mark = 7;
    static const uint8_t parts[] = {ROUTE_BY_BOTH, ROUTE_BY_BOTH | ROUTE_BY_PORTS,
                                    ROUTE_BY_BOTH | ROUTE_BY_MARK, ROUTE_BY_BOTH | ROUTE_BY_TOS};
    state.parts[0] = parts[_i];
    route_cache_put_flow(cache, state.generation, parts[_i], &flow);
    flow.has = 0;
    expect_way(flow, 10, 20);
    expect(flow_between(1, 3), ROUTE_UNASKED);
    expect(flow_between(2, 1), ROUTE_UNASKED);

    other = flow;
    other.tuple[FLOW_ORIGINAL].src_port = htons(3);
    ck_assert_int_eq(route_cache_find(cache, &state, &other), _i == 1 ? ROUTE_UNASKED : ROUTE_NOTED);
    other = flow;
    other.tuple[FLOW_REPLY].src_port = htons(3);
    ck_assert_int_eq(route_cache_find(cache, &state, &other), _i == 1 ? ROUTE_UNASKED : ROUTE_NOTED);
    other = flow;
    other.protocol = IPPROTO_TCP;
    ck_assert_int_eq(route_cache_find(cache, &state, &other), _i == 1 ? ROUTE_UNASKED : ROUTE_NOTED);
    other = flow;
    other.mark = 8;
    ck_assert_int_eq(route_cache_find(cache, &state, &other), _i == 2 ? ROUTE_UNASKED : ROUTE_NOTED);
    other = flow;
    other.tos[FLOW_REPLY] = 8;
    ck_assert_int_eq(route_cache_find(cache, &state, &other), _i == 3 ? ROUTE_UNASKED : ROUTE_NOTED);
}
END_TEST

/* One address whose route is one of several has the ports decide, of its connections alone. */
START_TEST(balanced_address)
{
    struct flow flow = flow_between(1, 9);
    put_address(1, 10, 0);
    put_address(2, 20, 0);
    put_address(9, 0, ROUTE_BY_BOTH | ROUTE_BY_PORTS);
    expect_way(flow_between(1, 2), 10, 20);
    expect(flow, ROUTE_UNASKED);
    route_cache_put_flow(cache, state.generation, ROUTE_BY_BOTH | ROUTE_BY_PORTS, &flow);
    expect(flow, ROUTE_UNKNOWN); /* none was noted */
    flow.in_interface[FLOW_ORIGINAL] = 10;
    flow.out_interface[FLOW_ORIGINAL] = 30;
    flow.has = FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
    route_cache_put_flow(cache, state.generation, ROUTE_BY_BOTH | ROUTE_BY_PORTS, &flow);
    flow.has = 0;
    expect_way(flow, 10, 30);
    flow.tuple[FLOW_ORIGINAL].src_port = htons(77);
    expect(flow, ROUTE_UNASKED);
}
END_TEST

/* After a change everything is asked for again, but of connections that had ended by then. */
START_TEST(changes)
{
    struct flow ended = flow_between(1, 2);
    put_address(1, 10, 0);
    put_address(2, 20, 0);
    state.generation++;
    state.changed_ns = 100 * NS_PER_S;
    expect(flow_between(1, 2), ROUTE_UNASKED);
    ended.stop_ns = state.changed_ns + ROUTE_GRACE_NS;
    expect_way(ended, 10, 20);
    ended.stop_ns++;
    expect(ended, ROUTE_UNASKED);
    state.generation++;
    ended.stop_ns = 1;
    expect(ended, ROUTE_UNASKED); /* that was two changes ago */
}
END_TEST

/* More than there is room for: what was put last is found, and nothing that is wrong. */
START_TEST(full)
{
    for (uint32_t i = 1; i <= 100000; i++) {
        put_address(i, i, 0);
        expect_way(flow_between(i, i), i, i);
    }
    unsigned found = 0;
    for (uint32_t i = 1; i <= 100000; i++) {
        struct flow flow = flow_between(i, i);
        if (route_cache_find(cache, &state, &flow) == ROUTE_UNASKED)
            continue;
        ck_assert_uint_eq(flow.in_interface[FLOW_ORIGINAL], i);
        found++;
    }
    ck_assert_uint_gt(found, 256);
    ck_assert_uint_le(found, 1024);
}
END_TEST

static _Atomic bool stopping;

static void *write_always(void *context)
{
    (void)context;
    for (uint32_t i = 0; !stopping; i++) {
        put_address(1 + i % 4, 1 + i % 4, 0);
        struct flow flow = flow_between(1 + i % 4, 1 + i % 3);
        flow.in_interface[FLOW_ORIGINAL] = flow.out_interface[FLOW_ORIGINAL] = 1 + i % 4;
        flow.has = FLOW_HAS_INTERFACES << FLOW_ORIGINAL;
        route_cache_put_flow(cache, 2, ROUTE_BY_BOTH, &flow);
    }
    return NULL;
}

/* Places that are being written are never found half. */
START_TEST(beside_a_writer)
{
    enum { FINDS = 200000 };
    route_cache_close(cache);
    ck_assert_int_eq(route_cache_open(&cache, 2), 0);
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_always, NULL), 0);
    unsigned found = 0;
    for (uint32_t i = 0; i < FINDS || (found == 0 && i < 1000 * FINDS); i++) {
        struct route_state asked = state;
        struct flow flow = flow_between(1 + i % 4, i % 2 != 0 ? 1 + i % 4 : 1 + i % 3);
        asked.parts[0] = i % 2 != 0 ? 0 : ROUTE_BY_BOTH;
        if (route_cache_find(cache, &asked, &flow) != ROUTE_NOTED)
            continue;
        found++;
        ck_assert_uint_eq(flow.in_interface[FLOW_ORIGINAL], 1 + i % 4);
        ck_assert_uint_eq(flow.out_interface[FLOW_ORIGINAL], 1 + i % 4);
    }
    stopping = true;
    pthread_join(writer, NULL);
    ck_assert_uint_gt(found, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route_cache");
    TCase *tests = tcase_create("route_cache");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, two_addresses);
    tcase_add_test(tests, own_addresses);
    tcase_add_test(tests, broadcast);
    tcase_add_loop_test(tests, parts_that_decide, 0, 4);
    tcase_add_test(tests, balanced_address);
    tcase_add_test(tests, changes);
    tcase_add_test(tests, full);
    tcase_add_test(tests, beside_a_writer);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
