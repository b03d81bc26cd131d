/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/types.h>

/*
 * The table that the BPF program (src/input/first_packets.bpf.c) and ctflow9 have mapped both: what the
 * program noted of connections' first packets. It is compiled for both, so it includes no header of a C
 * library.
 *
 * A connection's hash picks a set, in which any place will do. A place's tag tells whose it is, and guards
 * it: only who has exchanged the tag for FIRST_PACKETS_BUSY writes there, and puts a tag back afterwards.
 */
enum {
    FIRST_PACKETS_WAYS = 15,      /* places in a set, which makes it a kibibyte: in one page of memory */
    FIRST_PACKETS_TAGS = 16,      /* a cache line; the last one is always FIRST_PACKETS_FREE */
    FIRST_PACKETS_KEY_WORDS = 10, /* of 32 bits */
    FIRST_PACKETS_NOTE_WORDS = 7, /* of 64 bits: as far as there is something in a note */

    /* Tags. */
    FIRST_PACKETS_FREE = 0,
    FIRST_PACKETS_BUSY = 1,
    FIRST_PACKETS_TAG_MIN = 2
};

/* What is known of a direction: bits of first_packets_note.has, shifted left by the direction. As in enum
 * flow_has. */
enum { FIRST_PACKETS_INTERFACES = 1 << 8, FIRST_PACKETS_TOS = 1 << 10, FIRST_PACKETS_LINK_SOURCE = 1 << 14 };

/* A cache line. Directions as in enum flow_direction. What has no bit is 0. */
struct first_packets_note {
    __u64 hash;
    __u64 noted_ns; /* CLOCK_TAI, when the first packet was about to leave */
    __u32 in_interface[2];
    __u32 out_interface[2];
    __u8 link_source[2][6];
    __u32 has;
    __u8 tos[2];
    __u8 unused[14];
};

struct first_packets_set {
    __u32 tags[FIRST_PACKETS_TAGS];
    struct first_packets_note notes[FIRST_PACKETS_WAYS];
};

_Static_assert(sizeof(struct first_packets_note) == 64 && sizeof(struct first_packets_set) == 1024,
               "whole cache lines");

/* Of the kernel's struct nf_conntrack_tuple and struct nf_conntrack_zone; looked up before that is believed.
 */
struct first_packets_tuple {
    __u32 src[4];
    __u16 src_id, family;
    __u32 dst[4];
    __u16 dst_id;
    __u8 protocol, direction;
};
struct first_packets_zone {
    __u16 id;
    __u8 flags, directions;
};

#define FIRST_PACKETS_NOWHERE 0xffffffffU /* for the place of a member: there is none */

/* What identifies a connection while it lives, all as the kernel has it: the original direction's tuple, and
 * the zone that counts in this direction. */
struct first_packets_key {
    __u32 src[4], dst[4];
    __u16 src_id, dst_id; /* ports; the ICMP id, and type and code; the keys of GRE */
    __u16 zone;
    __u8 family, protocol;
};

/*
 * NH (Black et al., UMAC): two keys that are chosen without knowing the secret have the same hash with a
 * probability of 2^-32 at most. The last steps are MurmurHash3's, so that all bits are good.
 */
static inline __u64 first_packets_hash(const volatile __u32 secret[FIRST_PACKETS_KEY_WORDS],
                                       const struct first_packets_key *key)
{
    const __u32 ids = (__u32)key->src_id << 16 | key->dst_id;
    const __u32 kind = (__u32)key->zone << 16 | (__u32)key->family << 8 | key->protocol;
    __u64 hash = (__u64)(__u32)(secret[8] + ids) * (__u32)(secret[9] + kind);
    for (unsigned i = 0; i < 4; i++)
        hash += (__u64)(__u32)(secret[2 * i] + key->src[i]) * (__u32)(secret[2 * i + 1] + key->dst[i]);
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdULL;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return hash ^ hash >> 33;
}

static inline __u32 first_packets_tag(__u64 hash)
{
    __u32 tag = (__u32)(hash >> 32);
    return tag >= FIRST_PACKETS_TAG_MIN ? tag : tag + FIRST_PACKETS_TAG_MIN;
}
