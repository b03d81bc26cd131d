/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all ways to receive do, on real netlink sockets. What only one of them does: check_rx_bpf.c,
 * check_rx_uring.c. */
#include "ctflow9/input/rx_choose.h"

#include "unit/ct_lab.h"
#include <poll.h>
#include <pthread.h>

/* Every test runs with each of these; _i is the test's number of the round. */
static const enum rx_kind kinds[] = {RX_RECVMMSG, RX_BPF, RX_URING};

struct pair {
    int from, to;
    uint32_t to_port;
    struct rx *rx;
};

static uint32_t port_of(int fd)
{
    struct sockaddr_nl address;
    socklen_t size = sizeof(address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return address.nl_pid;
}

static struct pair open_pair_here(enum rx_kind kind)
{
    struct pair pair = {.from = netlink_socket_open(), .to = netlink_socket_open()};
    ck_assert_int_ge(pair.from, 0);
    ck_assert_int_ge(pair.to, 0);
    pair.to_port = port_of(pair.to);
    ck_assert_int_gt(netlink_socket_set_rcvbuf(pair.to, 1 << 20), 0);
    ck_assert_int_eq(rx_open(&pair.rx, pair.to, kind, &(struct netlink_filter){0}), 0);
    return pair;
}

static struct pair open_pair(enum rx_kind kind)
{
    lab_enter();
    lab_trust_programs();
    return open_pair_here(kind);
}

static void close_pair(struct pair *pair)
{
    rx_close(pair->rx);
    close(pair->from);
    close(pair->to);
}

static void send_octets(const struct pair *pair, const void *data, size_t octets)
{
    const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = pair->to_port};
    ck_assert_msg(sendto(pair->from, data, octets, 0, (const struct sockaddr *)&to, sizeof(to)) ==
                      (ssize_t)octets,
                  "%s", strerror(errno));
}

/* A message's words: the length, and its number in each of the others. */
enum { LENGTHS = 100 };

static uint32_t words_of(uint32_t number)
{
    return NLMSG_HDRLEN / sizeof(uint32_t) + number % LENGTHS;
}

/* Every message differs from those around it in length and content. */
static void send_numbered(const struct pair *pair, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        uint32_t data[NLMSG_HDRLEN + LENGTHS];
        for (uint32_t k = 1; k < words_of(i); k++)
            data[k] = i;
        data[0] = words_of(i) * (uint32_t)sizeof(data[0]); /* nlmsg_len */
        send_octets(pair, data, data[0]);
    }
}

static void receive_numbered(const struct pair *pair, unsigned limit, uint32_t first, int count)
{
    const struct rx_message *messages;
    ck_assert_int_eq(rx_receive(pair->rx, limit, &messages), count);
    ck_assert(!rx_is_pending(pair->rx));
    for (uint32_t i = 0; i < (uint32_t)count; i++) {
        const uint32_t *data = messages[i].data;
        ck_assert_uint_eq((uintptr_t)data % _Alignof(struct nlmsghdr), 0);
        ck_assert_uint_eq(messages[i].octets, words_of(first + i) * sizeof(data[0]));
        for (uint32_t k = 1; k < words_of(first + i); k++)
            ck_assert_uint_eq(data[k], first + i);
        ck_assert(!messages[i].truncated);
    }
}

START_TEST(takes_batches_in_order)
{
    struct pair pair = open_pair(kinds[_i]);
    receive_numbered(&pair, RX_BATCH, 0, 0);
    send_numbered(&pair, 0, RX_BATCH + 10);
    receive_numbered(&pair, UINT32_MAX, 0, RX_BATCH);
    receive_numbered(&pair, RX_BATCH, RX_BATCH, 10);
    receive_numbered(&pair, RX_BATCH, 0, 0);

    send_numbered(&pair, 1000, 10);
    receive_numbered(&pair, 3, 1000, 3);
    receive_numbered(&pair, 3, 1003, 3);
    receive_numbered(&pair, 5, 1006, 4);
    close_pair(&pair);
}
END_TEST

