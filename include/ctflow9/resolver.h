/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <sys/socket.h>

#include "ctflow9/instant.h"
#include "ctflow9/poll_set.h"

/*
 * Host names into addresses, in the background, by c-ares (/etc/hosts and DNS; never the C library's NSS,
 * which a static binary cannot use). One thread owns it.
 */
struct resolver;

/* count addresses, each with the port that was asked for; count is 0 when it failed, and why says so. */
typedef void resolver_done(void *context, const struct sockaddr_storage *addresses, size_t count,
                           const char *why);

int resolver_open(struct resolver **resolver); /* 0 or -errno */
void resolver_close(
    struct resolver *resolver); /* pending look-ups end without their callback; NULL is fine */

/* Starts a look-up. done() is called from here or from resolver_run(). family: AF_INET, AF_INET6 or
 * AF_UNSPEC. port in host order. */
void resolver_look_up(struct resolver *resolver, const char *host, uint16_t port, int family,
                      resolver_done *done, void *context);

void resolver_run(struct resolver *resolver, struct instant now);
void resolver_wants(const struct resolver *resolver, struct poll_set *set, struct instant now);

/* A numeric address (link-local with %zone) into *address; 0, or -EINVAL when it is not one. */
int resolver_numeric(const char *host, uint16_t port, struct sockaddr_storage *address);
