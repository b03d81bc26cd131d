/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ctflow9/netflow/epoch.h"
#include "ctflow9/netflow/writer.h"

/*
 * The header that every datagram begins with (RFC 3954 5.1). The same datagrams go to every collector, so the
 * sequence number, which each collector has of its own, is written as 0: packet_header_set_sequence() puts it
 * in.
 */
enum { PACKET_HEADER_OCTETS = 20, PACKET_OCTETS_MIN = 512, PACKET_OCTETS_MAX = 8972 /* UDP payload */ };

/* Gets a datagram that is whole: header included, its sequence 0. It is only lent for the call. records =
 * data records; ended_ms: the earliest of their LASTs by the wall clock, 0 without records. */
typedef void packet_sink(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                         uint64_t ended_ms);

/* count: the records, those of templates included. */
void packet_header_write(struct writer *writer, unsigned count, struct epoch_stamp stamp, uint32_t source_id);

void packet_header_set_sequence(uint8_t header[PACKET_HEADER_OCTETS], uint32_t sequence);
