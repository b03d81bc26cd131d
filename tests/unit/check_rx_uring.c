/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether io_uring is available, and what receiving through it alone has to heed. The rest: check_rx.c. */
#include "ctflow9/input/rx_choose.h"
#include "ctflow9/input/rx_compare.h"
#include "unit/ct_lab.h"

static const struct {
    long number;
    int error;
    const char *reason;
} refusals[] = {
    {SYS_io_uring_setup, ENOSYS, "this kernel has no io_uring"},
    {SYS_io_uring_setup, EPERM, "kernel.io_uring_disabled"},
    {SYS_io_uring_setup, EINVAL, "Linux 6.1"},
    {SYS_io_uring_setup, ENFILE, "Too many open files"},
    {SYS_io_uring_setup, ENOMEM, "ulimit -l"},
    {SYS_io_uring_register, EPERM, "seccomp"},
    {SYS_io_uring_enter, EACCES, "seccomp"},
};
enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

START_TEST(falls_back_and_says_why)
{
    int captured = lab_capture_stderr();
    enum rx_kind kind;
    lab_refuse(SYS_bpf, EPERM); /* else io_uring is not asked for */
    lab_refuse(refusals[_i].number, refusals[_i].error);
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_eq(kind, RX_RECVMMSG);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 2);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "recvmmsg instead of io_uring"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), refusals[_i].reason));
}
END_TEST

START_TEST(refuses_what_was_asked_for_by_name)
{
    int captured = lab_capture_stderr();
    lab_refuse(refusals[_i].number, refusals[_i].error);
    ck_assert_int_eq(lab_try_rx(RX_URING, NULL), -refusals[_i].error);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "error: cannot receive with io_uring"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), refusals[_i].reason));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "--rx=recvmmsg"));
}
END_TEST

START_TEST(takes_what_there_is_in_silence)
{
    int captured = lab_capture_stderr();
    for (enum rx_kind asked = RX_BPF; asked <= RX_RECVMMSG; asked++) {
        enum rx_kind kind;
        ck_assert_int_eq(lab_try_rx(asked, &kind), 0);
        ck_assert_int_eq(kind, asked);
    }
    enum rx_kind kind;
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_eq(kind, RX_BPF);
    ck_assert_str_eq(lab_stderr(captured), "");
    lab_refuse(SYS_bpf, EPERM);
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0); /* whichever costs less here */
    ck_assert(kind == RX_URING || kind == RX_RECVMMSG);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
}
END_TEST

/* Takes the place of the C library's: the comparison's sockets then have less room, as they have where the
 * kernel charges more for a message. */
static int octets_of_room;

int socket(int domain, int type, int protocol)
{
    int fd = (int)syscall(SYS_socket, domain, type, protocol);
    if (octets_of_room > 0)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets_of_room, sizeof(octets_of_room)), 0);
    return fd;
}

static int compare(void)
{
    return CTFLOW9_URING ? rx_compare(&rx_uring, &rx_recvmmsg) : -EOPNOTSUPP;
}

START_TEST(compares_what_both_cost)
{
    static const int rooms[] = {0, 100000, 10000, 1};
    for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        octets_of_room = rooms[i];
        ck_assert_int_gt(compare(), 0);
    }
    lab_refuse(SYS_io_uring_enter, EACCES);
    ck_assert_int_eq(compare(), -EACCES);
}
END_TEST

START_TEST(was_not_built)
{
    int captured = lab_capture_stderr();
    enum rx_kind kind;
    lab_refuse(SYS_bpf, EPERM);
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_eq(kind, RX_RECVMMSG);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_int_eq(lab_try_rx(RX_URING, NULL), -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "built without io_uring"));
}
END_TEST

enum { GROUP = NFNLGRP_CONNTRACK_DESTROY, MESSAGE_OCTETS = 200 };

/* Receives on `to` what is multicast from `from`. */
struct hearing {
    int from, to;
    struct rx *rx;
};

static struct hearing hear(uint64_t rcvbuf_octets)
{
    lab_enter();
    struct hearing hearing = {.from = netlink_socket_open(), .to = netlink_socket_open()};
    ck_assert_int_gt(netlink_socket_set_rcvbuf(hearing.to, rcvbuf_octets), 0);
    ck_assert_int_eq(netlink_socket_join(hearing.to, GROUP), 0);
    ck_assert_int_eq(rx_open(&hearing.rx, hearing.to, RX_URING, NULL), 0);
    return hearing;
}

static void stop(struct hearing *hearing)
{
    rx_close(hearing->rx);
    close(hearing->from);
    close(hearing->to);
}

