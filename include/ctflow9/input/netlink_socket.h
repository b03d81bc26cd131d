/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <limits.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/input/netlink_filter.h"

/*
 * NETLINK_NETFILTER sockets: opening them and setting what the kernel offers. A file descriptor is all the
 * state there is. Sockets are opened in the network namespace that the calling thread is in.
 */

/* A non-blocking socket, close-on-exec, bound with a port id of the kernel's choosing. fd, or -errno. */
int netlink_socket_open(void);

/*
 * Connects the socket to the kernel: what a program sends to its port is refused from now on, with
 * ECONNREFUSED (netlink_getsockbyportid() in net/netlink/af_netlink.c), so that nobody can fill the buffer.
 * What is left is a program with CAP_NET_ADMIN in the network namespace, which may multicast to the group:
 * the message's source address tells. 0 or -errno.
 */
int netlink_socket_connect(int fd);

/* The largest receive buffer, in octets: the kernel doubles what it is given, within an int. */
enum { NETLINK_SOCKET_RCVBUF_MAX = INT_MAX / 2 };

/*
 * Sets the receive buffer, past the system's limit where allowed (SO_RCVBUFFORCE), else within it
 * (SO_RCVBUF). More than NETLINK_SOCKET_RCVBUF_MAX is cut to that. Returns the octets that the kernel granted
 * (half of what getsockopt says), or -errno.
 */
int64_t netlink_socket_set_rcvbuf(int fd, uint64_t octets);

/*
 * The octets that a conntrack event is charged with, of twice the receive buffer: the memory that it
 * occupies, which differs from kernel to kernel (1,280 on most, for 244 octets of message). Measured with a
 * message to oneself. Or -errno.
 */
int netlink_socket_event_charge(void);

/*
 * Reliable: a multicast event that does not fit is kept by the kernel and sent again
 * (NETLINK_BROADCAST_ERROR). In both modes an overrun is not reported as ENOBUFS but counted, see
 * netlink_socket_drops(): without NETLINK_NO_ENOBUFS the kernel drops every event from the first overrun
 * until the queue has been read empty (NETLINK_S_CONGESTED in net/netlink/af_netlink.c), and counts no
 * better. 0 or -errno.
 */
int netlink_socket_set_reliable(int fd, bool reliable);

/*
 * Datagrams that did not fit into the receive buffer since the socket was opened (SO_MEMINFO); wraps. What a
 * filter holds back is not counted. 0 or -errno.
 */
int netlink_socket_drops(int fd, uint32_t *drops);

/* Lets pass only what is to be heard (classic BPF). Before joining a group. 0 or -errno. */
int netlink_socket_filter(int fd, const struct netlink_filter *filter);

/* Joins or leaves one multicast group, NFNLGRP_* of linux/netfilter/nfnetlink.h. 0 or -errno. */
int netlink_socket_join(int fd, unsigned group);
int netlink_socket_leave(int fd, unsigned group);

/*
 * Sends one request on a socket that has no filter and is in no group, and waits for the answer, one second
 * at most for each of its datagrams; on_message may take its time. The request's sequence number,
 * NLM_F_REQUEST and NLM_F_ACK are set here. on_message (may be NULL) is called for every message of the
 * answer, until it returns false. Returns 0, the kernel's -errno, -ETIMEDOUT, or -ECANCELED when on_message
 * returned false: what is left of a dump then still comes, see netlink_socket_read_out().
 */
typedef bool netlink_socket_on_message(void *context, const struct nlmsghdr *message);
int netlink_socket_request(int fd, struct nlmsghdr *request, netlink_socket_on_message *on_message,
                           void *context);

/*
 * Throws away what is left of an answer. A dump that was given up goes on in the kernel, a piece for each
 * that is read, and until its end the kernel refuses another on the same socket (-EBUSY). Returns when
 * nothing is left, or after limit_ns.
 */
void netlink_socket_read_out(int fd, uint64_t limit_ns);
