/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/notify.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"

/* The service manager. Each test is a process of its own. */
static int manager;
static char folder[] = "/tmp/check_notify.XXXXXX";
static char path[64];

static void bind_manager(const char *name, size_t octets)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, octets);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(manager, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + octets)),
                     0);
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/notify", folder);
    bind_manager(path, strlen(path));
    setenv("NOTIFY_SOCKET", path, 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void teardown(void)
{
    unlink(path);
    rmdir(folder);
}

static const char *told(void)
{
    static char text[512];
    ssize_t octets = recv(manager, text, sizeof(text) - 1, 0);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

static struct notify *opened(void)
{
    struct notify *notify;
    ck_assert_int_eq(notify_open(&notify), 0);
    ck_assert_ptr_nonnull(notify);
    return notify;
}

START_TEST(nobody_wants_to_know)
{
    struct notify *notify;
    const struct stats total = {0};
    unsetenv("NOTIFY_SOCKET");
    ck_assert_int_eq(notify_open(&notify), 0);
    ck_assert_ptr_null(notify);
    notify_tell(notify, NOTIFY_READY);
    notify_pulse(notify, 0, &total, 0, true);
    ck_assert_uint_eq(notify_next_ns(notify), POLL_SET_NEVER);
    ck_assert_uint_eq(notify_interval_ns(notify), POLL_SET_NEVER);
    notify_close(notify);
    ck_assert_str_eq(told(), "");
}
END_TEST

START_TEST(a_name_that_is_none)
{
    char name[200];
    struct notify *notify;
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 2; i++, name[0] = '/') {
        setenv("NOTIFY_SOCKET", name, 1);
        ck_assert_int_eq(notify_open(&notify), -EINVAL);
        ck_assert_ptr_null(notify);
    }
}
END_TEST

START_TEST(states_and_status)
{
    struct notify *notify = opened();
    struct stats total = {.flows = 1000};
    ck_assert_uint_eq(notify_interval_ns(notify), 10 * NS_PER_S);
    notify_tell(notify, NOTIFY_READY);
    ck_assert_str_eq(told(), "READY=1\n");
    notify_tell(notify, NOTIFY_RELOADING);
    ck_assert_int_eq(strncmp(told(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    notify_tell(notify, NOTIFY_READY);
    ck_assert_str_eq(told(), "READY=1\n");

    uint64_t now_ns = notify_next_ns(notify);
    notify_pulse(notify, now_ns, &total, 0, true);
    ck_assert_str_eq(told(), "READY=1\nSTATUS=100 flows/s, events lost: 0, left behind: 0, packets lost: 0, "
                             "records dropped: 0, lines lost: 0, readers' lines lost: 0\n");
    ck_assert_uint_eq(notify_next_ns(notify), now_ns + 10 * NS_PER_S);
    total = (struct stats){.flows = 1050,
                           .lost = 7,
                           .left_behind = 8,
                           .lines_lost = 9,
                           .packets_lost = 11,
                           .reader_lines_lost = 12};
    notify_pulse(notify, now_ns + NS_PER_S, &total, 10, true);
    ck_assert_str_eq(told(), "READY=1\nSTATUS=50 flows/s, events lost: 7, left behind: 8, packets lost: 11, "
                             "records dropped: 10, lines lost: 9, readers' lines lost: 12\n");
    notify_pulse(notify, now_ns + NS_PER_S, &total, 0, true); /* no time has passed */
    ck_assert_ptr_nonnull(strstr(told(), "STATUS=0 flows/s"));

    notify_tell(notify, NOTIFY_STOPPING);
    ck_assert_str_eq(told(), "STOPPING=1\n");
    notify_pulse(notify, now_ns + 2 * NS_PER_S, &total, 0, true);
    ck_assert_ptr_nonnull(strstr(told(), "STOPPING=1\nSTATUS="));
    notify_close(notify);
}
END_TEST

START_TEST(the_watchdog_hears_that_all_is_well)
{
    const struct stats total = {0};
    char pid[32];
    setenv("WATCHDOG_USEC", "8000000", 1);
    snprintf(pid, sizeof(pid), "%d", getpid());
    setenv("WATCHDOG_PID", pid, 1);
    struct notify *notify = opened();
    ck_assert_uint_eq(notify_interval_ns(notify), 2 * NS_PER_S);
    notify_pulse(notify, notify_next_ns(notify), &total, 0, true);
    ck_assert_ptr_nonnull(strstr(told(), "WATCHDOG=1\nSTATUS="));
    notify_pulse(notify, notify_next_ns(notify), &total, 0, false);
    const char *text = told();
    ck_assert_ptr_nonnull(strstr(text, "STATUS="));
    ck_assert_ptr_null(strstr(text, "WATCHDOG"));
    notify_close(notify);

    setenv("WATCHDOG_USEC", "60000000", 1); /* status is told all the same */
    notify = opened();
    ck_assert_uint_eq(notify_interval_ns(notify), 10 * NS_PER_S);
    notify_close(notify);
}
END_TEST

/* systemd has left the variables to a program that began us. */
START_TEST(a_watchdog_of_another_process)
{
    const struct stats total = {0};
    setenv("WATCHDOG_USEC", "8000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    struct notify *notify = opened();
    ck_assert_uint_eq(notify_interval_ns(notify), 10 * NS_PER_S);
    notify_pulse(notify, notify_next_ns(notify), &total, 0, true);
    ck_assert_ptr_null(strstr(told(), "WATCHDOG"));
    notify_close(notify);
}
END_TEST

START_TEST(an_abstract_name)
{
    char name[64];
    snprintf(name, sizeof(name), "@check_notify-%d", getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    name[0] = '\0';
    close(manager);
    bind_manager(name, 1 + strlen(name + 1));
    struct notify *notify = opened();
    notify_tell(notify, NOTIFY_READY);
    ck_assert_str_eq(told(), "READY=1\n");
    notify_close(notify);
}
END_TEST

/* Nobody takes what is told, then there is nobody, then another one: nothing blocks, and the state comes. */
START_TEST(a_manager_that_is_stuck_and_replaced)
{
    const struct stats total = {0};
    struct notify *notify = opened();
    notify_tell(notify, NOTIFY_READY);
    for (int i = 0; i < 5000; i++)
        notify_pulse(notify, notify_next_ns(notify), &total, 0, true);
    close(manager);
    notify_pulse(notify, notify_next_ns(notify), &total, 0, true);
    unlink(path);
    bind_manager(path, strlen(path));
    notify_pulse(notify, notify_next_ns(notify), &total, 0, true);
    ck_assert_ptr_nonnull(strstr(told(), "READY=1\nSTATUS="));
    notify_close(notify);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("notify");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, nobody_wants_to_know);
    tcase_add_test(tests, a_name_that_is_none);
    tcase_add_test(tests, states_and_status);
    tcase_add_test(tests, the_watchdog_hears_that_all_is_well);
    tcase_add_test(tests, a_watchdog_of_another_process);
    tcase_add_test(tests, an_abstract_name);
    tcase_add_test(tests, a_manager_that_is_stuck_and_replaced);
    Suite *suite = suite_create("notify");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
