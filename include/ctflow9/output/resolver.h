/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ctflow9/base/poll_set.h"

/*
 * Host names into addresses, in the background, by c-ares (/etc/hosts and DNS; never the C library's NSS,
 * which a static binary cannot use). /etc/resolv.conf is read anew when a look-up starts while no other is
 * under way. Its time-outs run on the real clock. One thread owns it.
 */
struct resolver;

enum { RESOLVER_ADDRESSES_MAX = 16 };

/*
 * count addresses, at most RESOLVER_ADDRESSES_MAX, in the order of RFC 6724, each with the port that was
 * asked for and zeros where it has no value; lent for the call. IPv4 in IPv6's notation comes as IPv4. count
 * is 0 when it failed, and why says so.
 */
typedef void resolver_done(void *context, const struct sockaddr_storage *addresses, size_t count,
                           const char *why);

int resolver_open(struct resolver **resolver);  /* 0 or -errno */
void resolver_close(struct resolver *resolver); /* NULL is fine; pending look-ups end without their call */

/*
 * Starts a look-up. done() is called from here or from resolver_run(). family: AF_INET, AF_INET6 or
 * AF_UNSPEC. port in host order.
 */
void resolver_look_up(struct resolver *resolver, const char *host, uint16_t port, int family,
                      resolver_done *done, void *context);

/* Look-ups under way for this context end without their call. */
void resolver_forget(struct resolver *resolver, const void *context);

/* Takes answers and minds time-outs; costs nothing while no look-up is under way. */
void resolver_run(struct resolver *resolver);
void resolver_wants(const struct resolver *resolver, struct poll_set *set);
