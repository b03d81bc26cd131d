/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
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

/* Whether both are written alike, whatever the case. */
bool host_port_is_same(const struct host_port *one, const struct host_port *other);

/* Why a text names no host, or no port. */
enum host_port_fault {
    HOST_PORT_FINE,
    HOST_PORT_BAD_BRACKETS,   /* one is missing, or what follows them is no port */
    HOST_PORT_TOO_LONG,       /* more than HOST_PORT_HOST_MAX octets */
    HOST_PORT_BAD_NAME,       /* neither a host name (RFC 1123, 2.1, or with underscores) nor IPv4 */
    HOST_PORT_BAD_ADDRESS,    /* neither IPv4 nor IPv6 */
    HOST_PORT_BAD_IPV6,       /* not an IPv6 address, with so many colons or in brackets */
    HOST_PORT_IPV4_WITH_ZONE, /* in IPv6's notation */
    HOST_PORT_BAD_ZONE,       /* it cannot be the name of an interface */
    HOST_PORT_NO_ZONE,        /* a link-local address has to have one */
    HOST_PORT_BAD_PORT        /* not 1 to 65535 */
};

/* What is read, as it was written. */
struct host_port_parts {
    char host[HOST_PORT_HOST_MAX + 1]; /* without brackets */
    const char *port;                  /* in the text; NULL without one */
    bool is_ipv6;                      /* it has to be one, from its colons or brackets */
};

/*
 * Reads HOST, HOST:PORT, [IPV6], [IPV6]:PORT or IPV6. An IPv6 address gets its one usual spelling, IPv4 in
 * IPv6's notation becomes IPv4. *parts has no host and no port when the fault is one of brackets or length;
 * *host_port has no meaning after a fault. Pure.
 */
enum host_port_fault host_port_read(struct host_port *host_port, struct host_port_parts *parts,
                                    const char *text, uint16_t default_port);

/* The same with an IPv4 or IPv6 address alone, without brackets. host is unchanged after a fault. Pure. */
enum host_port_fault host_port_read_address(char host[HOST_PORT_HOST_MAX + 1], const char *text);

/*
 * A numeric address (link-local with %zone) into *address, with zeros where it has no value. 0, -ENODEV when
 * there is no interface of the zone's name or number now, or -EINVAL when it is no numeric address.
 */
int host_port_numeric(const char *host, uint16_t port, struct sockaddr_storage *address);

/* Whether an address means nothing without its zone (RFC 4007, 6): link-local, or multicast no wider than
 * that. Pure. */
bool host_port_needs_zone(const struct in6_addr *address);

/* An IPv4 address in IPv6's notation (RFC 4291, 2.5.5.2) becomes an IPv4 one: an IPv6 socket would send IPv4,
 * and know nothing of its errors. */
void host_port_unmap(struct sockaddr_storage *address);
