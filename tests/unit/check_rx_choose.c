/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is opened where memory or descriptors do not suffice. Where a way is missing as such: check_rx_bpf.c,
 * check_rx_uring.c. */
#include <dlfcn.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <sys/resource.h>

#include "unit/ct_lab.h"

enum { WANTED = 4 << 20, SOME = 1 << 18 };

/* A kernel that gives no larger ring. error: ENOMEM, or EPERM until there is more locked memory, as before
 * Linux 5.11. */
static struct {
    uint32_t octets_max; /* 0 = no limit */
    int error;
} ring_limit;

static bool is_refused(const union bpf_attr *map)
{
    struct rlimit locked;
    if (ring_limit.octets_max == 0 || map->max_entries <= ring_limit.octets_max)
        return false;
    ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &locked), 0);
    return ring_limit.error != EPERM || locked.rlim_cur < locked.rlim_max;
}

/* Takes the place of the C library's. */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_bpf && arguments[0] == BPF_MAP_CREATE && is_refused((union bpf_attr *)arguments[1])) {
        errno = ring_limit.error;
        return -1;
    }
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

START_TEST(takes_as_large_a_ring_as_there_is_memory_for)
{
    static const enum rx_kind asked[] = {RX_AUTO, RX_BPF};
    for (int i = 0; i < 2; i++) {
        enum rx_kind kind;
        int captured = lab_capture_stderr();
        ring_limit.octets_max = SOME;
        ring_limit.error = ENOMEM;
        ck_assert_int_eq(lab_try_rx(asked[i], &kind), 0);
        ck_assert_int_eq(kind, RX_BPF);
        ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
        ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "has 262144 octets instead of 4194304"));
    }
}
END_TEST

START_TEST(raises_locked_memory_where_it_may)
{
    struct rlimit locked;
    enum rx_kind kind;
    int captured = lab_capture_stderr();
    ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &locked), 0);
    locked.rlim_cur = locked.rlim_max = 1 << 16;
    locked.rlim_cur /= 2;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &locked), 0);
    ring_limit.octets_max = 1;
    ring_limit.error = EPERM;
    ck_assert_int_eq(lab_try_rx(RX_BPF, &kind), 0);
    ck_assert_str_eq(lab_stderr(captured), "");
}
END_TEST

START_TEST(falls_back_for_want_of_memory)
{
    enum rx_kind kind;
    int captured = lab_capture_stderr();
    ring_limit.octets_max = 1;
    ring_limit.error = ENOMEM;
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert(kind == RX_URING || kind == RX_RECVMMSG);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "without a BPF ring buffer"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "MemoryMax="));

    captured = lab_capture_stderr();
    ck_assert_int_eq(lab_try_rx(RX_BPF, NULL), -ENOMEM);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "error: cannot receive with a BPF ring buffer"));
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "MemoryMax="));
}
END_TEST

START_TEST(falls_back_for_want_of_descriptors)
{
    enum rx_kind kind;
    int captured = lab_capture_stderr();
    struct rlimit files = {.rlim_cur = (rlim_t)dup(STDERR_FILENO) + 1, .rlim_max = 1024};
    close((int)files.rlim_cur - 1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0); /* the socket is the last one */
    ck_assert_int_eq(lab_try_rx(RX_AUTO, &kind), 0);
    ck_assert_int_eq(kind, RX_RECVMMSG);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "ulimit -n"));
    ck_assert_ptr_null(strstr(lab_stderr(captured), "CAP_"));
}
END_TEST

/* The first worker keeps what it has; the others do not try again what failed, nor say it again. */
START_TEST(says_it_once_for_all_workers)
{
    enum { WORKERS = 4 };
    struct rx_choice choice = {.asked = RX_AUTO};
    struct rx *rx[WORKERS];
    int fds[WORKERS];
    int captured = lab_capture_stderr();
    unsigned lines = 0;
    for (int i = 0; i < WORKERS; i++) {
        ring_limit.octets_max = i == 1;
        ring_limit.error = ENOMEM;
        fds[i] = netlink_socket_open();
        ck_assert_int_eq(rx_open_choice(&rx[i], fds[i], &choice, &(struct netlink_filter){0}), 0);
        ck_assert_int_eq(choice.kind == RX_BPF, i == 0);
        if (i == 1)
            lines = lab_count_lines(lab_stderr(captured));
    }
    ck_assert_uint_ge(lines, 1);
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), lines);
    for (int i = 0; i < WORKERS; i++) {
        rx_close(rx[i]);
        close(fds[i]);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rx_choice");
    tcase_add_test(tcase, takes_as_large_a_ring_as_there_is_memory_for);
    tcase_add_test(tcase, raises_locked_memory_where_it_may);
    tcase_add_test(tcase, falls_back_for_want_of_memory);
    tcase_add_test(tcase, falls_back_for_want_of_descriptors);
    tcase_add_test(tcase, says_it_once_for_all_workers);
    Suite *suite = suite_create("rx_choice");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
