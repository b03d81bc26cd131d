/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries as they end (--rx=fentry) beside the DESTROY messages of the same entries, in a network namespace
 * of its own. Needs root and a kernel that lets programs trace it: the machines of tests/kernels. Runs from
 * the repository's top, whence oracle_traffic.py makes the packets.
 */
#include <inttypes.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <poll.h>

#include "ctflow9/input/ct_events.h"
#include "unit/ct_lab.h"

enum { FLOWS_MAX = 20000, DEADLINE_S = 60 };

/* What one of the two ways told. */
struct heard {
    struct ct_events *events;
    struct rx_choice rx;
    struct stats stats;
    unsigned count;
    struct flow flows[FLOWS_MAX];
};

static struct heard entries, messages;
static struct wall_clock wall_clock;

static void keep(void *context, const struct flow *flow)
{
    struct heard *heard = context;
    ck_assert_uint_lt(heard->count, FLOWS_MAX);
    heard->flows[heard->count++] = *flow;
}

static void hear(struct heard *heard, enum rx_kind kind, uint64_t rcvbuf_octets, struct netlink_filter filter)
{
    heard->rx = (struct rx_choice){.asked = kind};
    const struct ct_events_config config = {.rcvbuf_octets = rcvbuf_octets,
                                            .reliable = kind != RX_FENTRY,
                                            .rx = &heard->rx,
                                            .filter = filter,
                                            .stats = &heard->stats,
                                            .clock = &wall_clock};
    wall_clock_start(&wall_clock);
    ck_assert_int_eq(ct_events_open(&heard->events, &config), 0);
}

static void drain(struct heard *heard)
{
    ct_events_drain(heard->events, FLOWS_MAX, keep, heard);
    ct_events_run(heard->events, instant_now());
}

/* Until nothing more has come for a while. */
static void drain_all(struct heard *heard)
{
    for (int quiet = 0; quiet < 20; quiet++) {
        const unsigned before = heard->count;
        drain(heard);
        if (heard->count != before)
            quiet = 0;
        poll(NULL, 0, 10);
    }
}

static void drain_until(struct heard *heard, unsigned count)
{
    const uint64_t end_ns = instant_read_clock(CLOCK_MONOTONIC) + DEADLINE_S * slow_factor() * NS_PER_S;
    while (heard->count < count && instant_read_clock(CLOCK_MONOTONIC) < end_ns) {
        drain(heard);
        poll(NULL, 0, 10);
    }
    ck_assert_uint_eq(heard->count, count);
}

/* The first one that was not taken yet: without stamps and ports, one may be as another was before. */
static const struct flow *take(const struct heard *heard, const struct flow *flow)
{
    static bool taken[FLOWS_MAX];
    for (unsigned i = 0; i < heard->count; i++)
        if (!taken[i] && flow_is_same(&heard->flows[i], flow)) {
            taken[i] = true;
            return &heard->flows[i];
        }
    return NULL;
}

/* Seconds go by between the message and the copy, seldom: then one is left less, or none. */
static bool is_later(const struct flow *entry, const struct flow *message)
{
    return message->timeout_s == entry->timeout_s + 1;
}

#define SAME(member)                                                                          \
    ck_assert_msg(entry->member == message->member,                                           \
                  "protocol %u, family %u: " #member " is %" PRIu64 " in the entry, %" PRIu64 \
                  " in the message",                                                          \
                  entry->protocol, entry->family, (uint64_t)entry->member, (uint64_t)message->member)

static void compare(const struct flow *entry, const struct flow *message)
{
    SAME(family);
    SAME(protocol);
    for (int i = FLOW_ORIGINAL; i <= FLOW_REPLY; i++) {
        ck_assert(flow_tuple_is_same(&entry->tuple[i], &message->tuple[i]));
        SAME(packets[i]);
        SAME(octets[i]);
    }
    SAME(id);
    SAME(status);
    SAME(mark);
    SAME(zone);
    SAME(tcp_state);
    SAME(kind);
    SAME(start_ns * flow_has(message, FLOW_HAS_START));
    SAME(stop_ns * flow_has(message, FLOW_HAS_STOP));
    if (is_later(entry, message))
        return;
    SAME(timeout_s);
    SAME(has);
    SAME(end_reason);
}

/* How many of these there were, so that the comparison proves something. */
static struct {
    unsigned protocols[256][2]; /* IPv4, IPv6 */
    unsigned requested, expired, translated, marked, zones[3], counted, stamped, timed_out, bare;
} kinds;

