/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/syscall_filter.h"

#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
/* As SCMP_SYS(), which would take a name that is a macro of the C library, as with musl, for what it stands
 * for. */
#define CALL(name) (__SNR_##name)

/*
 * What a C library may take for the same purpose stands together, also where this machine does not have it:
 * such a call has a negative number, which libseccomp passes over.
 */
static const int always[] = {
    /* memory */
    CALL(brk), CALL(madvise), CALL(mremap), CALL(munmap),
    /* threads and what becomes of them */
    CALL(exit), CALL(exit_group), CALL(futex), CALL(futex_time64), CALL(getcpu), CALL(getpid),
    CALL(getpriority), CALL(gettid), CALL(membarrier), CALL(restart_syscall), CALL(rseq),
    CALL(sched_getaffinity), CALL(sched_yield), CALL(set_robust_list), CALL(set_tid_address),
    /* signals */
    CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigtimedwait),
    CALL(rt_sigtimedwait_time64), CALL(sigaltstack), CALL(signalfd4), CALL(sigreturn),
    /* clocks */
    CALL(clock_getres), CALL(clock_getres_time64), CALL(clock_gettime), CALL(clock_gettime64),
    CALL(clock_nanosleep), CALL(clock_nanosleep_time64), CALL(gettimeofday), CALL(nanosleep), CALL(time),
    CALL(timerfd_create), CALL(timerfd_gettime), CALL(timerfd_gettime64), CALL(timerfd_settime),
    CALL(timerfd_settime64),
    /* waiting */
    CALL(_newselect), CALL(epoll_create), CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_pwait),
    CALL(epoll_pwait2), CALL(epoll_wait), CALL(eventfd2), CALL(poll), CALL(ppoll), CALL(ppoll_time64),
    CALL(pselect6), CALL(pselect6_time64), CALL(select),
    /* who and where we are */
    CALL(getegid), CALL(getegid32), CALL(geteuid), CALL(geteuid32), CALL(getgid), CALL(getgid32),
    CALL(getrandom), CALL(getrlimit), CALL(getrusage), CALL(getuid), CALL(getuid32), CALL(sysinfo),
    CALL(ugetrlimit), CALL(uname),
    /* descriptors */
    CALL(_llseek), CALL(close), CALL(close_range), CALL(dup), CALL(dup2), CALL(dup3), CALL(fcntl),
    CALL(fcntl64), CALL(lseek), CALL(pipe), CALL(pipe2), CALL(pread64), CALL(pwrite64), CALL(read),
    CALL(readv), CALL(write), CALL(writev),
    /* files: the configuration, names of hosts, /proc and /sys, and what is written */
    CALL(access), CALL(faccessat), CALL(faccessat2), CALL(fchmod), CALL(fdatasync), CALL(fstat),
    CALL(fstat64), CALL(fstatat64), CALL(fstatfs), CALL(fstatfs64), CALL(fsync), CALL(ftruncate),
    CALL(ftruncate64), CALL(getcwd), CALL(getdents), CALL(getdents64), CALL(lstat), CALL(lstat64),
    CALL(newfstatat), CALL(open), CALL(openat), CALL(readlink), CALL(readlinkat), CALL(rename),
    CALL(renameat), CALL(renameat2), CALL(stat), CALL(stat64), CALL(statfs), CALL(statfs64), CALL(statx),
    CALL(umask), CALL(unlink), CALL(unlinkat),
    /* sockets */
    CALL(accept), CALL(accept4), CALL(bind), CALL(connect), CALL(getpeername), CALL(getsockname),
    CALL(getsockopt), CALL(listen), CALL(recv), CALL(recvfrom), CALL(recvmmsg), CALL(recvmmsg_time64),
    CALL(recvmsg), CALL(send), CALL(sendmmsg), CALL(sendmsg), CALL(sendto), CALL(setsockopt), CALL(shutdown),
    /* receiving through io_uring */
    CALL(io_uring_enter), CALL(io_uring_register)};

/* --netns: another namespace of that name is opened as the first one was. */
static const int opening[] = {CALL(bpf), CALL(io_uring_setup), CALL(setrlimit)};

static const int intruders[] = {CALL(add_key),
                                CALL(chroot),
                                CALL(delete_module),
                                CALL(execve),
                                CALL(execveat),
                                CALL(finit_module),
                                CALL(init_module),
                                CALL(kexec_file_load),
                                CALL(kexec_load),
                                CALL(keyctl),
                                CALL(mount),
                                CALL(move_mount),
                                CALL(open_by_handle_at),
                                CALL(perf_event_open),
                                CALL(pivot_root),
                                CALL(process_vm_readv),
                                CALL(ptrace),
                                CALL(process_vm_writev),
                                CALL(umount2),
                                CALL(unshare),
                                CALL(userfaultfd)};

/* Calls of which some are left. */
struct limited {
    int call;
    struct scmp_arg_cmp argument;
};

/* What is left of the register beside an int is anything. */
#define WORD_IS(number, value) SCMP_CMP((number), SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value))
#define HAS_NOT(number, bits)  SCMP_CMP((number), SCMP_CMP_MASKED_EQ, (bits), 0)

