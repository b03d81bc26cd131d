/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Sending UDP sockets: one local port for life, connected and connected anew. A file descriptor is all the
 * state there is. ICMP errors are queued (IP_RECVERR), so that what a send reports can be told from what
 * came back for an earlier one.
 */

/*
 * A non-blocking socket bound to source, whose port is ignored (family AF_UNSPEC: to any address of family),
 * and to *port in host order. 0 there takes any port and says which. The port stays through disconnecting and
 * connecting. fd or -errno.
 */
int udp_socket_open(int family, const struct sockaddr_storage *source, uint16_t *port);

/* Connects, or connects anew with a new choice of the local address. 0 or -errno; -EADDRNOTAVAIL also when
 * the local address that the socket is bound to is not the machine's any more. */
int udp_socket_connect(int fd, const struct sockaddr_storage *address);

/* The local address is still one of the machine's. IPv4 sends fail when it is not, IPv6 ones may go on. */
bool udp_socket_has_source(int fd);

/* Takes the ICMP errors that came back. Returns how many; *error is the last one's errno. */
unsigned udp_socket_take_errors(int fd, int *error);
