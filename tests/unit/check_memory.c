/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/memory.h"

#include <check.h>
#include <stdlib.h>

#include "run_suite.h"

START_TEST(computes_sizes)
{
    size_t octets = 1;
    ck_assert(memory_octets(&octets, 0, 0, 24));
    ck_assert_uint_eq(octets, 0);
    ck_assert(memory_octets(&octets, 16, 3, 24));
    ck_assert_uint_eq(octets, 88);
    ck_assert(memory_octets(&octets, 1, SIZE_MAX - 1, 1));
    ck_assert_uint_eq(octets, SIZE_MAX);
}
END_TEST

/* Each of them is a small size when it is computed modulo 2^32 or 2^64. */
static const struct {
    size_t head;
    uint64_t count;
    size_t each;
} too_many[] = {
    {0, SIZE_MAX / 216 + 1, 216},
    {0, (uint64_t)SIZE_MAX / 2 + 1, 2},
    {0, UINT64_MAX, SIZE_MAX},
    {16, SIZE_MAX - 15, 1},
    {SIZE_MAX, 1, 1},
};

START_TEST(refuses_what_does_not_fit)
{
    size_t octets;
    ck_assert(!memory_octets(&octets, too_many[_i].head, too_many[_i].count, too_many[_i].each));
    ck_assert_ptr_null(memory_allocate(too_many[_i].head, too_many[_i].count, too_many[_i].each));
    if (too_many[_i].head == 0)
        ck_assert_ptr_null(memory_map(too_many[_i].count, too_many[_i].each, MEMORY_WHEN_TOUCHED));
}
END_TEST

START_TEST(maps_zeros)
{
    enum { COUNT = 1000 };
    uint64_t *slab = memory_map(COUNT, sizeof(*slab), _i ? MEMORY_AT_ONCE : MEMORY_WHEN_TOUCHED);
    ck_assert_ptr_nonnull(slab);
    ck_assert_uint_eq(slab[0], 0);
    ck_assert_uint_eq(slab[COUNT - 1], 0);
    slab[COUNT - 1] = 1;
    memory_unmap(slab, COUNT, sizeof(*slab));
    memory_unmap(NULL, COUNT, sizeof(*slab));
}
END_TEST

START_TEST(allocates_zeros)
{
    struct list {
        uint64_t count;
        uint64_t elements[];
    } *list = memory_allocate(sizeof(*list), 3, sizeof(list->elements[0]));
    ck_assert_ptr_nonnull(list);
    ck_assert_uint_eq(list->count, 0);
    ck_assert_uint_eq(list->elements[2], 0);
    free(list);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *all = tcase_create("all");
    tcase_add_test(all, computes_sizes);
    tcase_add_loop_test(all, refuses_what_does_not_fit, 0, sizeof(too_many) / sizeof(too_many[0]));
    tcase_add_loop_test(all, maps_zeros, 0, 2);
    tcase_add_test(all, allocates_zeros);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
