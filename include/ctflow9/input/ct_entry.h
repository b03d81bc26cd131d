/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <linux/types.h>

/*
 * An entry of the kernel's conntrack table at its end, as rx_fentry.bpf.c copies it into the ring. Program
 * and reader have this header in common, so it includes what is there for both.
 */

/* As the kernel's struct nf_conntrack_tuple has it, octet by octet. */
struct ct_entry_tuple {
    __u32 src[4];
    __u16 src_id; /* port, ICMP's id or GRE's key; network byte order */
    __u16 family; /* AF_* */
    __u32 dst[4];
    __u16 dst_id; /* port or GRE's key; ICMP's type and code in its two octets */
    __u8 protocol;
    __u8 direction;
};

enum ct_entry_has {
    CT_ENTRY_HAS_COUNTERS = 1 << 0,
    CT_ENTRY_HAS_STAMPS = 1 << 1,
    CT_ENTRY_REQUESTED = 1 << 2 /* a program asked the kernel to remove it */
};

/* By direction: the original one is 0. */
struct ct_entry {
    struct ct_entry_tuple tuple[2];
    struct ct_entry_counter {
        __u64 packets, octets;
    } counter[2];
    struct ct_entry_stamps {
        __u64 start_ns, stop_ns;
    } stamps;
    __u32 id; /* the number that CTA_ID tells */
    __u32 status, mark;
    __u32 timeout_s; /* that were left */
    __u16 zone;
    __u8 zone_directions; /* that it holds for, a bit for each */
    __u8 tcp_state;
    __u8 has; /* enum ct_entry_has */
    __u8 padding[3];
};

struct flow;

/* The flow that ct_decode() would make of the same entry's DESTROY message. */
void ct_entry_read(const struct ct_entry *entry, struct flow *flow);
