/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "slow.h"

#include <stdlib.h>

unsigned slow_factor(void)
{
    const char *text = getenv("CTFLOW9_TEST_SLOW");
    unsigned long factor = text ? strtoul(text, NULL, 10) : 1;
    return factor >= 1 && factor <= 1000 ? (unsigned)factor : 1;
}

/* Before main(), because check reads it whenever a test case is made. */
__attribute__((constructor)) static void tell_check(void)
{
    const char *text = getenv("CTFLOW9_TEST_SLOW");
    if (text)
        setenv("CK_TIMEOUT_MULTIPLIER", text, 0);
}