static void multicast(const struct hearing *hearing, unsigned count)
{
    static const char data[MESSAGE_OCTETS];
    const struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1U << (GROUP - 1)};
    for (unsigned i = 0; i < count; i++)
        sendto(hearing->from, data, sizeof(data), 0, (const struct sockaddr *)&group, sizeof(group));
}

/* Until the socket is empty; there are no failures. Returns how many messages there were. */
static unsigned receive_all(const struct hearing *hearing, unsigned limit)
{
    const struct rx_message *messages;
    unsigned received = 0;
    int count;
    do {
        count = rx_receive(hearing->rx, limit, &messages);
        ck_assert_msg(count >= 0, "%s", strerror(-count));
        for (int i = 0; i < count; i++)
            ck_assert_uint_eq(messages[i].octets, MESSAGE_OCTETS);
        received += (unsigned)count;
    } while ((unsigned)count == limit);
    return received;
}

static uint32_t drops(const struct hearing *hearing)
{
    uint32_t drops;
    ck_assert_int_eq(netlink_socket_drops(hearing->to, &drops), 0);
    return drops;
}

START_TEST(runs_out_of_buffers_and_loses_nothing)
{
    enum { MESSAGES = 20 * RX_BATCH };
    struct hearing hearing = hear(64 << 20);
    for (unsigned limit = RX_BATCH; limit > 0; limit /= 2) {
        multicast(&hearing, MESSAGES);
        ck_assert_uint_eq(receive_all(&hearing, limit), MESSAGES);
    }
    ck_assert_uint_eq(drops(&hearing), 0);
    stop(&hearing);
}
END_TEST

/* What did not fit into the socket is seen in its drop counter, and nowhere else. */
START_TEST(tells_an_overrun_from_a_lack_of_buffers)
{
    enum { MESSAGES = 20 * RX_BATCH };
    struct hearing hearing = hear(1 << 20);
    ck_assert_int_eq(netlink_socket_set_reliable(hearing.to, true), 0);
    unsigned received = 0;
    for (int round = 0; round < 3; round++) {
        multicast(&hearing, MESSAGES);
        received += receive_all(&hearing, RX_BATCH);
    }
    ck_assert_uint_gt(received, 6 * RX_BATCH);
    ck_assert_uint_gt(drops(&hearing), 0);
    ck_assert_uint_eq(received + drops(&hearing), 3 * MESSAGES);
    stop(&hearing);
}
END_TEST

START_TEST(passes_on_what_the_socket_says)
{
    const struct rx_message *messages;
    struct hearing hearing = hear(1 << 20); /* without NETLINK_NO_ENOBUFS */
    ck_assert_uint_eq(receive_all(&hearing, RX_BATCH), 0);
    multicast(&hearing, 20 * RX_BATCH);
    ck_assert_int_eq(rx_receive(hearing.rx, RX_BATCH, &messages), -ENOBUFS);
    ck_assert_uint_gt(receive_all(&hearing, RX_BATCH), RX_BATCH);
    stop(&hearing);
}
END_TEST

/* At rest the ring is looked at, not the kernel asked. */
START_TEST(calls_the_kernel_only_when_something_came)
{
    const struct rx_message *messages;
    struct hearing hearing = hear(1 << 20);
    ck_assert_uint_eq(receive_all(&hearing, RX_BATCH), 0);
    lab_refuse(SYS_io_uring_enter, EPERM);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(receive_all(&hearing, RX_BATCH), 0);
    multicast(&hearing, 1);
    ck_assert_int_eq(rx_receive(hearing.rx, RX_BATCH, &messages), -EPERM);
    stop(&hearing);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rx_uring");
    tcase_set_timeout(tcase, 60);
    if (!CTFLOW9_URING) {
        tcase_add_test(tcase, was_not_built);
    } else {
        tcase_add_loop_test(tcase, falls_back_and_says_why, 0, REFUSALS);
        tcase_add_loop_test(tcase, refuses_what_was_asked_for_by_name, 0, REFUSALS);
    }
    if (lab_has_uring()) {
        tcase_add_test(tcase, takes_what_there_is_in_silence);
        tcase_add_test(tcase, compares_what_both_cost);
        tcase_add_test(tcase, runs_out_of_buffers_and_loses_nothing);
        tcase_add_test(tcase, tells_an_overrun_from_a_lack_of_buffers);
        tcase_add_test(tcase, passes_on_what_the_socket_says);
        tcase_add_test(tcase, calls_the_kernel_only_when_something_came);
    }
    Suite *suite = suite_create("rx_uring");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
