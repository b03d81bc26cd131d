/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int option_error(struct option_error *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why->text, sizeof(why->text), format, arguments);
    va_end(arguments);
    return -EINVAL;
}
