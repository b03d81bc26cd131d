/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/host_port.h"
#include "ctflow9/base/instant.h"
#include "ctflow9/output/name_servers.h"

enum { SOCKETS_MAX = 32, TIMEOUT_MS = 2000, TRIES = 3, WHY_MAX = 128 };

/* While a look-up is under way its time-outs are looked at so often. ares_timeout() would tell when, but as a
 * struct timeval, whose size the library may have been built with another idea of. */
#define TIMEOUTS_INTERVAL_NS (100 * NS_PER_MS)

struct resolver {
    ares_channel channel; /* NULL while no look-up is under way */
    struct look_up *pending;
    bool closing;
    struct name_servers servers;
    nfds_t socket_count;
    struct pollfd sockets[SOCKETS_MAX]; /* that c-ares wants to be told of */
};

struct look_up {
    struct resolver *resolver;
    uint16_t port;
    int family;
    resolver_done *done; /* NULL = forgotten */
    void *context;
    struct look_up *next; /* of those that are pending */
};

int resolver_open(struct resolver **resolver)
{
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return -ENOMEM;
    *resolver = calloc(1, sizeof(**resolver));
    if (*resolver)
        return 0;
    ares_library_cleanup();
    return -ENOMEM;
}

static void end_channel(struct resolver *resolver)
{
    if (resolver->channel)
        ares_destroy(resolver->channel);
    resolver->channel = NULL;
}

void resolver_close(struct resolver *resolver)
{
    if (!resolver)
        return;
    resolver->closing = true;
    end_channel(resolver);
    ares_library_cleanup();
    free(resolver);
}

/* An ares_sock_state_cb. A socket past SOCKETS_MAX is left to its query's time-out. */
static void socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
    struct resolver *resolver = data;
    nfds_t i = 0;
    while (i < resolver->socket_count && resolver->sockets[i].fd != fd)
        i++;
    if (!readable && !writable) {
        if (i < resolver->socket_count)
            resolver->sockets[i] = resolver->sockets[--resolver->socket_count];
        return;
    }
    if (i == SOCKETS_MAX)
        return;
    if (i == resolver->socket_count)
        resolver->socket_count++;
    resolver->sockets[i] =
        (struct pollfd){.fd = fd, .events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0))};
}

static int begin_channel(struct resolver *resolver)
{
    char files_then_dns[] = "fb"; /* whatever nsswitch.conf says of modules that only the C library has */
    struct ares_options options = {.timeout = TIMEOUT_MS,
                                   .tries = TRIES,
                                   .lookups = files_then_dns,
                                   .sock_state_cb = socket_changed,
                                   .sock_state_cb_data = resolver};
    int status =
        ares_init_options(&resolver->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    return status == ARES_SUCCESS ? name_servers_use(&resolver->servers, resolver->channel) : status;
}

/* Returns how many there are of that family (AF_UNSPEC: of any), as far as there is room. */
static size_t copy_addresses(const struct ares_addrinfo *answer, const struct look_up *look_up,
                             struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX])
{
    size_t count = 0;
    for (const struct ares_addrinfo_node *node = answer->nodes; node && count < RESOLVER_ADDRESSES_MAX;
         node = node->ai_next) {
        struct sockaddr_storage *address = &addresses[count];
        *address = (struct sockaddr_storage){0};
        memcpy(address, node->ai_addr, node->ai_addrlen);
        ((struct sockaddr_in *)(void *)address)->sin_port =
            htons(look_up->port); /* sin6_port lies at the same place */
        host_port_unmap(address);
        if (look_up->family == AF_UNSPEC || look_up->family == address->ss_family)
            count++;
    }
    return count;
}

static void unlink_look_up(struct look_up *look_up)
{
    struct look_up **at = &look_up->resolver->pending;
    while (*at != look_up)
        at = &(*at)->next;
    *at = look_up->next;
}

/* An ares_addrinfo_callback. */
static void answered(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
    (void)timeouts;
    struct look_up look_up = *(struct look_up *)data;
    unlink_look_up(data);
    free(data);

    struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX];
    size_t count = 0;
    if (status == ARES_SUCCESS)
        count = copy_addresses(answer, &look_up, addresses);
    ares_freeaddrinfo(answer);
    if (look_up.resolver->closing || !look_up.done)
        return;
    char why[WHY_MAX];
    bool unanswered = status == ARES_ECONNREFUSED || status == ARES_ETIMEOUT;
    int error = unanswered ? look_up.resolver->servers.error : 0;
    snprintf(why, sizeof(why), "%s%s%s", ares_strerror(status), error ? ": " : "",
             error ? strerror(error) : "");
    look_up.done(look_up.context, addresses, count, why);
}

void resolver_look_up(struct resolver *resolver, const char *host, uint16_t port, int family,
                      resolver_done *done, void *context)
{
    int status = resolver->channel ? ARES_SUCCESS : begin_channel(resolver);
    struct look_up *look_up = malloc(sizeof(*look_up));
    if (status == ARES_SUCCESS && !look_up)
        status = ARES_ENOMEM;
    if (status != ARES_SUCCESS) {
        free(look_up);
        done(context, NULL, 0, ares_strerror(status));
        return;
    }

    *look_up = (struct look_up){resolver, port, family, done, context, resolver->pending};
    resolver->pending = look_up;
    const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_DGRAM};
    ares_getaddrinfo(resolver->channel, host, NULL, &hints, answered, look_up);
}

void resolver_forget(struct resolver *resolver, const void *context)
{
    for (struct look_up *look_up = resolver->pending; look_up; look_up = look_up->next)
        if (look_up->context == context)
            look_up->done = NULL;
}

void resolver_run(struct resolver *resolver)
{
    if (!resolver->channel)
        return;

    struct pollfd ready[SOCKETS_MAX];
    nfds_t count = resolver->socket_count;
    memcpy(ready, resolver->sockets, count * sizeof(*ready));
    if (poll_fds(ready, count, &(struct timespec){0}) > 0)
        for (nfds_t i = 0; i < count; i++)
            if (ready[i].revents)
                ares_process_fd(resolver->channel,
                                ready[i].revents & ~POLLOUT ? ready[i].fd : ARES_SOCKET_BAD,
                                ready[i].revents & POLLOUT ? ready[i].fd : ARES_SOCKET_BAD);
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* time-outs */
    if (!resolver->pending)
        end_channel(resolver);
}

void resolver_wants(const struct resolver *resolver, struct poll_set *set)
{
    if (!resolver->pending)
        return;
    for (nfds_t i = 0; i < resolver->socket_count; i++)
        poll_set_add(set, resolver->sockets[i].fd, resolver->sockets[i].events);
    poll_set_before(set, instant_read_clock(CLOCK_MONOTONIC) + TIMEOUTS_INTERVAL_NS);
}
