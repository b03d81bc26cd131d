/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/netlink_socket.h"

#include <linux/filter.h>
#include <linux/sock_diag.h>

#include "ctflow9/base/instant.h"
#include "unit/ct_lab.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int open_socket(void)
{
    int fd = netlink_socket_open();
    ck_assert_int_ge(fd, 0);
    return fd;
}

static uint32_t port_of(int fd)
{
    struct sockaddr_nl address;
    socklen_t size = sizeof(address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return address.nl_pid;
}

static int option_of(int fd, int level, int name)
{
    int value;
    socklen_t size = sizeof(value);
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static uint32_t drops_of(int fd)
{
    uint32_t drops;
    ck_assert_int_eq(netlink_socket_drops(fd, &drops), 0);
    return drops;
}

START_TEST(opens_bound_and_non_blocking)
{
    int a = open_socket(), b = open_socket();
    ck_assert(fcntl(a, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(a, F_GETFD) & FD_CLOEXEC);
    ck_assert_uint_ne(port_of(a), 0);
    ck_assert_uint_ne(port_of(a), port_of(b));
    close(a);
    close(b);
}
END_TEST

START_TEST(forces_the_receive_buffer_or_says_what_it_got)
{
    if (!lab_forces_rcvbuf())
        return;
    int fd = open_socket();
    ck_assert_int_eq(netlink_socket_set_rcvbuf(fd, 64 << 20), 64 << 20);
    ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_RCVBUF), 128 << 20);
    ck_assert_int_eq(netlink_socket_set_rcvbuf(fd, UINT64_MAX), NETLINK_SOCKET_RCVBUF_MAX);
    ck_assert_int_eq(netlink_socket_set_rcvbuf(fd, UINT64_C(1) << 31), NETLINK_SOCKET_RCVBUF_MAX);
    ck_assert_int_gt(netlink_socket_set_rcvbuf(fd, 1), 0);

    lab_drop_capabilities();
    ck_assert_int_eq(netlink_socket_set_rcvbuf(fd, 65536), 65536);
    int64_t granted = netlink_socket_set_rcvbuf(fd, UINT64_C(1) << 40);
    ck_assert_int_ge(granted, 65536);
    ck_assert_int_lt(granted, NETLINK_SOCKET_RCVBUF_MAX);
    close(fd);
    ck_assert_int_eq(netlink_socket_set_rcvbuf(fd, 65536), -EBADF);
}
END_TEST

START_TEST(tells_what_an_event_is_charged_with)
{
    enum { FLOWS = 10 };
    uint32_t meminfo[SK_MEMINFO_VARS];
    socklen_t size = sizeof(meminfo);
    lab_enter();
    lab_track("");
    int fd = open_socket();
    ck_assert_int_eq(netlink_socket_join(fd, NFNLGRP_CONNTRACK_DESTROY), 0);
    lab_make_flows(FLOWS);
    lab_flush();
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, meminfo, &size), 0);
    lab_drop_capabilities();
    ck_assert_int_eq(netlink_socket_event_charge() * FLOWS, meminfo[SK_MEMINFO_RMEM_ALLOC]);
    close(fd);
}
END_TEST

START_TEST(sets_both_ways_of_delivery)
{
    int fd = open_socket();
    for (int reliable = 1; reliable >= 0; reliable--) {
        ck_assert_int_eq(netlink_socket_set_reliable(fd, reliable), 0);
        ck_assert_int_eq(option_of(fd, SOL_NETLINK, NETLINK_BROADCAST_ERROR), reliable);
        ck_assert_int_eq(option_of(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS), 1);
    }
    close(fd);
}
END_TEST

/* Reads all there is; on_event may be NULL. */
static unsigned read_events(int fd, void (*on_event)(const struct nlmsghdr *, void *), void *context)
{
    _Alignas(struct nlmsghdr) char buffer[4096];
    unsigned events = 0;
    while (recv(fd, buffer, sizeof(buffer), 0) > 0) {
        events++;
        if (on_event != NULL)
            on_event((const void *)buffer, context);
    }
    ck_assert_int_eq(errno, EAGAIN);
    return events;
}

START_TEST(counts_every_drop_and_reads_on)
{
    enum { FLOWS = 3000 };
    lab_enter();
    lab_track("");
    int fd = open_socket();
    ck_assert_int_gt(netlink_socket_set_rcvbuf(fd, 65536), 0);
    ck_assert_int_eq(netlink_socket_set_reliable(fd, false), 0);
    ck_assert_int_eq(netlink_socket_join(fd, NFNLGRP_CONNTRACK_DESTROY), 0);
    ck_assert_uint_eq(drops_of(fd), 0);

    lab_make_flows(FLOWS);
    lab_flush();
    uint32_t drops = drops_of(fd);
    ck_assert_uint_gt(drops, 0);
    ck_assert_uint_eq(read_events(fd, NULL, NULL) + drops, FLOWS);

    /* Not congested: one event read makes room for the next at once. */
    lab_make_flows(FLOWS);
    lab_flush();
    char buffer[4096];
    for (int i = 0; i < 10; i++)
        ck_assert_int_gt(recv(fd, buffer, sizeof(buffer), 0), 0);
    drops = drops_of(fd);
    lab_make_flows(1);
    lab_flush();
    ck_assert_uint_eq(drops_of(fd), drops);
    close(fd);
}
END_TEST

