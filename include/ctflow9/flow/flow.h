/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ctflow9/base/wire.h"

/*
 * The normalised flow: the one noun that every stage shares. A source fills it, the table merges it, an
 * output writes it. It owns nothing and holds no pointer, so it is copied by assignment and compared field by
 * field.
 */

/* Index into every array of two below; the values of ctnetlink's IP_CT_DIR_ORIGINAL and IP_CT_DIR_REPLY. */
enum flow_direction { FLOW_ORIGINAL = 0, FLOW_REPLY = 1 };

/* An address in network byte order. An IPv4 address fills v4, the octets after it are 0. */
union flow_address {
    be32 v4;
    uint8_t v6[16];
};

/*
 * One side's view of a connection, as the kernel keeps it: for the reply tuple, src is who answers. Ports are
 * 0 for protocols without; for GRE they hold the keys. The icmp members are 0 for everything but ICMP and
 * ICMPv6.
 */
struct flow_tuple {
    union flow_address src, dst;
    be16 src_port, dst_port;
    be16 icmp_id;
    uint8_t icmp_type, icmp_code;
};

/* What the source knew; a member whose bit is missing is 0. */
enum flow_has {
    FLOW_HAS_COUNTERS = 1 << 0,  /* packets and octets (nf_conntrack_acct was on when the entry was made) */
    FLOW_HAS_START = 1 << 1,     /* start_ns (nf_conntrack_timestamp was on when the entry was made) */
    FLOW_HAS_STOP = 1 << 2,      /* stop_ns */
    FLOW_HAS_TIMEOUT = 1 << 3,   /* timeout_s: time was left on the entry, it did not expire */
    FLOW_HAS_TCP_STATE = 1 << 4, /* tcp_state */
    FLOW_HAS_STATUS = 1 << 5,    /* status */
    FLOW_REQUESTED = 1 << 6,     /* a program asked the kernel to remove the entry (nlmsg_pid was not 0) */
    FLOW_END_TOLD = 1 << 7, /* the source tells time left and TCP's state: where it did not, no time was */

    /* By direction: these bits are those of the original direction; flow_has_of() asks for either. */
    FLOW_HAS_INTERFACES = 1 << 8, /* in_interface and out_interface; 0 in one of them: this machine itself */
    FLOW_HAS_TOS = 1 << 10,
    FLOW_HAS_TCP_FLAGS = 1 << 12,
    FLOW_HAS_LINK_SOURCE = 1 << 14,
    FLOW_HAS_VLAN = 1 << 16,
    FLOW_ZONE_OF_ONE = 1 << 18, /* zone is that of this direction alone (CTA_TUPLE_ZONE) */
    FLOW_EGRESS = 1 << 20,      /* its packets leave the network that is looked at; else they come into it */
    FLOW_HAS_TTL = 1 << 22,     /* ttl, and no timeout_s */
    FLOW_HAS_WAY = (FLOW_HAS_INTERFACES | FLOW_EGRESS) * (1 << FLOW_ORIGINAL | 1 << FLOW_REPLY), /* any */
    FLOW_ZONE_OF_EITHER = FLOW_ZONE_OF_ONE << FLOW_ORIGINAL | FLOW_ZONE_OF_ONE << FLOW_REPLY,
};

/* What a flow is of. */
enum flow_kind {
    FLOW_CONNECTION, /* a whole connection, in both directions */
    FLOW_PART,       /* what a connection carried in a span of its life */
    FLOW_PACKETS,    /* packets of one direction, the original one, that a source saw itself */
    FLOW_COUNTER,    /* what a named counter counted in a span: no tuples, but what counter tells, packets and
                        octets of the original direction, start_ns, stop_ns; id: its number (name_numbers.h) */
};

/* flowEndReason, IANA element 136. */
enum flow_end_reason {
    FLOW_END_UNKNOWN = 0, /* reserved by IANA: tells nothing */
    FLOW_END_IDLE_TIMEOUT = 1,
    FLOW_END_ACTIVE_TIMEOUT = 2,
    FLOW_END_DETECTED = 3,
    FLOW_END_FORCED = 4,
    FLOW_END_LACK_OF_RESOURCES = 5,
};

/* Where a named counter is kept. */
enum flow_counter_source { FLOW_COUNTER_NFACCT };

enum { FLOW_NAME_MAX = 64 }; /* octets */

/* A counter that somebody gave a name. */
struct flow_counter {
    uint64_t identity; /* by which it is told from all others (identity.h), for names may look the same */
    uint8_t source;    /* enum flow_counter_source */
    char name[FLOW_NAME_MAX + 1]; /* UTF-8 without control characters */
};

struct flow {
    union {
        struct flow_tuple tuple[2];  /* by enum flow_direction */
        struct flow_counter counter; /* of FLOW_COUNTER */
    };
    uint64_t packets[2];
    uint64_t octets[2]; /* layer-3 octets: IP header included, no Ethernet */
    uint64_t start_ns;  /* wall clock, since 1970 */
    uint64_t stop_ns;   /* wall clock, since 1970; when the entry died, not its last packet */
    uint32_t status;    /* IPS_* of linux/netfilter/nf_conntrack_common.h */
    uint32_t mark;      /* 0 when there is none */
    uint32_t id;        /* CTA_ID, host order: not unique over time */
    union {
        uint32_t timeout_s; /* seconds that were left on the entry */
        struct {
            uint8_t min, max;
        } ttl; /* FLOW_PACKETS: times to live, or hop limits */
    };
    uint32_t has;       /* enum flow_has */
    uint16_t zone;      /* of both directions (CTA_ZONE) or of one, FLOW_ZONE_OF_ONE; 0 = none */
    uint8_t family;     /* AF_INET or AF_INET6 */
    uint8_t protocol;   /* IPPROTO_* */
    uint8_t tcp_state;  /* enum tcp_conntrack of linux/netfilter/nf_conntrack_tcp.h */
    uint8_t end_reason; /* enum flow_end_reason; set by the source */
    uint8_t kind;       /* enum flow_kind */

