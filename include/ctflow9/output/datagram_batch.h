/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A few NetFlow datagrams on their way into a connected UDP socket. Each gets a header of its own, with the
 * receiver's sequence number; bodies are only pointed to. One thread owns it.
 */
struct datagram_batch;

enum { DATAGRAM_BATCH_MAX = 64 }; /* also what one UDP_SEGMENT send takes (UDP_MAX_SEGMENTS, linux/udp.h) */

int datagram_batch_open(struct datagram_batch **batch);  /* 0 or -ENOMEM */
void datagram_batch_close(struct datagram_batch *batch); /* NULL is fine */

/* Forgets all but the first count datagrams. */
void datagram_batch_cut(struct datagram_batch *batch, unsigned count);
unsigned datagram_batch_count(const struct datagram_batch *batch);

/* Adds a datagram, which stays where it is until it is sent. false when the batch is full. */
bool datagram_batch_add(struct datagram_batch *batch, const uint8_t *datagram, size_t octets,
                        uint32_t sequence);

/* The same with a copy of the datagram. false also when there is no more room for copies (32 KiB in all). */
bool datagram_batch_add_copy(struct datagram_batch *batch, const uint8_t *datagram, size_t octets,
                             uint32_t sequence);

/*
 * Sends the batch in one sendmmsg; with segment, runs of datagrams of one size (the last may be shorter) are
 * one message with UDP_SEGMENT. Returns how many datagrams left, in their order, or -errno when the first
 * message did not. When only some left, the kernel keeps what stopped the next one to itself.
 */
int datagram_batch_send(struct datagram_batch *batch, int fd, bool segment);
