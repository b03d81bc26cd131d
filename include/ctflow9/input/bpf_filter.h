/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/input/netlink_socket.h"

/*
 * A socket filter that takes each netlink message as it is about to be queued, and puts a copy into a BPF
 * ring buffer instead (BPF_MAP_TYPE_RINGBUF, linux/bpf.h, Linux 5.8): the reader finds it in memory that it
 * has mapped, and no socket buffer ever travels from one CPU to another.
 *
 * For the kernel such a message is delivered, as one is that a filter holds back. What finds no room in the
 * ring, is longer than BPF_FILTER_OCTETS_MAX, is not exactly one netlink message, or was sent by a program,
 * passes into the socket's queue as without a filter, and with it all that the kernel does when that is full.
 *
 * A record in the ring is a message, from its struct nlmsghdr on, with the rest of the record unused.
 */
enum { BPF_FILTER_OCTETS_MAX = 504 };

/* A ring of that many octets, a power of two and a multiple of the page size. fd, or -errno. */
int bpf_filter_create_ring(uint32_t octets);

/*
 * Who sent a message stands in the kernel's own notes on it, not in the message, and not in what a filter is
 * given of it: the source's port id, 0 for the kernel, which recvmsg(2) tells of what it takes from the
 * queue. This finds out where in its struct sk_buff the kernel keeps it, by a message from one socket of ours
 * to another. Needs CAP_PERFMON beside CAP_BPF, because it reads the kernel's memory, and CAP_NET_ADMIN.
 * *source: the octets from the beginning, or BPF_FILTER_NO_SOURCE, where it is not found, not permitted, or
 * this kernel has no such helper. 0 or -errno.
 */
enum { BPF_FILTER_NO_SOURCE = -1 };
int bpf_filter_find_source(int *source);

/*
 * Attaches such a filter to a netlink socket, in the place of any other. What netlink_socket_filter() would
 * hold back is held back. source is what bpf_filter_find_source() found; with BPF_FILTER_NO_SOURCE nobody is
 * asked, and what programs sent comes into the ring. Needs CAP_BPF, and CAP_PERFMON for a source. 0 or
 * -errno.
 */
int bpf_filter_attach(int socket_fd, int ring_fd, const struct netlink_filter *filter, int source);

/*
 * The same filter without a ring, for those who read the socket: what the kernel sent passes whole, and of
 * what a program sent the first octet, which no message of the kernel's is as short as. So nobody need ask
 * for the source of each message, which costs a reader a tenth more. source is not BPF_FILTER_NO_SOURCE.
 */
enum { BPF_FILTER_CUT_OCTETS = 1 };
int bpf_filter_attach_cutting(int socket_fd, const struct netlink_filter *filter, int source);