    /* Of the packets that went that way. */
    uint8_t tos[2];            /* of the first one; IPv6: the traffic class */
    uint8_t tcp_flags[2];      /* of all of them */
    uint8_t link_source[2][6]; /* Ethernet address that sent the first one to this machine. FLOW_PACKETS:
                                  [FLOW_REPLY] is the address it was sent to, if known */
    uint16_t vlan[2];          /* VLAN id, of the first one */
    uint32_t in_interface[2];  /* index of the interface that they came in by, */
    uint32_t out_interface[2]; /* and went out by */
};

_Static_assert(sizeof(struct flow) <= 192, "three cache lines");

static inline bool flow_has(const struct flow *flow, unsigned bits)
{
    return (flow->has & bits) == bits;
}

/* For the bits of enum flow_has that there are by direction. */
static inline bool flow_has_of(const struct flow *flow, unsigned bits, enum flow_direction direction)
{
    return flow_has(flow, bits << direction);
}

/*
 * Where the packets of a direction came in and went out: as is known of it, else of the other direction,
 * turned round. false: of neither.
 */
static inline bool flow_interfaces(const struct flow *flow, enum flow_direction direction, uint32_t *in,
                                   uint32_t *out)
{
    bool is_own = flow_has_of(flow, FLOW_HAS_INTERFACES, direction);
    enum flow_direction known = is_own ? direction : !direction;
    *in = is_own ? flow->in_interface[known] : flow->out_interface[known];
    *out = is_own ? flow->out_interface[known] : flow->in_interface[known];
    return flow_has_of(flow, FLOW_HAS_INTERFACES, known);
}

/*
 * Gets a flow, which is only lent for the call. Where flows go is the receiver's business: nobody who hands
 * one on waits for it, or learns what became of it.
 */
typedef void flow_sink(void *context, const struct flow *flow);

/* The protocol is ICMP in the family it belongs to: its tuples have a type and a code instead of ports. */
static inline bool flow_is_icmp(const struct flow *flow)
{
    return flow->protocol == (flow->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* The addresses or ports of one side are not the mirror of the other's: a translation happened. */
static inline bool flow_is_translated(const struct flow *flow)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL];
    const struct flow_tuple *reply = &flow->tuple[FLOW_REPLY];
    return memcmp(&original->src, &reply->dst, sizeof(original->src)) != 0 ||
           memcmp(&original->dst, &reply->src, sizeof(original->dst)) != 0 ||
           original->src_port != reply->dst_port || original->dst_port != reply->src_port;
}

/*
 * Whether anything went that way: by its counters, or, without them, by IPS_SEEN_REPLY (the original
 * direction then always has).
 */
static inline bool flow_has_direction(const struct flow *flow, enum flow_direction direction)
{
    if (flow_has(flow, FLOW_HAS_COUNTERS))
        return flow->packets[direction] != 0 || flow->octets[direction] != 0;
    return direction == FLOW_ORIGINAL || (flow->status & IPS_SEEN_REPLY) != 0;
}

/* Member by member: padding has no value. */
static inline bool flow_tuple_is_same(const struct flow_tuple *a, const struct flow_tuple *b)
{
    return memcmp(&a->src, &b->src, sizeof(a->src)) == 0 && memcmp(&a->dst, &b->dst, sizeof(a->dst)) == 0 &&
           a->src_port == b->src_port && a->dst_port == b->dst_port && a->icmp_id == b->icmp_id &&
           a->icmp_type == b->icmp_type && a->icmp_code == b->icmp_code;
}

/* The start as far as it identifies the connection: what the source did not tell may have been set to
 * something. */
static inline uint64_t flow_told_start_ns(const struct flow *flow)
{
    return flow_has(flow, FLOW_HAS_START) ? flow->start_ns : 0;
}

/*
 * The same connection: original tuple, zones, id and start time are all equal. CTA_ID alone is used again,
 * for the same tuple too.
 */
bool flow_is_same(const struct flow *a, const struct flow *b);

/* A number for just that identity, which spreads well in all of its 64 bits. */
uint64_t flow_hash(const struct flow *flow);

/*
 * The kernel keeps one zone for a connection, which holds for both directions or for one (struct
 * nf_conntrack_zone). The zone of that direction alone, or of both: 0 when there is none of just that.
 */
uint16_t flow_zone_of(const struct flow *flow, enum flow_direction direction);
uint16_t flow_zone_of_both(const struct flow *flow);

/* The zone to show for the connection: that of both directions, else that of the original one, else 0. */
uint16_t flow_zone(const struct flow *flow);

/*
 * flowEndReason of an entry that the kernel destroyed, as far as it is known: forced when a request removed
 * it, detected when TCP had reached a closing state, forced when time was left on it, idle timeout when the
 * source would have told of any time left, else unknown.
 */
enum flow_end_reason flow_end_reason(const struct flow *flow);

/*
 * The same of an end that does not tell, as far as an earlier look at the connection (a row; stop_ns is when)
 * does: detected when TCP was closing then, idle timeout when nothing was counted since and the time that was
 * left has gone by, else unknown.
 */
enum flow_end_reason flow_end_reason_since(const struct flow *row, const struct flow *end);
