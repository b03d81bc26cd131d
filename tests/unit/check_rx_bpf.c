/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether BPF is available, what its program filters, and what its ring does when it is full. The rest:
 * check_rx.c. */
#include <inttypes.h>
#include <pthread.h>

#include "ctflow9/input/bpf_filter.h"
#include "ctflow9/input/rx_choose.h"
#include "unit/ct_lab.h"

enum { GROUP = NFNLGRP_CONNTRACK_DESTROY };

static const struct netlink_filter everything;

static const struct {
    int error;
    const char *reason;
} refusals[] = {
    {ENOSYS, "this kernel has no BPF"},
    {EPERM, "CAP_BPF"},
    {EINVAL, "Linux 5.8"},
    {ENFILE, "Too many open files"},
};
enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

START_TEST(falls_back_and_says_why)
{
    int captured = lab_capture_stderr();
    enum rx_kind kind;
    lab_refuse(SYS_bpf, refusals[_i].error);
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_ne(kind, RX_AUTO);
    ck_assert_int_ne(kind, RX_BPF);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "without a BPF ring buffer"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), refusals[_i].reason));
}
END_TEST

START_TEST(refuses_what_was_asked_for_by_name)
{
    int captured = lab_capture_stderr();
    lab_refuse(SYS_bpf, refusals[_i].error);
    ck_assert_int_eq(lab_try_rx(RX_BPF, NULL), -refusals[_i].error);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "error: cannot receive with a BPF ring buffer"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), refusals[_i].reason));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "--rx=auto"));
}
END_TEST

/* Receives on `to` what is multicast from `from`. */
struct hearing {
    int from, to;
    struct rx *rx;
};

static int open_listener(struct rx **rx, uint64_t rcvbuf_octets, const struct netlink_filter *filter)
{
    int fd = netlink_socket_open();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(netlink_socket_set_rcvbuf(fd, rcvbuf_octets), 0);
    ck_assert_int_eq(netlink_socket_set_reliable(fd, true), 0);
    ck_assert_int_eq(rx_open(rx, fd, RX_BPF, filter), 0);
    ck_assert_int_eq(netlink_socket_join(fd, GROUP), 0);
    return fd;
}

static struct hearing hear(uint64_t rcvbuf_octets)
{
    struct hearing hearing;
    lab_enter();
    lab_trust_programs();
    hearing.from = netlink_socket_open();
    hearing.to = open_listener(&hearing.rx, rcvbuf_octets, &everything);
    return hearing;
}

static void stop(struct hearing *hearing)
{
    rx_close(hearing->rx);
    close(hearing->from);
    close(hearing->to);
}

static void multicast(int from, const void *data, size_t octets)
{
    const struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1U << (GROUP - 1)};
    ssize_t sent = sendto(from, data, octets, 0, (const struct sockaddr *)&group, sizeof(group));
    ck_assert_msg(sent == (ssize_t)octets, "%s", strerror(errno));
}

/* A message that tells its number and its sender in each of its words. */
enum { WORDS_MIN = 6, WORDS = 40, SENDER_SHIFT = 24 };

static void multicast_numbered(int from, uint32_t sender, uint32_t number)
{
    uint32_t data[WORDS];
    uint32_t words = WORDS_MIN + number % (WORDS - WORDS_MIN);
    for (uint32_t i = 0; i < words; i++)
        data[i] = sender << SENDER_SHIFT | number;
    data[0] = words * (uint32_t)sizeof(data[0]);
    multicast(from, data, data[0]);
}

static uint32_t check_numbered(const struct rx_message *message)
{
    const uint32_t *data = message->data;
    uint32_t number = data[1] & ((1U << SENDER_SHIFT) - 1);
    uint32_t words = WORDS_MIN + number % (WORDS - WORDS_MIN);
    ck_assert_uint_eq(message->octets, words * sizeof(data[0]));
    for (uint32_t i = 2; i < words; i++)
        ck_assert_uint_eq(data[i], data[1]);
    return data[1];
}

/* What is in the ring and in the socket. */
static unsigned receive_all(const struct hearing *hearing, uint8_t times[])
{
    const struct rx_message *messages;
    unsigned received = 0;
    int count;
    do {
        count = rx_receive(hearing->rx, RX_BATCH, &messages);
        ck_assert_int_ge(count, 0);
        for (int i = 0; i < count; i++)
            times[check_numbered(&messages[i])]++;
        received += (unsigned)count;
    } while (count == RX_BATCH);
    ck_assert(!rx_is_pending(hearing->rx));
    return received;
}

static uint32_t drops(const struct hearing *hearing)
{
    uint32_t drops;
    ck_assert_int_eq(netlink_socket_drops(hearing->to, &drops), 0);
    return drops;
}

