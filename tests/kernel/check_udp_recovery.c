/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sending through every trouble that needs a network of its own to happen: each test makes namespaces that
 * vanish with its process. Needs root, ip, tc and nft.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "bound_sockets.h"
#include "collectors_rig.h"
#include "run_suite.h"

enum { PORT = 2055, DNS_PORT = 53 };

static int near_ns, far_ns; /* where the sender is, and where the collectors are */
static int receiver;

static void enter(int namespace)
{
    ck_assert_msg(setns(namespace, CLONE_NEWNET) == 0, "setns: %s", strerror(errno));
}

static int new_namespace(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "unshare: %s (these tests need root)", strerror(errno));
    int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(namespace, 0);
    ck_assert_int_eq(system("ip link set lo up"), 0);
    return namespace;
}

/* A command in a namespace; ends in the near one. */
__attribute__((format(printf, 2, 3))) static void run_in(int namespace, const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    enter(namespace);
    ck_assert_msg(system(command) == 0, "failed: %s", command);
    enter(near_ns);
}

static int receiver_in(int namespace, const char *host, uint16_t port)
{
    enter(namespace);
    int fd = rig_receiver(host, port);
    enter(near_ns);
    return fd;
}

/* A pair of virtual links between two namespaces, up, without addresses. */
static void link_namespaces(int a, const char *a_link, int b, const char *b_link)
{
    run_in(a, "ip link add %s type veth peer name %s netns /proc/%d/fd/%d", a_link, b_link, getpid(), b);
    run_in(a, "ip link set %s up", a_link);
    run_in(b, "ip link set %s up", b_link);
}

static void setup(void)
{
    rig_setup();
    rig_options.template_datagrams = 100000;
    far_ns = new_namespace();
    near_ns = new_namespace();
    link_namespaces(near_ns, "near", far_ns, "far");
    run_in(near_ns, "ip addr add 10.9.0.1/24 dev near && ip addr add fd09::1/64 dev near nodad");
    run_in(far_ns, "ip addr add 10.9.0.2/24 dev far && ip addr add fd09::2/64 dev far nodad");
}

/* The collector is at host; its first templates have arrived. */
static struct rig_datagram open_to(const char *host)
{
    receiver = receiver_in(far_ns, host, PORT);
    rig_add_collector(host, PORT);
    rig_open();
    rig_run();
    struct rig_datagram first = rig_expect(receiver);
    ck_assert(first.templates);
    return first;
}

/* From the first data on nothing is missing, up to last. Templates may come between. */
static void expect_all_from(uint32_t sequence, unsigned number, unsigned last)
{
    while (number <= last) {
        struct rig_datagram datagram = rig_expect(receiver);
        ck_assert_uint_eq(datagram.sequence, sequence++);
        if (!datagram.templates)
            ck_assert_uint_eq(datagram.number, number++);
    }
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

static bool is_address(const struct sockaddr_storage *address, const char *text)
{
    struct sockaddr_storage expected;
    ck_assert_int_eq(host_port_numeric(text, port_of(address), &expected), 0);
    if (address->ss_family == AF_INET)
        return memcmp(address, &expected, sizeof(struct sockaddr_in)) == 0;
    return memcmp(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)&expected)->sin6_addr, 16) == 0;
}

static const char *const collector_hosts[] = {"10.9.0.2", "fd09::2"};

/* A smaller MTU of the link itself refuses segments and takes fragments. */
START_TEST(a_small_mtu_refuses_segments)
{
    if (!rig_holds_megabytes())
        return;
    run_in(near_ns, "ip link set near mtu 1300");
    open_to(collector_hosts[_i]);
    for (unsigned i = 0; i < 200; i++)
        rig_queue(20);
    rig_run();
    expect_all_from(1, 0, 199);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 1);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
}
END_TEST