START_TEST(leaves_a_group_and_keeps_what_arrived)
{
    lab_enter();
    lab_track("");
    int fd = open_socket();
    ck_assert_int_eq(netlink_socket_join(fd, NFNLGRP_CONNTRACK_DESTROY), 0);
    lab_make_flows(7);
    lab_flush();
    ck_assert_int_eq(netlink_socket_leave(fd, NFNLGRP_CONNTRACK_DESTROY), 0);
    lab_make_flows(5);
    lab_flush();
    ck_assert_uint_eq(read_events(fd, NULL, NULL), 7);
    close(fd);
}
END_TEST

static int read_mark(const struct nlattr *attribute, void *context)
{
    if (mnl_attr_get_type(attribute) == CTA_MARK)
        *(uint32_t *)context = ntohl(mnl_attr_get_u32(attribute));
    return MNL_CB_OK;
}

static const uint32_t marks[] = {0, 1, 0x10, 0x11, 0x12345678, 0x80000000, 0xffffffff};

/* context: as many counts as there are marks. */
static void count_mark(const struct nlmsghdr *message, void *context)
{
    unsigned *counts = context;
    uint32_t mark = 0;
    mnl_attr_parse(message, sizeof(struct nfgenmsg), read_mark, &mark);
    for (size_t i = 0; i < COUNT(marks); i++)
        counts[i] += marks[i] == mark;
}

static const struct netlink_mark filters[] = {
    {.given = true, .value = 0, .mask = UINT32_MAX},
    {.given = true, .value = 0x11, .mask = UINT32_MAX},
    {.given = true, .value = 0x10, .mask = 0xf0},
    {.given = true, .value = 0, .mask = 0},
    {.given = true, .value = 0, .mask = 0x10},
    {.given = true, .value = 1, .mask = 1},
    {.given = true, .value = 0x12340000, .mask = 0xffff0000},
    {.given = true, .value = 0x80000000, .mask = 0x80000000},
    {.given = true, .value = UINT32_MAX, .mask = UINT32_MAX},
    {.given = true, .value = 0x77, .mask = UINT32_MAX},
};

/* Several sockets hear every event once, together; each about as many as the others. */
START_TEST(shares_the_events)
{
    enum { FLOWS = 300, SOCKETS = 3 };
    lab_enter();
    lab_track("");
    int fds[SOCKETS];
    for (unsigned i = 0; i < SOCKETS; i++) {
        const struct netlink_filter filter = {.share = {.index = i, .count = SOCKETS}};
        fds[i] = open_socket();
        ck_assert_int_eq(netlink_socket_filter(fds[i], &filter), 0);
        ck_assert_int_eq(netlink_socket_join(fds[i], NFNLGRP_CONNTRACK_DESTROY), 0);
    }
    lab_make_flows(FLOWS);
    lab_flush();
    unsigned sum = 0;
    for (unsigned i = 0; i < SOCKETS; i++) {
        unsigned events = read_events(fds[i], NULL, NULL);
        ck_assert_uint_gt(events, FLOWS / SOCKETS / 2);
        sum += events;
        close(fds[i]);
    }
    ck_assert_uint_eq(sum, FLOWS);
}
END_TEST

START_TEST(lets_only_the_mark_pass)
{
    lab_enter();
    /* lab_make_flows() goes through the ports 1, 2, …: two flows of each mark. The first mark, 0, is not set.
     */
    enum { FLOWS = 2 * COUNT(marks) };
    char rule[512] = "ct mark set udp dport map { ";
    for (unsigned i = 1; i < FLOWS; i++) {
        size_t used = strlen(rule);
        if (marks[i % COUNT(marks)] != 0)
            snprintf(rule + used, sizeof(rule) - used, "%s%u : 0x%x", i == 1 ? "" : ", ", i + 1,
                     marks[i % COUNT(marks)]);
    }
    strcat(rule, " }");
    lab_track(rule);

    int fds[COUNT(filters)];
    for (size_t f = 0; f < COUNT(filters); f++) {
        fds[f] = open_socket();
        ck_assert_int_eq(netlink_socket_filter(fds[f], &(struct netlink_filter){.mark = filters[f]}), 0);
        ck_assert_int_eq(netlink_socket_join(fds[f], NFNLGRP_CONNTRACK_DESTROY), 0);
    }
    lab_make_flows(FLOWS);
    lab_flush();
    for (size_t f = 0; f < COUNT(filters); f++) {
        unsigned counts[COUNT(marks)] = {0}, expected = 0;
        unsigned events = read_events(fds[f], count_mark, counts);
        for (size_t i = 0; i < COUNT(marks); i++) {
            unsigned want = (marks[i] & filters[f].mask) == filters[f].value ? 2 : 0;
            ck_assert_msg(counts[i] == want, "mark 0x%x/0x%x: %u events of mark 0x%x instead of %u",
                          filters[f].value, filters[f].mask, counts[i], marks[i], want);
            expected += want;
        }
        ck_assert_uint_eq(events, expected);
        ck_assert_uint_eq(drops_of(fds[f]), 0);
        close(fds[f]);
    }
}
END_TEST

