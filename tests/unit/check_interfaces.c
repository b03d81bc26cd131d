/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/interfaces.h"

#include <poll.h>

#include "ctflow9/base/wake.h"
#include "slow.h"
#include "unit/ct_lab.h"

static struct interfaces *interfaces;
static struct interface_numbers numbers;
static struct interfaces_config config = {.numbers = &numbers};
static struct interface_names *names;

static void setup(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "this needs root: %s", strerror(errno));
    config.wake_fd = wake_open();
}

static void teardown(void)
{
    interfaces_stop(interfaces);
    interfaces_close(interfaces);
    free(names);
    close(config.wake_fd);
}

static void ip(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof(command), "ip %s", arguments);
    ck_assert_int_eq(system(command), 0);
}

static void give(const char *name, uint32_t number)
{
    struct interface_number *given = &numbers.each[numbers.count++];
    snprintf(given->name, sizeof(given->name), "%s", name);
    given->number = number;
}

static bool take(void)
{
    struct interface_names *taken = interfaces_take(interfaces);
    if (!taken)
        return false;
    free(names);
    names = taken;
    return true;
}

static void open_interfaces(void)
{
    ck_assert_int_eq(interfaces_open(&interfaces, &config), 0);
    ck_assert(take());
    ck_assert(!take());
}

/* The next table. */
static void await_table(void)
{
    while (!take()) {
        struct pollfd woken = {.fd = config.wake_fd, .events = POLLIN};
        ck_assert_msg(poll(&woken, 1, 20000 * (int)slow_factor()) == 1, "there is no other table");
        wake_take(config.wake_fd);
    }
}

static void check_name(uint32_t number, const char *name, const char *alias)
{
    const struct interface_name *found = interface_names_find(names, number);
    ck_assert_msg(found != NULL, "%u has no name", number);
    ck_assert_str_eq(found->name, name);
    ck_assert_str_eq(found->alias, alias);
}

START_TEST(all_have_names_at_the_start)
{
    ip("link add two index 60 type veth peer two1 index 61");
    ip("link set two up alias uplink");
    open_interfaces();
    ck_assert_uint_eq(names->count, 3);
    check_name(1, "lo", "");
    check_name(60, "two", "uplink");
    check_name(61, "two1", "");
    ck_assert_ptr_null(interface_names_find(names, 59));
    ck_assert_ptr_null(interface_names_find(NULL, 60));
}
END_TEST

START_TEST(changes_make_another_table)
{
    open_interfaces();
    ck_assert_int_eq(interfaces_start(interfaces), 0);
    ip("link add tunnel index 70 type veth peer other index 71");
    do
        await_table();
    while (names->count < 3);
    check_name(70, "tunnel", "");
    ip("link del tunnel");
    ip("link add tunnel index 72 type veth peer other index 71");
    do
        await_table();
    while (!interface_names_find(names, 72) || interface_names_find(names, 70));
    check_name(72, "tunnel", "");
}
END_TEST

/* Each table is told to every collector: no more than one a second, and none that says the same. */
START_TEST(many_changes_make_few_tables)
{
    open_interfaces();
    ck_assert_int_eq(interfaces_start(interfaces), 0);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    char command[64];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(command, sizeof(command), "link add dummy%u type veth peer other%u", i, i);
        ip(command);
    }
    unsigned tables = 0;
    for (; names->count < 41; tables++)
        await_table();
    clock_gettime(CLOCK_MONOTONIC, &end);
    ck_assert_uint_le(tables, (unsigned)(end.tv_sec - begin.tv_sec) + 2);

    ip("link set dummy1 up mtu 1300"); /* nobody is told that */
    ip("link set dummy2 up alias last");
    await_table();
    ip("link set dummy3 name last");
    await_table();
    check_name(interface_names_find(names, 1)->number, "lo", "");
}
END_TEST

START_TEST(numbers_that_are_given_win)
{
    give("tunnel", 7);
    give("absent", 8);
    give("moved", 60);
    ip("link add plain index 60 type veth peer tunnel index 61");
    ip("link set tunnel up alias 'to the office'");
    open_interfaces();
    ck_assert_uint_eq(names->count, 5);
    check_name(1, "lo", "");
    check_name(7, "tunnel", "to the office");
    check_name(8, "absent", "");
    check_name(60, "moved", "");
    check_name(60 | UINT32_C(1) << 31, "plain", "");
}
END_TEST

START_TEST(others_have_no_names_where_numbers_are_marks)
{
    config.given_only = true;
    give("tunnel", 7);
    ip("link add plain index 60 type veth peer tunnel index 61");
    ip("link set tunnel up");
    open_interfaces();
    ck_assert_uint_eq(names->count, 1);
    check_name(7, "tunnel", "");
    ck_assert_int_eq(interfaces_start(interfaces), 0);
    ip("link add more type veth peer evenmore"); /* no other table */
    ip("link set tunnel alias new");
    await_table();
    check_name(7, "tunnel", "new");
}
END_TEST

/* One that nobody takes is freed, as AddressSanitizer sees. */
START_TEST(the_latest_table_is_the_one_that_is_taken)
{
    open_interfaces();
    ck_assert_int_eq(interfaces_start(interfaces), 0);
    for (unsigned i = 0; i < 2; i++) {
        char command[64];
        snprintf(command, sizeof(command), "link add one%u type veth peer two%u", i, i);
        ip(command);
        struct pollfd woken = {.fd = config.wake_fd, .events = POLLIN};
        ck_assert_int_eq(poll(&woken, 1, 20000 * (int)slow_factor()), 1);
        wake_take(config.wake_fd);
    }
    while (!take() || names->count < 5)
        usleep(1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("interfaces");
    TCase *tests = tcase_create("interfaces");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, all_have_names_at_the_start);
    tcase_add_test(tests, changes_make_another_table);
    tcase_add_test(tests, many_changes_make_few_tables);
    tcase_add_test(tests, numbers_that_are_given_win);
    tcase_add_test(tests, others_have_no_names_where_numbers_are_marks);
    tcase_add_test(tests, the_latest_table_is_the_one_that_is_taken);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