/* A smaller MTU behind a router: over IPv4 it fragments, and nothing is lost. */
START_TEST(a_small_path_mtu_loses_nothing)
{
    if (!rig_holds_megabytes())
        return;
    int end_ns = new_namespace();
    link_namespaces(far_ns, "next", end_ns, "end");
    run_in(
        far_ns,
        "ip addr add 10.9.1.1/24 dev next && ip link set next mtu 1280 && sysctl -qw net.ipv4.ip_forward=1");
    run_in(end_ns, "ip addr add 10.9.1.2/24 dev end && ip route add default via 10.9.1.1");
    run_in(near_ns, "ip route add default via 10.9.0.2");
    receiver = receiver_in(end_ns, "10.9.1.2", PORT);
    rig_add_collector("10.9.1.2", PORT);
    rig_open();
    for (unsigned i = 0; i < 200; i++)
        rig_queue(20);
    rig_run();
    expect_all_from(0, 0, 199);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

/* Over IPv6 no router fragments: what was under way when the path's MTU became known is lost, no more. */
START_TEST(a_small_path_mtu_is_learnt)
{
    int end_ns = new_namespace();
    link_namespaces(far_ns, "next", end_ns, "end");
    run_in(far_ns, "ip addr add fd10::1/64 dev next nodad && ip link set next mtu 1280 && "
                   "sysctl -qw net.ipv6.conf.all.forwarding=1");
    run_in(end_ns, "ip addr add fd10::2/64 dev end nodad && ip route add default via fd10::1");
    run_in(near_ns, "ip route add default via fd09::2");
    int log = rig_capture_log();
    receiver = receiver_in(end_ns, "fd10::2", PORT);
    rig_add_collector("fd10::2", PORT);
    rig_open();
    rig_run();
    struct rig_datagram datagram;
    do {
        rig_queue(20);
        rig_run_after(NS_PER_S);
        ck_assert_uint_lt(rig_next_number, 10);
    } while (!rig_receive(receiver, 500, &datagram));
    ck_assert(datagram.templates);
    unsigned next = rig_queue(20);
    rig_run_after(NS_PER_S);
    do
        datagram = rig_expect(receiver);
    while (datagram.templates || datagram.number < next);
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
    rig_expect_log(log, "datagrams are longer than the way to it takes");
    ck_assert_ptr_null(strstr(rig_log(log), "is it running?"));
}
END_TEST

/* The address that the socket was connected from goes, another comes: over IPv6 no send fails. */
START_TEST(a_changed_local_address_connects_anew)
{
    static const char *const changes[] = {
        "ip addr del 10.9.0.1/24 dev near && ip addr add 10.9.0.7/24 dev near",
        "ip addr del fd09::1/64 dev near && ip addr add fd09::7/64 dev near nodad"};
    static const char *const sources[] = {"10.9.0.7", "fd09::7"};

    struct rig_datagram first = open_to(collector_hosts[_i]);
    rig_queue(20);
    rig_run();
    rig_expect_data(receiver, 1, 0);

    run_in(near_ns, "%s", changes[_i]);
    rig_queue(20);
    rig_run_after(2 * NS_PER_S);
    rig_run_after(2 * NS_PER_S);
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert(datagram.templates);
    ck_assert(is_address(&datagram.from, sources[_i]));
    ck_assert_uint_eq(port_of(&datagram.from), port_of(&first.from));
    ck_assert_uint_eq(datagram.sequence, 2);
    rig_expect_data(receiver, 3, 1);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 1);
}
END_TEST

/* The kernel would choose another local address now; the old one is still there. */
static const struct source_move {
    const char *host;
    const char *change;
    const char *source;
} source_moves[] = {
    {"10.9.0.2", "ip addr add 10.9.0.7/24 dev near && ip route replace 10.9.0.2/32 dev near src 10.9.0.7",
     "10.9.0.7"}, /* a route */
    {"fd09::2",
     "ip addr add fd09::7/64 dev near nodad && ip -6 route replace fd09::2/128 dev near src fd09::7",
     "fd09::7"},
    {"fd09::2", "ip addr add fd09::7/64 dev near nodad && ip addr change fd09::1/64 dev near preferred_lft 0",
     "fd09::7"}, /* a deprecated address */
};
enum { SOURCE_MOVES = sizeof(source_moves) / sizeof(source_moves[0]) };

START_TEST(a_source_that_moves_is_followed)
{
    const struct source_move *move = &source_moves[_i];
    rig_options.template_refresh_s = 10;
    struct rig_datagram first = open_to(move->host);
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
        rig_expect_data(receiver, 1 + i, i);
    }
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);

    run_in(near_ns, "%s", move->change);
    rig_queue(20);
    rig_run_after(NS_PER_S);
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert(datagram.templates);
    ck_assert(is_address(&datagram.from, move->source));
    ck_assert_uint_eq(port_of(&datagram.from), port_of(&first.from));
    ck_assert_uint_eq(datagram.sequence, 6);
    rig_expect_data(receiver, 7, 5);
    for (unsigned i = 0; i < 5; i++)
        rig_run_after(NS_PER_S);
    rig_expect_nothing(receiver);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 1);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

/* Nothing but templates is sent. */
START_TEST(a_source_that_moves_is_followed_when_idle)
{
    rig_options.template_refresh_s = 10;
    open_to(source_moves[_i].host);
    run_in(near_ns, "%s", source_moves[_i].change);
    rig_run_after(10 * NS_PER_S);
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert(datagram.templates && is_address(&datagram.from, source_moves[_i].source));
    rig_expect_nothing(receiver);
}
END_TEST

START_TEST(a_source_address_that_was_given_stays)
{
    bool ipv6 = strchr(source_moves[_i].host, ':') != NULL;
    snprintf(rig_options.source_address, sizeof(rig_options.source_address), "%s",
             ipv6 ? "fd09::1" : "10.9.0.1");
    struct rig_datagram first = open_to(source_moves[_i].host);
    run_in(near_ns, "%s", source_moves[_i].change);
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
        struct rig_datagram datagram = rig_expect(receiver);
        ck_assert(!datagram.templates);
        ck_assert_mem_eq(&datagram.from, &first.from, sizeof(first.from));
    }
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
}
END_TEST

