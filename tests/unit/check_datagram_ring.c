/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/datagram_ring.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "run_suite.h"

enum { DATAGRAM_MAX = 100, CAPACITY = 1000 };

static struct datagram_ring *ring;

static void open_ring(void)
{
    ck_assert_int_eq(datagram_ring_open(&ring, CAPACITY, DATAGRAM_MAX), 0);
}

static void close_ring(void)
{
    datagram_ring_close(ring);
}

/* A datagram that tells its number by length and contents. */
static size_t make(unsigned number, uint8_t data[DATAGRAM_MAX])
{
    size_t octets = 1 + number * 37 % DATAGRAM_MAX;
    memset(data, (int)(number & 0xff), octets);
    return octets;
}

static void put(unsigned number)
{
    uint8_t data[DATAGRAM_MAX];
    datagram_ring_put(ring, data, make(number, data), number % 5, number);
}

static uint64_t expect(unsigned number, uint64_t position)
{
    uint8_t data[DATAGRAM_MAX];
    size_t octets = make(number, data);
    const struct datagram *datagram = datagram_ring_at(ring, position);
    ck_assert_uint_eq(datagram->octets, octets);
    ck_assert_uint_eq(datagram->records, number % 5);
    ck_assert_uint_eq(datagram->ended_ms, number);
    ck_assert_mem_eq(datagram->data, data, octets);
    return datagram->next;
}

START_TEST(keeps_order_and_contents_round_and_round)
{
    uint64_t position = datagram_ring_end(ring);
    unsigned written = 0, read = 0;
    while (read < 10000) {
        while (datagram_ring_has_room(ring, position))
            put(written++);
        ck_assert_uint_ge(written - read, CAPACITY / (DATAGRAM_MAX + sizeof(struct datagram) + 8));
        for (unsigned i = 0; i < 1 + read % 7 && read < written; i++)
            position = expect(read++, position);
    }
    while (read < written)
        position = expect(read++, position);
    ck_assert_uint_eq(position, datagram_ring_end(ring));
}
END_TEST

START_TEST(holds_what_it_was_opened_for)
{
    uint64_t oldest = datagram_ring_end(ring);
    size_t held = 0;
    for (unsigned number = 0; datagram_ring_has_room(ring, oldest); number++) {
        uint8_t data[DATAGRAM_MAX];
        held += sizeof(struct datagram) + make(number, data);
        put(number);
    }
    ck_assert_uint_ge(held, CAPACITY);
}
END_TEST

START_TEST(counts_the_records_of_each_reader)
{
    uint64_t start = datagram_ring_end(ring);
    ck_assert_uint_eq(datagram_ring_records_from(ring, start), 0);
    put(3);
    put(4);
    uint64_t third = datagram_ring_end(ring);
    put(1);
    ck_assert_uint_eq(datagram_ring_records_from(ring, start), 8);
    ck_assert_uint_eq(datagram_ring_records_from(ring, third), 1);
    ck_assert_uint_eq(datagram_ring_records_from(ring, datagram_ring_end(ring)), 0);
}
END_TEST

START_TEST(rewinds_to_the_same_memory)
{
    put(1);
    const struct datagram *first = datagram_ring_at(ring, 0);
    for (unsigned number = 2; number < 1000; number++) {
        uint64_t before = datagram_ring_end(ring);
        uint64_t position = datagram_ring_rewind(ring);
        ck_assert_uint_ge(position, before);
        ck_assert_uint_eq(position, datagram_ring_end(ring));
        ck_assert_uint_eq(datagram_ring_records_from(ring, position), 0);
        put(number);
        ck_assert_ptr_eq(datagram_ring_at(ring, position), first);
        expect(number, position);
    }
}
END_TEST

/* 2^32 octets and a few more, and as much as there never is. */
START_TEST(refuses_what_does_not_fit)
{
    struct datagram_ring *large = NULL;
    ck_assert_int_eq(datagram_ring_open(&large, UINT64_C(1) << 62, DATAGRAM_MAX), -ENOMEM);
    int error = datagram_ring_open(&large, UINT64_C(1) << 32, DATAGRAM_MAX);
    ck_assert(error == -ENOMEM || (error == 0 && SIZE_MAX > UINT32_MAX));
    if (!error)
        datagram_ring_close(large);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("datagram_ring");
    tcase_add_checked_fixture(tests, open_ring, close_ring);
    tcase_add_test(tests, keeps_order_and_contents_round_and_round);
    tcase_add_test(tests, holds_what_it_was_opened_for);
    tcase_add_test(tests, counts_the_records_of_each_reader);
    tcase_add_test(tests, rewinds_to_the_same_memory);
    tcase_add_test(tests, refuses_what_does_not_fit);

    Suite *suite = suite_create("datagram_ring");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
