/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_setup.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "bound_sockets.h"
#include "ctflow9/input/ct_guard.h"
#include "unit/ct_lab.h"

static const char *const sysctls[] = {"nf_conntrack_acct", "nf_conntrack_timestamp", "nf_conntrack_events"};

static uint32_t count_entries(void)
{
    struct ct_guard_table table;
    int fd = netlink_socket_open();
    ck_assert_int_eq(ct_guard_ask(fd, &table), 0);
    close(fd);
    return table.entries;
}

/* The lines that ct_setup_check() logs; it must return as expected. */
static const char *check(bool set_sysctls, int expected)
{
    int fd = lab_capture_stderr();
    ck_assert_int_eq(ct_setup_check(set_sysctls, true), expected);
    const char *text = lab_stderr(fd);
    close(fd);
    return text;
}

static void expect(const char *text, unsigned lines, const char *part)
{
    ck_assert_msg(lab_count_lines(text) == lines, "not %u lines: %s", lines, text);
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

START_TEST(says_nothing_when_all_is_well)
{
    lab_enter();
    lab_track("");
    ck_assert_str_eq(check(false, 0), "");
    ck_assert_str_eq(check(true, 0), "");
    ck_assert_uint_eq(count_entries(), 0); /* the test datagram's entry is gone */
}
END_TEST

START_TEST(says_which_sysctl_is_off_and_what_to_type)
{
    lab_enter();
    lab_track("");
    for (size_t i = 0; i < 3; i++) {
        char command[64];
        snprintf(command, sizeof(command), "sysctl -w net.netfilter.%s=1", sysctls[i]);
        lab_set_sysctl(sysctls[i], 0);
        const char *text = check(false, 0);
        expect(text, 1, command);
        expect(text, 1, "--set-sysctls");
        ck_assert_int_eq(lab_sysctl(sysctls[i]), 0);
        lab_command(command);
        ck_assert_str_eq(check(false, 0), "");
    }
    lab_set_sysctl("nf_conntrack_events", 2);
    expect(check(false, 0), 1, "that began before anybody listened");
}
END_TEST

START_TEST(sets_the_sysctls)
{
    lab_enter();
    lab_track("");
    for (size_t i = 0; i < 3; i++)
        lab_set_sysctl(sysctls[i], 0);
    ck_assert_uint_eq(lab_count_lines(check(false, 0)), 3);
    ck_assert_str_eq(check(true, 0), "");
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(lab_sysctl(sysctls[i]), 1);
}
END_TEST

/* A mount namespace of our own in which /proc/sys can be changed. */
static void enter_mounts(void)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

START_TEST(says_that_sysctls_cannot_be_set)
{
    lab_enter();
    lab_track("");
    lab_set_sysctl("nf_conntrack_acct", 0);
    enter_mounts();
    ck_assert_int_eq(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL), 0);
    ck_assert_int_eq(mount(NULL, "/proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    expect(check(true, 0), 1, "Read-only file system");
}
END_TEST

START_TEST(says_that_sysctls_cannot_be_seen)
{
    lab_enter();
    lab_track("");
    enter_mounts();
    ck_assert_int_eq(mount("none", "/proc/sys", "tmpfs", 0, NULL), 0);
    expect(check(true, 0), 1, "cannot see /proc/sys/net/netfilter");
}
END_TEST

START_TEST(gives_a_command_that_makes_the_kernel_track)
{
    lab_enter();
    const char *text = check(true, 0);
    expect(text, 1, "no rule here makes the kernel track connections");
    ck_assert_uint_eq(count_entries(), 0);

    const char *command = strstr(text, "nft '");
    ck_assert_ptr_nonnull(command);
    lab_command(command); /* to the end of the line, exactly as printed */
    ck_assert_str_eq(check(true, 0), "");
    lab_make_flows(3);
    ck_assert_uint_eq(count_entries(), 3);
}
END_TEST

START_TEST(finds_tracking_of_one_family_alone)
{
    static const char *const families[] = {"ip", "ip6"};
    char rules[256];
    lab_enter();
    snprintf(rules, sizeof(rules),
             "nft 'add table %s one; add chain %s one out { type filter hook output priority 0; }; "
             "add rule %s one out ct state new'",
             families[_i], families[_i], families[_i]);
    lab_command(rules);
    ck_assert_str_eq(check(true, 0), "");
    ck_assert_uint_eq(count_entries(), 0);
}
END_TEST

START_TEST(does_not_try_a_table_that_is_in_use)
{
    lab_enter();
    lab_track("");
    lab_make_flows(2);
    lab_command("nft delete table inet lab");
    ck_assert_str_eq(check(true, 0), "");
    ck_assert_uint_eq(count_entries(), 2);
}
END_TEST

START_TEST(says_that_it_cannot_try_without_loopback)
{
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    const char *text = check(true, 0);
    expect(text, 1, "ip link set lo up");
}
END_TEST

/* From here on, socket() of that family fails so. */
static void refuse_sockets(uint32_t family, uint32_t error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, family, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* Loopback is up: something else is the cause. */
START_TEST(says_what_else_keeps_it_from_trying)
{
    lab_enter();
    refuse_sockets(AF_INET, EMFILE);
    refuse_sockets(AF_INET6, EMFILE);
    const char *text = check(true, 0);
    expect(text, 1, "cannot be tried");
    expect(text, 1, "Too many open files");
    ck_assert_ptr_null(strstr(text, "loopback is down"));
}
END_TEST

START_TEST(says_that_a_firewall_keeps_it_from_trying)
{
    lab_enter();
    lab_command("nft 'add table inet wall; add chain inet wall out "
                "{ type filter hook output priority -500; policy drop; }'");
    expect(check(true, 0), 1, "Operation not permitted");
}
END_TEST

/* As under "ip vrf exec". */
START_TEST(tries_loopback_whatever_sockets_are_bound_to)
{
    lab_enter();
    lab_command("ip link add bound type veth peer name other");
    bound_sockets_begin("bound");
    expect(check(true, 0), 1, "no rule here makes the kernel track connections");
}
END_TEST

START_TEST(says_how_to_get_the_capability)
{
    lab_enter();
    lab_drop_capabilities();
    const char *text = check(false, -EPERM);
    expect(text, 1, "CAP_NET_ADMIN");
    expect(text, 1, "AmbientCapabilities=CAP_NET_ADMIN");
    expect(text, 1, "setcap cap_net_admin+ep");
}
END_TEST

START_TEST(says_that_the_kernel_has_no_conntrack)
{
    lab_enter();
    refuse_sockets(AF_NETLINK, EPROTONOSUPPORT); /* as in a kernel without nfnetlink */
    expect(check(false, -ENOTSUP), 1, "modprobe nf_conntrack_netlink");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ct_setup");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, says_nothing_when_all_is_well);
    tcase_add_test(tcase, says_which_sysctl_is_off_and_what_to_type);
    tcase_add_test(tcase, sets_the_sysctls);
    tcase_add_test(tcase, says_that_sysctls_cannot_be_set);
    tcase_add_test(tcase, says_that_sysctls_cannot_be_seen);
    tcase_add_test(tcase, gives_a_command_that_makes_the_kernel_track);
    tcase_add_loop_test(tcase, finds_tracking_of_one_family_alone, 0, 2);
    tcase_add_test(tcase, does_not_try_a_table_that_is_in_use);
    tcase_add_test(tcase, says_that_it_cannot_try_without_loopback);
    tcase_add_test(tcase, says_what_else_keeps_it_from_trying);
    tcase_add_test(tcase, says_that_a_firewall_keeps_it_from_trying);
    tcase_add_test(tcase, tries_loopback_whatever_sockets_are_bound_to);
    tcase_add_test(tcase, says_how_to_get_the_capability);
    tcase_add_test(tcase, says_that_the_kernel_has_no_conntrack);
    Suite *suite = suite_create("ct_setup");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
