/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A network namespace of the test's own, with connection tracking and real flows in it. It goes with the
 * process: check runs every test in a child of its own, so there is nothing to clean up. Needs root.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/rx_choose.h"
#include "run_suite.h"
#include "slow.h"

static inline void lab_loopback_up(void)
{
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_msg(ioctl(fd, SIOCSIFFLAGS, &loopback) == 0, "loopback: %s", strerror(errno));
    close(fd);
}

static inline void lab_set_sysctl(const char *name, int value)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", name);
    FILE *file = fopen(path, "w");
    ck_assert_msg(file != NULL && fprintf(file, "%d\n", value) > 0 && fclose(file) == 0, "%s: %s", path,
                  strerror(errno));
}

static inline long lab_sysctl(const char *name)
{
    char path[128], line[32];
    snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL && fgets(line, sizeof(line), file) != NULL, "%s: %s", path, strerror(errno));
    fclose(file);
    return strtol(line, NULL, 10);
}

static inline void lab_command(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

/* An empty namespace in which nothing is tracked yet. */
static inline void lab_enter(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "a network namespace needs root: %s", strerror(errno));
    lab_loopback_up();
}

/* Tracks what is sent, with everything that ctflow9 asks for; rules are added to the chain "inet lab out". */
static inline void lab_track(const char *rules)
{
    char command[1024];
    snprintf(command, sizeof(command),
             "nft 'add table inet lab; add chain inet lab out { type filter hook output priority 0; }; "
             "add rule inet lab out ct state new %s'",
             rules);
    lab_command(command);
    lab_set_sysctl("nf_conntrack_acct", 1);
    lab_set_sysctl("nf_conntrack_timestamp", 1);
    lab_set_sysctl("nf_conntrack_events", 1);
}

/*
 * count connections of one UDP datagram each, from one socket to the ports 1, 2, … of 127.1.0.0 and the
 * addresses after it, 50,000 ports each. Nobody answers but ICMP.
 */
static inline void lab_make_flows(unsigned count)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    for (unsigned i = 0; i < count; i++) {
        const struct sockaddr_in to = {.sin_family = AF_INET,
                                       .sin_port = htons((uint16_t)(1 + i % 50000)),
                                       .sin_addr.s_addr = htonl(0x7f010000 + i / 50000)};
        ck_assert_msg(sendto(fd, "", 1, 0, (const struct sockaddr *)&to, sizeof(to)) == 1, "flow %u: %s", i,
                      strerror(errno));
    }
    close(fd);
}

/* So many, or as many as a slow machine makes in the time and the kernel's table holds with ease. */
static inline unsigned lab_many(unsigned count)
{
    const unsigned fit = (unsigned)(lab_sysctl("nf_conntrack_max") / 5 * 4);
    count /= slow_factor();
    return count < fit ? count : fit;
}

static inline struct nlmsghdr *lab_request(void *buffer, uint8_t type, uint16_t flags)
{
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    request->nlmsg_flags = flags;
    mnl_nlmsg_put_extra_header(request, sizeof(struct nfgenmsg));
    return request;
}

/* Ends every connection, as conntrack -F does. */
static inline void lab_flush(void)
{
    char buffer[64];
    int fd = netlink_socket_open();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(netlink_socket_request(fd, lab_request(buffer, IPCTNL_MSG_CT_DELETE, 0), NULL, NULL), 0);
    close(fd);
}

/* Gives up every capability, for good. */
static inline void lab_drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    ck_assert_int_eq(syscall(SYS_capset, &header, none), 0);
}

/* Gives up one of them. */
static inline void lab_drop_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, words), 0);
    words[capability / 32].permitted &= ~(1U << capability % 32);
    words[capability / 32].effective &= ~(1U << capability % 32);
    ck_assert_int_eq(syscall(SYS_capset, &header, words), 0);
}

/* From here on a BPF ring takes what programs send, so that tests can fill it: CAP_SYS_ADMIN stands for
 * CAP_PERFMON (38). */
static inline void lab_trust_programs(void)
{
    lab_drop_capability(38);
    lab_drop_capability(CAP_SYS_ADMIN);
}

/* From here on that system call fails so, as under a seccomp filter or a sysctl. */
static inline void lab_refuse(long number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* From here on, standard error goes to a file; lab_stderr() gives all of it so far. */
static inline int lab_capture_stderr(void)
{
    int fd = memfd_create("stderr", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    return fd;
}

static inline const char *lab_stderr(int fd)
{
    static char text[16384];
    ssize_t octets = pread(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(octets, 0);
    text[octets] = '\0';
    return text;
}

static inline unsigned lab_count_lines(const char *text)
{
    unsigned lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* Opens and closes what is available for it; *kind (may be NULL) is what that was. */
static inline int lab_try_rx(enum rx_kind asked, enum rx_kind *kind)
{
    struct rx_choice choice = {.asked = asked};
    struct rx *rx = NULL;
    int fd = netlink_socket_open();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(netlink_socket_set_rcvbuf(fd, 64 << 20), 0);
    int error = rx_open_choice(&rx, fd, &choice, &(struct netlink_filter){0});
    ck_assert_int_eq(rx == NULL, error != 0);
    rx_close(rx);
    close(fd);
    if (kind != NULL)
        *kind = choice.kind;
    return error;
}

/* Whether receive buffers may be larger than net.core.rmem_max, which a user namespace does not permit; says
 * so when they may not. */
static inline bool lab_forces_rcvbuf(void)
{
    const int octets = 1 << 20;
    int fd = netlink_socket_open();
    ck_assert_int_ge(fd, 0);
    bool forces = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof(octets)) == 0;
    if (!forces)
        perror("not tested, SO_RCVBUFFORCE");
    close(fd);
    return forces;
}

/* Whether the kernel is at least of this version. */
static inline bool lab_has_linux(unsigned major, unsigned minor)
{
    struct utsname name;
    unsigned has_major, has_minor;
    if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &has_major, &has_minor) != 2)
        abort();
    return has_major > major || (has_major == major && has_minor >= minor);
}

/* Whether receiving through io_uring can be tested; says so when this machine does not have it. */
static inline bool lab_has_uring(void)
{
    struct io_uring_params parameters = {0};
    if (!CTFLOW9_URING)
        return false;
    if (!lab_has_linux(6, 1)) {
        fprintf(stderr, "not tested, io_uring: it takes Linux 6.1\n");
        return false;
    }
    int fd = (int)syscall(SYS_io_uring_setup, 1, &parameters);
    if (fd >= 0)
        close(fd);
    else
        perror("not tested, io_uring");
    return fd >= 0;
}
