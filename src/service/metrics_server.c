/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics_server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"

/* Octets that a client may send. */
enum { HEADERS_MAX = 8192, BODY_MAX = 1024 };

/*
 * evhttp owns its connections, and does not tell when one ends. So a reference is kept to each one's
 * bufferevent: when evhttp has let go of it, it has no callbacks any more. A client is sent away by shutting
 * down its socket, for then evhttp ends the connection itself.
 */
struct client {
    struct bufferevent *connection; /* NULL = there is none */
    uint64_t until_ns;              /* monotonic; 0 = was sent away */
};

struct metrics_server {
    struct evhttp *http;
    struct evconnlistener *listener;
    metrics_server_ask *ask;
    void *context;
    struct event *sweeper;
    struct client client[METRICS_CLIENTS_MAX];
    struct evhttp_request *waiting[METRICS_CLIENTS_MAX];
    unsigned waiting_count;
    uint64_t waiting_ns; /* monotonic; since when the first one does */
};

/* ---- clients ---- */

static bool has_ended(const struct client *client)
{
    bufferevent_event_cb callback;
    bufferevent_getcb(client->connection, NULL, NULL, &callback, NULL);
    return !callback;
}

/* Closes the sockets of those that have ended. Returns how many are left. */
static unsigned sweep(struct metrics_server *server)
{
    unsigned left = 0;
    for (struct client *client = server->client; client < server->client + METRICS_CLIENTS_MAX; client++) {
        if (client->connection && has_ended(client)) {
            bufferevent_decref(client->connection);
            client->connection = NULL;
        }
        left += client->connection != NULL;
    }
    return left;
}

static void send_away(struct client *client)
{
    if (client->until_ns != 0)
        shutdown(bufferevent_getfd(client->connection), SHUT_RDWR);
    client->until_ns = 0;
}

static void send_oldest_away(struct metrics_server *server)
{
    struct client *oldest = NULL;
    for (struct client *client = server->client; client < server->client + METRICS_CLIENTS_MAX; client++)
        if (client->connection && client->until_ns != 0 && (!oldest || client->until_ns < oldest->until_ns))
            oldest = client;
    if (oldest)
        send_away(oldest);
}

/* There is room for one more, or nobody is accepted until there is. */
static void make_room(struct metrics_server *server)
{
    if (sweep(server) < METRICS_CLIENTS_MAX) {
        evconnlistener_enable(server->listener);
        return;
    }
    evconnlistener_disable(server->listener);
    send_oldest_away(server);
}

/* An event_callback_fn: after evhttp has seen that clients ended. */
static void run_sweeper(evutil_socket_t fd, short events, void *context)
{
    (void)fd, (void)events;
    make_room(context);
}

/* For evhttp: what a connection that was accepted is to be read by. NULL: by what evhttp makes itself. */
static struct bufferevent *accepted(struct event_base *base, void *context)
{
    struct metrics_server *server = context;
    struct client *client = server->client;
    struct bufferevent *connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    sweep(server);
    while (client < server->client + METRICS_CLIENTS_MAX && client->connection)
        client++;
    if (!connection || client == server->client + METRICS_CLIENTS_MAX)
        return connection;
    bufferevent_incref(connection);
    *client = (struct client){.connection = connection,
                              .until_ns = instant_read_clock(CLOCK_MONOTONIC) + METRICS_CLIENT_S * NS_PER_S};
    event_active(server->sweeper, 0, 0);
    return connection;
}

/* An evconnlistener_errorcb: no descriptors, for one. Until the next tick. */
static void cannot_accept(struct evconnlistener *listener, void *context)
{
    (void)context;
    evconnlistener_disable(listener);
}

/* ---- requests ---- */

static void reply(struct evhttp_request *request, int code, const char *reason, struct evbuffer *body,
                  const char *type)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Connection", "close");
    evhttp_send_reply(request, code, reason, body);
}

static void refuse(struct evhttp_request *request, int code, const char *reason, const char *text)
{
    struct evbuffer *body = evbuffer_new();
    if (body)
        evbuffer_add(body, text, strlen(text));
    reply(request, code, reason, body, "text/plain; charset=utf-8");
    if (body)
        evbuffer_free(body);
}

