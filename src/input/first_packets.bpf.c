/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program of type NETFILTER (Linux 6.4). It stands at the end of POSTROUTING and of INPUT, where a packet's
 * way through this machine is known, and before the kernel confirms new connections.
 *
 * A packet of the original direction is a connection's first one when its entry is not confirmed yet. For the
 * reply direction no state of the entry says so exactly; but an entry is assured only after it had a reply
 * (TCP: answered; UDP: two seconds of traffic both ways). So only replies of what is not assured are looked
 * up, and the note itself says whether there was one before. All other packets cost two loads.
 *
 * The kernel's structs below have the members that are read here. libbpf puts in their places in the running
 * kernel (CO-RE).
 */
#include "ctflow9/input/first_packets_layout.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define KERNEL __attribute__((preserve_access_index))

struct net_device {
    int ifindex;
    unsigned short type;
    unsigned int flags;
} KERNEL;

struct nf_hook_state {
    const struct net_device *in, *out;
} KERNEL;

struct sk_buff {
    unsigned long _nfct;
    unsigned char *head;
    __u16 mac_header, network_header, mac_len;
} KERNEL;

/* The context, as the verifier shows it. */
struct bpf_nf_ctx {
    const struct nf_hook_state *state;
    struct sk_buff *skb;
};

/* Of linux/netfilter/nf_conntrack_common.h, and of the kernel's. */
enum {
    STATE_MASK = 7,
    STATE_ESTABLISHED_REPLY = 3,
    STATUS_ASSURED = 1 << 2,
    STATUS_CONFIRMED = 1 << 3,
    ZONE_OF_ORIGINAL = 1 << 0,
    NO_HEADER = 0xffff,
    FAMILY_IPV4 = 2,
    DEVICE_LOOPBACK = 1 << 3, /* IFF_LOOPBACK */
    DEVICE_ETHERNET = 1,      /* ARPHRD_ETHER */
    ACCEPT = 1
};

enum direction { ORIGINAL, REPLY };

const volatile __u32 secret[FIRST_PACKETS_KEY_WORDS]; /* random, set before the program is loaded */

/* Where these are in struct nf_conn, which may be a module's: the program may then not be told its type. */
const volatile __u32 status_at, tuple_at, zone_at;

const volatile __u32 set_mask; /* number of sets, a power of two, less 1 */

/* Notes that were written over, for their sets were full. */
__u64 evicted;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1); /* set before it is made */
    __type(key, __u32);
    __type(value, struct first_packets_set);
} notes SEC(".maps");

/* Reads a member of an entry. */
static __always_inline void read_entry(void *to, __u32 octets, unsigned long entry, __u32 at)
{
    bpf_probe_read_kernel(to, octets, (const void *)(entry + at));
}

static __always_inline __u64 hash_of(unsigned long entry)
{
    struct first_packets_tuple tuple = {0};
    struct first_packets_zone zone = {0};
    read_entry(&tuple, sizeof(tuple), entry, tuple_at);
    if (zone_at != FIRST_PACKETS_NOWHERE)
        read_entry(&zone, sizeof(zone), entry, zone_at);
    struct first_packets_key key = {.src_id = tuple.src_id,
                                    .dst_id = tuple.dst_id,
                                    .zone = zone.directions & ZONE_OF_ORIGINAL ? zone.id : 0,
                                    .family = (__u8)tuple.family,
                                    .protocol = tuple.protocol};
    for (int i = 0; i < 4; i++) {
        key.src[i] = tuple.src[i];
        key.dst[i] = tuple.dst[i];
    }
    return first_packets_hash(secret, &key);
}

static __always_inline struct first_packets_set *set_of(__u64 hash)
{
    __u32 index = (__u32)hash & set_mask;
    return bpf_map_lookup_elem(&notes, &index);
}

/* Version and traffic class are the first octets of both headers. */
static __always_inline __u8 read_tos(const struct sk_buff *skb)
{
    __u8 header[2] = {0};
    bpf_probe_read_kernel(header, sizeof(header), skb->head + skb->network_header);
    return header[0] >> 4 == 4 ? header[1] : (__u8)(header[0] << 4 | header[1] >> 4);
}

static __always_inline bool read_link_source(const struct sk_buff *skb, const struct net_device *in,
                                             __u8 to[6])
{
    if (!in || in->type != DEVICE_ETHERNET || skb->mac_header == NO_HEADER || skb->mac_len < ETH_HLEN)
        return false;
    return bpf_probe_read_kernel(to, ETH_ALEN, skb->head + skb->mac_header + ETH_ALEN) == 0;
}

