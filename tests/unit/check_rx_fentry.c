/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where --rx=fentry is not to be had. Where it is: tests/kernel/check_fentry.c. */
#include "unit/ct_lab.h"

START_TEST(is_refused_and_says_why)
{
    int captured = lab_capture_stderr();
    lab_refuse(SYS_bpf, EPERM);
    ck_assert_int_lt(lab_try_rx(RX_FENTRY, NULL), 0);
    const char *said = lab_stderr(captured);
    ck_assert_uint_eq(lab_count_lines(said), 1);
    ck_assert_ptr_nonnull(
        strstr(said, "error: cannot receive with a BPF program at the end of connections: "));
    ck_assert_ptr_nonnull(strstr(said, "; use --rx=auto or --rx=recvmmsg"));
    ck_assert(strstr(said, "it needs CAP_BPF, CAP_PERFMON and CAP_SYSLOG") || /* as it should be, and where */
              strstr(said, "it needs Linux 5.17") ||                          /* kernels do not have it */
              (!CTFLOW9_FENTRY && strstr(said, "built without it")));
}
END_TEST

/* However much would be permitted: it may lose what the others do not. */
START_TEST(is_not_chosen_by_itself)
{
    enum rx_kind kind;
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_ne(kind, RX_FENTRY);
    lab_refuse(SYS_bpf, ENOMEM);
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_ne(kind, RX_FENTRY);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rx_fentry");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, is_refused_and_says_why);
    tcase_add_test(tcase, is_not_chosen_by_itself);
    Suite *suite = suite_create("rx_fentry");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
