/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/counter_table.h"

#include <check.h>

#include "run_suite.h"

static struct counter_table *table;
static struct counter_increase last;

static void setup(void)
{
    ck_assert_int_eq(counter_table_open(&table), 0);
}

static void teardown(void)
{
    counter_table_close(table);
}

/* Octets are ten times the packets. Returns the packets that are to be reported. */
static uint64_t see_made(uint64_t identity, uint64_t handle, uint64_t packets, uint64_t now_ns)
{
    const struct counter_reading reading = {identity, handle, packets, 10 * packets};
    ck_assert(counter_table_see(table, &reading, now_ns, &last));
    ck_assert_uint_eq(last.octets, 10 * last.packets);
    return last.packets;
}

static uint64_t see(uint64_t identity, uint64_t packets, uint64_t now_ns)
{
    return see_made(identity, 0, packets, now_ns);
}

/* A whole reading with one counter; 0 = it is not there. */
static uint64_t read_one(uint64_t packets, uint64_t now_ns)
{
    counter_table_begin(table, now_ns);
    uint64_t increase = packets > 0 ? see(1, packets, now_ns) : 0;
    counter_table_end(table, true);
    return increase;
}

START_TEST(what_was_counted_before_is_no_increase)
{
    ck_assert_uint_eq(read_one(100, 10), 0);
    ck_assert_uint_eq(read_one(103, 20), 3);
    ck_assert_uint_eq(last.since_ns, 10);
    ck_assert(!last.anew);
    ck_assert_uint_eq(read_one(103, 30), 0);
    ck_assert_uint_eq(read_one(104, 40), 1);
    ck_assert_uint_eq(last.since_ns, 30);
}
END_TEST

/* It came after the last reading had begun. */
START_TEST(one_that_appears_began_at_0)
{
    ck_assert_uint_eq(read_one(100, 10), 0);
    counter_table_begin(table, 20);
    ck_assert_uint_eq(see(1, 100, 20), 0);
    ck_assert_uint_eq(see(2, 7, 21), 7);
    ck_assert_uint_eq(last.since_ns, 10);
    ck_assert_uint_eq(see(2, 7, 22), 0); /* the kernel told of it twice */
    counter_table_end(table, true);
}
END_TEST

/* Not before all were read once: until then it may have been there. */
START_TEST(none_is_new_before_all_were_read)
{
    counter_table_begin(table, 10);
    ck_assert_uint_eq(see(1, 5, 10), 0);
    counter_table_end(table, false);
    counter_table_begin(table, 20);
    ck_assert_uint_eq(see(1, 6, 20), 1);
    ck_assert_uint_eq(see(2, 50, 20), 0);
    counter_table_end(table, true);
    counter_table_begin(table, 30);
    ck_assert_uint_eq(see(3, 70, 30), 70);
    counter_table_end(table, true);
}
END_TEST

START_TEST(one_that_fell_began_anew)
{
    read_one(100, 10);
    ck_assert_uint_eq(read_one(4, 20), 4);
    ck_assert(last.anew);
    ck_assert_uint_eq(last.since_ns, 10);
    ck_assert_uint_eq(read_one(9, 30), 5);
    ck_assert(!last.anew);

    /* One of its two numbers is enough, and both count from 0 then. */
    const struct counter_reading more_packets = {1, 0, 10, 50};
    ck_assert(counter_table_see(table, &more_packets, 40, &last));
    ck_assert_uint_eq(last.packets, 10);
    ck_assert_uint_eq(last.octets, 50);
    ck_assert(last.anew);
}
END_TEST

START_TEST(another_handle_is_another_counter)
{
    counter_table_begin(table, 10);
    see_made(1, 8, 100, 10);
    counter_table_end(table, true);
    counter_table_begin(table, 20);
    ck_assert_uint_eq(see_made(1, 8, 101, 20), 1);
    ck_assert_uint_eq(see_made(1, 9, 150, 30), 150);
    ck_assert(last.anew);
}
END_TEST

/* The kernel left it out of one: when it is there again nothing counts twice. */
START_TEST(one_that_is_missing_once_or_twice_is_known)
{
    read_one(100, 10);
    read_one(0, 20);
    read_one(0, 30);
    ck_assert_uint_eq(read_one(101, 40), 1);
    ck_assert_uint_eq(last.since_ns, 10);
    ck_assert_uint_eq(counter_table_count(table), 1);
}
END_TEST

START_TEST(one_that_stays_away_is_forgotten)
{
    counter_table_begin(table, 10);
    for (uint64_t i = 1; i <= 9; i++)
        see(i, 100 * i, 10);
    counter_table_end(table, true);
    for (uint64_t round = 2; round <= 4; round++) {
        counter_table_begin(table, 10 * round);
        for (uint64_t i = 1; i <= 9; i += 2)
            see(i, 100 * i, 10 * round);
        counter_table_end(table, round != 3); /* one that was not complete tells nothing */
    }
    ck_assert_uint_eq(counter_table_count(table), 9);
    counter_table_begin(table, 50);
    for (uint64_t i = 1; i <= 9; i += 2)
        see(i, 100 * i, 50);
    counter_table_end(table, true);
    ck_assert_uint_eq(counter_table_count(table), 5);

    counter_table_begin(table, 60);
    for (uint64_t i = 1; i <= 9; i++)
        ck_assert_uint_eq(see(i, 100 * i + 1, 60), i % 2 == 0 ? 100 * i + 1 : 1);
    counter_table_end(table, true);
    ck_assert_uint_eq(counter_table_count(table), 9);
}
END_TEST

/* One that had no place is not new when it gets one. */
START_TEST(more_than_there_is_room_for)
{
    counter_table_begin(table, 10);
    unsigned refused = 0;
    for (uint64_t i = 0; i < COUNTER_TABLE_CAPACITY; i++)
        refused += !counter_table_see(table, &(struct counter_reading){i, 0, 5, 50}, 10, &last);
    ck_assert_uint_eq(refused, 0);
    const struct counter_reading more = {COUNTER_TABLE_CAPACITY, 0, 5, 50};
    ck_assert(!counter_table_see(table, &more, 10, &last));
    counter_table_end(table, true);
    for (uint64_t round = 2; round <= 4; round++) {
        counter_table_begin(table, 10 * round);
        ck_assert(!counter_table_see(table, &more, 10 * round, &last));
        counter_table_end(table, true);
    }
    ck_assert_uint_eq(counter_table_count(table), 0);
    counter_table_begin(table, 50);
    ck_assert(counter_table_see(table, &more, 50, &last));
    ck_assert_uint_eq(last.packets, 0);
    counter_table_end(table, true);
    counter_table_begin(table, 60);
    ck_assert_uint_eq(see(7, 3, 60), 3);
    counter_table_end(table, true);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("counter_table");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, what_was_counted_before_is_no_increase);
    tcase_add_test(tests, one_that_appears_began_at_0);
    tcase_add_test(tests, none_is_new_before_all_were_read);
    tcase_add_test(tests, one_that_fell_began_anew);
    tcase_add_test(tests, another_handle_is_another_counter);
    tcase_add_test(tests, one_that_is_missing_once_or_twice_is_known);
    tcase_add_test(tests, one_that_stays_away_is_forgotten);
    tcase_add_test(tests, more_than_there_is_room_for);

    Suite *suite = suite_create("counter_table");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