/* A new socket finds no route, but the one that is connected goes on: its local address has a table of its
 * own. */
START_TEST(what_works_is_kept)
{
    struct rig_datagram first = open_to("10.9.0.2");
    run_in(near_ns, "ip route add 10.9.0.2 dev near table 100 && ip rule add from 10.9.0.1 lookup 100 && "
                    "ip route del 10.9.0.0/24 dev near");
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
        struct rig_datagram datagram = rig_expect(receiver);
        ck_assert(!datagram.templates);
        ck_assert_mem_eq(&datagram.from, &first.from, sizeof(first.from));
    }
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

/* Two ways to the collector, chosen by ports too: the question after the source is asked with the same port.
 */
START_TEST(one_of_two_uplinks_is_kept)
{
    link_namespaces(near_ns, "near2", far_ns, "far2");
    run_in(near_ns, "ip addr add 10.8.0.1/24 dev near2 && sysctl -qw net.ipv4.fib_multipath_hash_policy=1 && "
                    "ip route add 10.7.0.2 nexthop via 10.9.0.2 nexthop via 10.8.0.2");
    run_in(far_ns, "ip addr add 10.8.0.2/24 dev far2 && ip addr add 10.7.0.2/32 dev lo");
    open_to("10.7.0.2");
    for (unsigned i = 0; i < 20; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
    }
    expect_all_from(1, 0, 19);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
}
END_TEST

/* As with a VRF whose route is leaked: sends leave from an address that bind(2) does not know. */
START_TEST(an_address_of_another_table_is_used)
{
    run_in(near_ns, "ip route del local 10.9.0.1 dev near table local && "
                    "ip route add local 10.9.0.1 dev near table 100 && ip rule add lookup 100 pref 100");
    struct rig_datagram first = open_to("10.9.0.2");
    ck_assert(is_address(&first.from, "10.9.0.1"));
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
    }
    expect_all_from(1, 0, 4);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

/* The collector's link is in a VRF, and the main table has a route over it: sends leave, though bind(2)
 * outside of the VRF does not know their address. */
START_TEST(a_leaked_route_of_a_vrf_is_used)
{
    if (system("ip link add vr type vrf table 10 2>/dev/null && ip link set vr up") != 0) {
        fputs("not tested, VRF: this kernel has none\n", stderr);
        rig_open();
        return;
    }
    run_in(near_ns, "ip link set near master vr && ip -6 addr replace fd09::1/64 dev near nodad && "
                    "ip route add 10.9.0.2/32 dev near && ip -6 route add fd09::2/128 dev near");
    open_to(collector_hosts[_i]);
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
    }
    expect_all_from(1, 0, 4);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
}
END_TEST

/* As under "ip vrf exec": the binding that sockets get when they are made decides the way, also later. */
START_TEST(a_binding_to_an_interface_stays)
{
    link_namespaces(near_ns, "near2", far_ns, "far2");
    run_in(near_ns, "ip addr add 10.8.0.1/24 dev near2 && ip route add 10.9.0.2/32 via 10.8.0.2");
    run_in(far_ns, "ip addr add 10.8.0.2/24 dev far2");
    bound_sockets_begin("near");
    struct rig_datagram first = open_to("10.9.0.2");
    ck_assert(is_address(&first.from, "10.9.0.1"));
    run_in(near_ns, "ip addr del 10.9.0.1/24 dev near && ip addr add 10.9.0.7/24 dev near");
    rig_queue(20);
    rig_run_after(NS_PER_S);
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert(datagram.templates && is_address(&datagram.from, "10.9.0.7"));
}
END_TEST

/* The address goes and the route stays: over IPv6 sends would go on from what is not the machine's any more.
 */
START_TEST(a_lost_source_address_is_noticed_beside_its_route)
{
    run_in(near_ns, "ip addr add fd05::1/128 dev lo nodad && ip -6 route add fd09::2/128 dev near");
    run_in(far_ns, "ip -6 route add fd05::1/128 dev far");
    snprintf(rig_options.source_address, sizeof(rig_options.source_address), "fd05::1");
    struct rig_datagram first = open_to("fd09::2");
    run_in(near_ns, "ip addr del fd05::1/128 dev lo");
    unsigned number = rig_queue(20);
    for (unsigned i = 0; i < 5; i++)
        rig_run_after(NS_PER_S);
    rig_expect_nothing(receiver);
    run_in(near_ns, "ip addr add fd05::1/128 dev lo nodad");
    rig_run_after(NS_PER_S);
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert(datagram.templates);
    ck_assert_mem_eq(&datagram.from, &first.from, sizeof(first.from));
    rig_expect_data(receiver, 2, number);
}
END_TEST

