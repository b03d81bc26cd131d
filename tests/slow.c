/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "slow.h"

#include <stdio.h>
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
    char factor[16];
    snprintf(factor, sizeof(factor), "%u", slow_factor());
    setenv("CK_TIMEOUT_MULTIPLIER", factor, 0);
    setenv("CK_DEFAULT_TIMEOUT", "60", 0);
}
