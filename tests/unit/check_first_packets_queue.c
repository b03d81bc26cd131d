/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/first_packets_queue.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "run_suite.h"

enum { SETS = 16, START_NS = 1000000000, TAI_OFFSET_NS = 37000000 };

/* The table, and what came out of the queue. */
static struct first_packets_table table;
static struct first_packets_queue *queue;
static struct flow out[4096];
static unsigned out_count;

static void keep(void *context, const struct flow *flow)
{
    ck_assert_ptr_eq(context, &out_count);
    ck_assert_uint_lt(out_count, sizeof(out) / sizeof(out[0]));
    out[out_count++] = *flow;
}

static void setup(void)
{
    table.sets = aligned_alloc(64, SETS * sizeof(*table.sets));
    ck_assert_ptr_nonnull(table.sets);
    memset(table.sets, 0, SETS * sizeof(*table.sets));
    table.set_mask = SETS - 1;
    for (unsigned i = 0; i < FIRST_PACKETS_KEY_WORDS; i++)
        table.secret[i] = 0x9e3779b9U * (i + 1);
    table.tai_offset_ns = TAI_OFFSET_NS;
    out_count = 0;
    ck_assert_int_eq(first_packets_queue_open(&queue, &table, keep, &out_count), 0);
}

static void teardown(void)
{
    first_packets_queue_close(queue);
    free(table.sets);
}

static struct flow flow_of(unsigned number)
{
    struct flow flow = {.family = AF_INET,
                        .protocol = IPPROTO_UDP,
                        .start_ns = START_NS,
                        .stop_ns = 2 * START_NS,
                        .id = number,
                        .has = FLOW_HAS_START};
    flow.tuple[FLOW_ORIGINAL] = (struct flow_tuple){
        .src.v4 = 0x0a000001 + number, .dst.v4 = 0x0b000001, .src_port = 1, .dst_port = 2};
    return flow;
}

/* What the program makes of it. */
static uint64_t hash_of(const struct flow *flow)
{
    const struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    struct first_packets_key key = {.src_id = tuple->src_port,
                                    .dst_id = tuple->dst_port,
                                    .zone = flow->zone,
                                    .family = flow->family,
                                    .protocol = flow->protocol};
    memcpy(key.src, &tuple->src, sizeof(key.src));
    memcpy(key.dst, &tuple->dst, sizeof(key.dst));
    return first_packets_hash(table.secret, &key);
}

static struct first_packets_set *set_of(const struct flow *flow)
{
    return &table.sets[(uint32_t)hash_of(flow) & table.set_mask];
}

/* As the program does with the first packet, after the connection began at that time; in the first free
 * place. */
static uint32_t *note(const struct flow *flow, uint64_t start_ns, uint32_t in_interface)
{
    struct first_packets_set *set = set_of(flow);
    for (unsigned way = 0; way < FIRST_PACKETS_WAYS; way++) {
        if (set->tags[way] != FIRST_PACKETS_FREE)
            continue;
        set->notes[way] =
            (struct first_packets_note){.hash = hash_of(flow),
                                        .noted_ns = start_ns + TAI_OFFSET_NS,
                                        .has = FIRST_PACKETS_INTERFACES | FIRST_PACKETS_INTERFACES << 1 |
                                               FIRST_PACKETS_TOS | FIRST_PACKETS_LINK_SOURCE << 1,
                                        .in_interface = {in_interface, in_interface + 1},
                                        .out_interface = {in_interface + 2, in_interface + 3},
                                        .tos = {0xb8, 0},
                                        .link_source = {{0}, {2, 3, 4, 5, 6, 7}}};
        set->tags[way] = first_packets_tag(hash_of(flow));
        return &set->tags[way];
    }
    ck_abort_msg("a full set");
}

static unsigned count_notes(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SETS; i++)
        for (unsigned way = 0; way < FIRST_PACKETS_WAYS; way++)
            count += table.sets[i].tags[way] != FIRST_PACKETS_FREE;
    return count;
}

START_TEST(fills_in_what_was_noted)
{
    const struct flow flow = flow_of(1);
    note(&flow, START_NS - 1, 40);
    first_packets_queue_put(queue, &flow, true);
    ck_assert_uint_eq(out_count, 0);
    first_packets_queue_flush(queue);
    ck_assert_uint_eq(out_count, 1);
    struct flow expected = flow;
    expected.has |= FLOW_HAS_INTERFACES | FLOW_HAS_INTERFACES << 1 | FLOW_HAS_TOS | FLOW_HAS_LINK_SOURCE << 1;
    memcpy(expected.in_interface, (const uint32_t[]){40, 41}, sizeof(expected.in_interface));
    memcpy(expected.out_interface, (const uint32_t[]){42, 43}, sizeof(expected.out_interface));
    expected.tos[FLOW_ORIGINAL] = 0xb8;
    memcpy(expected.link_source[FLOW_REPLY], (const uint8_t[]){2, 3, 4, 5, 6, 7}, 6);
    ck_assert_mem_eq(&out[0], &expected, sizeof(expected));
    ck_assert_uint_eq(count_notes(), 0);
}
END_TEST

