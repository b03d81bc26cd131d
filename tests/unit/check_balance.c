/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/balance.h"

#include <check.h>
#include <stdio.h>

#include "run_suite.h"
#include "sample_flow.h"

enum { ADDRESSES = 20000, MEMBERS = 5 };

static const char *const names[MEMBERS] = {"192.0.2.1:2055", "192.0.2.2:2055", "192.0.2.3:2055",
                                           "192.0.2.3:2056", "[2001:db8::4]:2055"};
static struct balance *balance;

static void teardown(void)
{
    balance_close(balance);
}

static void open_balance(enum balance_kind kind, const char *const *members, size_t count)
{
    balance_close(balance);
    ck_assert_int_eq(balance_open(&balance, kind, members, count), 0);
}

static struct flow flow_from(unsigned number)
{
    char source[32];
    snprintf(source, sizeof(source), "10.0.%u.%u", number >> 8, number & 255);
    return sample_flow(IPPROTO_UDP, source, (uint16_t)(1024 + number % 1000), "192.0.2.9", 53);
}

static struct balance_choice choose(unsigned address)
{
    struct flow flow = flow_from(address);
    return balance_choose(balance, &flow);
}

/* Who gets each address. */
static void take_all(size_t takers[ADDRESSES])
{
    for (unsigned i = 0; i < ADDRESSES; i++)
        takers[i] = choose(i).taker;
}

START_TEST(a_host_stays_with_one_member)
{
    open_balance(BALANCE_HASH, names, MEMBERS);
    for (unsigned i = 0; i < 1000; i++) {
        struct flow flow = flow_from(i);
        size_t taker = balance_choose(balance, &flow).taker;
        flow.tuple[FLOW_ORIGINAL].src_port = 1;
        flow.tuple[FLOW_ORIGINAL].dst = flow.tuple[FLOW_ORIGINAL].src;
        flow.tuple[FLOW_REPLY].src.v4 ^= 1;
        flow.protocol = IPPROTO_TCP;
        ck_assert_uint_eq(balance_choose(balance, &flow).taker, taker);
    }
}
END_TEST

/* Half of its addresses differ in the first octets, half in the last ones. */
START_TEST(ipv6_addresses_are_spread)
{
    unsigned shares[2] = {0};
    open_balance(BALANCE_HASH, names, 2);
    for (unsigned i = 0; i < 2000; i++) {
        struct flow flow = {.family = AF_INET6};
        flow.tuple[FLOW_ORIGINAL].src.v6[i % 2 == 0 ? 1 : 15] = (uint8_t)(i >> 1);
        flow.tuple[FLOW_ORIGINAL].src.v6[i % 2 == 0 ? 2 : 14] = (uint8_t)(i >> 9);
        shares[balance_choose(balance, &flow).taker]++;
    }
    ck_assert_uint_ge(shares[0], 850);
    ck_assert_uint_ge(shares[1], 850);
}
END_TEST

/* By what tells a counter from others, whatever it has counted. */
START_TEST(a_counter_stays_with_one_member)
{
    unsigned shares[2] = {0};
    open_balance(BALANCE_HASH, names, 2);
    for (unsigned i = 0; i < 2000; i++) {
        struct flow flow = {.kind = FLOW_COUNTER, .counter = {.identity = i, .name = "same"}};
        size_t taker = balance_choose(balance, &flow).taker;
        flow.octets[FLOW_ORIGINAL] = i;
        flow.counter.name[0] = 'n';
        ck_assert_uint_eq(balance_choose(balance, &flow).taker, taker);
        shares[taker]++;
    }
    ck_assert_uint_ge(shares[0], 850);
    ck_assert_uint_ge(shares[1], 850);
}
END_TEST

START_TEST(each_member_has_its_share)
{
    unsigned shares[MEMBERS] = {0};
    static size_t takers[ADDRESSES];
    open_balance(BALANCE_HASH, names, MEMBERS);
    take_all(takers);
    for (unsigned i = 0; i < ADDRESSES; i++)
        shares[takers[i]]++;
    for (size_t i = 0; i < MEMBERS; i++) { /* of 4,000, whose standard deviation is 57 */
        ck_assert_uint_ge(shares[i], 3700);
        ck_assert_uint_le(shares[i], 4300);
    }
}
END_TEST

