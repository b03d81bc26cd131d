/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/json_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ctflow9/base/local_socket.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/output/datagram_ring.h"
#include "ctflow9/output/json.h"

#define RING_OCTETS     ((uint64_t)16 << 20)
#define ACCEPT_RETRY_NS NS_PER_S

enum {
    BATCH = 64,       /* lines written at a time */
    TURN_BATCHES = 32 /* what one reader may be written before the others and the reading have their turn */
};

/* A line that was written in part is finished before any other, and keeps no place in the ring. */
struct reader {
    int fd;
    bool blocked;      /* the last write found no room: poll for it */
    uint64_t position; /* in the ring: the line that goes next */
    size_t rest_octets;
    char rest[JSON_LINE_MAX];
};

struct json_socket {
    struct local_socket listener;
    struct stats *stats;
    const struct interface_names *names;
    struct datagram_ring *ring; /* a line is a datagram of one record */
    unsigned added;             /* lines since they were last written */
    uint64_t accept_ns;         /* monotonic; nobody is let in before; 0 = at once */
    struct tell_once lost;
    struct tell_once refused;
    struct tell_once no_accept;
    unsigned count;
    struct reader readers[JSON_SOCKET_READERS_MAX];
};

static void refuse(int error, const char *path)
{
    switch (error) {
    case -EADDRINUSE:
        log_error("another program listens at %s: give another --json-socket", path);
        break;
    case -ENOTSOCK:
        log_error("%s is there already and is no socket: give another --json-socket", path);
        break;
    default:
        log_cannot(error, "listen at %s (--json-socket)", path);
    }
}

int json_socket_open(struct json_socket **socket, const char *path, struct stats *stats)
{
    struct json_socket *opened = calloc(1, sizeof(*opened));
    if (!opened) {
        refuse(-ENOMEM, path);
        return -ENOMEM;
    }
    opened->stats = stats;
    opened->listener.fd = -1;
    int error = datagram_ring_open(&opened->ring, RING_OCTETS, JSON_LINE_MAX);
    if (!error)
        error = local_socket_open(&opened->listener, path);
    if (error) {
        refuse(error, path);
        json_socket_close(opened);
        return error;
    }
    *socket = opened;
    return 0;
}

void json_socket_close(struct json_socket *socket)
{
    if (!socket)
        return;
    local_socket_close(&socket->listener);
    for (unsigned i = 0; i < socket->count; i++)
        close(socket->readers[i].fd);
    datagram_ring_close(socket->ring);
    free(socket);
}

/* ---- lines ---- */

static bool has_lines(const struct json_socket *socket, const struct reader *reader)
{
    return reader->rest_octets > 0 || reader->position != datagram_ring_end(socket->ring);
}

/* Up to BATCH lines, after the rest of one; how many pieces. */
static unsigned gather(struct json_socket *socket, struct reader *reader, struct iovec pieces[BATCH])
{
    unsigned count = 0;
    if (reader->rest_octets > 0)
        pieces[count++] = (struct iovec){.iov_base = reader->rest, .iov_len = reader->rest_octets};
    for (uint64_t at = reader->position; count < BATCH && at != datagram_ring_end(socket->ring); count++) {
        const struct datagram *line = datagram_ring_at(socket->ring, at);
        pieces[count] = (struct iovec){.iov_base = (void *)line->data, .iov_len = line->octets};
        at = line->next;
    }
    return count;
}

static void account_rest(struct json_socket *socket, struct reader *reader, size_t *written)
{
    size_t octets = *written < reader->rest_octets ? *written : reader->rest_octets;
    if (octets == 0)
        return;
    *written -= octets;
    reader->rest_octets -= octets;
    memmove(reader->rest, reader->rest + octets, reader->rest_octets);
    if (reader->rest_octets == 0)
        stats_count(&socket->stats->reader_lines, 1);
}