START_TEST(tells_what_was_truncated)
{
    static const char data[RX_MESSAGE_OCTETS + 4];
    static const bool truncated[] = {false, true, false};
    struct pair pair = open_pair(kinds[_i]);
    send_octets(&pair, data, RX_MESSAGE_OCTETS);
    send_octets(&pair, data, RX_MESSAGE_OCTETS + 4);
    send_octets(&pair, data, 16);

    const struct rx_message *messages;
    ck_assert_int_eq(rx_receive(pair.rx, RX_BATCH, &messages), 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(messages[i].truncated, truncated[i]);
    ck_assert_uint_le(messages[1].octets, RX_MESSAGE_OCTETS);
    ck_assert_uint_eq(messages[2].octets, 16);
    close_pair(&pair);
}
END_TEST

START_TEST(says_what_failed)
{
    struct rx *rx;
    const struct rx_message *messages;
    if (kinds[_i] == RX_BPF) { /* its filter belongs to the socket */
        ck_assert_int_eq(rx_open(&rx, -1, kinds[_i], NULL), -EBADF);
        return;
    }
    ck_assert_int_eq(rx_open(&rx, -1, kinds[_i], NULL), 0);
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(rx_receive(rx, RX_BATCH, &messages), -EBADF);
    rx_close(rx);
    rx_close(NULL);
}
END_TEST

/* More than a batch waits, in portions of every size: nothing is lost, repeated or out of order. */
START_TEST(takes_any_number)
{
    enum { WAITING = 5 * RX_BATCH };
    if (!lab_forces_rcvbuf())
        return;
    struct pair pair = open_pair(kinds[_i]);
    for (unsigned limit = 1; limit <= RX_BATCH; limit += limit < 8 ? 1 : 17) {
        send_numbered(&pair, 0, WAITING);
        uint32_t taken = 0;
        for (; taken + limit <= WAITING; taken += limit)
            receive_numbered(&pair, limit, taken, (int)limit);
        receive_numbered(&pair, limit, taken, (int)(WAITING - taken));
        receive_numbered(&pair, limit, 0, 0);
    }
    close_pair(&pair);
}
END_TEST

/* Whether something waits. */
static bool is_ready(const struct pair *pair)
{
    struct poll_set set;
    poll_set_clear(&set);
    rx_wants(pair->rx, &set);
    poll_set_before(&set, 0);
    return poll_set_wait(&set, 0) > 0;
}

START_TEST(can_be_waited_for)
{
    static const char too_long[RX_MESSAGE_OCTETS + 4];
    const struct rx_message *messages;
    struct pair pair = open_pair(kinds[_i]);
    for (int round = 0; round < 3; round++) {
        receive_numbered(&pair, RX_BATCH, 0, 0);
        ck_assert(!is_ready(&pair));
        send_numbered(&pair, 0, 1);
        ck_assert(is_ready(&pair));
        ck_assert(is_ready(&pair));
        receive_numbered(&pair, RX_BATCH, 0, 1);
        receive_numbered(&pair, RX_BATCH, 0, 0);
        ck_assert(!is_ready(&pair));
        send_octets(&pair, too_long, sizeof(too_long));
        ck_assert(is_ready(&pair));
        ck_assert_int_eq(rx_receive(pair.rx, RX_BATCH, &messages), 1);
    }
    close_pair(&pair);
}
END_TEST

/* Messages of a program's and of the kernel's in turn, to the group. */
static void tell_programs_from_the_kernel(enum rx_kind kind, bool filter_may_tell)
{
    enum { ROUNDS = 20 };
    const struct sockaddr_nl group = {.nl_family = AF_NETLINK,
                                      .nl_groups = 1U << (NFNLGRP_CONNTRACK_DESTROY - 1)};
    const struct rx_message *messages;
    unsigned by_programs = 0, by_kernel = 0;
    char forged[64];
    lab_enter();
    lab_track("");
    if (!filter_may_tell)
        lab_trust_programs();
    struct pair pair = open_pair_here(kind);
    ck_assert(rx_tells_programs(pair.rx));
    ck_assert_int_eq(netlink_socket_join(pair.to, NFNLGRP_CONNTRACK_DESTROY), 0);
    const struct nlmsghdr *message = lab_request(forged, IPCTNL_MSG_CT_DELETE, 0);
    for (int i = 0; i < ROUNDS; i++) {
        ck_assert_int_gt(
            sendto(pair.from, message, message->nlmsg_len, 0, (const struct sockaddr *)&group, sizeof(group)),
            0);
        lab_make_flows(1);
        lab_flush();
    }
    int count = rx_receive(pair.rx, RX_BATCH, &messages);
    for (int i = 0; i < count; i++) {
        bool is_forged = messages[i].octets <= message->nlmsg_len; /* it may be cut */
        ck_assert_int_eq(messages[i].from_program, is_forged);
        by_programs += is_forged;
        by_kernel += !is_forged;
    }
    ck_assert_uint_eq(by_programs, ROUNDS);
    ck_assert_uint_eq(by_kernel, ROUNDS);
    close_pair(&pair);
}

START_TEST(tells_programs_by_its_filter)
{
    tell_programs_from_the_kernel(kinds[_i], true);
}
END_TEST

START_TEST(tells_programs_by_asking)
{
    if (kinds[_i] != RX_BPF) /* check_rx_bpf.c: says_that_it_cannot_tell_programs */
        tell_programs_from_the_kernel(kinds[_i], false);
}
END_TEST

/* Whether the socket of that port id is still there (/proc/net/netlink). */
static bool is_open(uint32_t port)
{
    char line[256];
    bool found = false;
    FILE *file = fopen("/proc/thread-self/net/netlink", "r");
    ck_assert_ptr_nonnull(file);
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        unsigned long values[3] = {0}; /* socket, protocol, port */
        char *field = line;
        for (int i = 0; i < 3; i++)
            values[i] = strtoul(field, &field, i == 0 ? 16 : 10);
        found = values[1] == NETLINK_NETFILTER && values[2] == port;
    }
    fclose(file);
    return found;
}

