/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/interface_marks.h"

#include <check.h>

#include "run_suite.h"

static const struct interface_marks both = {.masks = {0xff, 0xffff00}, .egress_mask = 0x01000000};

static struct flow noted(const struct interface_marks *marks, uint32_t mark)
{
    struct flow flow = {.mark = mark, .has = FLOW_HAS_COUNTERS};
    interface_marks_note(marks, &flow);
    return flow;
}

static void check_way(const struct flow *flow, enum flow_direction direction, uint32_t in, uint32_t out)
{
    uint32_t seen_in, seen_out;
    ck_assert(flow_interfaces(flow, direction, &seen_in, &seen_out));
    ck_assert_uint_eq(seen_in, in);
    ck_assert_uint_eq(seen_out, out);
}

START_TEST(numbers_are_the_bits_of_each_mask)
{
    struct flow flow = noted(&both, 0xfe123407);
    check_way(&flow, FLOW_ORIGINAL, 7, 0x1234);
    check_way(&flow, FLOW_REPLY, 0x1234, 7);
    ck_assert(flow_has(&flow, FLOW_HAS_COUNTERS));

    const struct interface_marks ends = {.masks = {0x80000000, 0x7fffffff}};
    flow = noted(&ends, 0xffffffff);
    check_way(&flow, FLOW_ORIGINAL, 1, 0x7fffffff);
}
END_TEST

/* 0 in one of them is this machine; in both, no rule has marked the connection. */
START_TEST(no_number_is_no_interface)
{
    struct flow flow = noted(&both, 0x00000300);
    check_way(&flow, FLOW_ORIGINAL, 0, 3);
    check_way(&flow, FLOW_REPLY, 3, 0);
    uint32_t in, out;
    flow = noted(&both, 0xff000000);
    ck_assert(!flow_interfaces(&flow, FLOW_ORIGINAL, &in, &out));
    ck_assert(!flow_interfaces(&flow, FLOW_REPLY, &in, &out));
}
END_TEST

/* What a source knew stays where the mark says nothing, and gives way where it does. */
START_TEST(marks_win)
{
    struct flow flow = {.in_interface = {1, 2},
                        .out_interface = {3, 4},
                        .has = FLOW_HAS_INTERFACES << FLOW_ORIGINAL | FLOW_HAS_INTERFACES << FLOW_REPLY};
    interface_marks_note(&both, &flow);
    check_way(&flow, FLOW_ORIGINAL, 1, 3);
    check_way(&flow, FLOW_REPLY, 2, 4);
    flow.mark = 0x0605;
    interface_marks_note(&both, &flow);
    check_way(&flow, FLOW_ORIGINAL, 5, 6);
    check_way(&flow, FLOW_REPLY, 6, 5);
}
END_TEST

START_TEST(a_bit_tells_which_direction_leaves)
{
    struct flow flow = noted(&both, 0x01000000);
    ck_assert(flow_has_of(&flow, FLOW_EGRESS, FLOW_ORIGINAL));
    ck_assert(!flow_has_of(&flow, FLOW_EGRESS, FLOW_REPLY));
    flow = noted(&both, 0xfeffffff);
    ck_assert(!flow_has_of(&flow, FLOW_EGRESS, FLOW_ORIGINAL));
    ck_assert(flow_has_of(&flow, FLOW_EGRESS, FLOW_REPLY));
}
END_TEST

START_TEST(what_is_not_given_notes_nothing)
{
    const struct interface_marks none = {0};
    ck_assert(!interface_marks_are_given(&none));
    struct flow flow = noted(&none, 0xffffffff);
    ck_assert_uint_eq(flow.has, FLOW_HAS_COUNTERS);

    const struct interface_marks direction = {.egress_mask = 1};
    ck_assert(interface_marks_are_given(&direction));
    flow = noted(&direction, 0xffffffff);
    ck_assert_uint_eq(flow.has, FLOW_HAS_COUNTERS | FLOW_EGRESS << FLOW_ORIGINAL);

    const struct interface_marks numbers = {.masks = {1, 2}};
    ck_assert(interface_marks_are_given(&numbers));
    flow = noted(&numbers, 0xffffffff);
    ck_assert_uint_eq(flow.has, FLOW_HAS_COUNTERS | FLOW_HAS_INTERFACES << FLOW_ORIGINAL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("interface_marks");
    tcase_add_test(tests, numbers_are_the_bits_of_each_mask);
    tcase_add_test(tests, no_number_is_no_interface);
    tcase_add_test(tests, marks_win);
    tcase_add_test(tests, a_bit_tells_which_direction_leaves);
    tcase_add_test(tests, what_is_not_given_notes_nothing);
    Suite *suite = suite_create("interface_marks");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
