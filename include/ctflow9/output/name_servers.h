/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <ares.h>
#include <netinet/in.h>
#include <stddef.h>

/*
 * How c-ares reaches the name servers. It opens its sockets by itself, but up to 1.18 it knows nothing of the
 * interface of a link-local server (nameserver fe80::1%eth0, as router advertisements give it) and leaves
 * that out; and it tells nothing of why a server could not be asked. One thread owns it.
 */
enum { NAME_SERVERS_MAX = 16 };

struct name_servers {
    struct sockaddr_in6 link_local[NAME_SERVERS_MAX]; /* with their scope ids */
    size_t link_local_count;
    int error; /* the first errno since name_servers_use(); 0 = none */
};

/*
 * For a channel that was just initialized: reads the name servers of /etc/resolv.conf. servers outlives the
 * channel. An ares_status.
 */
int name_servers_use(struct name_servers *servers, ares_channel channel);
