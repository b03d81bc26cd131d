/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/routes.h"

#include "unit/ct_lab.h"

/* lan0 has the inside, up1 and up2 lead out, both at once for what is not theirs. */
enum { LAN = 10, UP1 = 11, UP2 = 12 };

static struct routes *routes;

static void ip(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof(command), "ip %s", arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void add_link(const char *name, unsigned index, const char *ipv4, const char *ipv6)
{
    char arguments[128];
    snprintf(arguments, sizeof(arguments), "link add %s index %u type veth peer %s.", name, index, name);
    ip(arguments);
    snprintf(arguments, sizeof(arguments), "link set %s. up", name);
    ip(arguments);
    snprintf(arguments, sizeof(arguments), "link set %s up", name);
    ip(arguments);
    snprintf(arguments, sizeof(arguments), "address add %s dev %s", ipv4, name);
    ip(arguments);
    snprintf(arguments, sizeof(arguments), "address add %s dev %s nodad", ipv6, name);
    ip(arguments);
}

static void setup(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "this needs root: %s", strerror(errno));
    lab_loopback_up();
    add_link("lan0", LAN, "10.1.0.1/24", "fd01::1/64");
    add_link("up1", UP1, "10.2.0.1/24", "fd02::1/64");
    add_link("up2", UP2, "10.3.0.1/24", "fd03::1/64");
    ck_assert_int_eq(system("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
                            " net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1"),
                     0);
    ip("route add default nexthop via 10.2.0.2 dev up1 nexthop via 10.3.0.2 dev up2");
    ip("-6 route add default nexthop via fd02::2 dev up1 nexthop via fd03::2 dev up2");
    ck_assert_int_eq(routes_open(&routes), 0);
}

static void teardown(void)
{
    routes_close(routes);
}

static void set_address(union flow_address *address, const char *text)
{
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    *address = (union flow_address){0};
    ck_assert_int_eq(inet_pton(family, text, address), 1);
}

/* A UDP connection, without translation. */
static struct flow flow_of(const char *from, uint16_t from_port, const char *to, uint16_t to_port)
{
    struct flow flow = {.family = strchr(from, ':') ? AF_INET6 : AF_INET, .protocol = IPPROTO_UDP};
    struct flow_tuple *original = &flow.tuple[FLOW_ORIGINAL], *reply = &flow.tuple[FLOW_REPLY];
    set_address(&original->src, from);
    set_address(&original->dst, to);
    original->src_port = htons(from_port);
    original->dst_port = htons(to_port);
    *reply = (struct flow_tuple){.src = original->dst,
                                 .dst = original->src,
                                 .src_port = original->dst_port,
                                 .dst_port = original->src_port};
    return flow;
}

static void check_way(const struct flow *flow, enum flow_direction direction, uint32_t in, uint32_t out)
{
    ck_assert(flow_has_of(flow, FLOW_HAS_INTERFACES, direction));
    ck_assert_uint_eq(flow->in_interface[direction], in);
    ck_assert_uint_eq(flow->out_interface[direction], out);
}

/* By which of several a connection leaves is what the kernel says of its packets, ports included. */
START_TEST(several_uplinks)
{
    const char *const from[] = {"10.1.0.2", "fd01::2"}, *const to[] = {"192.0.2.1", "2001:db8::1"};
    unsigned by[UP2 + 1] = {0};
    for (uint16_t port = 20000; port < 20100; port++) {
        char command[256], line[512] = "";
        struct flow flow = flow_of(from[_i], port, to[_i], 53);
        routes_note(routes, &flow);
        snprintf(command, sizeof(command),
                 "ip -o route get %s from %s iif lan0 ipproto udp sport %u dport 53", to[_i], from[_i], port);
        FILE *shown = popen(command, "r");
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), shown));
        ck_assert_int_eq(pclose(shown), 0);
        check_way(&flow, FLOW_ORIGINAL, LAN, strstr(line, "dev up1") ? UP1 : UP2);
        check_way(&flow, FLOW_REPLY, flow.out_interface[FLOW_ORIGINAL], LAN);
        by[flow.out_interface[FLOW_ORIGINAL]]++;
    }
    ck_assert_uint_gt(by[UP1], 20);
    ck_assert_uint_gt(by[UP2], 20);
}
END_TEST

