/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Datagrams through a real socket over loopback: what is sent is received, in its order and its pieces. */
#include "ctflow9/output/datagram_batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/netflow/packet_header.h"
#include "run_suite.h"

enum { SEQUENCE_AT = 12, OCTETS_MAX = 8972 };

static struct datagram_batch *batch;
static int from, to;
static uint8_t datagrams[DATAGRAM_BATCH_MAX + 1][OCTETS_MAX];

static void setup(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    const int room = 1 << 20;
    to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(to, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(setsockopt(to, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
    ck_assert_int_eq(getsockname(to, (struct sockaddr *)&address, &size), 0);
    ck_assert_int_eq(connect(from, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(datagram_batch_open(&batch), 0);
    for (unsigned i = 0; i <= DATAGRAM_BATCH_MAX; i++)
        memset(datagrams[i], (int)(i + 1), OCTETS_MAX);
}

static void teardown(void)
{
    datagram_batch_close(batch);
    close(from);
    close(to);
}

/* Datagram i, with that sequence number in its header, and nothing of it changed else. */
static void expect(unsigned i, size_t octets, uint32_t sequence)
{
    uint8_t got[OCTETS_MAX + 1];
    uint32_t wire;
    ck_assert_int_eq(recv(to, got, sizeof(got), 0), (int)octets);
    memcpy(&wire, got + SEQUENCE_AT, sizeof(wire));
    ck_assert_uint_eq(ntohl(wire), sequence);
    memset(got + SEQUENCE_AT, (int)(i + 1), sizeof(wire));
    ck_assert_mem_eq(got, datagrams[i], octets);
}

static void expect_nothing(void)
{
    uint8_t got;
    ck_assert_int_eq(recv(to, &got, sizeof(got), 0), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

static size_t size_of(unsigned i)
{
    return i % 7 == 6 ? 700 : i % 5 == 4 ? 300 : 500;
}

/* One message each, and runs of one size (but the last) as one message. */
START_TEST(sends_in_order)
{
    for (unsigned i = 0; i < DATAGRAM_BATCH_MAX; i++)
        ck_assert(datagram_batch_add(batch, datagrams[i], size_of(i), 1000 + i));
    ck_assert(!datagram_batch_add(batch, datagrams[DATAGRAM_BATCH_MAX], 500, 0));
    ck_assert_uint_eq(datagram_batch_count(batch), DATAGRAM_BATCH_MAX);
    ck_assert_int_eq(datagram_batch_send(batch, from, _i), DATAGRAM_BATCH_MAX);
    for (unsigned i = 0; i < DATAGRAM_BATCH_MAX; i++)
        expect(i, size_of(i), 1000 + i);
    expect_nothing();
}
END_TEST

/* 64 of the longest are more than a UDP message takes. */
START_TEST(a_run_ends_at_what_a_message_takes)
{
    enum { COUNT = 20 };
    for (unsigned i = 0; i < COUNT; i++)
        ck_assert(datagram_batch_add(batch, datagrams[i], OCTETS_MAX, i));
    ck_assert_int_eq(datagram_batch_send(batch, from, true), COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        expect(i, OCTETS_MAX, i);
    expect_nothing();
}
END_TEST

START_TEST(the_caller_keeps_his_header)
{
    uint8_t before[PACKET_HEADER_OCTETS];
    memcpy(before, datagrams[0], sizeof(before));
    ck_assert(datagram_batch_add(batch, datagrams[0], 100, 7));
    ck_assert_int_eq(datagram_batch_send(batch, from, true), 1);
    ck_assert_mem_eq(datagrams[0], before, sizeof(before));
}
END_TEST

/* A copy may be changed when it was added; 32 KiB in all. */
START_TEST(copies_are_its_own)
{
    unsigned count = 0;
    while (datagram_batch_add_copy(batch, datagrams[count], 5000, count))
        count++;
    ck_assert_uint_eq(count, 6);
    uint8_t saved[6][PACKET_HEADER_OCTETS];
    for (unsigned i = 0; i < count; i++) {
        memcpy(saved[i], datagrams[i], sizeof(saved[i]));
        memset(datagrams[i], 0xff, PACKET_HEADER_OCTETS);
    }
    ck_assert_int_eq(datagram_batch_send(batch, from, true), 6);
    for (unsigned i = 0; i < count; i++) {
        memcpy(datagrams[i], saved[i], sizeof(saved[i]));
        expect(i, 5000, i);
    }
}
END_TEST

START_TEST(is_cut)
{
    for (unsigned i = 0; i < 5; i++)
        ck_assert(datagram_batch_add(batch, datagrams[i], 100, i));
    datagram_batch_cut(batch, 2);
    ck_assert_uint_eq(datagram_batch_count(batch), 2);
    ck_assert(datagram_batch_add(batch, datagrams[9], 100, 9));
    ck_assert_int_eq(datagram_batch_send(batch, from, true), 3);
    expect(0, 100, 0);
    expect(1, 100, 1);
    expect(9, 100, 9);
    expect_nothing();
    datagram_batch_cut(batch, 0);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_msg(datagram_batch_add_copy(batch, datagrams[i], 5000, i), "the room is given back");
}
END_TEST

START_TEST(says_what_failed)
{
    close(to);
    to = -1;
    ck_assert(datagram_batch_add(batch, datagrams[0], 100, 0));
    ck_assert_int_eq(datagram_batch_send(batch, from, true), 1); /* nobody knows yet */
    ck_assert_int_eq(datagram_batch_send(batch, from, true), -ECONNREFUSED);
    ck_assert_int_eq(datagram_batch_send(batch, -1, true), -EBADF);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("datagram_batch");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, sends_in_order, 0, 2);
    tcase_add_test(tcase, a_run_ends_at_what_a_message_takes);
    tcase_add_test(tcase, the_caller_keeps_his_header);
    tcase_add_test(tcase, copies_are_its_own);
    tcase_add_test(tcase, is_cut);
    tcase_add_test(tcase, says_what_failed);
    Suite *suite = suite_create("datagram_batch");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
