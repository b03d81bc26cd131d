/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What ip-vrf(8) does with "exec": a BPF program of a cgroup binds every new IP socket of this process to an
 * interface. It works for any interface, so a kernel without VRF will do. Needs root.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int bound_sockets_bpf(int command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

/* sk->bound_dev_if = interface; return 1; */
static inline int bound_sockets_program(unsigned interface)
{
    struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = (int)interface},
        {.code = BPF_STX | BPF_MEM | BPF_W,
         .dst_reg = BPF_REG_1,
         .src_reg = BPF_REG_2,
         .off = offsetof(struct bpf_sock, bound_dev_if)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr load;
    memset(&load, 0, sizeof(load));
    load.prog_type = BPF_PROG_TYPE_CGROUP_SOCK;
    load.insns = (uintptr_t)code;
    load.insn_cnt = sizeof(code) / sizeof(code[0]);
    load.license = (uintptr_t) "GPL";
    return bound_sockets_bpf(BPF_PROG_LOAD, &load);
}

/* Removes the cgroup when this process has ended, however it does. */
static inline void bound_sockets_clean_up(const char *cgroup)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t cleaner = fork();
    ck_assert_int_ge(cleaner, 0);
    if (cleaner > 0) {
        setpgid(cleaner, cleaner); /* check kills a test's process group when the test has ended */
        close(ends[0]);
        return;
    }
    close(ends[1]);
    char end;
    while (read(ends[0], &end, 1) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < 1000 && rmdir(cgroup) != 0 && errno == EBUSY; i++)
        poll(NULL, 0, 10);
    _exit(EXIT_SUCCESS);
}

/* From now on, until this process ends. */
static inline void bound_sockets_begin(const char *link)
{
    static const char mount_point[] = "/mnt";
    char cgroup[64], processes[96];
    snprintf(cgroup, sizeof(cgroup), "%s/ctflow9-test-%d", mount_point, getpid());
    snprintf(processes, sizeof(processes), "%s/cgroup.procs", cgroup);
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_msg(mount("none", mount_point, "cgroup2", 0, NULL) == 0, "cgroup2: %s", strerror(errno));
    ck_assert_msg(mkdir(cgroup, 0755) == 0, "%s: %s", cgroup, strerror(errno));
    bound_sockets_clean_up(cgroup);

    union bpf_attr attach;
    memset(&attach, 0, sizeof(attach));
    attach.target_fd = (uint32_t)open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    attach.attach_bpf_fd = (uint32_t)bound_sockets_program(if_nametoindex(link));
    attach.attach_type = BPF_CGROUP_INET_SOCK_CREATE;
    ck_assert_msg(bound_sockets_bpf(BPF_PROG_ATTACH, &attach) == 0, "BPF_PROG_ATTACH: %s", strerror(errno));
    int fd = open(processes, O_WRONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0 && write(fd, "0", 1) == 1, "%s: %s", processes, strerror(errno));
    close(fd);
}