/* A fifth of all addresses moves, and only to the one that has come. */
START_TEST(who_comes_moves_its_share_alone)
{
    static size_t before[ADDRESSES], after[ADDRESSES];
    unsigned moved = 0;
    open_balance(BALANCE_HASH, names, MEMBERS - 1);
    take_all(before);
    open_balance(BALANCE_HASH, names, MEMBERS);
    take_all(after);
    for (unsigned i = 0; i < ADDRESSES; i++) {
        if (after[i] == before[i])
            continue;
        ck_assert_uint_eq(after[i], MEMBERS - 1);
        moved++;
    }
    ck_assert_uint_ge(moved, 3700);
    ck_assert_uint_le(moved, 4300);
}
END_TEST

START_TEST(the_order_does_not_matter)
{
    const char *reversed[MEMBERS];
    static size_t before[ADDRESSES], after[ADDRESSES];
    for (size_t i = 0; i < MEMBERS; i++)
        reversed[i] = names[MEMBERS - 1 - i];
    open_balance(BALANCE_HASH, names, MEMBERS);
    take_all(before);
    open_balance(BALANCE_HASH, reversed, MEMBERS);
    take_all(after);
    for (unsigned i = 0; i < ADDRESSES; i++)
        ck_assert_uint_eq(after[i], MEMBERS - 1 - before[i]);
}
END_TEST

/* What it would get goes to all others; nothing else moves, and all of it comes back. */
START_TEST(who_is_passed_over_moves_its_share_alone)
{
    static size_t before[ADDRESSES], after[ADDRESSES];
    unsigned shares[MEMBERS] = {0};
    open_balance(BALANCE_HASH, names, MEMBERS);
    take_all(before);
    balance_pass_over(balance, 2, true);
    for (unsigned i = 0; i < ADDRESSES; i++) {
        struct balance_choice choice = choose(i);
        ck_assert_uint_eq(choice.owner, before[i]);
        if (before[i] == 2)
            shares[choice.taker]++;
        else
            ck_assert_uint_eq(choice.taker, before[i]);
    }
    ck_assert_uint_eq(shares[2], 0);
    for (size_t i = 0; i < MEMBERS; i++)
        ck_assert_uint_ge(shares[i], i == 2 ? 0 : 800);
    balance_pass_over(balance, 2, false);
    take_all(after);
    ck_assert_mem_eq(before, after, sizeof(before));
}
END_TEST

START_TEST(with_none_left_all_get_their_own)
{
    static size_t before[ADDRESSES], after[ADDRESSES];
    open_balance(BALANCE_HASH, names, MEMBERS);
    take_all(before);
    for (size_t i = 0; i < MEMBERS; i++) {
        balance_pass_over(balance, i, true);
        balance_pass_over(balance, i, true);
    }
    take_all(after);
    ck_assert_mem_eq(before, after, sizeof(before));
}
END_TEST

static void expect_turns(const size_t *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(choose(7).taker, wanted[i]);
}

START_TEST(each_in_turn)
{
    open_balance(BALANCE_ROUNDROBIN, names, 3);
    expect_turns((const size_t[]){0, 1, 2, 0, 1, 2}, 6);
    balance_pass_over(balance, 1, true);
    struct balance_choice choice = choose(0);
    ck_assert_uint_eq(choice.taker, 0);
    choice = choose(0);
    ck_assert_uint_eq(choice.owner, 1);
    ck_assert_uint_eq(choice.taker, 2);
    expect_turns((const size_t[]){0, 2, 0, 2}, 4);
    balance_pass_over(balance, 0, true);
    expect_turns((const size_t[]){2, 2, 2}, 3);
    balance_pass_over(balance, 2, true);
    expect_turns((const size_t[]){0, 1, 2, 0}, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("balance");
    TCase *tests = tcase_create("balance");
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, a_host_stays_with_one_member);
    tcase_add_test(tests, ipv6_addresses_are_spread);
    tcase_add_test(tests, a_counter_stays_with_one_member);
    tcase_add_test(tests, each_member_has_its_share);
    tcase_add_test(tests, who_comes_moves_its_share_alone);
    tcase_add_test(tests, the_order_does_not_matter);
    tcase_add_test(tests, who_is_passed_over_moves_its_share_alone);
    tcase_add_test(tests, with_none_left_all_get_their_own);
    tcase_add_test(tests, each_in_turn);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