static void count_kind(const struct flow *flow)
{
    kinds.protocols[flow->protocol][flow->family == AF_INET6]++;
    kinds.requested += flow_has(flow, FLOW_REQUESTED);
    kinds.expired += !flow_has(flow, FLOW_REQUESTED);
    kinds.translated += flow_is_translated(flow);
    kinds.marked += flow->mark != 0;
    kinds.counted += flow_has(flow, FLOW_HAS_COUNTERS);
    kinds.stamped += flow_has(flow, FLOW_HAS_STOP);
    kinds.bare += !(flow->has & (FLOW_HAS_COUNTERS | FLOW_HAS_START));
    kinds.timed_out += flow->end_reason == FLOW_END_IDLE_TIMEOUT;
    if (flow->zone != 0)
        kinds.zones[(flow->has & FLOW_ZONE_OF_EITHER) / FLOW_ZONE_OF_ONE]++;
}

static bool ignore(void *context, const struct nlmsghdr *message)
{
    (void)context;
    (void)message;
    return true;
}

/* A look at the table makes the kernel end what has expired. */
static void let_expire(void)
{
    char buffer[64];
    int fd = netlink_socket_open();
    for (int i = 0; i < 6; i++) {
        poll(NULL, 0, 500);
        ck_assert_int_eq(
            netlink_socket_request(fd, lab_request(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP), ignore, NULL), 0);
        drain(&entries);
        drain(&messages);
    }
    close(fd);
}

static void make_traffic(int accounting)
{
    lab_set_sysctl("nf_conntrack_acct", accounting);
    lab_set_sysctl("nf_conntrack_timestamp", accounting);
    lab_command("tests/kernel/oracle_traffic.py traffic");
    drain(&entries);
    drain(&messages);
}

START_TEST(are_as_their_messages)
{
    lab_enter();
    lab_command("ip link set lo down; tests/kernel/oracle_traffic.py rules");
    lab_set_sysctl("nf_conntrack_events", 1);
    lab_set_sysctl("nf_conntrack_checksum", 0);
    lab_set_sysctl("nf_conntrack_icmp_timeout", 1);
    lab_set_sysctl("nf_conntrack_udp_timeout", 1);
    lab_set_sysctl("nf_conntrack_generic_timeout", 1);
    hear(&messages, RX_RECVMMSG, 64 << 20, (struct netlink_filter){0});
    hear(&entries, RX_FENTRY, 16 << 20, (struct netlink_filter){0});
    for (int accounting = 1; accounting >= 0; accounting--) {
        make_traffic(accounting);
        let_expire();
        lab_flush();
        drain_all(&entries);
        drain_all(&messages);
    }
    ck_assert_uint_eq(entries.stats.lost + messages.stats.lost, 0);
    ck_assert_uint_eq(entries.count, messages.count);
    for (unsigned i = 0; i < messages.count; i++) {
        const struct flow *entry = take(&entries, &messages.flows[i]);
        ck_assert_msg(entry != NULL, "an end of protocol %u, family %u, came by message alone",
                      messages.flows[i].protocol, messages.flows[i].family);
        compare(entry, &messages.flows[i]);
        count_kind(entry);
    }
    static const uint8_t of_both[] = {IPPROTO_TCP,  IPPROTO_UDP, IPPROTO_UDPLITE,
                                      IPPROTO_SCTP, IPPROTO_GRE, 253};
    for (size_t i = 0; i < sizeof(of_both) / sizeof(of_both[0]); i++)
        for (int ipv6 = 0; ipv6 < 2; ipv6++)
            ck_assert_msg(kinds.protocols[of_both[i]][ipv6] >= 10, "protocol %u: only %u", of_both[i],
                          kinds.protocols[of_both[i]][ipv6]);
    ck_assert_uint_ge(kinds.protocols[IPPROTO_ICMP][0], 10);
    ck_assert_uint_ge(kinds.protocols[IPPROTO_ICMPV6][1], 10);
    ck_assert_uint_ge(kinds.requested, 50);
    ck_assert_uint_ge(kinds.expired, 50);
    ck_assert_uint_ge(kinds.timed_out, 50);
    ck_assert_uint_ge(kinds.translated, 50);
    ck_assert_uint_ge(kinds.marked, 50);
    ck_assert_uint_ge(kinds.counted, 50);
    ck_assert_uint_ge(kinds.stamped, 50);
    ck_assert_uint_ge(kinds.bare, 50);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_ge(kinds.zones[i], 50);
    printf("%u ends compared: %u requested, %u expired, %u translated\n", entries.count, kinds.requested,
           kinds.expired, kinds.translated);
    ct_events_close(entries.events);
    ct_events_close(messages.events);
}
END_TEST

