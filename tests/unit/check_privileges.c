/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/privileges.h"

#include "unit/ct_lab.h"

enum { CAPABILITY_BPF = 39 };

static uint64_t capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, words), 0);
    return (uint64_t)words[1].permitted << 32 | words[0].permitted;
}

START_TEST(drops_what_is_not_needed_any_more)
{
    uint64_t before = capabilities();
    ck_assert_uint_ne(before >> CAPABILITY_BPF & 1, 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(privileges_drop(), 0);
        ck_assert_uint_eq(capabilities(), before & ~(UINT64_C(1) << CAPABILITY_BPF));
    }
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
    tcase_add_test(tcase, says_that_it_failed);
    tcase_add_test(tcase, needs_nothing);
    Suite *suite = suite_create("privileges");
    suite_add_tcase(suite, tcase);
    return lab_run(suite);
}
