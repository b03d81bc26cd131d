/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/netflow/record.h"

/*
 * Merges records that are equal in chosen members, the keys, into one: sums of octets, packets and flows,
 * earliest start, latest end. Nothing is lost on the way: the sums of what leaves are those of what came.
 *
 * An aggregate leaves when its interval is over, which begins with its first record and ends with a whole
 * second, so that all of a second leave at one wake-up. When the table is full the oldest one leaves early.
 * All memory is taken when the table is opened, and touched only as far as it fills. One thread owns it.
 */
struct aggregate;

enum aggregate_key {
    AGGREGATE_KEY_SPORT = 1 << 0,
    AGGREGATE_KEY_DPORT = 1 << 1, /* for ICMP, type and code */
    AGGREGATE_KEY_PROTO = 1 << 2,
    AGGREGATE_KEY_MARK = 1 << 3,
    AGGREGATE_KEY_ZONE = 1 << 4,
    AGGREGATE_KEY_NAT = 1 << 5, /* what each chosen end was translated to */
    AGGREGATE_KEY_IN = 1 << 6,  /* the interfaces: 0 when they are no keys */
    AGGREGATE_KEY_OUT = 1 << 7
};

/* What makes records one aggregate; all 0 = they are not merged. */
struct aggregate_by {
    uint32_t keys;                              /* enum aggregate_key */
    uint8_t source_ipv4_bits, source_ipv6_bits; /* leading bits that count: 0 to 32 and 0 to 128 */
    uint8_t destination_ipv4_bits, destination_ipv6_bits;
};

struct aggregate_config {
    struct aggregate_by by;
    uint32_t interval_s;
    uint32_t capacity; /* aggregates at the same time */
    struct stats *stats;
    bool collide; /* every key has the same hash; for tests */
};

/*
 * Gets an aggregate as a record that lacks nothing but first_switched_ms and last_switched_ms: members that
 * are no keys are 0, addresses are cut to their prefixes, flow_end_reason tells why it leaves. It is only
 * lent for the call, but may be changed. shape is that of its records.
 */
typedef void aggregate_sink(void *context, unsigned shape, struct record *record);

static inline bool aggregate_is_wanted(const struct aggregate_by *by)
{
    return by->keys != 0 || by->source_ipv4_bits != 0 || by->source_ipv6_bits != 0 ||
           by->destination_ipv4_bits != 0 || by->destination_ipv6_bits != 0;
}

/* The shape that records of a shape of flows are sent in when they are merged. Pure. */
unsigned aggregate_shape(const struct aggregate_by *by, unsigned shape);

/* 0 or -errno. */
int aggregate_open(struct aggregate **aggregate, const struct aggregate_config *config, aggregate_sink *sink,
                   void *context);
/* NULL is fine. What is held is thrown away: flush first. */
void aggregate_close(struct aggregate *aggregate);

/*
 * Merges a record in; its start and end are start_ms and end_ms. shape has no bits but those of SHAPE_OF_FLOW
 * that aggregate_shape() leaves. now_ns is monotonic.
 */
void aggregate_add(struct aggregate *aggregate, unsigned shape, const struct record *record, uint64_t now_ns);

/* Lets go of what is due, some thousands at a time, so that reading need not wait. */
void aggregate_run(struct aggregate *aggregate, uint64_t now_ns);
void aggregate_wants(const struct aggregate *aggregate, struct poll_set *set);

/* Lets go of all, as many at a time, due or not. Whether there are more. */
bool aggregate_leave(struct aggregate *aggregate);

/* Lets go of everything: ctflow9 ends. */
void aggregate_flush(struct aggregate *aggregate);
