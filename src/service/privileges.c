/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library has no functions for these two system calls, and older headers lack the later names. */
enum { WORDS = _LINUX_CAPABILITY_U32S_3, WORD_BITS = 32 };
enum { CAPABILITY_PERFMON = 38, CAPABILITY_BPF = 39 };

static const unsigned given_up[] = {CAPABILITY_BPF, CAPABILITY_PERFMON};
enum { GIVEN_UP = sizeof(given_up) / sizeof(given_up[0]) };

int privileges_drop(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[WORDS];
    if (syscall(SYS_capget, &header, words) != 0)
        return -errno;
    for (size_t i = 0; i < GIVEN_UP; i++) {
        struct __user_cap_data_struct *word = &words[given_up[i] / WORD_BITS];
        const uint32_t others = ~(UINT32_C(1) << given_up[i] % WORD_BITS);
        prctl(PR_CAPBSET_DROP, given_up[i], 0, 0, 0); /* not without CAP_SETPCAP: see no_new_privs */
        word->permitted &= others;
        word->effective &= others;
        word->inheritable &= others; /* and with it what is ambient */
    }
    if (syscall(SYS_capset, &header, words) != 0)
        return -errno;
    /* No program that is ever executed gets more than we have, be it root's or setuid. */
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;
}