/* For who has made the place busy. */
static __always_inline void fill(struct first_packets_note *note, struct bpf_nf_ctx *ctx,
                                 enum direction direction)
{
    const struct net_device *in = ctx->state->in, *out = ctx->state->out;
    if (!in && out && out->flags & DEVICE_LOOPBACK) /* stays within this machine */
        in = out;
    note->in_interface[direction] = in ? (__u32)in->ifindex : 0;
    note->out_interface[direction] = out ? (__u32)out->ifindex : 0;
    note->tos[direction] = read_tos(ctx->skb);
    __u32 has = FIRST_PACKETS_INTERFACES | FIRST_PACKETS_TOS;
    if (read_link_source(ctx->skb, in, note->link_source[direction]))
        has |= FIRST_PACKETS_LINK_SOURCE;
    note->has |= has << direction;
}

/* A place in the set that nobody else writes to now; none when all are being written to. */
static __always_inline struct first_packets_note *claim(struct first_packets_set *set, __u32 at_random,
                                                        __u32 **tag)
{
    for (int way = 0; way < FIRST_PACKETS_WAYS; way++)
        if (set->tags[way] == FIRST_PACKETS_FREE &&
            __sync_val_compare_and_swap(&set->tags[way], FIRST_PACKETS_FREE, FIRST_PACKETS_BUSY) ==
                FIRST_PACKETS_FREE) {
            *tag = &set->tags[way];
            return &set->notes[way];
        }
    __u32 way = at_random % FIRST_PACKETS_TAGS; /* a power of two: the verifier knows its limits */
    if (way >= FIRST_PACKETS_WAYS)
        way = 0;
    __u32 other = set->tags[way];
    if (other < FIRST_PACKETS_TAG_MIN ||
        __sync_val_compare_and_swap(&set->tags[way], other, FIRST_PACKETS_BUSY) != other)
        return 0;
    __sync_fetch_and_add(&evicted, 1);
    *tag = &set->tags[way];
    return &set->notes[way];
}

static __always_inline void note_original(struct bpf_nf_ctx *ctx, unsigned long entry)
{
    __u64 hash = hash_of(entry), now_ns = bpf_ktime_get_tai_ns();
    struct first_packets_set *set = set_of(hash);
    __u32 *tag;
    if (!set)
        return;
    struct first_packets_note *note = claim(set, (__u32)(now_ns ^ now_ns >> 8), &tag);
    if (!note)
        return;
    note->hash = hash;
    note->noted_ns = now_ns;
    note->has = 0;
    note->in_interface[REPLY] = note->out_interface[REPLY] = 0;
    note->tos[REPLY] = 0;
    __builtin_memset(note->link_source, 0, sizeof(note->link_source));
    fill(note, ctx, ORIGINAL);
    __sync_lock_test_and_set(tag, first_packets_tag(hash)); /* what was written is seen before this is */
}

/* The same connection may have been there before: the last one is meant. */
static __always_inline void note_reply(struct bpf_nf_ctx *ctx, unsigned long entry)
{
    __u64 hash = hash_of(entry), newest_ns = 0;
    struct first_packets_set *set = set_of(hash);
    __u32 tag = first_packets_tag(hash), found = FIRST_PACKETS_WAYS;
    if (!set)
        return;
    for (__u32 way = 0; way < FIRST_PACKETS_WAYS; way++)
        if (set->tags[way] == tag && set->notes[way].hash == hash && set->notes[way].noted_ns >= newest_ns) {
            newest_ns = set->notes[way].noted_ns;
            found = way;
        }
    if (found >= FIRST_PACKETS_WAYS || set->notes[found].has & FIRST_PACKETS_INTERFACES << REPLY)
        return;
    if (__sync_val_compare_and_swap(&set->tags[found], tag, FIRST_PACKETS_BUSY) != tag)
        return; /* the next reply is in time, too */
    fill(&set->notes[found], ctx, REPLY);
    __sync_lock_test_and_set(&set->tags[found], tag);
}

SEC("netfilter")
int first_packets(struct bpf_nf_ctx *ctx)
{
    const unsigned long with_state = ctx->skb->_nfct;
    const unsigned state = with_state & STATE_MASK;
    const unsigned long entry = with_state & ~(unsigned long)STATE_MASK;
    if (entry == 0 || state > STATE_ESTABLISHED_REPLY) /* untracked, or an ICMP error about a reply */
        return ACCEPT;
    unsigned long status = STATUS_CONFIRMED | STATUS_ASSURED;
    read_entry(&status, sizeof(status), entry, status_at);
    if (state == STATE_ESTABLISHED_REPLY) {
        if (!(status & STATUS_ASSURED))
            note_reply(ctx, entry);
    } else if (!(status & STATUS_CONFIRMED)) {
        note_original(ctx, entry);
    }
    return ACCEPT;
}

char licence[] SEC("license") = "GPL";
