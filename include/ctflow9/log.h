/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/*
 * Messages for people, one line each, to standard error. Under systemd (JOURNAL_STREAM names standard error)
 * each line starts with its priority as <N>, see sd-daemon(3); elsewhere errors and warnings start with that
 * word. Nothing here may be called per event.
 */
void log_init(bool verbose);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2))); /* only with --verbose */

/* Appends ": " and errno's text, unless errno is 0; leaves errno as it was. */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
