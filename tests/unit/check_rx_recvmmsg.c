/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/rx.h"
#include "unit/ct_lab.h"

struct pair {
    int from, to;
    uint32_t from_port, to_port;
    struct rx *rx;
};

static uint32_t port_of(int fd)
{
    struct sockaddr_nl address;
    socklen_t size = sizeof(address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return address.nl_pid;
}

static struct pair open_pair(void)
{
    lab_enter();
    struct pair pair = {.from = netlink_socket_open(), .to = netlink_socket_open()};
    ck_assert_int_ge(pair.from, 0);
    ck_assert_int_ge(pair.to, 0);
    pair.from_port = port_of(pair.from);
    pair.to_port = port_of(pair.to);
    ck_assert_int_gt(netlink_socket_set_rcvbuf(pair.to, 1 << 20), 0);
    ck_assert_int_eq(rx_open(&pair.rx, pair.to), 0);
    return pair;
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

/* Every message differs in length and content. */
static void send_numbered(const struct pair *pair, uint32_t first, uint32_t count)
{
    uint32_t data[RX_BATCH + 1];
    for (uint32_t i = first; i < first + count; i++) {
        for (size_t k = 0; k < sizeof(data) / sizeof(data[0]); k++)
            data[k] = i;
        send_octets(pair, data, (i % RX_BATCH + 1) * sizeof(data[0]));
    }
}

static void receive_numbered(const struct pair *pair, unsigned limit, uint32_t first, int count)
{
    const struct rx_message *messages;
    ck_assert_int_eq(rx_receive(pair->rx, limit, &messages), count);
    for (uint32_t i = 0; i < (uint32_t)count; i++) {
        const uint32_t *data = messages[i].data;
        ck_assert_uint_eq((uintptr_t)data % _Alignof(struct nlmsghdr), 0);
        ck_assert_uint_eq(messages[i].octets, ((first + i) % RX_BATCH + 1) * sizeof(data[0]));
        ck_assert_uint_eq(data[0], first + i);
        ck_assert_uint_eq(data[messages[i].octets / sizeof(data[0]) - 1], first + i);
        ck_assert_uint_eq(messages[i].port_id, pair->from_port);
        ck_assert(!messages[i].truncated);
    }
}

START_TEST(takes_batches_in_order)
{
    struct pair pair = open_pair();
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
    struct pair pair = open_pair();
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

START_TEST(tells_the_kernel_from_programs)
{
    struct pair pair = open_pair();
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    char buffer[64];
    struct nlmsghdr *request = lab_request(buffer, IPCTNL_MSG_CT_GET_STATS, NLM_F_REQUEST);
    request->nlmsg_pid = 4711; /* only the source address counts */
    send_octets(&pair, "forged", 6);
    ck_assert_int_gt(
        sendto(pair.to, request, request->nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)), 0);
    send_octets(&pair, "forged", 6);

    const struct rx_message *messages;
    ck_assert_int_eq(rx_receive(pair.rx, RX_BATCH, &messages), 3);
    ck_assert_uint_eq(messages[0].port_id, pair.from_port);
    ck_assert_uint_eq(messages[1].port_id, 0);
    ck_assert_uint_eq(messages[2].port_id, pair.from_port);
    close_pair(&pair);
}
END_TEST

START_TEST(says_what_failed)
{
    struct rx *rx;
    const struct rx_message *messages;
    ck_assert_int_eq(rx_open(&rx, -1), 0);
    ck_assert_int_eq(rx_receive(rx, RX_BATCH, &messages), -EBADF);
    rx_close(rx);
    rx_close(NULL);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rx_recvmmsg");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, takes_batches_in_order);
    tcase_add_test(tcase, tells_what_was_truncated);
    tcase_add_test(tcase, tells_the_kernel_from_programs);
    tcase_add_test(tcase, says_what_failed);
    Suite *suite = suite_create("rx_recvmmsg");
    suite_add_tcase(suite, tcase);
    return lab_run(suite);
}
