/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a record is not seen in check_packet: interfaces and direction, which flows have by direction. */
#include "ctflow9/netflow/flow_record.h"

#include <check.h>
#include <stdlib.h>

#include "packet_rig.h"

static const struct interfaces {
    bool original, reply; /* known */
    uint32_t original_in, original_out, reply_in, reply_out;
} interfaces[] = {
    {false, false, 0, 0, 0, 0},                            /* not known: 0 */
    {true, true, 1, 2, 3, 4},                              /* an asymmetric way back */
    {true, false, 1, 2, 2, 1},                             /* swapped */
    {false, true, 4, 3, 3, 4},  {true, false, 5, 0, 0, 5}, /* to this machine itself */
    {true, true, 5, 0, 0, 0},
};

START_TEST(interfaces_are_of_the_direction_or_swapped)
{
    const struct interfaces *want = &interfaces[_i];
    struct flow flow = udp_flow();
    if (want->original) {
        flow.has |= FLOW_HAS_INTERFACES;
        flow.in_interface[FLOW_ORIGINAL] = want->original_in;
        flow.out_interface[FLOW_ORIGINAL] = want->original_out;
    }
    if (want->reply) {
        flow.has |= FLOW_HAS_INTERFACES << FLOW_REPLY;
        flow.in_interface[FLOW_REPLY] = want->reply_in;
        flow.out_interface[FLOW_REPLY] = want->reply_out;
    }

    const struct epoch epoch = epoch_at(NOW_NS / NS_PER_MS);
    struct record record = {.ingress_interface = 0xffffffff,
                            .egress_interface = 0xffffffff}; /* of a flow before */
    ck_assert_uint_eq(flow_record_fill(&record, &flow, 0, &epoch), flow.stop_ns / NS_PER_MS);
    flow_record_fill_direction(&record, &flow, 0, FLOW_ORIGINAL);
    ck_assert_uint_eq(be32toh(record.ingress_interface), want->original_in);
    ck_assert_uint_eq(be32toh(record.egress_interface), want->original_out);
    flow_record_fill_direction(&record, &flow, 0, FLOW_REPLY);
    ck_assert_uint_eq(be32toh(record.ingress_interface), want->reply_in);
    ck_assert_uint_eq(be32toh(record.egress_interface), want->reply_out);
}
END_TEST

/* Element 61. */
START_TEST(egress_is_told_of_each_direction)
{
    const struct epoch epoch = epoch_at(NOW_NS / NS_PER_MS);
    struct record record = {.flow_direction = 0xff}; /* of a flow before */
    for (unsigned bits = 0; bits < 4; bits++) {
        struct flow flow = udp_flow();
        flow.has |= bits * FLOW_EGRESS;
        flow_record_fill(&record, &flow, 0, &epoch);
        flow_record_fill_direction(&record, &flow, 0, FLOW_ORIGINAL);
        ck_assert_uint_eq(record.flow_direction, bits & 1);
        flow_record_fill_direction(&record, &flow, 0, FLOW_REPLY);
        ck_assert_uint_eq(record.flow_direction, bits >> 1);
    }
}
END_TEST

START_TEST(each_flow_has_its_shape)
{
    struct flow flow = any_shape((unsigned)_i);
    ck_assert_uint_eq(flow_record_shape(&flow), shape_at((unsigned)_i));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flow_record");
    TCase *tests = tcase_create("flow_record");
    tcase_add_loop_test(tests, interfaces_are_of_the_direction_or_swapped, 0,
                        sizeof(interfaces) / sizeof(interfaces[0]));
    tcase_add_test(tests, egress_is_told_of_each_direction);
    tcase_add_loop_test(tests, each_flow_has_its_shape, 0, SHAPES_OF_FLOW);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
