/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_guard.h"

#include "ctflow9/base/instant.h"
#include "unit/ct_lab.h"

START_TEST(books_drops_under_the_present_mode)
{
    struct stats stats = {0};
    struct ct_guard guard;
    ct_guard_init(&guard, true, &stats);
    ck_assert_uint_eq(ct_guard_book(&guard, 0), 0);
    ck_assert_uint_eq(ct_guard_book(&guard, 7), 7);
    ck_assert_uint_eq(stats.deferred, 7);
    ck_assert_uint_eq(stats.lost, 0);

    ct_guard_changed(&guard, CT_GUARD_RELEASE);
    ck_assert_uint_eq(ct_guard_book(&guard, 10), 3);
    ck_assert_uint_eq(stats.deferred, 7);
    ck_assert_uint_eq(stats.lost, 3);

    ct_guard_changed(&guard, CT_GUARD_RETURN);
    ck_assert_uint_eq(ct_guard_book(&guard, 15), 5);
    ck_assert_uint_eq(stats.deferred, 12);
    ck_assert_uint_eq(stats.lost, 3);
    ck_assert_uint_eq(stats.guard_releases, 1);
}
END_TEST

START_TEST(books_across_the_counters_end)
{
    struct stats stats = {0};
    struct ct_guard guard;
    ct_guard_init(&guard, false, &stats);
    ct_guard_book(&guard, UINT32_MAX - 4);
    ck_assert_uint_eq(ct_guard_book(&guard, 5), 10);
    ck_assert_uint_eq(stats.lost, UINT64_C(6) + UINT32_MAX);
    ck_assert_uint_eq(stats.deferred, 0);
}
END_TEST

/* Entries against a limit, and what comes of them. */
static const struct {
    bool released;
    uint32_t entries, limit;
    enum ct_guard_verdict verdict;
} judgements[] = {
    {false, 0, 1000, CT_GUARD_STAY},
    {false, 900, 1000, CT_GUARD_STAY},
    {false, 901, 1000, CT_GUARD_RELEASE},
    {false, 2000, 1000, CT_GUARD_RELEASE},
    {false, UINT32_MAX, UINT32_MAX, CT_GUARD_RELEASE},
    {false, UINT32_MAX / 10 * 8, UINT32_MAX, CT_GUARD_STAY},
    {false, UINT32_MAX, 0, CT_GUARD_STAY}, /* no limit: the table cannot be full */
    {true, 901, 1000, CT_GUARD_STAY},
    {true, 750, 1000, CT_GUARD_STAY},
    {true, 749, 1000, CT_GUARD_RETURN},
    {true, 0, 1000, CT_GUARD_RETURN},
    {true, 5, 0, CT_GUARD_RETURN}, /* the limit was taken away meanwhile */
};

START_TEST(judges_with_a_gap_between_letting_go_and_taking_back)
{
    struct stats stats = {0};
    struct ct_guard guard;
    ct_guard_init(&guard, true, &stats);
    guard.released = judgements[_i].released;
    const struct ct_guard_table table = {.entries = judgements[_i].entries, .limit = judgements[_i].limit};
    ck_assert_int_eq(ct_guard_judge(&guard, &table), judgements[_i].verdict);
}
END_TEST

START_TEST(is_concerned_by_drops_and_until_it_has_returned)
{
    struct stats stats = {0};
    struct ct_guard guard;
    ct_guard_init(&guard, true, &stats);
    ck_assert(!ct_guard_is_concerned(&guard, 0));
    ck_assert(ct_guard_is_concerned(&guard, 1));
    ct_guard_changed(&guard, CT_GUARD_RELEASE);
    ck_assert(ct_guard_is_concerned(&guard, 0));
    ct_guard_changed(&guard, CT_GUARD_RETURN);
    ck_assert(!ct_guard_is_concerned(&guard, 0));

    ct_guard_init(&guard, false, &stats);
    ck_assert(!ct_guard_is_concerned(&guard, 1));
}
END_TEST

START_TEST(tells_losses_once_a_minute)
{
    struct stats stats = {0};
    struct ct_guard guard;
    ct_guard_init(&guard, false, &stats);
    uint64_t now_ns = 5 * NS_PER_S;
    ck_assert_uint_eq(ct_guard_losses_to_tell(&guard, now_ns), 0);
    ct_guard_book(&guard, 3);
    ck_assert_uint_eq(ct_guard_losses_to_tell(&guard, now_ns), 3);
    ct_guard_book(&guard, 5);
    ct_guard_book(&guard, 9);
    ck_assert_uint_eq(ct_guard_losses_to_tell(&guard, now_ns + 59 * NS_PER_S), 0);
    ck_assert_uint_eq(ct_guard_losses_to_tell(&guard, now_ns + 60 * NS_PER_S), 6);
    ck_assert_uint_eq(ct_guard_losses_to_tell(&guard, now_ns + 600 * NS_PER_S), 0);
    ck_assert_uint_eq(stats.lost, 9);
}
END_TEST

START_TEST(tells_no_deferral_as_a_loss)
{
    struct stats stats = {0};
    struct ct_guard guard;
    ct_guard_init(&guard, true, &stats);
    ct_guard_book(&guard, 3);
    ck_assert_uint_eq(ct_guard_losses_to_tell(&guard, NS_PER_S), 0);
}
END_TEST

START_TEST(asks_the_kernel_how_full_its_table_is)
{
    enum { FLOWS = 25 };
    lab_enter();
    lab_track("");
    int fd = netlink_socket_open();
    struct ct_guard_table table;
    ck_assert_int_eq(ct_guard_ask(fd, &table), 0);
    ck_assert_uint_eq(table.entries, 0);
    ck_assert_int_eq(table.limit, lab_sysctl("nf_conntrack_max"));
    lab_make_flows(FLOWS);
    ck_assert_int_eq(ct_guard_ask(fd, &table), 0);
    ck_assert_uint_eq(table.entries, FLOWS);

    lab_drop_capabilities();
    ck_assert_int_eq(ct_guard_ask(fd, &table), -EPERM);
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ct_guard");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, books_drops_under_the_present_mode);
    tcase_add_test(tcase, books_across_the_counters_end);
    tcase_add_loop_test(tcase, judges_with_a_gap_between_letting_go_and_taking_back, 0,
                        sizeof(judgements) / sizeof(judgements[0]));
    tcase_add_test(tcase, is_concerned_by_drops_and_until_it_has_returned);
    tcase_add_test(tcase, tells_losses_once_a_minute);
    tcase_add_test(tcase, tells_no_deferral_as_a_loss);
    tcase_add_test(tcase, asks_the_kernel_how_full_its_table_is);
    Suite *suite = suite_create("ct_guard");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
