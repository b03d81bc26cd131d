/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library has no functions for these two. */
enum { WORDS = _LINUX_CAPABILITY_U32S_3, CAPABILITY_BPF = 39, WORD_BITS = 32 };

int privileges_drop(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[WORDS];
    if (syscall(SYS_capget, &header, words) != 0)
        return -errno;
    struct __user_cap_data_struct *word = &words[CAPABILITY_BPF / WORD_BITS];
    const unsigned bit = 1U << CAPABILITY_BPF % WORD_BITS;
    if ((word->permitted & bit) == 0)
        return 0;
    word->permitted &= ~bit;
    word->effective &= ~bit;
    word->inheritable &= ~bit; /* and with it what is ambient */
    return syscall(SYS_capset, &header, words) == 0 ? 0 : -errno;
}