/* s390 has the two first arguments the other way round. */
#ifdef __s390__
enum { CLONE_FLAGS = 1 };
#else
enum { CLONE_FLAGS = 0 };
#endif
#define CLONE_NAMESPACES                                                                          \
    (CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER | \
     CLONE_NEWUTS)

static const struct limited limited[] = {
    /* No code but what the program has. */
    {CALL(mmap), HAS_NOT(2, PROT_EXEC)},
    {CALL(mmap2), HAS_NOT(2, PROT_EXEC)},
    {CALL(mprotect), HAS_NOT(2, PROT_EXEC)},
    /* Threads, no processes. Of clone3 the filter cannot see the flags: C libraries then take this. */
    {CALL(clone), SCMP_CMP(CLONE_FLAGS, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NAMESPACES, CLONE_THREAD)},
    {CALL(setpriority), WORD_IS(1, 0)},
    {CALL(prlimit64), WORD_IS(0, 0)},
    {CALL(prctl), WORD_IS(0, PR_SET_NAME)},
    /* Where all calls of sockets are one (socketcall of i386), their arguments cannot be seen: any family. */
    {CALL(socket), WORD_IS(0, AF_UNIX)},
    {CALL(socket), WORD_IS(0, AF_INET)},
    {CALL(socket), WORD_IS(0, AF_INET6)},
    {CALL(socket), WORD_IS(0, AF_NETLINK)},
    /* --rx=fentry: how often its program was left out. */
    {CALL(bpf), WORD_IS(0, BPF_OBJ_GET_INFO_BY_FD)},
    {CALL(ioctl), WORD_IS(1, FIONBIO)},
    {CALL(ioctl), WORD_IS(1, FIONREAD)},
    {CALL(ioctl), WORD_IS(1, SIOCGIFFLAGS)},
    {CALL(ioctl), WORD_IS(1, SIOCGIFINDEX)},
    {CALL(ioctl), WORD_IS(1, SIOCGIFNAME)},
    {CALL(ioctl), WORD_IS(1, TCGETS)},
};

static int add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && !error; i++)
        error = seccomp_rule_add(filter, action, calls[i], 0);
    return error;
}

static int add_limited(scmp_filter_ctx filter, struct limited rule)
{
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule.call, 1, &rule.argument);
}

static int add_all(scmp_filter_ctx filter, bool opens)
{
    int error = add(filter, SCMP_ACT_ALLOW, always, COUNT(always));
    for (size_t i = 0; i < COUNT(limited) && !error; i++)
        error = add_limited(filter, limited[i]);
    if (!error) /* abort() */
        error = add_limited(filter, (struct limited){CALL(tgkill), WORD_IS(0, getpid())});
    if (!error && opens)
        error = add(filter, SCMP_ACT_ALLOW, opening, COUNT(opening));
    if (!error && opens)
        error = add_limited(filter, (struct limited){CALL(setns), WORD_IS(1, CLONE_NEWNET)});
    return error ? error : add(filter, SCMP_ACT_TRAP, intruders, COUNT(intruders));
}

/*
 * A tree of comparisons in the place of a row. And before Linux 5.16 a filter would make the processor forgo
 * speculation, and all of us slower, for the sake of programs that run code of others: not where the kernel,
 * or another filter that refuses seccomp(), leaves no choice.
 */
static int set_attributes(scmp_filter_ctx filter)
{
    int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
    if (!error)
        error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (!error)
        error = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's own error */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    return error;
}

/* A sigaction handler. The signal comes from within the call, and none that ends so is made by what
 * log_error() needs. It comes once more then, and ends the process as if nobody had handled it. */
static void tell_intrusion(int number, siginfo_t *info, void *context)
{
    (void)context;
    log_error(
        "system call %d was made, which ctflow9 never makes: somebody else's code may run in it, so it ends "
        "(see PRIVILEGES in ctflow9(8))",
        info->si_syscall);
    raise(number);
}

static int handle_intrusion(void)
{
    const struct sigaction action = {.sa_sigaction = tell_intrusion,
                                     .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER)};
    return sigaction(SIGSYS, &action, NULL) == 0 ? 0 : -errno;
}

/* libseccomp (2.5) goes on with what it could not allocate, and crashes. It takes some hundred KiB; no other
 * thread is there yet that would take them before it does. */
static bool is_there_memory(void)
{
    enum { OCTETS = 4 << 20 };
    void *trial = memory_map(OCTETS, 1, MEMORY_WHEN_TOUCHED);
    memory_unmap(trial, OCTETS, 1);
    return trial != NULL;
}

int syscall_filter_install(bool opens)
{
    if (!is_there_memory())
        return -ENOMEM;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return -ENOMEM;
    int error = handle_intrusion();
    if (!error)
        error = set_attributes(filter);
    if (!error)
        error = add_all(filter, opens);
    if (!error)
        error = seccomp_load(filter);
    seccomp_release(filter);
    return error;
}