/* So many octets were written. */
static void account(struct json_socket *socket, struct reader *reader, size_t written)
{
    uint64_t whole = 0;
    account_rest(socket, reader, &written);
    while (written > 0) {
        const struct datagram *line = datagram_ring_at(socket->ring, reader->position);
        reader->position = line->next;
        if (written < line->octets) {
            reader->rest_octets = line->octets - written;
            memcpy(reader->rest, line->data + written, reader->rest_octets);
            break;
        }
        written -= line->octets;
        whole++;
    }
    stats_count(&socket->stats->reader_lines, whole);
}

static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/* Writes what the reader takes, within bounds. false: it has left. */
static bool write_lines(struct json_socket *socket, struct reader *reader)
{
    for (unsigned i = 0; i < TURN_BATCHES && !reader->blocked && has_lines(socket, reader); i++) {
        struct iovec pieces[BATCH];
        const struct msghdr message = {.msg_iov = pieces,
                                       .msg_iovlen = (uint16_t)gather(socket, reader, pieces)};
        ssize_t written = sendmsg(reader->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written >= 0)
            account(socket, reader, (size_t)written);
        else if (!is_passing(errno))
            return false;
        else
            reader->blocked = true;
    }
    return true;
}

/* Its place is the last one's from now on. */
static void let_go(struct json_socket *socket, struct reader *reader)
{
    close(reader->fd);
    *reader = socket->readers[--socket->count];
}

/* From the last one on, whose place may have to be filled. */
static void write_to_all(struct json_socket *socket)
{
    socket->added = 0;
    for (unsigned i = socket->count; i-- > 0;)
        if (!write_lines(socket, &socket->readers[i]))
            let_go(socket, &socket->readers[i]);
}

static uint64_t oldest_position(const struct json_socket *socket)
{
    uint64_t oldest = datagram_ring_end(socket->ring);
    for (unsigned i = 0; i < socket->count; i++)
        if (socket->readers[i].position < oldest)
            oldest = socket->readers[i].position;
    return oldest;
}

static void lose(struct json_socket *socket, uint64_t count)
{
    stats_count(&socket->stats->reader_lines_lost, count);
    tell_once_count(&socket->lost, count);
}

/* Those that are furthest behind lose their oldest lines. */
static void make_room(struct json_socket *socket)
{
    for (uint64_t oldest; oldest = oldest_position(socket), !datagram_ring_has_room(socket->ring, oldest);) {
        for (unsigned i = 0; i < socket->count; i++) {
            if (socket->readers[i].position != oldest)
                continue;
            socket->readers[i].position = datagram_ring_at(socket->ring, oldest)->next;
            lose(socket, 1);
        }
    }
}

void json_socket_name_interfaces(struct json_socket *socket, const struct interface_names *names)
{
    socket->names = names;
}

void json_socket_add(struct json_socket *socket, const struct flow *flow)
{
    char line[JSON_LINE_MAX];
    if (socket->count == 0)
        return;
    size_t octets = json_flow(line, flow, socket->names);
    make_room(socket);
    datagram_ring_put(socket->ring, (const uint8_t *)line, octets, 1, 0);
    if (++socket->added == BATCH)
        write_to_all(socket);
}

/* ---- readers ---- */

/* Its own writes fail from now on, and nothing of them is kept; its end is seen all the same. */
static void welcome(struct json_socket *socket, int fd)
{
    shutdown(fd, SHUT_RD);
    struct reader *reader = &socket->readers[socket->count++];
    reader->fd = fd;
    reader->blocked = false;
    reader->position = datagram_ring_end(socket->ring);
    reader->rest_octets = 0;
    stats_count(&socket->stats->readers, 1);
}

static void turn_away(struct json_socket *socket, int fd)
{
    close(fd);
    stats_count(&socket->stats->readers_refused, 1);
    tell_once_count(&socket->refused, 1);
}

