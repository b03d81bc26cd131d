/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow_table.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "run_suite.h"

enum { SAME_BUCKET = 42 }; /* a hash for everybody */

static struct flow_table *open_table(uint32_t capacity)
{
    struct flow_table *table;
    ck_assert_int_eq(flow_table_open(&table, capacity), 0);
    return table;
}

static struct flow flow_of(uint32_t number)
{
    struct flow flow = {
        .family = AF_INET, .protocol = IPPROTO_UDP, .id = number, .start_ns = 1, .has = FLOW_HAS_START};
    flow.tuple[FLOW_ORIGINAL].src.v4 = htonl(0x0a000000 + number);
    flow.tuple[FLOW_ORIGINAL].dst.v4 = htonl(0x0b000000);
    return flow;
}

static struct tracked *add(struct flow_table *table, uint32_t number)
{
    const struct flow flow = flow_of(number);
    return flow_table_add(table, &flow, flow_hash(&flow));
}

static struct tracked *find(struct flow_table *table, uint32_t number)
{
    const struct flow flow = flow_of(number);
    return flow_table_find(table, &flow, flow_hash(&flow));
}

START_TEST(finds_what_was_added)
{
    struct flow_table *table = open_table(100);
    ck_assert_ptr_null(find(table, 1));
    struct tracked *one = add(table, 1), *two = add(table, 2);
    ck_assert_ptr_nonnull(one);
    ck_assert_ptr_ne(one, two);
    ck_assert_ptr_eq(find(table, 1), one);
    ck_assert_ptr_eq(find(table, 2), two);
    ck_assert_ptr_null(find(table, 3));
    ck_assert_int_eq(one->state, TRACKED_LIVE);
    ck_assert_uint_eq(one->id, 1);
    ck_assert_uint_eq(flow_table_count(table), 2);

    flow_table_remove(table, one);
    ck_assert_int_eq(one->state, TRACKED_FREE);
    ck_assert_ptr_null(find(table, 1));
    ck_assert_ptr_eq(find(table, 2), two);
    ck_assert_uint_eq(flow_table_count(table), 1);
    flow_table_close(table);
}
END_TEST

START_TEST(an_entry_starts_with_nothing_reported)
{
    struct flow_table *table = open_table(1);
    struct tracked *tracked = add(table, 1);
    memset(tracked->reported_packets, 1, sizeof(tracked->reported_packets));
    memset(tracked->reported_octets, 1, sizeof(tracked->reported_octets));
    tracked->state = TRACKED_GONE;
    tracked->dump = 5;
    flow_table_remove(table, tracked);
    ck_assert_ptr_eq(add(table, 2), tracked);
    for (int direction = 0; direction < 2; direction++) {
        ck_assert_uint_eq(tracked->reported_packets[direction], 0);
        ck_assert_uint_eq(tracked->reported_octets[direction], 0);
    }
    ck_assert_int_eq(tracked->state, TRACKED_LIVE);
    ck_assert_uint_eq(tracked->dump, 0);
    flow_table_close(table);
}
END_TEST

START_TEST(refuses_when_full)
{
    static const uint32_t capacities[] = {1, 2, 3, 1000};
    const uint32_t capacity = capacities[_i];
    struct flow_table *table = open_table(capacity);
    for (uint32_t i = 0; i < capacity; i++)
        ck_assert_ptr_nonnull(add(table, i));
    ck_assert_ptr_null(add(table, capacity));
    ck_assert_uint_eq(flow_table_count(table), capacity);
    for (uint32_t i = 0; i < capacity; i++)
        ck_assert_ptr_nonnull(find(table, i));
    ck_assert_ptr_null(find(table, capacity));

    /* Nearly full: there is always room for as many as have left, for nobody else. */
    for (uint32_t i = 0; i < 5000; i++) {
        flow_table_remove(table, find(table, i));
        ck_assert_ptr_nonnull(add(table, capacity + i));
        ck_assert_ptr_null(add(table, capacity + i + 1));
    }
    ck_assert_uint_eq(flow_table_slots(table), capacity);
    flow_table_close(table);
}
END_TEST

/* Connections that are alike but for one part of their identity, all with the same hash. */
START_TEST(keeps_apart_what_collides)
{
    enum { ALIKE = 13 };
    struct flow flows[ALIKE];
    for (int i = 0; i < ALIKE; i++)
        flows[i] = flow_of(1);
    flows[1].id = 2;
    flows[2].start_ns = 2;
    flows[3].zone = 1;
    flows[4].zone = flows[5].zone = 1;
    flows[4].has |= FLOW_ZONE_OF_ONE << FLOW_ORIGINAL;
    flows[5].has |= FLOW_ZONE_OF_ONE << FLOW_REPLY;
    flows[6].tuple[FLOW_ORIGINAL].src.v4 ^= 1;
    flows[7].tuple[FLOW_ORIGINAL].dst.v4 ^= 1;
    flows[8].tuple[FLOW_ORIGINAL].src_port = 1;
    flows[9].tuple[FLOW_ORIGINAL].dst_port = 1;
    flows[10].protocol = IPPROTO_TCP;
    flows[11].family = AF_INET6;
    flows[12].has = 0;

    struct flow_table *table = open_table(ALIKE);
    struct tracked *tracked[ALIKE];
    for (int i = 0; i < ALIKE; i++) {
        ck_assert_ptr_null(flow_table_find(table, &flows[i], SAME_BUCKET));
        tracked[i] = flow_table_add(table, &flows[i], SAME_BUCKET);
        ck_assert_ptr_nonnull(tracked[i]);
    }
    for (int i = 0; i < ALIKE; i++)
        ck_assert_ptr_eq(flow_table_find(table, &flows[i], SAME_BUCKET), tracked[i]);
    /* From the middle, the front and the back of the chain. */
    static const int order[ALIKE] = {6, 12, 0, 5, 7, 11, 1, 9, 3, 2, 10, 4, 8};
    for (int i = 0; i < ALIKE; i++) {
        flow_table_remove(table, tracked[order[i]]);
        for (int j = 0; j < ALIKE; j++) {
            bool gone = false;
            for (int k = 0; k <= i; k++)
                gone |= order[k] == j;
            ck_assert_ptr_eq(flow_table_find(table, &flows[j], SAME_BUCKET), gone ? NULL : tracked[j]);
        }
    }
    flow_table_close(table);
}
END_TEST

