/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/flow_ring.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "run_suite.h"

static struct flow_ring *open_ring(size_t capacity)
{
    struct flow_ring *ring;
    ck_assert_int_eq(flow_ring_open(&ring, capacity), 0);
    return ring;
}

/* Every octet of the note tells its number. */
static struct flow_note note_of(uint64_t number)
{
    struct flow_note note = {.flow = {.start_ns = number, .stop_ns = ~number}, .dump = (uint32_t)number};
    memset(&note.flow.tuple, (int)(number % 251), sizeof(note.flow.tuple));
    return note;
}

static void put(struct flow_ring *ring, uint64_t number)
{
    const struct flow_note note = note_of(number);
    flow_ring_put(ring, &note);
}

static bool is_whole(const struct flow_note *note, uint64_t number)
{
    const struct flow_note expected = note_of(number);
    return note->flow.start_ns == number && note->flow.stop_ns == ~number && note->dump == (uint32_t)number &&
           memcmp(&note->flow.tuple, &expected.flow.tuple, sizeof(expected.flow.tuple)) == 0;
}

static void expect(struct flow_ring *ring, uint64_t number)
{
    const struct flow_note *note = flow_ring_peek(ring);
    ck_assert_ptr_nonnull(note);
    ck_assert(is_whole(note, number));
    ck_assert_ptr_eq(flow_ring_peek(ring), note);
    flow_ring_take(ring);
}

START_TEST(gives_back_in_order)
{
    struct flow_ring *ring = open_ring(8);
    ck_assert_ptr_null(flow_ring_peek(ring));
    /* All fillings at all places of the ring. */
    uint64_t in = 0, out = 0;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 1 + round % 8; i++) {
            ck_assert_uint_ge(flow_ring_room(ring), 1);
            put(ring, in++);
        }
        while (out < in)
            expect(ring, out++);
        ck_assert_ptr_null(flow_ring_peek(ring));
    }
    flow_ring_close(ring);
}
END_TEST

START_TEST(refuses_when_full)
{
    struct flow_ring *ring = open_ring(4);
    uint64_t in = 0, out = 0;
    for (int round = 0; round < 10; round++) {
        while (flow_ring_room(ring) > 0)
            put(ring, in++);
        ck_assert_uint_eq(in - out, 4);
        expect(ring, out++);
        ck_assert_uint_eq(flow_ring_room(ring), 1);
        put(ring, in++);
        ck_assert_uint_eq(flow_ring_room(ring), 0);
        expect(ring, out++);
        expect(ring, out++);
        ck_assert_uint_eq(flow_ring_room(ring), 2);
    }
    flow_ring_close(ring);
}
END_TEST

START_TEST(never_tells_of_more_room_than_there_is)
{
    struct flow_ring *ring = open_ring(16);
    uint64_t in = 0, out = 0;
    srand(1);
    for (int i = 0; i < 100000; i++) {
        size_t room = flow_ring_room(ring);
        ck_assert_uint_le(room, 16 - (in - out));
        ck_assert(room > 0 || in - out == 16);
        if (room > 0 && rand() % 2)
            put(ring, in++);
        else if (in > out)
            expect(ring, out++);
    }
    flow_ring_close(ring);
}
END_TEST

START_TEST(works_with_one_place)
{
    struct flow_ring *ring = open_ring(1);
    for (uint64_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(flow_ring_room(ring), 1);
        put(ring, i);
        ck_assert_uint_eq(flow_ring_room(ring), 0);
        expect(ring, i);
    }
    flow_ring_close(ring);
}
END_TEST

START_TEST(tells_when_all_was_taken)
{
    struct flow_ring *ring = open_ring(8);
    ck_assert(flow_ring_is_drained(ring));
    put(ring, 0);
    put(ring, 1);
    expect(ring, 0);
    ck_assert(!flow_ring_is_drained(ring));
    ck_assert_ptr_nonnull(flow_ring_peek(ring)); /* seen is not taken */
    ck_assert(!flow_ring_is_drained(ring));
    expect(ring, 1);
    ck_assert(flow_ring_is_drained(ring));
    ck_assert_uint_eq(flow_ring_room(ring), 8);
    flow_ring_close(ring);
}
END_TEST

enum { HANDED_OVER = 300000 };

static void *produce(void *context)
{
    struct flow_ring *ring = context;
    for (uint64_t i = 0; i < HANDED_OVER;) {
        size_t room = flow_ring_room(ring);
        if (room == 0)
            sched_yield();
        for (; room > 0 && i < HANDED_OVER; room--)
            put(ring, i++);
    }
    return NULL;
}

START_TEST(hands_over_between_threads)
{
    static const size_t capacities[] = {1, 2, 64, 4096};
    struct flow_ring *ring = open_ring(capacities[_i]);
    pthread_t producer;
    ck_assert_int_eq(pthread_create(&producer, NULL, produce, ring), 0);
    for (uint64_t i = 0; i < HANDED_OVER;) {
        const struct flow_note *note = flow_ring_peek(ring);
        if (!note) {
            sched_yield();
            continue;
        }
        if (!is_whole(note, i))
            ck_abort_msg("note %lu is broken or out of order", (unsigned long)i);
        flow_ring_take(ring);
        i++;
    }
    pthread_join(producer, NULL);
    ck_assert_ptr_null(flow_ring_peek(ring));
    ck_assert(flow_ring_is_drained(ring));
    flow_ring_close(ring);
}
END_TEST

/* Acts on a note before giving its place back. */
struct acting {
    struct flow_ring *ring;
    unsigned long acted; /* nothing but the ring orders this */
};

static void *act(void *context)
{
    struct acting *acting = context;
    for (int left = 1000; left > 0;) {
        if (!flow_ring_peek(acting->ring)) {
            sched_yield();
            continue;
        }
        acting->acted++;
        flow_ring_take(acting->ring);
        left--;
    }
    return NULL;
}

START_TEST(shows_what_was_done_before_all_was_taken)
{
    struct acting acting = {.ring = open_ring(4)};
    pthread_t consumer;
    ck_assert_int_eq(pthread_create(&consumer, NULL, act, &acting), 0);
    for (unsigned long i = 1; i <= 1000; i++) {
        put(acting.ring, i);
        while (!flow_ring_is_drained(acting.ring))
            sched_yield();
        ck_assert_uint_eq(acting.acted, i);
    }
    pthread_join(consumer, NULL);
    flow_ring_close(acting.ring);
}
END_TEST

/* Also the proof that asserts are on in every build that is tested. */
START_TEST(has_a_power_of_two_of_places)
{
    flow_ring_close(open_ring(3));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("flow_ring");
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, gives_back_in_order);
    tcase_add_test(tcase, refuses_when_full);
    tcase_add_test(tcase, never_tells_of_more_room_than_there_is);
    tcase_add_test(tcase, works_with_one_place);
    tcase_add_test(tcase, tells_when_all_was_taken);
    tcase_add_test_raise_signal(tcase, has_a_power_of_two_of_places, SIGABRT);
    tcase_add_loop_test(tcase, hands_over_between_threads, 0, 4);
    tcase_add_test(tcase, shows_what_was_done_before_all_was_taken);
    Suite *suite = suite_create("flow_ring");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
