/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/table_size.h"

#include <check.h>
#include <sys/resource.h>

#include "ctflow9/flow/flow_table.h"

#include "run_suite.h"

/* A sanitizer's shadow takes so much address space that no limit can be set. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CAN_LIMIT = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { CAN_LIMIT = 0 };
#else
enum { CAN_LIMIT = 1 };
#endif
#else
enum { CAN_LIMIT = 1 };
#endif

static uint32_t automatic(uint32_t table_limit, unsigned workers)
{
    struct table_size size = table_size_of_worker(0, table_limit, workers);
    ck_assert_uint_eq(size.reserve, 0);
    return size.capacity;
}

static uint32_t given(uint32_t given, unsigned workers)
{
    struct table_size size = table_size_of_worker(given, 65536, workers);
    uint32_t all = automatic(65536, workers);
    ck_assert_uint_eq(size.reserve, all > size.capacity ? all - size.capacity : 0);
    return size.capacity;
}

START_TEST(a_given_size_is_shared)
{
    ck_assert_uint_eq(given(100, 1), 100);
    ck_assert_uint_eq(given(100, 3), 34);
    ck_assert_uint_eq(given(1, 64), 1);
    ck_assert_uint_eq(given(TABLE_SIZE_MAX, 1), TABLE_SIZE_MAX);
}
END_TEST

START_TEST(auto_has_a_place_for_all)
{
    static const uint32_t limits[] = {1, 1000, 65536, 262144, 1048576};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        ck_assert_uint_gt(automatic(limits[i], 1), limits[i]);
        /* The share is not even: six times the standard deviation is never reached. */
        uint64_t places = automatic(limits[i], 8), share = limits[i] / 8;
        ck_assert_uint_ge(places, share);
        ck_assert_uint_gt((places - share) * (places - share), 36 * share);
    }
    ck_assert_uint_gt(automatic(0, 1), TABLE_SIZE_DEFAULT);
    ck_assert_uint_le(automatic(UINT32_MAX, 1), 2 * (uint32_t)TABLE_SIZE_MAX);
}
END_TEST

static void limit_address_space(rlim_t octets)
{
    const struct rlimit limit = {octets, octets};
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* And something is left for others. */
START_TEST(auto_takes_less_where_address_space_is_short)
{
    limit_address_space((rlim_t)512 << 20);
    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        uint32_t size = automatic(64000000, workers);
        ck_assert_uint_lt(size * workers, 1000000);
        ck_assert_uint_gt(size * workers, TABLE_SIZE_DEFAULT);
    }
    uint32_t size = automatic(1048576, 1);
    struct flow_table *table;
    ck_assert(flow_table_would_fit(3 * (uint64_t)size));
    ck_assert_int_eq(flow_table_open(&table, size), 0);
    flow_table_close(table);
    ck_assert(!flow_table_would_fit(UINT64_MAX));
    ck_assert(!flow_table_would_fit(64000000));

    limit_address_space((rlim_t)64 << 20);
    size = automatic(1048576, 1);
    ck_assert_uint_gt(size, 1024);
    ck_assert_uint_lt(size, TABLE_SIZE_DEFAULT);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("sizes");
    tcase_add_test(tcase, a_given_size_is_shared);
    tcase_add_test(tcase, auto_has_a_place_for_all);
    if (CAN_LIMIT)
        tcase_add_test(tcase, auto_takes_less_where_address_space_is_short);
    Suite *suite = suite_create("table_size");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
