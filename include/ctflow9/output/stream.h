/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctflow9/base/poll_set.h"

/*
 * Lines to a file descriptor that may be a terminal, a pipe, a socket or a file, through a bounded buffer,
 * without ever blocking: what does not fit is refused, and the caller counts it. Only whole lines are written
 * or lost; a line that was written in part is completed before any other. SIGPIPE is ignored. One thread owns
 * it.
 */
struct stream;

/*
 * fd stays the caller's and is not made non-blocking, since a terminal or a pipe is shared with other
 * programs: the stream opens it once more for itself. Where that is refused (no /proc, another user's pipe),
 * fd is made non-blocking until stream_close(). 0 or -errno, -EBADF when fd is closed or not for writing.
 */
int stream_open(struct stream **stream, int fd, size_t buffer_octets);
void stream_close(struct stream *stream); /* NULL is fine; what is held is thrown away */

/* Room for one line of up to octets; NULL when the buffer is full. */
char *stream_reserve(struct stream *stream, size_t octets);
/* Adds the first octets of the room reserved: one line, newline included. */
void stream_commit(struct stream *stream, size_t octets);

/*
 * Writes what can be written. 0, also when there is no room at present: stream_wants() then waits for it.
 * -errno when the last write failed: either what may pass, a full disk or a limit on the file's size, which
 * poll() does not wait for and the next run tries again; or, with stream_is_broken(), what will not, because
 * nobody will ever read it: lines are then refused, and every run says so again.
 */
int stream_run(struct stream *stream);
int stream_error(const struct stream *stream); /* what the last run returned */
bool stream_is_broken(const struct stream *stream);
void stream_wants(const struct stream *stream, struct poll_set *set);
size_t stream_held(const struct stream *stream);   /* lines not yet written, or in part only */
size_t stream_take_written(struct stream *stream); /* lines written since the last call */
/* Throws away what is held; how many lines. No line may follow one that was written in part. */
size_t stream_drop(struct stream *stream);