static void let_in(struct json_socket *socket, uint64_t now_ns)
{
    for (int fd; (fd = accept4(socket->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        if (socket->count < JSON_SOCKET_READERS_MAX)
            welcome(socket, fd);
        else
            turn_away(socket, fd);
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return;
    socket->accept_ns = now_ns + ACCEPT_RETRY_NS; /* no descriptor, no memory: poll() would not wait */
    tell_once_count(&socket->no_accept, 1);
    if (tell_once_due(&socket->no_accept, now_ns) > 0)
        log_warn("no reader is let in at %s, trying again every second", socket->listener.path);
}

/* What has happened at the sockets since the last time. */
static void see_readers(struct json_socket *socket, uint64_t now_ns)
{
    struct pollfd fds[JSON_SOCKET_READERS_MAX + 1];
    unsigned count = socket->count;
    fds[count] = (struct pollfd){.fd = socket->listener.fd, .events = POLLIN};
    for (unsigned i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = socket->readers[i].fd, .events = POLLOUT};
    if (poll_fds(fds, count + 1, &(struct timespec){0}) <= 0)
        return;
    for (unsigned i = count; i-- > 0;) {
        socket->readers[i].blocked = (fds[i].revents & POLLOUT) == 0;
        if ((fds[i].revents & (POLLHUP | POLLERR)) != 0)
            let_go(socket, &socket->readers[i]);
    }
    if ((fds[count].revents & POLLIN) != 0 && now_ns >= socket->accept_ns) {
        socket->accept_ns = 0;
        let_in(socket, now_ns);
    }
}

/* When all have read everything, memory that is in the cache is used again. */
static void rewind_ring(struct json_socket *socket)
{
    if (oldest_position(socket) < datagram_ring_end(socket->ring))
        return;
    uint64_t begin = datagram_ring_rewind(socket->ring);
    for (unsigned i = 0; i < socket->count; i++)
        socket->readers[i].position = begin;
}

static void tell(struct json_socket *socket, uint64_t now_ns)
{
    uint64_t lost = tell_once_due(&socket->lost, now_ns);
    if (lost > 0)
        log_warnx("lines lost, because a reader at %s is too slow, for that reader alone: %" PRIu64,
                  socket->listener.path, lost);
    uint64_t refused = tell_once_due(&socket->refused, now_ns);
    if (refused > 0)
        log_warnx("there are %d readers at %s already, more are turned away: %" PRIu64,
                  JSON_SOCKET_READERS_MAX, socket->listener.path, refused);
}

void json_socket_run(struct json_socket *socket, uint64_t now_ns)
{
    see_readers(socket, now_ns);
    write_to_all(socket);
    rewind_ring(socket);
    tell(socket, now_ns);
}

void json_socket_wants(const struct json_socket *socket, struct poll_set *set)
{
    if (socket->accept_ns == 0)
        poll_set_add(set, socket->listener.fd, POLLIN);
    else
        poll_set_before(set, socket->accept_ns);
    for (unsigned i = 0; i < socket->count; i++) {
        const struct reader *reader = &socket->readers[i];
        bool waits = has_lines(socket, reader);
        poll_set_add(set, reader->fd, waits && reader->blocked ? POLLOUT : 0); /* its end is seen anyway */
        if (waits && !reader->blocked)
            poll_set_before(set, 0);
    }
    poll_set_before(set, tell_once_at_ns(&socket->lost));
    poll_set_before(set, tell_once_at_ns(&socket->refused));
}

bool json_socket_is_behind(const struct json_socket *socket)
{
    for (unsigned i = 0; i < socket->count; i++)
        if (has_lines(socket, &socket->readers[i]))
            return true;
    return false;
}

void json_socket_abandon(struct json_socket *socket)
{
    for (unsigned i = 0; i < socket->count; i++) {
        struct reader *reader = &socket->readers[i];
        lose(socket, datagram_ring_records_from(socket->ring, reader->position) + (reader->rest_octets > 0));
        reader->position = datagram_ring_end(socket->ring);
        reader->rest_octets = 0;
    }
    tell(socket, UINT64_MAX);
}
