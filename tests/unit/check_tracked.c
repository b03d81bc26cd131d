/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/tracked.h"

#include <check.h>
#include <stddef.h>
#include <string.h>

#include "run_suite.h"

/* Every octet of a flow is set, padding too, each one to another value, but for what tells what is there. */
static struct flow full_flow(uint32_t has)
{
    struct flow flow;
    for (size_t i = 0; i < sizeof(flow); i++)
        ((uint8_t *)&flow)[i] = (uint8_t)(i + 1);
    flow.has = has;
    return flow;
}

#define MEMBER(member) offsetof(struct flow, member), sizeof(((struct flow *)NULL)->member)

START_TEST(gives_back_what_was_seen)
{
    static const struct {
        size_t offset, octets;
    } not_kept[] = {{MEMBER(end_reason)},  {MEMBER(kind)}, {MEMBER(tos)},          {MEMBER(tcp_flags)},
                    {MEMBER(link_source)}, {MEMBER(vlan)}, {MEMBER(in_interface)}, {MEMBER(out_interface)}};
    static const uint8_t zero[sizeof(struct flow)];
    struct flow flow = full_flow(UINT32_MAX);
    struct tracked tracked = {0};
    tracked_see(&tracked, &flow);
    const struct flow seen = tracked_flow(&tracked);

    for (enum flow_direction direction = FLOW_ORIGINAL; direction <= FLOW_REPLY; direction++) {
        ck_assert(!flow_has_of(&seen, FLOW_HAS_INTERFACES, direction));
        ck_assert(!flow_has_of(&seen, FLOW_HAS_TOS, direction));
        ck_assert(!flow_has_of(&seen, FLOW_HAS_TCP_FLAGS, direction));
        ck_assert(!flow_has_of(&seen, FLOW_HAS_LINK_SOURCE, direction));
        ck_assert(!flow_has_of(&seen, FLOW_HAS_VLAN, direction));
    }
    for (size_t i = 0; i < sizeof(not_kept) / sizeof(not_kept[0]); i++)
        ck_assert_mem_eq((const uint8_t *)&seen + not_kept[i].offset, zero, not_kept[i].octets);
    flow.has = seen.has;
    ck_assert(flow_has(&flow, FLOW_HAS_COUNTERS | FLOW_END_TOLD | FLOW_ZONE_OF_EITHER));
    ck_assert_mem_eq(&seen, &flow, offsetof(struct flow, end_reason));
}
END_TEST

START_TEST(seeing_again_changes_nothing_else)
{
    struct tracked tracked;
    memset(&tracked, 0xa5, sizeof(tracked));
    tracked.state = TRACKED_LIVE;
    tracked.is_uncounted = true;
    const struct tracked before = tracked;
    const struct flow flow = full_flow(UINT32_MAX);
    tracked_see(&tracked, &flow);
    ck_assert_int_eq(tracked.state, TRACKED_LIVE);
    ck_assert(tracked.is_uncounted);
    ck_assert_uint_eq(tracked.still_since_s, before.still_since_s);
    ck_assert_uint_eq(tracked.dump, before.dump);
    ck_assert_uint_eq(tracked.next, before.next);
    ck_assert_uint_eq(tracked.hash, before.hash);
    ck_assert_uint_eq(tracked.span_start_ns, before.span_start_ns);
    ck_assert_mem_eq(tracked.reported_packets, before.reported_packets, sizeof(before.reported_packets));
    ck_assert_mem_eq(tracked.reported_octets, before.reported_octets, sizeof(before.reported_octets));
}
END_TEST

/* Whichever bit of a flow is another one: also those that tell what is there, and whether the start is told.
 */
START_TEST(is_of_whom_flow_is_same_says)
{
    const struct flow seen = full_flow(_i == 0 ? 0 : FLOW_HAS_START);
    struct tracked tracked = {0};
    tracked_see(&tracked, &seen);
    unsigned same = 0;
    for (size_t bit = 0; bit < sizeof(seen) * 8; bit++) {
        struct flow other = seen;
        ((uint8_t *)&other)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(tracked_is_of(&tracked, &other) == flow_is_same(&seen, &other), "bit %zu", bit);
        same += tracked_is_of(&tracked, &other);
    }
    ck_assert_uint_gt(same, 0);
    ck_assert_uint_lt(same, sizeof(seen) * 8);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("tracked");
    tcase_add_test(tcase, gives_back_what_was_seen);
    tcase_add_test(tcase, seeing_again_changes_nothing_else);
    tcase_add_loop_test(tcase, is_of_whom_flow_is_same_says, 0, 2);
    Suite *suite = suite_create("tracked");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
