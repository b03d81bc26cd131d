/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Sending UDP sockets. A file descriptor is all the state there is. A socket stays connected as it was
 * opened: what has changed since (local address, route, interface) only a new one finds, opened beside it
 * with the same port. It is never disconnected, which would undo a binding to an interface or VRF that it was
 * made with (ip-vrf(8), "exec"). ICMP errors are queued (IP_RECVERR), so that what a send reports can be told
 * from what came back for an earlier one. Nothing else that arrives is kept.
 */

/*
 * A non-blocking socket that is connected to peer, from source, whose port is ignored (family AF_UNSPEC: from
 * the address that the kernel chooses now), and from *port in host order; 0 there takes any, and says which.
 * beside is the socket that has the port already, or -1. fd or -errno; -EADDRNOTAVAIL when source is not the
 * machine's, or when it has no local address for peer.
 */
int udp_socket_open(const struct sockaddr_storage *peer, const struct sockaddr_storage *source,
                    uint16_t *port, int beside);

/* Both send from the same address, interface and port. */
bool udp_socket_same_source(int fd, int other_fd);

/* The local address as text. */
enum { UDP_SOCKET_SOURCE_MAX = 46 };
void udp_socket_source(int fd, char text[UDP_SOCKET_SOURCE_MAX]);

/*
 * A send reported error, an errno, and no ICMP error was queued: whether it may all the same have been one
 * that came back for an earlier send, and found no room. Then the next send does not report it.
 */
bool udp_socket_may_be_icmp(int error);

/* Takes the ICMP errors that came back, 1,024 at most. Returns how many; *error is the last one's errno. */
unsigned udp_socket_take_errors(int fd, int *error);

/* For people: what may be the cause of a failure of udp_socket_open() or of a send, to follow errno's text;
 * or "".
 */
const char *udp_socket_hint(int error);
/* And what an ICMP error tells; strerror()'s text where that says it. */
const char *udp_socket_icmp_cause(int error);
