/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/base/instant.h"

/*
 * A trouble that may come again and again: it is told at once, and then no more than once a minute, with how
 * often it has come since it was last told. All 0 = it never came. One thread owns it.
 */
struct tell_once {
    uint64_t untold;
    uint64_t next_ns; /* monotonic; not told before */
};

#define TELL_ONCE_INTERVAL_NS (60 * NS_PER_S)

/* It came that often. */
static inline void tell_once_count(struct tell_once *trouble, uint64_t count)
{
    trouble->untold += count;
}

/* How often it has come, if that is to be told now (and then it is taken as told); else 0. now_ns is
 * monotonic. */
static inline uint64_t tell_once_due(struct tell_once *trouble, uint64_t now_ns)
{
    uint64_t count = trouble->untold;
    if (count == 0 || now_ns < trouble->next_ns)
        return 0;
    trouble->untold = 0;
    trouble->next_ns = now_ns + TELL_ONCE_INTERVAL_NS;
    return count;
}

/* When it is to be told; UINT64_MAX when there is nothing to tell. */
static inline uint64_t tell_once_at_ns(const struct tell_once *trouble)
{
    return trouble->untold == 0 ? UINT64_MAX : trouble->next_ns;
}
