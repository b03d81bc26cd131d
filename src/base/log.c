/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Set by log_init() and constant from then on. */
static atomic_bool verbose; /* but this: log_set_verbose() */
static bool journal;
static bool terminal;

static atomic_uint lost_lines;
static atomic_bool error_was_called;

/* systemd.exec(5): JOURNAL_STREAM is "DEVICE:INODE" of the stream that leads to the journal. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_init(bool verbose_lines)
{
    log_set_verbose(verbose_lines);
    journal = stderr_is_journal();
    terminal = !journal && isatty(STDERR_FILENO) == 1;
    tzset(); /* localtime_r() need not */
}

void log_set_verbose(bool verbose_lines)
{
    atomic_store_explicit(&verbose, verbose_lines, memory_order_relaxed);
}

/* A descriptor that is ready takes a line this short without blocking. */
static bool put(const char *line, size_t octets)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0 &&
           write(STDERR_FILENO, line, octets) == (ssize_t)octets;
}

/* "2026-11-27 02:15:30.123 ", local time. Whoever keeps lines puts a time to them, but a terminal. */
static size_t put_stamp(char line[LOG_LINE_MAX])
{
    struct timespec now;
    struct tm parts;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !localtime_r(&now.tv_sec, &parts))
        return 0;
    size_t octets = strftime(line, LOG_LINE_MAX, "%Y-%m-%d %H:%M:%S", &parts);
    return octets + (size_t)snprintf(line + octets, LOG_LINE_MAX - octets, ".%03ld ", now.tv_nsec / 1000000);
}

static size_t start_line(char line[LOG_LINE_MAX], int priority, const char *word)
{
    if (journal)
        return (size_t)snprintf(line, LOG_LINE_MAX, "<%d>", priority);
    size_t octets = terminal ? put_stamp(line) : 0;
    return octets + (size_t)snprintf(line + octets, LOG_LINE_MAX - octets, "ctflow9: %s", word);
}

/* octets and what snprintf wanted to add to them, cut to what fits before the newline. */
static size_t fit(size_t octets, int wanted)
{
    octets += wanted > 0 ? (size_t)wanted : 0;
    return octets < LOG_LINE_MAX - 1 ? octets : LOG_LINE_MAX - 1;
}

/* Tells of lost lines in the place where they are missing. */
static bool put_lost(void)
{
    unsigned lost = atomic_exchange_explicit(&lost_lines, 0, memory_order_relaxed);
    if (lost == 0)
        return true;
    char line[LOG_LINE_MAX];
    size_t octets = start_line(line, LOG_WARNING, "warning: ");
    octets = fit(octets, snprintf(line + octets, LOG_LINE_MAX - octets,
                                  "messages lost, because standard error took none: %u\n", lost));
    if (put(line, octets))
        return true;
    atomic_fetch_add_explicit(&lost_lines, lost, memory_order_relaxed);
    return false;
}

/* error is an errno whose text is appended, or 0. */
__attribute__((format(printf, 4, 0))) static void log_line(int priority, const char *word, int error,
                                                           const char *format, va_list arguments)
{
    int saved_errno = errno;
    char line[LOG_LINE_MAX];
    size_t octets = start_line(line, priority, word);
    octets = fit(octets, vsnprintf(line + octets, LOG_LINE_MAX - octets, format, arguments));
    if (error != 0)
        octets = fit(octets, snprintf(line + octets, LOG_LINE_MAX - octets, ": %s", strerror(error)));
    line[octets++] = '\n';

    if (!put_lost() || !put(line, octets))
        atomic_fetch_add_explicit(&lost_lines, 1, memory_order_relaxed);
    errno = saved_errno;
}

void log_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(LOG_ERR, "error: ", 0, format, arguments);
    va_end(arguments);
    atomic_store_explicit(&error_was_called, true, memory_order_relaxed);
}

bool log_error_was_called(void)
{
    return atomic_load_explicit(&error_was_called, memory_order_relaxed);
}

/* Begins with a blank when there is any. */
static const char *advice(int error)
{
    switch (error) {
    case EMFILE:
        return " (raise the limit: ulimit -n, systemd's LimitNOFILE=)";
    case ENFILE:
        return " (raise the machine's limit: sysctl fs.file-max)";
    case EAGAIN: /* of pthread_create() */
        return " (raise the limit on threads or memory: ulimit -u and -v, systemd's TasksMax=)";
    default:
        return "";
    }
}

void log_cannot(int error, const char *format, ...)
{
    char what[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    log_error("cannot %s: %s%s", what, strerror(-error), advice(-error));
}

void log_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(LOG_WARNING, "warning: ", errno, format, arguments);
    va_end(arguments);
}

void log_warnx(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(LOG_WARNING, "warning: ", 0, format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(LOG_INFO, "", 0, format, arguments);
    va_end(arguments);
}

void log_long(const char *what, const char *text)
{
    enum { PIECE = 4096 }; /* PIPE_BUF: a pipe that is ready takes so much without blocking */

    char line[LOG_LINE_MAX];
    size_t octets = start_line(line, LOG_INFO, "");
    octets = fit(octets, snprintf(line + octets, LOG_LINE_MAX - octets, "%s: ", what));
    bool taken = put_lost() && put(line, octets);
    for (size_t left = strlen(text), piece; left > 0 && taken; left -= piece, text += piece) {
        piece = left < PIECE ? left : PIECE;
        taken = put(text, piece);
    }
    if (!taken || !put("\n", 1))
        atomic_fetch_add_explicit(&lost_lines, 1, memory_order_relaxed);
}

void log_debug(const char *format, ...)
{
    if (!atomic_load_explicit(&verbose, memory_order_relaxed))
        return;
    va_list arguments;
    va_start(arguments, format);
    log_line(LOG_DEBUG, "", 0, format, arguments);
    va_end(arguments);
}
