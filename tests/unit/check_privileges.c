/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/privileges.h"

#include "unit/ct_lab.h"

#include <sys/wait.h>

enum { CAPABILITY_PERFMON = 38, CAPABILITY_BPF = 39 };

#define GIVEN_UP (UINT64_C(1) << CAPABILITY_PERFMON | UINT64_C(1) << CAPABILITY_BPF)

static uint64_t capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, words), 0);
    return (uint64_t)words[1].permitted << 32 | words[0].permitted;
}

static void make_ambient(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, words), 0);
    words[capability / 32].inheritable |= 1U << capability % 32;
    ck_assert_int_eq(syscall(SYS_capset, &header, words), 0);
    ck_assert_int_eq(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), 0);
}

/* Of a program that root executes. */
static uint64_t capabilities_after_exec(void)
{
    char text[64] = "";
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execlp("sed", "sed", "-n", "s/^CapPrm:[[:space:]]*//p", "/proc/self/status", NULL);
        _exit(127);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_gt(read(ends[0], text, sizeof(text) - 1), 0);
    close(ends[0]);
    close(ends[1]);
    return strtoull(text, NULL, 16);
}

START_TEST(drops_what_is_not_needed_any_more)
{
    uint64_t before = capabilities();
    ck_assert_uint_eq(before & GIVEN_UP, GIVEN_UP);
    make_ambient(CAPABILITY_BPF);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(privileges_drop(), 0);
        ck_assert_uint_eq(capabilities(), before & ~GIVEN_UP);
        ck_assert_int_eq(prctl(PR_CAPBSET_READ, CAPABILITY_BPF, 0, 0, 0), 0);
        ck_assert_int_eq(prctl(PR_CAPBSET_READ, CAPABILITY_PERFMON, 0, 0, 0), 0);
        ck_assert_int_eq(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAPABILITY_BPF, 0, 0), 0);
    }
    ck_assert_uint_eq(capabilities_after_exec() & GIVEN_UP, 0);
}
END_TEST

/* As the service runs: the bounding set cannot be changed. */
START_TEST(cannot_get_it_back_without_setpcap_either)
{
    lab_drop_capability(CAP_SETPCAP);
    ck_assert_int_eq(privileges_drop(), 0);
    ck_assert_int_eq(prctl(PR_CAPBSET_READ, CAPABILITY_BPF, 0, 0, 0), 1);
    ck_assert_uint_eq(capabilities_after_exec() & GIVEN_UP, 0);
}
END_TEST

START_TEST(says_that_it_failed)
{
    lab_refuse(SYS_capset, EPERM);
    ck_assert_int_eq(privileges_drop(), -EPERM);
}
END_TEST

START_TEST(needs_nothing)
{
    lab_drop_capabilities();
    ck_assert_int_eq(privileges_drop(), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("privileges");
    tcase_add_test(tcase, drops_what_is_not_needed_any_more);
    tcase_add_test(tcase, cannot_get_it_back_without_setpcap_either);
    tcase_add_test(tcase, says_that_it_failed);
    tcase_add_test(tcase, needs_nothing);
    Suite *suite = suite_create("privileges");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