START_TEST(walks_while_entries_are_removed_and_added)
{
    enum { CAPACITY = 1000 };
    struct flow_table *table = open_table(CAPACITY);
    ck_assert_uint_eq(flow_table_slots(table), 0);
    for (uint32_t i = 0; i < 600; i++)
        add(table, i);
    ck_assert_uint_eq(flow_table_slots(table), 600);

    bool seen[CAPACITY] = {false};
    uint32_t next = 600;
    for (uint32_t slot = 0; slot < flow_table_slots(table); slot++) {
        struct tracked *tracked = flow_table_at(table, slot);
        if (!tracked)
            continue;
        ck_assert(!seen[tracked->id]);
        seen[tracked->id] = true;
        if (tracked->id < 600 && tracked->id % 3 == 0)
            flow_table_remove(table, tracked);
        if (slot % 5 == 0 && next < 700)
            add(table, next++);
    }
    for (uint32_t i = 0; i < 600; i++) {
        ck_assert(seen[i]);
        ck_assert_int_eq(find(table, i) != NULL, i % 3 != 0);
    }
    flow_table_close(table);
}
END_TEST

START_TEST(agrees_with_a_simple_list)
{
    enum { CAPACITY = 64, NUMBERS = 100 };
    struct flow_table *table = open_table(CAPACITY);
    struct tracked *listed[NUMBERS] = {NULL};
    uint32_t count = 0;
    srand(1);
    for (int i = 0; i < 200000; i++) {
        uint32_t number = (uint32_t)rand() % NUMBERS;
        ck_assert_ptr_eq(find(table, number), listed[number]);
        if (listed[number]) {
            flow_table_remove(table, listed[number]);
            listed[number] = NULL;
            count--;
        } else {
            listed[number] = add(table, number);
            ck_assert_int_eq(listed[number] != NULL, count < CAPACITY);
            count += listed[number] != NULL;
        }
        ck_assert_uint_eq(flow_table_count(table), count);
    }
    flow_table_close(table);
}
END_TEST

static long resident_kib(void)
{
    char line[128];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    fclose(file);
    ck_assert_int_gt(kib, 0);
    return kib;
}

START_TEST(touches_memory_only_as_it_fills)
{
    enum { CAPACITY = 4 << 20, FLOWS = 1000 };
    long before_kib = resident_kib();
    struct flow_table *table = open_table(CAPACITY);
    for (uint32_t i = 0; i < 100 * FLOWS; i++) {
        add(table, i);
        if (i >= FLOWS)
            flow_table_remove(table, find(table, i - FLOWS));
    }
    ck_assert_uint_eq(flow_table_slots(table), FLOWS + 1);
    /* All slots would be 864 MiB. The links to the chains are touched here and there: all of their 16 MiB at
     * most, which ThreadSanitizer shadows by four times as much. */
    ck_assert_int_lt(resident_kib() - before_kib, 100 << 10);
    flow_table_close(table);
}
END_TEST

/* 2^32 octets and a few, or 2^64: modulo that it is small. With 64 bits, address space decides. */
START_TEST(refuses_what_does_not_fit)
{
    const uint32_t capacity = (uint32_t)((UINT64_C(1) << 32) / sizeof(struct tracked) + 1);
    struct flow_table *table = NULL;
    int error = flow_table_open(&table, capacity);
    size_t most = SIZE_MAX / sizeof(struct tracked);
    ck_assert(error == -ENOMEM || (error == 0 && most >= capacity));
    if (!error)
        flow_table_close(table);
    ck_assert(!flow_table_would_fit(most + UINT64_C(1)));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("flow_table");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, finds_what_was_added);
    tcase_add_test(tcase, an_entry_starts_with_nothing_reported);
    tcase_add_loop_test(tcase, refuses_when_full, 0, 4);
    tcase_add_test(tcase, keeps_apart_what_collides);
    tcase_add_test(tcase, walks_while_entries_are_removed_and_added);
    tcase_add_test(tcase, agrees_with_a_simple_list);
    tcase_add_test(tcase, touches_memory_only_as_it_fills);
    tcase_add_test(tcase, refuses_what_does_not_fit);
    Suite *suite = suite_create("flow_table");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