static bool count_message(void *context, const struct nlmsghdr *message)
{
    ck_assert_int_eq(message->nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS);
    ++*(unsigned *)context;
    return true;
}

static int ask(int fd, uint8_t type, unsigned *messages)
{
    char buffer[64];
    return netlink_socket_request(fd, lab_request(buffer, type, 0), count_message, messages);
}

START_TEST(asks_and_gives_the_kernels_answer)
{
    lab_enter();
    int fd = open_socket();
    unsigned messages = 0;
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(ask(fd, IPCTNL_MSG_CT_GET_STATS, &messages), 0);
        ck_assert_uint_eq(messages, i);
    }
    ck_assert_int_eq(ask(fd, IPCTNL_MSG_CT_GET, &messages), -EINVAL); /* of no tuple */
    ck_assert_int_eq(ask(fd, 0x7f, &messages), -EINVAL);              /* there is no such request */
    ck_assert_uint_eq(messages, 3);

    lab_drop_capabilities();
    ck_assert_int_eq(ask(fd, IPCTNL_MSG_CT_GET_STATS, &messages), -EPERM);
    ck_assert_int_eq(netlink_socket_join(fd, NFNLGRP_CONNTRACK_DESTROY), -EPERM);
    close(fd);
}
END_TEST

START_TEST(is_not_taken_in_by_other_answers)
{
    if (!lab_forces_rcvbuf())
        return;
    lab_enter();
    int fd = open_socket(), other = open_socket();
    ck_assert_int_gt(netlink_socket_set_rcvbuf(fd, 64 << 20), 0);
    /* What waits already: a late answer of the kernel's ... */
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    char buffer[64];
    struct nlmsghdr *late = lab_request(buffer, IPCTNL_MSG_CT_GET, NLM_F_REQUEST);
    ck_assert_int_gt(sendto(fd, late, late->nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)),
                     0);

    /* ... and another program's refusals, one for each sequence number that may come up soon. */
    const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = port_of(fd)};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
    } forged = {.header = {.nlmsg_len = sizeof(forged), .nlmsg_type = NLMSG_ERROR}, .error.error = -EIO};
    uint64_t first_us = instant_read_clock(CLOCK_MONOTONIC) / NS_PER_US + 200000;
    for (unsigned i = 0; i < 20000; i++) {
        forged.header.nlmsg_seq = (uint32_t)first_us + i;
        ck_assert_int_gt(sendto(other, &forged, sizeof(forged), 0, (const struct sockaddr *)&to, sizeof(to)),
                         0);
    }
    while (instant_read_clock(CLOCK_MONOTONIC) / NS_PER_US < first_us)
        ;
    unsigned messages = 0;
    ck_assert_int_eq(ask(fd, IPCTNL_MSG_CT_GET_STATS, &messages), 0);
    ck_assert_uint_eq(messages, 1);
    close(fd);
    close(other);
}
END_TEST

START_TEST(gives_up_after_a_second)
{
    lab_enter();
    int fd = open_socket();
    struct sock_filter swallow = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &swallow};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
    unsigned messages = 0;
    ck_assert_int_eq(ask(fd, IPCTNL_MSG_CT_GET_STATS, &messages), -ETIMEDOUT);
    ck_assert_uint_eq(messages, 0);
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("netlink_socket");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, opens_bound_and_non_blocking);
    tcase_add_test(tcase, forces_the_receive_buffer_or_says_what_it_got);
    tcase_add_test(tcase, tells_what_an_event_is_charged_with);
    tcase_add_test(tcase, sets_both_ways_of_delivery);
    tcase_add_test(tcase, counts_every_drop_and_reads_on);
    tcase_add_test(tcase, leaves_a_group_and_keeps_what_arrived);
    tcase_add_test(tcase, lets_only_the_mark_pass);
    tcase_add_test(tcase, shares_the_events);
    tcase_add_test(tcase, asks_and_gives_the_kernels_answer);
    tcase_add_test(tcase, is_not_taken_in_by_other_answers);
    tcase_add_test(tcase, gives_up_after_a_second);
    Suite *suite = suite_create("netlink_socket");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