/* Nothing that waits is lost, however often; the port stays. */
START_TEST(a_lost_local_address_is_waited_for)
{
    static const char *const removals[] = {"ip addr del 10.9.0.1/24 dev near",
                                           "ip addr del fd09::1/64 dev near"};
    static const char *const additions[] = {"ip addr add 10.9.0.1/24 dev near",
                                            "ip addr add fd09::1/64 dev near nodad"};
    static const char *const sources[] = {"10.9.0.1", "fd09::1"};

    if (_i >= 2)
        snprintf(rig_options.source_address, sizeof(rig_options.source_address), "%s", sources[_i % 2]);
    struct rig_datagram first = open_to(collector_hosts[_i % 2]);
    uint32_t sequence = 1;
    for (unsigned round = 0; round < 3; round++) {
        run_in(near_ns, "%s", removals[_i % 2]);
        unsigned number = rig_queue(20);
        for (unsigned i = 0; i < 5; i++)
            rig_run_after(NS_PER_S);
        rig_expect_nothing(receiver);
        ck_assert(!collectors_pending(rig_udp));
        run_in(near_ns, "%s", additions[_i % 2]);
        rig_run_after(NS_PER_S);
        struct rig_datagram datagram = rig_expect(receiver);
        ck_assert(datagram.templates);
        ck_assert_mem_eq(&datagram.from, &first.from, sizeof(first.from));
        ck_assert_uint_eq(datagram.sequence, sequence++);
        rig_expect_data(receiver, sequence++, number);
    }
    ck_assert_uint_eq(rig_collector(0)->records_dropped, 0);
}
END_TEST

START_TEST(a_source_address_that_comes_later_is_waited_for)
{
    snprintf(rig_options.source_address, sizeof(rig_options.source_address), "10.9.0.7");
    receiver = receiver_in(far_ns, "10.9.0.2", PORT);
    rig_add_collector("10.9.0.2", PORT);
    rig_open();
    rig_queue(20);
    rig_run();
    run_in(near_ns, "ip addr add 10.9.0.7/24 dev near");
    rig_run_after(NS_PER_S);
    struct rig_datagram datagram = rig_expect(receiver);
    ck_assert(datagram.templates && is_address(&datagram.from, "10.9.0.7"));
    rig_expect_data(receiver, 1, 0);
}
END_TEST

/* Of the interface's name or number, both of the collector and of --source-address. */
START_TEST(an_interface_that_comes_later_is_waited_for)
{
    static const char *const zones[] = {"late", "77"};
    for (size_t i = 0; i < 2; i++) {
        char host[64];
        snprintf(host, sizeof(host), "fe80::2%%%s", zones[i]);
        rig_add_collector(host, PORT);
    }
    snprintf(rig_options.source_address, sizeof(rig_options.source_address), "fe80::1%%%s", zones[_i]);
    rig_open();
    rig_queue(20);
    for (unsigned i = 0; i < 3; i++)
        rig_run_after(NS_PER_S);
    ck_assert_uint_eq(rig_collector(0)->datagrams, 0);
    run_in(near_ns,
           "ip link del near && ip link add near index 77 type veth peer name far netns /proc/%d/fd/%d "
           "&& ip link set near name late && ip addr add fe80::1/64 dev late nodad && "
           "ip link set late up",
           getpid(), far_ns);
    run_in(far_ns, "ip addr add fe80::2/64 dev far nodad && ip link set far up");
    receiver = receiver_in(far_ns, "fe80::2%far", PORT);
    rig_run_after(NS_PER_S);
    for (size_t i = 0; i < 2; i++) {
        struct rig_datagram datagram = rig_expect(receiver);
        ck_assert(datagram.templates && is_address(&datagram.from, "fe80::1"));
        rig_expect_data(receiver, 1, 0);
    }
}
END_TEST

START_TEST(a_link_that_is_down_is_waited_for)
{
    open_to("10.9.0.2");
    run_in(near_ns, "ip link set near down");
    rig_queue(20);
    for (unsigned i = 0; i < 5; i++)
        rig_run_after(NS_PER_S);
    run_in(near_ns, "ip link set near up");
    rig_run_after(NS_PER_S);
    rig_expect_templates(receiver, 1);
    rig_expect_data(receiver, 2, 0);
}
END_TEST

START_TEST(a_local_firewall_is_waited_for)
{
    open_to("10.9.0.2");
    run_in(near_ns,
           "nft 'table inet t { chain o { type filter hook output priority 0; udp dport %d drop; }; }'",
           PORT);
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
    }
    ck_assert_uint_eq(rig_collector(0)->send_errors, 5);
    run_in(near_ns, "nft delete table inet t");
    rig_run_after(NS_PER_S);
    rig_expect_templates(receiver, 1);
    for (unsigned i = 0; i < 5; i++)
        rig_expect_data(receiver, 2 + i, i);
    rig_queue(20);
    rig_run();
    rig_expect_data(receiver, 7, 5);
}
END_TEST

START_TEST(a_broadcast_address_is_told)
{
    int log = rig_capture_log();
    rig_add_collector("10.9.0.255", PORT);
    rig_open();
    rig_run();
    rig_expect_log(log, "a broadcast address");
}
END_TEST