START_TEST(come_without_any_event)
{
    lab_enter();
    lab_track("");
    lab_set_sysctl("nf_conntrack_events", 0);
    hear(&messages, RX_RECVMMSG, 1 << 20, (struct netlink_filter){0});
    hear(&entries, RX_FENTRY, 1 << 20, (struct netlink_filter){0});
    lab_make_flows(1000);
    lab_flush();
    drain_until(&entries, 1000);
    drain_all(&messages);
    ck_assert_uint_eq(messages.count, 0);
    ck_assert(
        flow_has(&entries.flows[0], FLOW_REQUESTED | FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP));
    ct_events_close(entries.events);
    ct_events_close(messages.events);
}
END_TEST

START_TEST(without_room_are_lost_and_counted)
{
    enum { FLOWS = 5000, RING_OCTETS = 1 << 17 };
    lab_enter();
    lab_track("");
    hear(&entries, RX_FENTRY, RING_OCTETS, (struct netlink_filter){0});
    lab_make_flows(FLOWS);
    lab_flush();
    drain_all(&entries);
    ck_assert_uint_gt(entries.count, 0);
    ck_assert_uint_gt(entries.stats.lost, 0);
    ck_assert_uint_eq(entries.count + entries.stats.lost, FLOWS);
    ck_assert_uint_eq(entries.stats.deferred, 0);
    ct_events_close(entries.events);
}
END_TEST

START_TEST(of_other_namespaces_are_not_heard)
{
    lab_enter();
    lab_track("");
    hear(&entries, RX_FENTRY, 1 << 20, (struct netlink_filter){0});
    lab_enter();
    lab_track("");
    lab_make_flows(10);
    lab_flush();
    drain_all(&entries);
    ck_assert_uint_eq(entries.count, 0);
    ct_events_close(entries.events);
}
END_TEST

START_TEST(are_chosen_by_mark)
{
    lab_enter();
    lab_track("udp dport 1-10 ct mark set 0x105");
    hear(&entries, RX_FENTRY, 1 << 20,
         (struct netlink_filter){.mark = {.given = true, .value = 0x5, .mask = 0xff}});
    lab_make_flows(30);
    lab_flush();
    drain_all(&entries);
    ck_assert_uint_eq(entries.count, 10);
    ck_assert_uint_eq(entries.flows[0].mark, 0x105);
    ct_events_close(entries.events);
}
END_TEST

START_TEST(are_shared_by_id)
{
    lab_enter();
    lab_track("");
    hear(&entries, RX_FENTRY, 1 << 20, (struct netlink_filter){.share = {.index = 0, .count = 2}});
    hear(&messages, RX_FENTRY, 1 << 20, (struct netlink_filter){.share = {.index = 1, .count = 2}});
    lab_make_flows(1000);
    lab_flush();
    drain_all(&entries);
    drain_all(&messages);
    ck_assert_uint_eq(entries.count + messages.count, 1000);
    ck_assert_uint_ge(entries.count, 300);
    ck_assert_uint_ge(messages.count, 300);
    for (unsigned i = 0; i < entries.count; i++)
        ck_assert_uint_eq(entries.flows[i].id % 2, 0);
    ct_events_close(entries.events);
    ct_events_close(messages.events);
}
END_TEST

START_TEST(come_no_more_after_the_stop)
{
    lab_enter();
    lab_track("");
    hear(&entries, RX_FENTRY, 1 << 20, (struct netlink_filter){0});
    lab_make_flows(10);
    lab_flush();
    ct_events_stop(entries.events);
    lab_make_flows(10);
    lab_flush();
    drain_all(&entries);
    ck_assert_uint_eq(entries.count, 10); /* those that had come */
    ct_events_close(entries.events);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fentry");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, are_as_their_messages);
    tcase_add_test(tcase, come_without_any_event);
    tcase_add_test(tcase, without_room_are_lost_and_counted);
    tcase_add_test(tcase, of_other_namespaces_are_not_heard);
    tcase_add_test(tcase, are_chosen_by_mark);
    tcase_add_test(tcase, are_shared_by_id);
    tcase_add_test(tcase, come_no_more_after_the_stop);
    Suite *suite = suite_create("fentry");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