START_TEST(without_a_note)
{
    const struct flow noted = flow_of(1), flow = flow_of(2);
    note(&noted, START_NS, 40);
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert_mem_eq(&out[0], &flow, sizeof(flow));
    ck_assert_uint_eq(count_notes(), 1);
}
END_TEST

/* More than the queue holds; in order, each its own, however many are put between two flushes. */
START_TEST(keeps_the_order)
{
    unsigned put = 0;
    for (unsigned round = 1; round < 50; round++) {
        for (unsigned i = 0; i < round; i++, put++) {
            const struct flow flow = flow_of(put);
            note(&flow, START_NS, put + 1);
            first_packets_queue_put(queue, &flow, true);
        }
        first_packets_queue_flush(queue);
        ck_assert_uint_eq(out_count, put);
        ck_assert_uint_eq(count_notes(), 0);
    }
    for (unsigned i = 0; i < put; i++) {
        ck_assert_uint_eq(out[i].id, i);
        ck_assert_uint_eq(out[i].in_interface[0], i + 1);
    }
}
END_TEST

START_TEST(a_part_leaves_the_note)
{
    const struct flow flow = flow_of(1);
    note(&flow, START_NS, 40);
    for (int i = 0; i < 3; i++)
        first_packets_queue_put(queue, &flow, i == 2);
    first_packets_queue_flush(queue);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(out[i].in_interface[0], 40);
    ck_assert_uint_eq(count_notes(), 0);
}
END_TEST

START_TEST(what_is_forgotten)
{
    const struct flow flow = flow_of(1);
    note(&flow, START_NS, 40);
    first_packets_queue_forget(queue, &flow);
    first_packets_queue_flush(queue);
    ck_assert_uint_eq(out_count, 0);
    ck_assert_uint_eq(count_notes(), 0);
}
END_TEST

/* The same tuple was there twice before, once without an event, and is there again. */
START_TEST(several_of_one_tuple)
{
    struct flow flow = flow_of(1);
    note(&flow, START_NS + 50000000, 60);
    note(&flow, START_NS - 50000000, 20);
    note(&flow, START_NS, 40);
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert_uint_eq(out[0].in_interface[0], 40);
    ck_assert_uint_eq(count_notes(), 1);
    flow.start_ns = START_NS + 50000000;
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert_uint_eq(out[1].in_interface[0], 60);
    ck_assert_uint_eq(count_notes(), 0);
}
END_TEST

/* Without a start time it is the last one that began before the end. */
START_TEST(without_a_start)
{
    struct flow flow = flow_of(1);
    flow.has = 0;
    flow.start_ns = flow.stop_ns;
    note(&flow, START_NS, 40);
    note(&flow, 3ULL * START_NS, 60);
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert_uint_eq(out[0].in_interface[0], 40);
}
END_TEST

/* A tag is not all of the hash. */
START_TEST(same_tag)
{
    const struct flow flow = flow_of(1);
    note(&flow, START_NS, 40);
    set_of(&flow)->notes[0].hash ^= 1ULL << 20;
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert(!flow_has(&out[0], FLOW_HAS_INTERFACES));
    ck_assert_uint_eq(count_notes(), 1);
}
END_TEST

/* What never ends being written does not hold anything up. */
START_TEST(a_busy_place)
{
    const struct flow flow = flow_of(1);
    uint32_t *tag = note(&flow, START_NS, 40);
    *tag = FIRST_PACKETS_BUSY;
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert(!flow_has(&out[0], FLOW_HAS_INTERFACES));
    ck_assert_uint_eq(*tag, FIRST_PACKETS_BUSY);
}
END_TEST

START_TEST(icmp_and_zones)
{
    struct flow flow = flow_of(1);
    flow.protocol = IPPROTO_ICMP;
    flow.zone = 7;
    flow.tuple[FLOW_ORIGINAL].src_port = flow.tuple[FLOW_ORIGINAL].dst_port = 0;
    struct flow noted = flow;
    noted.tuple[FLOW_ORIGINAL].src_port = flow.tuple[FLOW_ORIGINAL].icmp_id = 0x1234;
    flow.tuple[FLOW_ORIGINAL].icmp_type = 8;
    memcpy(&noted.tuple[FLOW_ORIGINAL].dst_port, (const uint8_t[]){8, 0}, 2);
    note(&noted, START_NS, 40);
    first_packets_queue_put(queue, &flow, true);
    flow.zone = 8;
    first_packets_queue_put(queue, &flow, true);
    first_packets_queue_flush(queue);
    ck_assert_uint_eq(out[0].in_interface[0], 40);
    ck_assert(!flow_has(&out[1], FLOW_HAS_INTERFACES));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("first_packets_queue");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, fills_in_what_was_noted);
    tcase_add_test(cases, without_a_note);
    tcase_add_test(cases, keeps_the_order);
    tcase_add_test(cases, a_part_leaves_the_note);
    tcase_add_test(cases, what_is_forgotten);
    tcase_add_test(cases, several_of_one_tuple);
    tcase_add_test(cases, without_a_start);
    tcase_add_test(cases, same_tag);
    tcase_add_test(cases, a_busy_place);
    tcase_add_test(cases, icmp_and_zones);
    Suite *suite = suite_create("first_packets_queue");
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