/* The ring fills up first, then the socket, in every round at another place of the ring. */
START_TEST(goes_on_in_the_socket)
{
    enum { MESSAGES = 400, ROUNDS = 50 }; /* 256 fit into the ring, 150 into the socket */
    static uint8_t times[MESSAGES];
    struct hearing hearing = hear(1 << 16);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (uint32_t i = 0; i < MESSAGES; i++)
            multicast_numbered(hearing.from, 0, i);
        ck_assert_uint_eq(receive_all(&hearing, times), MESSAGES);
        for (uint32_t i = 0; i < MESSAGES; i++)
            ck_assert_uint_eq(times[i], round);
        multicast_numbered(hearing.from, 0, 0); /* moves the place */
        ck_assert_uint_eq(receive_all(&hearing, times), 1);
        times[0]--;
    }
    ck_assert_uint_eq(drops(&hearing), 0);
    stop(&hearing);
}
END_TEST

/* What is in the socket does not wait until the ring is empty, nor the other way round. */
START_TEST(reads_both_in_turn)
{
    enum { MESSAGES = 340, ROUNDS = 10, MORE = 64 };
    static uint8_t times[MESSAGES + ROUNDS * MORE];
    const struct rx_message *messages;
    struct hearing hearing = hear(1 << 16);
    for (uint32_t i = 0; i < MESSAGES; i++)
        multicast_numbered(hearing.from, 0, i);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        int count = rx_receive(hearing.rx, MORE, &messages);
        ck_assert_int_eq(count, MORE);
        for (int i = 0; i < count; i++)
            times[check_numbered(&messages[i])]++;
        for (uint32_t i = 0; i < MORE; i++)
            multicast_numbered(hearing.from, 0, MESSAGES + round * MORE + i);
    }
    for (uint32_t i = 0; i < MESSAGES; i++)
        ck_assert_uint_eq(times[i], 1);
    ck_assert_uint_eq(receive_all(&hearing, times), MESSAGES);
    stop(&hearing);
}
END_TEST

/* What does not fit into either is counted, as without a ring. */
START_TEST(refuses_what_fits_nowhere)
{
    enum { MESSAGES = 5000 };
    static uint8_t times[MESSAGES];
    struct hearing hearing = hear(1 << 16);
    for (uint32_t i = 0; i < MESSAGES; i++)
        multicast_numbered(hearing.from, 0, i);
    unsigned received = receive_all(&hearing, times);
    ck_assert_uint_gt(drops(&hearing), 0);
    ck_assert_uint_gt(received, 256);
    ck_assert_uint_eq(received + drops(&hearing), MESSAGES);
    stop(&hearing);
}
END_TEST

/* What is no single netlink message, or too long for the ring, comes through the socket, as it is. */
START_TEST(leaves_odd_messages_to_the_socket)
{
    static const uint32_t octets[] = {16, 17, 248, 249, 312, 313, 504, 505, 700, RX_MESSAGE_OCTETS};
    enum { COUNT = sizeof(octets) / sizeof(octets[0]) };
    struct hearing hearing = hear(1 << 20);
    for (int wrong = -1; wrong <= 1; wrong++) {
        for (unsigned i = 0; i < COUNT; i++) {
            uint32_t data[RX_MESSAGE_OCTETS / sizeof(uint32_t)] = {octets[i] + (uint32_t)wrong, i};
            multicast(hearing.from, data, octets[i]);
        }
        bool seen[COUNT] = {false};
        const struct rx_message *messages;
        ck_assert_int_eq(rx_receive(hearing.rx, RX_BATCH, &messages), COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            const uint32_t *data = messages[i].data;
            ck_assert_uint_lt(data[1], COUNT);
            ck_assert(!seen[data[1]]);
            seen[data[1]] = true;
            ck_assert_uint_eq(messages[i].octets, octets[data[1]]);
            ck_assert_uint_eq(data[0], octets[data[1]] + (uint32_t)wrong);
        }
    }
    multicast(hearing.from, "tiny", 4);
    const struct rx_message *messages;
    ck_assert_int_eq(rx_receive(hearing.rx, RX_BATCH, &messages), 1);
    ck_assert_uint_eq(messages[0].octets, 4);
    stop(&hearing);
}
END_TEST

/*
 * In a program of 32 bits on a kernel of 64, the ring's positions outgrow a long: messages still come through
 * the ring, and a ring that was read empty does not keep the reader awake. Where long has 64 bits they never
 * do.
 */
