/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/syscall_filter.h"

#include "unit/ct_lab.h"

#include <linux/bpf.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

/* check's own way of ending a test makes calls that are not listed, so each of these runs in a child. */
typedef int in_child(void);

/* What the function returned behind the filter, or minus the signal that ended it. */
static int behind_filter(in_child *function, bool opens)
{
    pid_t child = fork();
    if (child == 0)
        _exit(CTFLOW9_SECCOMP && syscall_filter_install(opens) == 0 ? function() : 100);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#define REFUSED(call)                              \
    do {                                           \
        errno = 0;                                 \
        if ((long)(call) != -1 || errno != ENOSYS) \
            return 1;                              \
    } while (0)
#define ALLOWED(call)           \
    do {                        \
        errno = 0;              \
        if ((long)(call) == -1) \
            return 2;           \
    } while (0)

static void *set_done(void *done)
{
    *(int *)done = 1;
    return NULL;
}

static int threads(void)
{
    pthread_t thread;
    int done = 0;
    if (pthread_create(&thread, NULL, set_done, &done) != 0)
        return 1;
    pthread_join(thread, NULL);
    ALLOWED(setpriority(PRIO_PROCESS, 0, 5));
    void *memory = malloc(64 << 20);
    if (!memory)
        return 3;
    free(memory);
    return done ? 0 : 4;
}

/* What a small HTTP server does, and what speaks to it. */
static int server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *any = (void *)&address;
    socklen_t octets = sizeof(address);
    int listener, client, taken, set, flag = 1;
    ALLOWED(listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    ALLOWED(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &flag, sizeof(flag)));
    ALLOWED(bind(listener, any, octets));
    ALLOWED(listen(listener, 8));
    ALLOWED(getsockname(listener, any, &octets));
    ALLOWED(client = socket(AF_INET, SOCK_STREAM, 0));
    ALLOWED(connect(client, any, octets));
    ALLOWED(set = epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN};
    ALLOWED(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event));
    ALLOWED(epoll_wait(set, &event, 1, 1000));
    ALLOWED(taken = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    ALLOWED(getpeername(taken, any, &octets));
    struct iovec part = {.iov_base = (char[]){"GET"}, .iov_len = 3};
    ALLOWED(writev(client, &part, 1));
    ALLOWED(ioctl(taken, FIONREAD, &flag));
    ALLOWED(readv(taken, &part, 1));
    ALLOWED(shutdown(taken, SHUT_WR));
    ALLOWED(eventfd(0, EFD_CLOEXEC));
    ALLOWED(timerfd_create(CLOCK_MONOTONIC, 0));
    ALLOWED(close(taken));
    return 0;
}

static int files(void)
{
    char path[] = "/tmp/ctflow9-filter.XXXXXX", moved[] = "/tmp/ctflow9-filter-moved.XXXXXX";
    int fd;
    ALLOWED(fd = mkstemp(path));
    ALLOWED(write(fd, "x", 1));
    ALLOWED(fsync(fd));
    ALLOWED(close(fd));
    ALLOWED(fd = mkstemp(moved));
    ALLOWED(rename(path, moved));
    ALLOWED(unlink(moved));
    return fopen("/proc/self/stat", "r") ? 0 : 3;
}

static int families(void)
{
    ALLOWED(socket(AF_INET6, SOCK_DGRAM, 0));
    ALLOWED(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
    ALLOWED(socket(AF_UNIX, SOCK_DGRAM, 0));
#ifndef __i386__ /* its C library makes it by socketcall() */
    REFUSED(socket(AF_PACKET, SOCK_RAW, 0));
    REFUSED(socket(AF_ALG, SOCK_SEQPACKET, 0));
    REFUSED(socket(AF_VSOCK, SOCK_STREAM, 0));
#endif
    return 0;
}

static int code(void)
{
    const size_t page = 4096;
    void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 2;
    ALLOWED(mprotect(memory, page, PROT_READ));
    REFUSED(mprotect(memory, page, PROT_READ | PROT_EXEC));
    REFUSED(mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return 0;
}

static int others(void)
{
    REFUSED(fork());
    REFUSED(kill(getppid(), 0));
    REFUSED(syscall(SYS_tgkill, getppid(), getppid(), 0));
    REFUSED(setpriority(PRIO_PROCESS, (id_t)getppid(), 0));
    REFUSED(prlimit(getppid(), RLIMIT_NOFILE, NULL, NULL));
    REFUSED(setuid(0));
    REFUSED(prctl(PR_SET_DUMPABLE, 1));
    REFUSED(chmod("/nonexistent", 0777));
    REFUSED(ioctl(0, TIOCSTI, ""));
    return 0;
}

static int no_opening(void)
{
    REFUSED(setns(-1, CLONE_NEWNET));
    REFUSED(syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0));
    REFUSED(syscall(SYS_io_uring_setup, 1, NULL));
    return 0;
}

static int opening(void)
{
    int own = open("/proc/self/ns/net", O_RDONLY);
    ALLOWED(setns(own, CLONE_NEWNET));
    REFUSED(setns(own, CLONE_NEWUSER));
    REFUSED(setns(own, 0));
    return syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0) == -1 && errno == ENOSYS ? 3 : 0;
}

static int executes(void)
{
    return execl("/bin/true", "true", NULL);
}

static int traces(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int unshares(void)
{
    return unshare(CLONE_NEWUSER);
}

static int aborts(void)
{
    abort();
}

static const struct {
    in_child *function;
    bool opens;
    int outcome;
} outcomes[] = {
    {threads, false, 0},     {server, false, 0},        {files, false, 0},         {families, false, 0},
    {code, false, 0},        {others, false, 0},        {no_opening, false, 0},    {opening, true, 0},
    {others, true, 0},       {code, true, 0},           {families, true, 0},       {executes, false, -SIGSYS},
    {traces, true, -SIGSYS}, {unshares, true, -SIGSYS}, {aborts, false, -SIGABRT},
};

START_TEST(leaves_what_is_used)
{
    int captured = lab_capture_stderr();
    ck_assert_int_eq(behind_filter(outcomes[_i].function, outcomes[_i].opens), outcomes[_i].outcome);
    bool is_intrusion = outcomes[_i].outcome == -SIGSYS;
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), is_intrusion ? 1 : 0);
    ck_assert(!is_intrusion || strstr(lab_stderr(captured), "which ctflow9 never makes"));
}
END_TEST

/* The kernel's own error. */
START_TEST(cannot_be_installed)
{
    lab_refuse(SYS_seccomp, EACCES);
    lab_refuse(SYS_prctl, EACCES);
    ck_assert_int_eq(CTFLOW9_SECCOMP ? syscall_filter_install(false) : -EACCES, -EACCES);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("syscall_filter");
    if (CTFLOW9_SECCOMP) {
        tcase_add_loop_test(tcase, leaves_what_is_used, 0, sizeof(outcomes) / sizeof(outcomes[0]));
        tcase_add_test(tcase, cannot_be_installed);
    } else {
        fprintf(stderr, "not tested, the filter of system calls: it was not built\n");
    }
    Suite *suite = suite_create("syscall_filter");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
