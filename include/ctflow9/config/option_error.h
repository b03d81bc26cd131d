/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What was wrong and what would be right, without a newline. */
enum { OPTION_ERROR_MAX = 6144 };
struct option_error {
    char text[OPTION_ERROR_MAX];
};

/* Writes the error and returns -EINVAL. */
int option_error(struct option_error *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
