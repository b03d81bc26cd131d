/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/input/first_packets_queue.h"

/*
 * What a BPF program noted of the first packet of every connection, in either direction: the interfaces that
 * it came in and went out by, its TOS, and the Ethernet address that sent it. The program sees packets where
 * they leave this machine, or arrive in it; what was dropped before has no connection either.
 *
 * Notes are kept in a table of fixed size, which the program and this process have mapped both. The note of a
 * connection that ended is given free by first_packets_queue.h. Where nobody asks for it (the event was lost,
 * or is of no interest; the entry was never confirmed), it stays until its place is needed for another.
 */
struct first_packets;

/*
 * In the network namespace that the calling thread is in; connections_max is how many may be tracked at a
 * time (nf_conntrack_max). Takes CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, not to go on. The program is gone
 * with the descriptors.
 *
 * Returns 0 or -errno; first_packets_reason() says what that means: -EOPNOTSUPP when built without, -EINVAL
 * on a kernel without such programs, -EPERM without the privileges, -ENOENT on one that does not tell its
 * types, -ENOMEM.
 */
int first_packets_open(struct first_packets **packets, uint32_t connections_max);
void first_packets_close(struct first_packets *packets);
const char *first_packets_reason(int error);

/*
 * Has the clock looked at by which notes are told apart from those of earlier connections of the same tuple.
 * To be called now and then, before a batch of flows. Any thread.
 */
void first_packets_see_clock(struct first_packets *packets);

/* How many notes were given up since the start because there was no room for a new one. Any thread. */
uint64_t first_packets_evicted(const struct first_packets *packets);

/* What was noted, for first_packets_queue.h. Lasts as long as it. */
const struct first_packets_table *first_packets_table(const struct first_packets *packets);
