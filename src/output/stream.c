// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A ring of whole lines. What is held stands in [start, end), or, with end wrapped around, in [start, wrap)
 * and then [0, end): a line that does not fit after end goes to the front, so every line is in one piece.
 */
struct stream {
    int fd;
    int restore_flags; /* of fd, to be given back; -1 = none */
    bool owned;        /* fd is our own open file description */
    bool socket;
    bool blocked; /* the last write found no room: poll for it */
    bool broken;
    int error;               /* of the last write: -errno, 0 when it was taken or found no room */
    size_t start, end, wrap; /* wrap 0 = not wrapped */
    size_t lines;            /* held, one written in part included */
    size_t written;          /* lines, since stream_take_written() */
    size_t size;
    char buffer[];
};

/* Makes writing to fd non-blocking for us alone where that can be. */
static int unblock(struct stream *stream, int fd)
{
    struct stat status;
    char path[sizeof("/proc/self/fd/-2147483648")];

    stream->fd = fd;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return -errno;
    if ((flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;           /* as write() would say; opening it again must not make it writable */
    if (S_ISREG(status.st_mode)) /* its offset and O_APPEND belong to this very description */
        return 0;
    if (S_ISSOCK(status.st_mode)) {
        stream->socket = true;
        return 0;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0) {
        stream->fd = own;
        stream->owned = true;
        return 0;
    }
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    stream->restore_flags = flags;
    return 0;
}

int stream_open(struct stream **stream, int fd, size_t buffer_octets)
{
    struct stream *opened = malloc(sizeof(*opened) + buffer_octets);
    if (opened == NULL)
        return -ENOMEM;
    *opened = (struct stream){.size = buffer_octets, .restore_flags = -1};
    int error = unblock(opened, fd);
    if (error < 0) {
        free(opened);
        return error;
    }
    *stream = opened;
    return 0;
}

void stream_close(struct stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->restore_flags != -1)
        fcntl(stream->fd, F_SETFL, stream->restore_flags);
    if (stream->owned)
        close(stream->fd);
    free(stream);
}

char *stream_reserve(struct stream *stream, size_t octets)
{
    if (stream->broken)
        return NULL;
    if (stream->wrap == 0 && stream->size - stream->end < octets && stream->start >= octets) {
        stream->wrap = stream->end;
        stream->end = 0;
    }
    size_t limit = stream->wrap != 0 ? stream->start : stream->size;
    return limit - stream->end >= octets ? stream->buffer + stream->end : NULL;
}

void stream_commit(struct stream *stream, size_t octets)
{
    stream->end += octets;
    stream->lines++;
}

/*
 * Whole lines as far as PIPE_BUF allows: a pipe takes that in one piece or not at all (POSIX), so that what
 * others write to the same pipe never lands inside a line.
 */
static size_t next_piece(const struct stream *stream)
{
    const char *from = stream->buffer + stream->start;
    size_t octets = (stream->wrap != 0 ? stream->wrap : stream->end) - stream->start;
    if (octets <= PIPE_BUF)
        return octets;
    const char *newline = memrchr(from, '\n', PIPE_BUF);
    return newline != NULL ? (size_t)(newline + 1 - from) : PIPE_BUF;
}

static void take_away(struct stream *stream, size_t octets)
{
    const char *at = stream->buffer + stream->start;
    const char *end = at + octets;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        stream->lines--;
        stream->written++;
        at++;
    }
    stream->start += octets;
    if (stream->wrap != 0 && stream->start == stream->wrap)
        stream->start = stream->wrap = 0;
    if (stream->wrap == 0 && stream->start == stream->end)
        stream->start = stream->end = 0;
}

/* What may be over the next time. */
static bool is_passing(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* RLIMIT_FSIZE, or the file system's limit: the file may be cut short */
    case ENOBUFS:
    case ENOMEM:
        return true;
    default:
        return false;
    }
}

int stream_run(struct stream *stream)
{
    if (stream->broken)
        return stream->error;
    stream->blocked = false;
    stream->error = 0;
    while (stream->lines > 0) {
        const char *from = stream->buffer + stream->start;
        size_t octets = next_piece(stream);
        ssize_t written = stream->socket ? send(stream->fd, from, octets, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : write(stream->fd, from, octets);
        if (written >= 0) {
            take_away(stream, (size_t)written);
            continue;
        }
        if (errno == EAGAIN || errno == EINTR) {
            stream->blocked = true;
        } else {
            stream->error = -errno;
            stream->broken = !is_passing(errno);
        }
        break;
    }
    return stream->error;
}

int stream_error(const struct stream *stream)
{
    return stream->error;
}

bool stream_is_broken(const struct stream *stream)
{
    return stream->broken;
}

void stream_wants(const struct stream *stream, struct poll_set *set)
{
    if (stream->blocked)
        poll_set_add(set, stream->fd, POLLOUT);
}

size_t stream_held(const struct stream *stream)
{
    return stream->lines;
}

size_t stream_take_written(struct stream *stream)
{
    size_t written = stream->written;
    stream->written = 0;
    return written;
}

size_t stream_drop(struct stream *stream)
{
    size_t dropped = stream->lines;
    stream->start = stream->end = stream->wrap = 0;
    stream->lines = 0;
    stream->blocked = false;
    return dropped;
}