START_TEST(a_lack_of_descriptors_is_told)
{
    int log = rig_capture_log();
    receiver = receiver_in(far_ns, "10.9.0.2", PORT);
    rig_add_collector("10.9.0.2", PORT);
    rig_open();
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    rig_run();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    rig_expect_log(log, "Too many open files (raise ulimit -n");
    rig_run_after(NS_PER_S);
    rig_expect_templates(receiver, 0);
}
END_TEST

/* A trouble goes over into another one: the second cause is told too, a minute after the first. */
START_TEST(a_cause_that_changes_is_told)
{
    run_in(near_ns, "ip route del 10.9.0.0/24 dev near");
    int log = rig_capture_log();
    rig_add_collector("10.9.0.2", PORT);
    rig_open();
    rig_run();
    rig_expect_log(log, "Network is unreachable");
    run_in(near_ns, "ip route add prohibit 10.9.0.2");
    rig_run_after(NS_PER_S);
    ck_assert_ptr_null(strstr(rig_log(log), "prohibits"));
    rig_run_after(60 * NS_PER_S);
    rig_expect_log(log, "a route that prohibits it");
    size_t octets = strlen(rig_log(log));
    rig_run_after(60 * NS_PER_S);
    ck_assert_uint_eq(strlen(rig_log(log)), octets);
}
END_TEST

/* The neighbour does not answer; the kernel tells by an ICMP error of its own. */
START_TEST(a_host_that_comes_up_gets_templates)
{
    run_in(near_ns, "sysctl -qw net.ipv4.neigh.near.mcast_solicit=1 net.ipv4.neigh.near.retrans_time_ms=50");
    rig_add_collector("10.9.0.9", PORT);
    rig_open();
    for (unsigned i = 0; i < 200 && rig_collector(0)->unreachable == 0; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
        poll(NULL, 0, 50);
    }
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);

    run_in(far_ns, "ip addr add 10.9.0.9/24 dev far");
    receiver = receiver_in(far_ns, "10.9.0.9", PORT);
    struct rig_datagram datagram = {0};
    for (unsigned i = 0; i < 200 && !datagram.templates; i++) {
        rig_queue(20);
        rig_run_after(NS_PER_S);
        /* Data may come first: the kernel kept a few datagrams while it asked for the neighbour. */
        while (!datagram.templates && rig_receive(receiver, 50, &datagram))
            ;
    }
    ck_assert(datagram.templates);
    unsigned last = rig_queue(20);
    rig_run_after(NS_PER_S);
    uint32_t sequence = datagram.sequence;
    do {
        datagram = rig_expect(receiver);
        ck_assert_uint_eq(datagram.sequence, ++sequence);
    } while (datagram.templates || datagram.number < last);
}
END_TEST

/* The descriptor of the socket that sends to the collector. */
static int sender(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_storage peer;
        socklen_t octets = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &octets) == 0 && port_of(&peer) == PORT)
            return fd;
    }
    ck_abort_msg("no socket is connected to port %d", PORT);
}

/* What the kernel makes of the ICMP errors: every errno but EMSGSIZE, which has tests of its own. */
static const struct rejection {
    const char *host;
    const char *type;
} rejections[] = {
    {"10.9.0.2", "icmp type port-unreachable"},  /* ECONNREFUSED */
    {"10.9.0.2", "icmp type host-unreachable"},  /* EHOSTUNREACH */
    {"10.9.0.2", "icmp type net-unreachable"},   /* ENETUNREACH */
    {"10.9.0.2", "icmp type prot-unreachable"},  /* ENOPROTOOPT */
    {"10.9.0.2", "icmp type admin-prohibited"},  /* EHOSTUNREACH */
    {"fd09::2", "icmpv6 type port-unreachable"}, /* ECONNREFUSED */
    {"fd09::2", "icmpv6 type no-route"},         /* ENETUNREACH */
    {"fd09::2", "icmpv6 type addr-unreachable"}, /* EHOSTUNREACH */
    {"fd09::2", "icmpv6 type admin-prohibited"}, /* EACCES */
};
enum { REJECTIONS = sizeof(rejections) / sizeof(rejections[0]) };

/* ICMP errors that find no room in the error queue: only what a send says tells of them. */
START_TEST(icmp_errors_without_room_hold_nothing_up)
{
    if (!rig_holds_megabytes())
        return;
    struct rig_datagram first = open_to(rejections[_i].host);
    run_in(far_ns,
           "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 && "
           "nft 'table inet t { chain i { type filter hook input priority 0; "
           "udp dport %d reject with %s; }; }'",
           PORT, rejections[_i].type);
    for (unsigned i = 0; i < 30; i++) {
        int none;
        setsockopt(sender(), SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
        rig_flood(receiver, &first.from);
        for (unsigned j = 0; j < 200; j++)
            rig_queue(1);
        rig_run_after(100 * NS_PER_MS);
    }
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);
    ck_assert_uint_ge(rig_collector(0)->records, 4000); /* of 6000: the rest waits for templates */

    run_in(far_ns, "nft delete table inet t");
    unsigned last = rig_queue(10);
    struct rig_datagram datagram;
    for (unsigned i = 0; i < 11; i++)
        rig_run_after(100 * NS_PER_MS);
    do
        datagram = rig_expect(receiver);
    while (datagram.number < last);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
    ck_assert_uint_eq(rig_collector(0)->records, 6010);
}
END_TEST

