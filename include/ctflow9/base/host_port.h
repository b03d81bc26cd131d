/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* A host and a UDP or TCP port of it. host is an address, a link-local one with its zone (fe80::1%eth0),
 * without brackets, or a name. */
enum { HOST_PORT_HOST_MAX = 255, HOST_PORT_TEXT_MAX = HOST_PORT_HOST_MAX + sizeof("[]:65535") };

struct host_port {
    char host[HOST_PORT_HOST_MAX + 1];
    uint16_t port; /* host order */
};

/* HOST:PORT, or [HOST]:PORT when the host is an IPv6 address. Returns text. */
const char *host_port_write(const struct host_port *host_port, char text[HOST_PORT_TEXT_MAX]);

/*
 * A numeric address (link-local with %zone) into *address, with zeros where it has no value. 0, -ENODEV when
 * there is no interface of the zone's name or number now, or -EINVAL when it is no numeric address.
 */
int host_port_numeric(const char *host, uint16_t port, struct sockaddr_storage *address);

/* An IPv4 address in IPv6's notation (RFC 4291, 2.5.5.2) becomes an IPv4 one: an IPv6 socket would send IPv4,
 * and know nothing of its errors. */
void host_port_unmap(struct sockaddr_storage *address);
