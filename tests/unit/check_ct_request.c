/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests about the entries of a real conntrack table, in a network namespace of the test's own. */
#include "ctflow9/input/ct_request.h"

#include "ctflow9/input/ct_decode.h"
#include "unit/ct_lab.h"

enum { FLOWS = 300 };

static int fd;
static struct ct_decoder *decoder;
static struct flow seen[FLOWS];
static unsigned count;

static void setup(void)
{
    lab_enter();
    lab_track("");
    fd = netlink_socket_open();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ct_decoder_open(&decoder), 0);
    lab_make_flows(FLOWS);
}

static void teardown(void)
{
    ct_decoder_close(decoder);
    close(fd);
}

static bool keep(void *context, const struct nlmsghdr *message)
{
    (void)context;
    ck_assert_uint_lt(count, FLOWS);
    ck_assert_int_eq(ct_decode(decoder, message, &seen[count++]), 0);
    return true;
}

static bool refuse(void *context, const struct nlmsghdr *message)
{
    (void)context;
    (void)message;
    return false;
}

static bool is_wanted(void *context, const struct nlmsghdr *message)
{
    struct flow flow;
    ck_assert_int_eq(ct_decode(decoder, message, &flow), 0);
    ck_assert(flow_is_same(&flow, context));
    count++;
    return true;
}

START_TEST(a_dump_has_every_entry_once)
{
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, NULL, keep, NULL), 0);
    ck_assert_uint_eq(count, FLOWS);
    for (unsigned i = 0; i < FLOWS; i++)
        for (unsigned k = 0; k < i; k++)
            ck_assert(!flow_is_same(&seen[i], &seen[k]));
}
END_TEST

START_TEST(an_entry_is_found_by_its_tuple)
{
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, NULL, keep, NULL), 0);
    for (unsigned i = 0; i < FLOWS; i++) {
        count = 0;
        ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_GET, &seen[i], is_wanted, &seen[i]), 0);
        ck_assert_uint_eq(count, 1);
    }
    struct flow other = seen[0];
    other.tuple[FLOW_ORIGINAL].src_port ^= 0xffff;
    ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_GET, &other, refuse, NULL), -ENOENT);
    struct flow elsewhere = seen[0];
    elsewhere.zone = 7;
    ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_GET, &elsewhere, refuse, NULL), -ENOENT);
    elsewhere.has |= FLOW_ZONE_OF_ONE << FLOW_ORIGINAL;
    ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_GET, &elsewhere, refuse, NULL), -ENOENT);
}
END_TEST

START_TEST(an_entry_is_deleted)
{
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, NULL, keep, NULL), 0);
    ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_DELETE, &seen[5], NULL, NULL), 0);
    ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_GET, &seen[5], refuse, NULL), -ENOENT);
    ck_assert_int_eq(ct_request_entry(fd, IPCTNL_MSG_CT_DELETE, &seen[5], NULL, NULL), -ENOENT);
    count = 0;
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, NULL, keep, NULL), 0);
    ck_assert_uint_eq(count, FLOWS - 1);
}
END_TEST

/* Without a mark every entry has mark 0. */
START_TEST(a_dump_is_of_a_mark)
{
    const struct netlink_mark none = {.given = true, .value = 0, .mask = UINT32_MAX};
    const struct netlink_mark some = {.given = true, .value = 3, .mask = 3};
    const struct netlink_mark not_given = {.value = 3, .mask = 3};
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, &none, keep, NULL), 0);
    ck_assert_uint_eq(count, FLOWS);
    count = 0;
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, &some, keep, NULL), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, &not_given, keep, NULL), 0);
    ck_assert_uint_eq(count, FLOWS);
}
END_TEST

START_TEST(a_dump_that_is_given_up_leaves_the_socket_usable)
{
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, NULL, refuse, NULL), -ECANCELED);
    netlink_socket_read_out(fd, NS_PER_S);
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET, NULL, keep, NULL), 0);
    ck_assert_uint_eq(count, FLOWS);
}
END_TEST

/* Nobody listens reliably, so nothing is kept. */
START_TEST(nobody_is_dying)
{
    ck_assert_int_eq(ct_request_dump(fd, IPCTNL_MSG_CT_GET_DYING, NULL, refuse, NULL), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ct_request");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_dump_has_every_entry_once);
    tcase_add_test(tcase, an_entry_is_found_by_its_tuple);
    tcase_add_test(tcase, an_entry_is_deleted);
    tcase_add_test(tcase, a_dump_is_of_a_mark);
    tcase_add_test(tcase, a_dump_that_is_given_up_leaves_the_socket_usable);
    tcase_add_test(tcase, nobody_is_dying);
    Suite *suite = suite_create("ct_request");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