/* The link takes less than there is, so the socket's send buffer fills. */
START_TEST(a_slow_link_blocks_only_its_collector)
{
    if (!rig_holds_megabytes())
        return;
    enum { DATAGRAMS = 600 };

    run_in(near_ns, "tc qdisc add dev near root tbf rate 16mbit burst 70000 limit 10000000");
    open_to("10.9.0.2");
    int other = rig_receiver("127.0.0.1", PORT);
    collectors_close(rig_udp);
    packet_close(rig_packet);
    rig_add_collector("127.0.0.1", PORT);
    rig_open();
    for (unsigned i = 0; i < DATAGRAMS; i++)
        rig_queue(20);
    rig_run();
    ck_assert_uint_eq(rig_collector(1)->records, DATAGRAMS * 20);
    rig_expect_templates(other, 0);

    unsigned waits = 0;
    for (; rig_collector(0)->records < DATAGRAMS * 20; waits++) {
        ck_assert(collectors_pending(rig_udp));
        struct poll_set set;
        poll_set_clear(&set);
        collectors_wants(rig_udp, &set);
        ck_assert_uint_eq(set.count, 1);
        ck_assert_int_eq(set.fds[0].events, POLLOUT);
        ck_assert_int_eq(poll(set.fds, set.count, rig_wait_ms()), 1);
        rig_run_after(NS_PER_MS);
    }
    ck_assert_uint_gt(waits, 0);
    rig_expect_templates(receiver, 0);
    expect_all_from(1, 0, DATAGRAMS - 1);
    ck_assert_uint_eq(rig_collector(0)->send_errors, 0);
}
END_TEST

/* The link's queue is full before the socket's buffer is: the kernel drops, and says so. */
START_TEST(what_the_link_drops_is_sent_again)
{
    enum { DATAGRAMS = 100 };

    run_in(near_ns, "tc qdisc add dev near root tbf rate 16mbit burst 5000 limit 5000");
    open_to("10.9.0.2");
    for (unsigned i = 0; i < DATAGRAMS; i++)
        rig_queue_sized(RIG_FULL_OCTETS - i, 20);
    for (unsigned i = 0; i < 1000 && rig_collector(0)->records < DATAGRAMS * 20; i++) {
        rig_run_after(10 * NS_PER_MS);
        poll(NULL, 0, 5);
    }
    expect_all_from(1, 0, DATAGRAMS - 1);
    ck_assert_uint_gt(rig_collector(0)->send_errors, 0);
}
END_TEST

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int dns;                /* the name server's socket */
static const char *dns_answer; /* the IPv4 address of every name; NULL: there is no such name */

/* An /etc of this process's own, whatever the machine's holds, and a name server at that address. */
static void setup_name_server(const char *hosts, const char *resolv_conf, const char *server)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", "/etc", "tmpfs", 0, NULL), 0);
    write_file("/etc/hosts", hosts);
    write_file("/etc/resolv.conf", resolv_conf);
    write_file("/etc/nsswitch.conf", "hosts: mymachines resolve [!UNAVAIL=return] myhostname\n");
    dns = rig_receiver(server, DNS_PORT);
}

static void setup_names(const char *hosts)
{
    setup_name_server(hosts, "nameserver 127.0.0.1\n", "127.0.0.1");
}

/* Answers one query that waits, RFC 1035 4.1: the question again, and an A record when that was asked for. */
static void serve_dns(void)
{
    enum { HEADER = 12, TYPE_A = 1, FLAGS_RESPONSE = 0x81, FLAGS_AVAILABLE = 0x80, NO_SUCH_NAME = 3 };

    uint8_t message[1024];
    struct sockaddr_storage from;
    socklen_t from_octets = sizeof(from);
    ssize_t octets = recvfrom(dns, message, 512, MSG_DONTWAIT, (struct sockaddr *)&from, &from_octets);
    if (octets < 0)
        return;
    uint8_t *end = message + HEADER;
    while (*end != 0)
        end += 1 + *end;
    bool asks_a = end[2] == TYPE_A;
    end += 5;

    message[2] = FLAGS_RESPONSE;
    message[3] = dns_answer ? FLAGS_AVAILABLE : FLAGS_AVAILABLE | NO_SUCH_NAME;
    memset(message + 6, 0, 6); /* counts of answers, authorities, additionals */
    if (dns_answer && asks_a) {
        static const uint8_t record[] = {0xc0, HEADER, 0, TYPE_A, 0, 1, 0, 0, 0, 0, 0, 4};
        message[7] = 1;
        memcpy(end, record, sizeof(record));
        in_addr_t address = inet_addr(dns_answer);
        memcpy(end + sizeof(record), &address, sizeof(address));
        end += sizeof(record) + sizeof(address);
    }
    ck_assert_int_gt(sendto(dns, message, (size_t)(end - message), 0, (struct sockaddr *)&from, from_octets),
                     0);
}

