/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of type TRACING at two functions of nf_conntrack's (Linux 5.17). nf_ct_delete() is called by
 * whoever wants to end an entry; who comes first marks it as dying, sets its stop stamp, has ctnetlink tell
 * listeners, and calls nf_ct_helper_destroy(). There everything stands as the DESTROY message has it, nobody
 * has taken it out of the table yet, and each entry comes by once.
 *
 * The kernel's structs below have the members that are read here. Loading the program puts in their places in
 * the running kernel (CO-RE).
 */
#include "ctflow9/input/ct_entry.h"

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
    unsigned int inum;
} KERNEL;

struct net {
    struct ns_common ns;
} KERNEL;

typedef struct {
    struct net *net;
} KERNEL possible_net_t;

struct nf_conntrack_zone {
    __u16 id;
    __u8 dir;
} KERNEL;

union nf_inet_addr {
    __u32 all[4];
} KERNEL;

struct nf_conntrack_man {
    union nf_inet_addr u3;
    union {
        __u16 all;
    } u;
    __u16 l3num;
} KERNEL;

struct nf_conntrack_tuple {
    struct nf_conntrack_man src;
    struct {
        union nf_inet_addr u3;
        union {
            __u16 all;
        } u;
        __u8 protonum;
    } dst;
} KERNEL;

struct nf_conntrack_tuple_hash {
    struct nf_conntrack_tuple tuple;
} KERNEL;

struct ip_ct_tcp {
    __u8 state;
} KERNEL;

union nf_conntrack_proto {
    struct ip_ct_tcp tcp;
} KERNEL;

struct nf_ct_ext {
    __u8 offset[1];
} KERNEL;

struct nf_conn {
    __u32 timeout;
    struct nf_conntrack_zone zone;
    struct nf_conntrack_tuple_hash tuplehash[2];
    unsigned long status;
    possible_net_t ct_net;
    struct nf_conn *master;
    __u32 mark;
    struct nf_ct_ext *ext;
    union nf_conntrack_proto proto;
} KERNEL;

enum nf_ct_ext_id { NF_CT_EXT_ACCT = 3, NF_CT_EXT_TSTAMP = 6 };

/* Of linux/netfilter/nf_conntrack_common.h. */
enum { STATUS_CONFIRMED = 1 << 3, STATUS_DYING = 1 << 9 };

/* Set before the program is loaded. */
const volatile __u64 id_seed_address; /* of nf_ct_get_id()'s key */
const volatile __u32 namespace_number;
const volatile __u32 ticks_per_second; /* the kernel's HZ */
const volatile __u32 mark_value, mark_mask;
const volatile __u32 share_index, share_count; /* of netlink_filter.h; a count of 1 = all */

/* For the reader. */
__u64 lost;      /* entries that the ring had no room for */
bool is_stopped; /* set by the reader: nothing more comes */

/* A copy of it, once the kernel has chosen it: it never changes then. */
__u64 id_seed[2];

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096); /* the reader puts its own in the place */
} ring SEC(".maps");

/* Entries that programs asked to be removed, from there to the end: mostly one at a time. */
enum { REQUESTED_MAX = 4096 };
__s64 requested_count;
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, REQUESTED_MAX);
    __type(key, __u64);
    __type(value, __u8);
} requested SEC(".maps");

static __always_inline bool is_heard(const struct nf_conn *entry, unsigned long status)
{
    if (is_stopped || !(status & STATUS_CONFIRMED) || entry->ct_net.net->ns.inum != namespace_number)
        return false;
    return !bpf_core_field_exists(entry->mark) || (entry->mark & mark_mask) == mark_value;
}

/* The context is the function's arguments. */
SEC("fentry/nf_ct_delete")
int note_request(const __u64 *arguments)
{
    const struct nf_conn *entry = (const void *)arguments[0];
    const __u32 port_id = (__u32)arguments[1];
    const __u64 key = (__u64)(unsigned long)entry;
    const __u8 value = 1;
    const unsigned long status = entry->status;
    if (port_id != 0 && !(status & STATUS_DYING) && is_heard(entry, status) &&
        bpf_map_update_elem(&requested, &key, &value, BPF_NOEXIST) == 0)
        __sync_fetch_and_add(&requested_count, 1);
    return 0;
}

static __always_inline bool was_requested(const struct nf_conn *entry)
{
    const __u64 key = (__u64)(unsigned long)entry;
    if (requested_count == 0 || bpf_map_delete_elem(&requested, &key) != 0)
        return false;
    __sync_fetch_and_add(&requested_count, -1);
    return true;
}