START_TEST(a_mark_chooses_a_table)
{
    ip("rule add fwmark 0x7 table 100");
    ip("route add default via 10.3.0.2 dev up2 table 100");
    for (uint16_t port = 20000; port < 20020; port++) {
        struct flow flow = flow_of("10.1.0.2", port, "192.0.2.1", 53);
        flow.mark = 7;
        ip("route replace 10.1.0.0/24 dev lan0 table 100");
        routes_note(routes, &flow);
        check_way(&flow, FLOW_ORIGINAL, LAN, UP2);
    }
}
END_TEST

START_TEST(translated)
{
    /* Source: routed as the host inside. */
    struct flow flow = flow_of("10.1.0.2", 30000, "10.2.0.2", 53);
    set_address(&flow.tuple[FLOW_REPLY].dst, "10.2.0.1");
    flow.tuple[FLOW_REPLY].dst_port = htons(40000);
    routes_note(routes, &flow);
    check_way(&flow, FLOW_ORIGINAL, LAN, UP1);
    check_way(&flow, FLOW_REPLY, UP1, LAN);
    /* Destination: to the host inside, not to this machine's address. */
    flow = flow_of("10.2.0.2", 30000, "10.2.0.1", 443);
    set_address(&flow.tuple[FLOW_REPLY].src, "10.1.0.2");
    routes_note(routes, &flow);
    check_way(&flow, FLOW_ORIGINAL, UP1, LAN);
    check_way(&flow, FLOW_REPLY, LAN, UP1);
}
END_TEST

START_TEST(this_machine_has_no_interface)
{
    struct flow flow = flow_of("10.1.0.2", 30000, "10.1.0.1", 53);
    routes_note(routes, &flow);
    check_way(&flow, FLOW_ORIGINAL, LAN, 0);
    check_way(&flow, FLOW_REPLY, 0, LAN);
    flow = flow_of("fd02::1", 30000, "fd02::2", 53);
    routes_note(routes, &flow);
    check_way(&flow, FLOW_ORIGINAL, 0, UP1);
    check_way(&flow, FLOW_REPLY, UP1, 0);
}
END_TEST

START_TEST(nowhere)
{
    ip("route add unreachable 198.51.100.0/24");
    struct flow flow = flow_of("10.1.0.2", 30000, "198.51.100.1", 53);
    routes_note(routes, &flow);
    ck_assert(!flow_has(&flow, FLOW_HAS_INTERFACES));
    struct route_question question = {.family = AF_INET, .protocol = IPPROTO_UDP};
    uint32_t out;
    set_address(&question.destination, "198.51.100.1");
    ck_assert_int_eq(routes_ask(routes, &question, &out), -EHOSTUNREACH);
}
END_TEST

/* Protocols that the kernel takes no number of. */
START_TEST(other_protocols)
{
    struct flow flow = flow_of("10.1.0.2", 0, "10.2.0.2", 0);
    flow.protocol = IPPROTO_GRE;
    routes_note(routes, &flow);
    check_way(&flow, FLOW_ORIGINAL, LAN, UP1);
    flow.protocol = IPPROTO_ICMP;
    flow.has = 0;
    routes_note(routes, &flow);
    check_way(&flow, FLOW_ORIGINAL, LAN, UP1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("routes");
    TCase *tests = tcase_create("routes");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, several_uplinks, 0, 2);
    tcase_add_test(tests, a_mark_chooses_a_table);
    tcase_add_test(tests, translated);
    tcase_add_test(tests, this_machine_has_no_interface);
    tcase_add_test(tests, nowhere);
    tcase_add_test(tests, other_protocols);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
