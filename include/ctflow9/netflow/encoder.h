/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/netflow/epoch.h"
#include "ctflow9/netflow/packet_header.h"
#include "ctflow9/netflow/template.h"

/*
 * Data records of any templates into datagrams (RFC 3954 5.3). One datagram is open per template; a full one
 * is sealed immediately, a partial one when its oldest record has waited max_delay. One thread owns it.
 */
struct encoder;

struct encoder_config {
    uint32_t source_id;
    uint32_t max_datagram; /* UDP payload octets, PACKET_OCTETS_MIN..PACKET_OCTETS_MAX */
    uint64_t max_delay_ns;
    struct stats *stats;
};

/* layouts: the templates, which are copied; sink gets every sealed datagram. 0 or -ENOMEM. */
int encoder_open(struct encoder **encoder, const struct encoder_config *config,
                 const struct template *layouts, unsigned count, struct instant now, packet_sink *sink,
                 void *context);
void encoder_close(struct encoder *encoder); /* NULL is fine; what is held is thrown away: flush first */

/* By this one the times in a record are made before it is appended. It stays where it is for the encoder's
 * life, encoder_begin() moves its beginning. */
const struct epoch *encoder_epoch(const struct encoder *encoder);

/*
 * Gives the time for the records appended from now on: their wait begins here. Moves the epoch when it is
 * time, after sealing what is open. When the wall clock was set, what is open is sealed: no datagram spans
 * times by the clock before and after.
 */
void encoder_begin(struct encoder *encoder, struct instant now);

/*
 * Adds a record of the template layouts[index]; values is the struct that its fields stand in. last_ms is its
 * latest time by the wall clock: not later than the present, or the datagram's header says so too.
 */
void encoder_append(struct encoder *encoder, unsigned index, const void *values, uint64_t last_ms);

/* Seals what has waited long enough. */
void encoder_run(struct encoder *encoder, struct instant now);
void encoder_wants(const struct encoder *encoder, struct poll_set *set);

/* Seals everything. */
void encoder_flush(struct encoder *encoder, struct instant now);
