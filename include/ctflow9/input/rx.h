/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/input/netlink_socket.h"

/*
 * Receives datagrams from a netlink socket, many at a time, in one of three ways. Two of them use a ring that
 * kernel and program both have mapped: a BPF ring buffer, into which a socket filter copies each message
 * before it is ever queued, or io_uring's ring of buffers, into which the kernel receives them. recvmmsg(2)
 * is there everywhere. One thread owns it: the one that calls rx_receive() first. Others may open and close
 * it.
 *
 * A fourth way, RX_FENTRY, takes no messages at all: the kernel's entries themselves, as they end, come
 * through a BPF ring buffer (rx_fentry.c).
 */
struct rx;

enum {
    RX_BATCH = 128,          /* messages taken by one call, at most */
    RX_MESSAGE_OCTETS = 2048 /* a buffer; conntrack events have 220-260 octets, 700 with every attribute */
};

/* In the order of the choices of --rx. */
enum rx_kind { RX_AUTO, RX_BPF, RX_URING, RX_RECVMMSG, RX_FENTRY };

struct rx_message {
    const void *data; /* aligned for struct nlmsghdr; valid until the next rx_receive() */
    uint32_t octets;
    bool truncated;    /* the datagram was longer than the buffer */
    bool from_program; /* not the kernel sent it, see rx_tells_programs() */
};

void rx_close(struct rx *rx); /* NULL is fine */

/*
 * Takes what waits, at most limit messages (not 0) and at most RX_BATCH; never blocks. Returns how many, or
 * -errno. Fewer than were asked for: nothing else is there, unless rx_is_pending(). Messages come in their
 * order, except that with RX_BPF those that found no room in the ring may come later.
 */
int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages);

/* The last rx_receive() stopped in front of a message that the kernel was still writing: more comes after it.
 */
bool rx_is_pending(const struct rx *rx);

/*
 * Whether from_program is known of every message. Not with RX_BPF without CAP_PERFMON, or where the kernel is
 * locked down: of what comes through the ring nothing then tells who sent it.
 */
bool rx_tells_programs(const struct rx *rx);

/* What comes are no messages, but a struct ct_entry each (ct_entry.h). Their socket need not join any group.
 */
bool rx_gives_entries(const struct rx *rx);

/*
 * How many there was no room for since it was opened; wraps. The kernel may send messages again
 * (netlink_socket.h); entries are lost. 0 or -errno.
 */
int rx_drops(const struct rx *rx, uint32_t *drops);

/* Nothing more comes, but for what was on its way; it stays to be received. 0 or -errno. */
int rx_stop(struct rx *rx);

/* What becomes readable when something waits, and is so until it was taken, except for what a limit left. */
void rx_wants(const struct rx *rx, struct poll_set *set);

/* Behind all this. */

/* A way to receive. Each function does what is said of its namesake; filter may be NULL:
 * everything that the socket's own filter lets pass. */
struct rx_backend {
    bool gives_entries;
    /* 0 when what it takes is available, or -errno; NULL = opening tells. */
    int (*probe)(void);
    /* Why it could not be opened, for people. */
    const char *(*reason)(int error);
    int (*open)(struct rx **rx, int fd, const struct netlink_filter *filter);
    void (*close)(struct rx *rx);
    int (*receive)(struct rx *rx, unsigned limit, const struct rx_message **messages);
    int (*drops)(const struct rx *rx, uint32_t *drops); /* NULL = the socket counts them */
    int (*stop)(struct rx *rx);                         /* NULL = the socket leaves its group */
};

/* The first member of what a backend opens. */
struct rx {
    const struct rx_backend *backend;
    int fd;          /* the socket */
    int ring_fd;     /* what else becomes readable when something is there; -1 = nothing */
    bool is_pending; /* see rx_is_pending() */
    bool tells_programs;
};

/*
 * For those who read the socket: has a filter tell what programs sent, which is then cut to
 * BPF_FILTER_CUT_OCTETS (bpf_filter.h). false: it cannot, and the filter, if it is not NULL, is the plain
 * one; then each message is to be asked for its source. 0 or -errno.
 */
int rx_filter_socket(int fd, const struct netlink_filter *filter, bool *tells_programs);

extern const struct rx_backend rx_bpf; /* always attaches a filter: that is what fills its ring */
extern const struct rx_backend rx_recvmmsg;
extern const struct rx_backend rx_uring;  /* not there when built without io_uring: CTFLOW9_URING is 0 */
extern const struct rx_backend rx_fentry; /* not there when built without it: CTFLOW9_FENTRY is 0 */

/* A reason that any backend may have. */
const char *rx_lack(int error);
