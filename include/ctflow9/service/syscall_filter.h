/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/*
 * Leaves the calling thread, and those that it starts from then on, the system calls that ctflow9 makes while
 * it runs; opens: also those with which it opens its sockets in another network namespace (setns, bpf,
 * io_uring_setup). Never undone.
 *
 * What is not listed fails with ENOSYS: it is what a kernel says that does not have the call, so that a C
 * library newer than the list takes an older call, as it must be able to do. Killing would end a router's
 * accounting for a call that a library makes one day; whoever makes it tells what could not be done, as on
 * such a kernel. What nobody but an intruder would call (execve, ptrace and the like) ends the process with
 * SIGSYS, after a line in the log.
 *
 * 0 or -errno. Not there when built without libseccomp: CTFLOW9_SECCOMP is 0.
 */
int syscall_filter_install(bool opens);
