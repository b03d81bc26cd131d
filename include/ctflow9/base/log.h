/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/*
 * Messages for people, one line each, to standard error. Under systemd (JOURNAL_STREAM names standard error)
 * each line starts with its priority as <N>, see sd-daemon(3); elsewhere with "ctflow9: ", and errors and
 * warnings then with that word; on a terminal the local time stands before it. Nothing here may be called per
 * event.
 *
 * A line is one write(2) and never waits: when standard error takes nothing, the line is lost, and a line in
 * its place says how many were. A line longer than LOG_LINE_MAX is cut. errno stays as it was. Safe from
 * every thread once log_init() has returned.
 */
enum { LOG_LINE_MAX = 2048 };

void log_init(bool verbose);
void log_set_verbose(bool verbose); /* any thread */

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool log_error_was_called(void); /* also when standard error did not take the line */
/* An error: "cannot DO THIS: errno's text", and what to do about it where that is known. error is -errno. */
void log_cannot(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with a text that may be longer than LOG_LINE_MAX. It leaves in pieces: what standard error takes
 * no more of is cut, and another thread's line may come in between. */
void log_long(const char *what, const char *text);
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2))); /* only with --verbose */

/* log_warn() appends ": " and errno's text, unless errno is 0; log_warnx() does not. */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *format, ...) __attribute__((format(printf, 1, 2)));