static void *receive_in_thread(void *context)
{
    receive_numbered(context, RX_BATCH, 0, 3);
    receive_numbered(context, RX_BATCH, 0, 0);
    return NULL;
}

/* As the workers do it: opened and closed in one thread, used in another. */
START_TEST(belongs_to_the_thread_that_receives)
{
    struct pair pair = open_pair(kinds[_i]);
    pthread_t thread;
    send_numbered(&pair, 0, 3);
    ck_assert_int_eq(pthread_create(&thread, NULL, receive_in_thread, &pair), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    send_numbered(&pair, 0, 3);
    close_pair(&pair);
    while (is_open(pair.to_port)) /* soon; the test has a time limit */
        ;
}
END_TEST

START_TEST(lets_go_of_the_socket)
{
    lab_enter();
    for (int i = 0; i < 20; i++) {
        struct pair pair = open_pair_here(kinds[_i]);
        receive_numbered(&pair, RX_BATCH, 0, 0);
        ck_assert(is_open(pair.to_port));
        close_pair(&pair);
        ck_assert(!is_open(pair.to_port));
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rx");
    int rounds = lab_has_uring() ? 3 : 2;
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, takes_batches_in_order, 0, rounds);
    tcase_add_loop_test(tcase, takes_any_number, 0, rounds);
    tcase_add_loop_test(tcase, tells_what_was_truncated, 0, rounds);
    tcase_add_loop_test(tcase, can_be_waited_for, 0, rounds);
    tcase_add_loop_test(tcase, tells_programs_by_its_filter, 0, rounds);
    tcase_add_loop_test(tcase, tells_programs_by_asking, 0, rounds);
    tcase_add_loop_test(tcase, belongs_to_the_thread_that_receives, 0, rounds);
    tcase_add_loop_test(tcase, lets_go_of_the_socket, 0, rounds);
    tcase_add_loop_test(tcase, says_what_failed, 0, rounds);
    Suite *suite = suite_create("rx");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