START_TEST(goes_on_after_4_gib)
{
    enum { MESSAGES = 100, ROUNDS = 84000, WORDS_MAX = BPF_FILTER_OCTETS_MAX / sizeof(uint32_t) };
    static uint32_t data[MESSAGES][WORDS_MAX]; /* 512 octets in the ring; x 84000 x 100 = 4.3e9 */
    static struct iovec parts[MESSAGES];
    static struct mmsghdr datagrams[MESSAGES];
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1U << (GROUP - 1)};
    const struct rx_message *messages;
    struct hearing hearing = hear(1 << 18);
    struct pollfd socket = {.fd = hearing.to, .events = POLLIN};
    struct poll_set set;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        data[i][0] = sizeof(data[i]);
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = sizeof(data[i])};
        datagrams[i].msg_hdr = (struct msghdr){
            .msg_name = &group, .msg_namelen = sizeof(group), .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < MESSAGES; i++)
            data[i][1] = round * MESSAGES + i;
        ck_assert_int_eq(sendmmsg(hearing.from, datagrams, MESSAGES, 0), MESSAGES);
        ck_assert_int_eq(poll(&socket, 1, 0), 0);
        ck_assert_int_eq(rx_receive(hearing.rx, RX_BATCH, &messages), MESSAGES);
        for (uint32_t i = 0; i < MESSAGES; i++)
            if (((const uint32_t *)messages[i].data)[1] != data[i][1])
                ck_abort_msg("message %" PRIu32 " of round %" PRIu32 " is another", i, round);
        ck_assert_int_eq(rx_receive(hearing.rx, RX_BATCH, &messages), 0);
        poll_set_clear(&set);
        rx_wants(hearing.rx, &set);
        ck_assert_int_eq(poll(set.fds, set.count, 0), 0);
    }
    stop(&hearing);
}
END_TEST

enum { SENDERS = 3, BY_EACH = 100000 };
static _Atomic int senders_left;

struct sender {
    pthread_t thread;
    uint32_t number;
    int fd;
};

static void *send_many(void *context)
{
    const struct sender *sender = context;
    for (uint32_t i = 0; i < BY_EACH; i++)
        multicast_numbered(sender->fd, sender->number, i);
    senders_left--;
    return NULL;
}

/* What a program sends never comes into the ring, so that it cannot fill it either. */
START_TEST(keeps_programs_out_of_the_ring)
{
    const struct rx_message *messages;
    struct poll_set set;
    struct rx *rx;
    lab_enter();
    lab_track("");
    int from = netlink_socket_open();
    int to = open_listener(&rx, 1 << 20, &everything);
    for (int round = 0; round < 2; round++) { /* by a program, by the kernel */
        if (round == 0) {
            multicast_numbered(from, 0, 0);
        } else {
            lab_make_flows(1);
            lab_flush();
        }
        poll_set_clear(&set);
        rx_wants(rx, &set);
        ck_assert_uint_eq(set.count, 2); /* socket and ring */
        poll_set_before(&set, 0);
        ck_assert_int_eq(poll_set_wait(&set, 0), 1);
        ck_assert_int_eq(set.fds[round].revents, POLLIN);
        ck_assert_int_eq(rx_receive(rx, RX_BATCH, &messages), 1);
        ck_assert_int_eq(messages[0].from_program, round == 0);
    }
    rx_close(rx);
    close(to);
    close(from);
}
END_TEST

START_TEST(says_that_it_cannot_tell_programs)
{
    struct hearing hearing = hear(1 << 16);
    ck_assert(!rx_tells_programs(hearing.rx));
    stop(&hearing);
}
END_TEST

/* Octets: a receive buffer that has room for all, and small ones, so that ring and socket are full in turn.
 */
static const uint64_t rcvbufs[] = {64 << 20, 1 << 16, 1 << 14, 1 << 12};

/* From several CPUs at a time, while it is read: a message is never seen before it is whole, nor twice. */
START_TEST(takes_what_is_sent_from_everywhere_at_once)
{
    static uint8_t times[SENDERS << SENDER_SHIFT];
    struct sender senders[SENDERS];
    struct hearing hearing = hear(rcvbufs[_i]);
    senders_left = SENDERS;
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.number = i, .fd = netlink_socket_open()};
        ck_assert_int_eq(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    }
    const struct rx_message *messages;
    unsigned received = 0;
    bool is_over;
    do {
        is_over = senders_left == 0;
        int count;
        while ((count = rx_receive(hearing.rx, RX_BATCH, &messages)) > 0) {
            for (int i = 0; i < count; i++)
                times[check_numbered(&messages[i])]++;
            received += (unsigned)count;
        }
        ck_assert_int_eq(count, 0);
    } while (!is_over);
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        close(senders[i].fd);
        for (uint32_t k = 0; k < BY_EACH; k++)
            ck_assert_uint_le(times[i << SENDER_SHIFT | k], 1);
    }
    ck_assert_uint_gt(received, _i == 0 ? BY_EACH : 0);
    ck_assert_uint_eq(received + drops(&hearing), SENDERS * BY_EACH);
    stop(&hearing);
}
END_TEST

/* ---- what the program filters, of real events ---- */