/* Turns, each step_ns later, with the name server beside, until a datagram comes. */
static bool comes(int fd, uint64_t step_ns, unsigned turns, struct rig_datagram *datagram)
{
    for (unsigned i = 0; i < turns; i++) {
        rig_run_after(step_ns);
        serve_dns();
        if (rig_receive(fd, 10, datagram))
            return true;
    }
    return false;
}

START_TEST(a_name_that_resolves_later_gets_all)
{
    setup_names("127.0.0.1 localhost\n");
    receiver = receiver_in(far_ns, "10.9.0.2", PORT);
    rig_add_collector("collector.example", PORT);
    rig_open();
    rig_queue(20);
    rig_run();
    ck_assert(collectors_pending(rig_udp)); /* the look-up is under way */
    struct rig_datagram datagram;
    ck_assert(!comes(receiver, NS_PER_S, 40, &datagram));
    uint64_t failed = rig_collector(0)->lookups_failed;
    ck_assert_uint_ge(failed, 4);
    ck_assert_uint_le(failed, 8);
    ck_assert(!collectors_pending(rig_udp));

    dns_answer = "10.9.0.2";
    ck_assert(comes(receiver, NS_PER_S, 500, &datagram));
    ck_assert(datagram.templates);
    rig_expect_data(receiver, 1, 0);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
    /* At rest only the template clock and the next look-up wake. */
    ck_assert_uint_gt(rig_deadline_ns(), rig_now.monotonic_ns + 30 * NS_PER_S);
}
END_TEST

/* As a router's advertisement gives it; other servers, and one whose interface is not there, beside it. */
START_TEST(a_link_local_name_server_is_asked)
{
    static const char *const resolv_conf[] = {
        "nameserver fe80::53%near\n",
        "# comment\noptions ndots:1\nnameserver fe80::53%99\n",
        "nameserver fe80::1%nowhere0\nnameserver fe80::53%near\nnameserver 127.0.0.1\n",
        "nameserver 10.9.0.1\nnameserver\tfe80::53%near # comment\n",
    };
    run_in(near_ns,
           "ip link del near && ip link add near index 99 type veth peer name far netns /proc/%d/fd/%d && "
           "ip addr add fe80::53/64 dev near nodad && ip addr add 10.9.0.1/24 dev near && "
           "ip link set near up",
           getpid(), far_ns);
    run_in(far_ns, "ip addr add 10.9.0.2/24 dev far && ip link set far up");
    setup_name_server("127.0.0.1 localhost\n", resolv_conf[_i], "fe80::53%near");
    dns_answer = "10.9.0.2";
    receiver = receiver_in(far_ns, "10.9.0.2", PORT);
    rig_add_collector("collector.example", PORT);
    rig_open();
    struct rig_datagram datagram;
    ck_assert(comes(receiver, NS_PER_MS, 1000, &datagram));
    ck_assert(datagram.templates);
}
END_TEST

START_TEST(a_name_server_that_cannot_be_asked_is_told)
{
    int log = rig_capture_log();
    setup_name_server("127.0.0.1 localhost\n", "nameserver fe80::53%nowhere0\n", "127.0.0.9");
    rig_add_collector("collector.example", PORT);
    rig_open();
    struct rig_datagram datagram;
    for (unsigned i = 0; i < 1000 && rig_collector(0)->lookups_failed == 0; i++)
        comes(dns, NS_PER_MS, 1, &datagram);
    rig_expect_log(log, "No such device");
}
END_TEST

START_TEST(a_name_that_moves_is_followed)
{
    setup_names("127.0.0.1 localhost\n");
    run_in(far_ns, "ip addr add 10.9.0.3/24 dev far");
    receiver = receiver_in(far_ns, "10.9.0.2", PORT);
    int moved = receiver_in(far_ns, "10.9.0.3", PORT);
    dns_answer = "10.9.0.2";
    rig_options.template_refresh_s = 3600;
    rig_add_collector("collector.example", PORT);
    rig_open();
    struct rig_datagram first, datagram;
    ck_assert(comes(receiver, NS_PER_MS, 500, &first));
    ck_assert(!comes(receiver, 30 * NS_PER_S, 20, &datagram)); /* the same answer again: nothing happens */

    dns_answer = "10.9.0.3";
    ck_assert(comes(moved, 30 * NS_PER_S, 100, &datagram));
    ck_assert(datagram.templates);
    ck_assert_uint_eq(datagram.sequence, 1);
    ck_assert_mem_eq(&datagram.from, &first.from, sizeof(first.from));
    ck_assert_uint_eq(rig_collector(0)->reconnects, 1);

    dns_answer = NULL; /* the last known address goes on being used */
    rig_queue(20);
    ck_assert(comes(moved, 30 * NS_PER_S, 1, &datagram));
    ck_assert_uint_eq(datagram.number, 0);
    ck_assert(!comes(moved, 30 * NS_PER_S, 10, &datagram));
    ck_assert_uint_gt(rig_collector(0)->lookups_failed, 0);
    rig_queue(20);
    rig_run();
    rig_expect_data(moved, 3, 1);
}
END_TEST

