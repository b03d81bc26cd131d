/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/identity.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "run_suite.h"

enum { CAPACITY = 1024 };

static struct identity_index *indexed;

static void setup(void)
{
    ck_assert_int_eq(identity_index_open(&indexed, CAPACITY), 0);
}

static void teardown(void)
{
    identity_index_close(indexed);
}

/* Each octet counts, and how many there are. */
START_TEST(what_differs_has_another_identity)
{
    uint8_t octets[32] = {0};
    uint64_t seen[1 + 8 * sizeof(octets) + sizeof(octets)];
    size_t count = 0;
    seen[count++] = identity_of(octets, sizeof(octets));
    ck_assert_uint_eq(identity_of(octets, sizeof(octets)), seen[0]);
    for (unsigned bit = 0; bit < 8 * sizeof(octets); bit++) {
        octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        seen[count++] = identity_of(octets, sizeof(octets));
        octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t length = 0; length < sizeof(octets); length++)
        seen[count++] = identity_of(octets, length);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(seen[i], seen[j]);
}
END_TEST

START_TEST(places_are_given_in_order_and_stay)
{
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t i = 0; i < CAPACITY; i++) {
            ck_assert_uint_eq(identity_index_place(indexed, identity_of(&i, sizeof(i))), i);
            ck_assert_uint_eq(identity_index_count(indexed), round == 0 ? i + 1 : CAPACITY);
        }
    ck_assert_uint_eq(identity_index_place(indexed, 4711), IDENTITY_NOWHERE);
    identity_index_clear(indexed);
    ck_assert_uint_eq(identity_index_count(indexed), 0);
    ck_assert_uint_eq(identity_index_place(indexed, 4711), 0);
}
END_TEST

/* Those that begin at one slot, the last one. */
START_TEST(identities_that_collide)
{
    for (uint64_t i = 0; i < CAPACITY; i++)
        ck_assert_uint_eq(identity_index_place(indexed, i << 32 | (2 * CAPACITY - 1)), i);
    for (uint64_t i = CAPACITY; i-- > 0;)
        ck_assert_uint_eq(identity_index_place(indexed, i << 32 | (2 * CAPACITY - 1)), i);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("identity");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, what_differs_has_another_identity);
    tcase_add_test(tests, places_are_given_in_order_and_stay);
    tcase_add_test(tests, identities_that_collide);

    Suite *suite = suite_create("identity");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