static unsigned count_events(struct rx *rx)
{
    const struct rx_message *messages;
    unsigned events = 0;
    int count;
    while ((count = rx_receive(rx, RX_BATCH, &messages)) > 0)
        events += (unsigned)count;
    ck_assert_int_eq(count, 0);
    return events;
}

START_TEST(shares_the_events)
{
    enum { WORKERS = 5, FLOWS = 20000 };
    struct rx *rx[WORKERS];
    int fds[WORKERS];
    unsigned sum = 0;
    lab_enter();
    lab_track("");
    for (unsigned i = 0; i < WORKERS; i++)
        fds[i] = open_listener(&rx[i], 16 << 20,
                               &(struct netlink_filter){.share = {.index = i, .count = WORKERS}});
    lab_make_flows(FLOWS);
    lab_flush();
    for (unsigned i = 0; i < WORKERS; i++) {
        unsigned events = count_events(rx[i]);
        ck_assert_uint_gt(events, FLOWS / WORKERS / 2);
        sum += events;
        rx_close(rx[i]);
        close(fds[i]);
    }
    ck_assert_uint_eq(sum, FLOWS);
}
END_TEST

static const uint32_t marks[] = {0, 1, 0x10, 0x11, 0x12345678, 0x80000000, 0xffffffff};
static const struct netlink_mark wanted[] = {
    {.given = true, .value = 0, .mask = UINT32_MAX},
    {.given = true, .value = 0, .mask = 0x10},
    {.given = true, .value = 0x10, .mask = 0x10},
    {.given = true, .value = 0x80000000, .mask = 0x80000001},
    {.given = true, .value = UINT32_MAX, .mask = UINT32_MAX},
    {.given = true, .value = 0x12345678, .mask = UINT32_MAX},
    {.given = true, .value = 2, .mask = UINT32_MAX},
};
enum { MARKS = sizeof(marks) / sizeof(marks[0]), WANTED = sizeof(wanted) / sizeof(wanted[0]) };

/* Together with a share of the events: both halves make up the whole. */
START_TEST(lets_only_the_mark_pass)
{
    enum { HALVES = 2, EACH = 2 };
    char rule[512] = "ct mark set udp dport map { ";
    struct rx *rx[WANTED][HALVES];
    int fds[WANTED][HALVES];
    lab_enter();
    for (unsigned i = 1; i <= MARKS * EACH; i++)
        if (marks[i % MARKS] != 0)
            snprintf(rule + strlen(rule), sizeof(rule) - strlen(rule), "%u : %u, ", i, marks[i % MARKS]);
    strcpy(strrchr(rule, ','), " }");
    lab_track(rule);
    for (unsigned i = 0; i < WANTED; i++)
        for (unsigned half = 0; half < HALVES; half++)
            fds[i][half] = open_listener(
                &rx[i][half], 1 << 20,
                &(struct netlink_filter){.mark = wanted[i], .share = {.index = half, .count = HALVES}});
    lab_make_flows(MARKS * EACH);
    lab_flush();
    for (unsigned i = 0; i < WANTED; i++) {
        unsigned expected = 0;
        for (unsigned k = 0; k < MARKS; k++)
            expected += (marks[k] & wanted[i].mask) == wanted[i].value ? EACH : 0;
        ck_assert_uint_eq(count_events(rx[i][0]) + count_events(rx[i][1]), expected);
        for (unsigned half = 0; half < HALVES; half++) {
            rx_close(rx[i][half]);
            close(fds[i][half]);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rx_bpf");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, falls_back_and_says_why, 0, REFUSALS);
    tcase_add_loop_test(tcase, refuses_what_was_asked_for_by_name, 0, REFUSALS);
    tcase_add_test(tcase, goes_on_in_the_socket);
    tcase_add_test(tcase, reads_both_in_turn);
    tcase_add_test(tcase, refuses_what_fits_nowhere);
    tcase_add_test(tcase, leaves_odd_messages_to_the_socket);
    tcase_add_test(tcase, keeps_programs_out_of_the_ring);
    tcase_add_test(tcase, says_that_it_cannot_tell_programs);
    tcase_add_loop_test(tcase, takes_what_is_sent_from_everywhere_at_once, 0,
                        sizeof(rcvbufs) / sizeof(rcvbufs[0]));
    tcase_add_test(tcase, shares_the_events);
    tcase_add_test(tcase, lets_only_the_mark_pass);
    Suite *suite = suite_create("rx_bpf");
    suite_add_tcase(suite, tcase);
    if (sizeof(long) < sizeof(uint64_t)) {
        TCase *positions = tcase_create("positions");
        tcase_set_timeout(positions, 600);
        tcase_add_test(positions, goes_on_after_4_gib);
        suite_add_tcase(suite, positions);
    }
    return run_suite(suite);
}