/* What a client sends while it waits is not read: evhttp does not expect it. */
static void asked(struct evhttp_request *request, void *context)
{
    struct metrics_server *server = context;
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    if (server->waiting_count == METRICS_CLIENTS_MAX || !connection) {
        refuse(request, HTTP_SERVUNAVAIL, "Service Unavailable", "too many ask\n");
        return;
    }
    bufferevent_disable(evhttp_connection_get_bufferevent(connection), EV_READ);
    if (server->waiting_count == 0)
        server->waiting_ns = instant_read_clock(CLOCK_MONOTONIC);
    server->waiting[server->waiting_count++] = request;
    server->ask(server->context);
}

static void asked_for_other(struct evhttp_request *request, void *context)
{
    (void)context;
    refuse(request, HTTP_NOTFOUND, "Not Found", "there is /metrics only\n");
}

void metrics_server_answer(struct metrics_server *server, const char *text, size_t octets)
{
    for (; server->waiting_count > 0; server->waiting_count--) {
        struct evhttp_request *request = server->waiting[server->waiting_count - 1];
        struct evbuffer *body = evbuffer_new();
        if (body && evbuffer_add(body, text, octets) == 0)
            reply(request, HTTP_OK, "OK", body, "text/plain; version=0.0.4; charset=utf-8");
        else
            refuse(request, HTTP_INTERNAL, "Internal Server Error", "no memory\n");
        if (body)
            evbuffer_free(body);
    }
}

static void refuse_waiting(struct metrics_server *server, const char *text)
{
    while (server->waiting_count > 0)
        refuse(server->waiting[--server->waiting_count], HTTP_SERVUNAVAIL, "Service Unavailable", text);
}

void metrics_server_tick(struct metrics_server *server, uint64_t now_ns)
{
    if (server->waiting_count > 0 && now_ns >= server->waiting_ns + METRICS_ANSWER_S * NS_PER_S)
        refuse_waiting(server, "the reading does not answer\n");
    for (struct client *client = server->client; client < server->client + METRICS_CLIENTS_MAX; client++)
        if (client->connection && now_ns >= client->until_ns)
            send_away(client);
    make_room(server);
}

/* ---- opening ---- */

/* fd or -errno. */
static int open_socket(const struct host_port *address)
{
    struct sockaddr_storage place;
    int error = host_port_numeric(address->host, address->port, &place);
    if (error)
        return error;
    int fd = socket(place.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int yes = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
        bind(fd, (const struct sockaddr *)&place,
             place.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) == 0 &&
        listen(fd, METRICS_CLIENTS_MAX) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}

static int set_up_http(struct metrics_server *server, struct event_base *base, int fd)
{
    server->http = evhttp_new(base);
    if (!server->http)
        return -ENOMEM;
    evhttp_set_max_headers_size(server->http, HEADERS_MAX);
    evhttp_set_max_body_size(server->http, BODY_MAX);
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET);
    evhttp_set_bevcb(server->http, accepted, server);
    evhttp_set_gencb(server->http, asked_for_other, server);
    evhttp_set_timeout(server->http, METRICS_CLIENT_S);
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(server->http, fd);
    if (!bound || evhttp_set_cb(server->http, "/metrics", asked, server) != 0)
        return -ENOMEM;
    server->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(server->listener, cannot_accept);
    server->sweeper = event_new(base, -1, 0, run_sweeper, server);
    return server->sweeper ? 0 : -ENOMEM;
}

int metrics_server_open(struct metrics_server **server, const struct host_port *address,
                        struct event_base *base, metrics_server_ask *ask, void *context)
{
    char text[HOST_PORT_TEXT_MAX];
    int fd = open_socket(address);
    if (fd < 0) {
        log_cannot(fd, "listen for metrics at %s (--metrics)", host_port_write(address, text));
        return fd;
    }
    struct metrics_server *opened = calloc(1, sizeof(*opened));
    int error = opened ? set_up_http(opened, base, fd) : -ENOMEM;
    if (error) {
        if (!opened || !opened->listener)
            close(fd);
        metrics_server_close(opened);
        log_cannot(error, "serve metrics");
        return error;
    }
    opened->ask = ask;
    opened->context = context;
    *server = opened;
    return 0;
}

void metrics_server_close(struct metrics_server *server)
{
    if (!server)
        return;
    refuse_waiting(server, "ctflow9 ends\n");
    if (server->http)
        evhttp_free(server->http);
    for (struct client *client = server->client; client < server->client + METRICS_CLIENTS_MAX; client++)
        if (client->connection)
            bufferevent_decref(client->connection);
    if (server->sweeper)
        event_free(server->sweeper);
    free(server);
}