/* An IPv4 address in IPv6's notation is IPv4: with a closed port its ICMP errors are seen. */
START_TEST(a_name_of_ipv4_in_ipv6_goes_to_ipv4)
{
    setup_names("::ffff:127.0.0.1 mapped\n");
    int closed = rig_receiver("127.0.0.1", PORT);
    close(closed);
    rig_add_collector("mapped", PORT);
    rig_open();
    struct rig_datagram datagram;
    for (unsigned i = 0; i < 5; i++) {
        rig_queue(20);
        ck_assert(!comes(dns, NS_PER_S, 1, &datagram));
    }
    struct sockaddr_storage peer;
    socklen_t octets = sizeof(peer);
    ck_assert_int_eq(getpeername(sender(), (struct sockaddr *)&peer, &octets), 0);
    ck_assert_int_eq(peer.ss_family, AF_INET);
    ck_assert_uint_gt(rig_collector(0)->unreachable, 0);
    ck_assert_uint_eq(rig_collector(0)->reconnects, 0);
}
END_TEST

START_TEST(a_name_with_two_addresses_goes_to_the_open_one)
{
    setup_names("::1 localhost\n127.0.0.1 localhost\n");
    receiver = rig_receiver("127.0.0.1", PORT);
    rig_add_collector("localhost", PORT);
    rig_open();
    rig_queue(20);
    struct rig_datagram datagram;
    ck_assert(comes(receiver, 100 * NS_PER_MS, 50, &datagram));
    ck_assert(datagram.templates);
    rig_expect_data(receiver, datagram.sequence + 1, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("udp_recovery");
    tcase_add_checked_fixture(tests, setup, rig_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, a_small_mtu_refuses_segments, 0, 2);
    tcase_add_test(tests, a_small_path_mtu_loses_nothing);
    tcase_add_test(tests, a_small_path_mtu_is_learnt);
    tcase_add_loop_test(tests, a_changed_local_address_connects_anew, 0, 2);
    tcase_add_loop_test(tests, a_source_that_moves_is_followed, 0, SOURCE_MOVES);
    tcase_add_loop_test(tests, a_source_that_moves_is_followed_when_idle, 0, SOURCE_MOVES);
    tcase_add_loop_test(tests, a_source_address_that_was_given_stays, 0, SOURCE_MOVES);
    tcase_add_test(tests, what_works_is_kept);
    tcase_add_test(tests, one_of_two_uplinks_is_kept);
    tcase_add_test(tests, an_address_of_another_table_is_used);
    tcase_add_test(tests, a_binding_to_an_interface_stays);
    tcase_add_test(tests, a_lost_source_address_is_noticed_beside_its_route);
    tcase_add_loop_test(tests, a_lost_local_address_is_waited_for, 0, 4);
    tcase_add_test(tests, a_source_address_that_comes_later_is_waited_for);
    tcase_add_loop_test(tests, an_interface_that_comes_later_is_waited_for, 0, 2);
    tcase_add_test(tests, a_link_that_is_down_is_waited_for);
    tcase_add_test(tests, a_local_firewall_is_waited_for);
    tcase_add_test(tests, a_broadcast_address_is_told);
    tcase_add_test(tests, a_lack_of_descriptors_is_told);
    tcase_add_test(tests, a_cause_that_changes_is_told);
    tcase_add_test(tests, a_host_that_comes_up_gets_templates);
    tcase_add_loop_test(tests, icmp_errors_without_room_hold_nothing_up, 0, REJECTIONS);
    tcase_add_test(tests, a_slow_link_blocks_only_its_collector);
    tcase_add_test(tests, what_the_link_drops_is_sent_again);
    tcase_add_test(tests, a_name_that_resolves_later_gets_all);
    tcase_add_loop_test(tests, a_link_local_name_server_is_asked, 0, 4);
    tcase_add_test(tests, a_name_server_that_cannot_be_asked_is_told);
    tcase_add_test(tests, a_name_that_moves_is_followed);
    tcase_add_test(tests, a_name_of_ipv4_in_ipv6_goes_to_ipv4);
    tcase_add_test(tests, a_name_with_two_addresses_goes_to_the_open_one);

    TCase *vrf = tcase_create("vrf"); /* by itself: some kernels have none */
    tcase_add_checked_fixture(vrf, setup, rig_teardown);
    tcase_set_timeout(vrf, 120);
    tcase_add_loop_test(vrf, a_leaked_route_of_a_vrf_is_used, 0, 2);

    Suite *suite = suite_create("udp_recovery");
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, vrf);
    return run_suite(suite);
}