struct sip {
    __u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotate(__u64 word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static __always_inline void sip_round(struct sip *sip)
{
    sip->v0 += sip->v1, sip->v1 = rotate(sip->v1, 13) ^ sip->v0, sip->v0 = rotate(sip->v0, 32);
    sip->v2 += sip->v3, sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
    sip->v0 += sip->v3, sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
    sip->v2 += sip->v1, sip->v1 = rotate(sip->v1, 17) ^ sip->v2, sip->v2 = rotate(sip->v2, 32);
}

static __always_inline void sip_add(struct sip *sip, __u64 word)
{
    sip->v3 ^= word;
    sip_round(sip);
    sip_round(sip);
    sip->v0 ^= word;
}

/* SipHash-2-4 of that many words, as the kernel's lib/siphash.c. */
static __always_inline __u64 sip_hash(const __u64 *words, unsigned count)
{
    struct sip sip = {0x736f6d6570736575ULL ^ id_seed[0], 0x646f72616e646f6dULL ^ id_seed[1],
                      0x6c7967656e657261ULL ^ id_seed[0], 0x7465646279746573ULL ^ id_seed[1]};
    for (unsigned i = 0; i < count; i++)
        sip_add(&sip, words[i]);
    sip_add(&sip, (__u64)count * sizeof(__u64) << 56);
    sip.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(&sip);
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

enum { TUPLE_WORDS = sizeof(struct ct_entry_tuple) / sizeof(__u64) };

/* What nf_ct_get_id() returns, as CTA_ID tells it. As long as nobody has ever asked, the key is 0, and so
 * nobody knows another id of that entry. */
static __always_inline __u32 id_of(const struct nf_conn *entry, const struct ct_entry_tuple *original)
{
    union {
        struct ct_entry_tuple tuple;
        __u64 words[TUPLE_WORDS];
    } of = {.tuple = *original};
    if (id_seed[0] == 0)
        bpf_probe_read_kernel(id_seed, sizeof(id_seed), (const void *)id_seed_address);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (int i = 0; i < TUPLE_WORDS; i++)
        of.words[i] = __builtin_bswap64(of.words[i]);
#endif
    const void *const pointers[] = {entry, entry->master, entry->ct_net.net};
    __u64 words[4];
    bpf_probe_read_kernel(words, sizeof(pointers),
                          pointers); /* the verifier lets nobody calculate with those */
    words[3] = sip_hash(of.words, TUPLE_WORDS);
    return bpf_htonl((__u32)sip_hash(words, sizeof(words) / sizeof(words[0])));
}

enum { EXTENSIONS_MAX = 16 };

/* Reads an extension; false when the entry has none of that kind. */
static __always_inline bool read_extension(const struct nf_conn *entry, const __u8 *offsets, __u32 kind,
                                           void *to, __u32 octets)
{
    const __u8 offset = offsets[kind & (EXTENSIONS_MAX - 1)];
    return offset != 0 && bpf_probe_read_kernel(to, octets, (const char *)entry->ext + offset) == 0;
}

static __always_inline void read_extensions(const struct nf_conn *entry, struct ct_entry *to)
{
    __u8 offsets[EXTENSIONS_MAX];
    if (!entry->ext || bpf_probe_read_kernel(offsets, sizeof(offsets), &entry->ext->offset) != 0)
        return;
    if (bpf_core_enum_value_exists(enum nf_ct_ext_id, NF_CT_EXT_ACCT) &&
        read_extension(entry, offsets, bpf_core_enum_value(enum nf_ct_ext_id, NF_CT_EXT_ACCT), to->counter,
                       sizeof(to->counter)))
        to->has |= CT_ENTRY_HAS_COUNTERS;
    if (bpf_core_enum_value_exists(enum nf_ct_ext_id, NF_CT_EXT_TSTAMP) &&
        read_extension(entry, offsets, bpf_core_enum_value(enum nf_ct_ext_id, NF_CT_EXT_TSTAMP), &to->stamps,
                       sizeof(to->stamps)))
        to->has |= CT_ENTRY_HAS_STAMPS;
}

static __always_inline __u32 seconds_left(const struct nf_conn *entry)
{
    const __s32 ticks = (__s32)(entry->timeout - (__u32)bpf_jiffies64());
    return ticks > 0 ? (__u32)ticks / ticks_per_second : 0;
}

SEC("fentry/nf_ct_helper_destroy")
int copy_entry(const __u64 *arguments)
{
    const struct nf_conn *entry = (const void *)arguments[0];
    struct ct_entry_tuple original;
    const unsigned long status = entry->status;
    if (!is_heard(entry, status))
        return 0;
    const bool is_requested = was_requested(entry);
    bpf_probe_read_kernel(&original, sizeof(original), &entry->tuplehash[0].tuple);
    const __u32 id = id_of(entry, &original);
    if (share_count > 1 && id % share_count != share_index)
        return 0;
    struct ct_entry *to = bpf_ringbuf_reserve(&ring, sizeof(*to), 0);
    if (!to) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    to->tuple[0] = original;
    bpf_probe_read_kernel(&to->tuple[1], sizeof(to->tuple[1]), &entry->tuplehash[1].tuple);
    to->id = id;
    to->status = (__u32)status;
    to->mark = bpf_core_field_exists(entry->mark) ? entry->mark : 0;
    to->timeout_s = seconds_left(entry);
    to->zone = bpf_core_field_exists(entry->zone) ? entry->zone.id : 0;
    to->zone_directions = bpf_core_field_exists(entry->zone) ? entry->zone.dir : 0;
    to->tcp_state = entry->proto.tcp.state;
    to->has = is_requested ? CT_ENTRY_REQUESTED : 0;
    read_extensions(entry, to);
    bpf_ringbuf_submit(to, 0); /* wakes the reader if it has read everything before */
    return 0;
}

char licence[] SEC("license") = "GPL";
