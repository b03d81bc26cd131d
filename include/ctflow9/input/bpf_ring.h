/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/input/rx.h"

/*
 * The reader's side of a BPF ring buffer (BPF_MAP_TYPE_RINGBUF, Linux 5.8), which programs in the kernel
 * write records into: it is mapped, and receiving is reading memory. One thread reads. Its members are its
 * own.
 */
struct bpf_ring {
    int fd;        /* of the map; readable when there is something. -1 = none */
    size_t octets; /* a power of two */
    size_t page_octets;
    _Atomic uint64_t *consumer;       /* its page is mapped for writing, */
    const _Atomic uint32_t *producer; /* this one and the records behind it for reading */
    const uint8_t *records;
    uint64_t at;     /* read up to here */
    uint64_t end;    /* the kernel was seen to have come to here */
    bool is_pending; /* the last reading stopped in front of a record that was still being written */
};

/*
 * Makes a ring of the largest power of two of octets up to that, at least a page, or of as many as memory
 * allows, if it is limited: make is called with fewer and fewer until it returns the fd of the map, and not
 * -ENOMEM or -EPERM. That it has become smaller is logged. 0, or -errno; -EOPNOTSUPP where this program
 * cannot know how far the kernel has come. The ring is then as one that was closed.
 */
typedef int bpf_ring_make(void *context, uint32_t octets);
int bpf_ring_open(struct bpf_ring *ring, uint64_t octets, bpf_ring_make *make, void *context);
void bpf_ring_close(struct bpf_ring *ring); /* also one that is all 0 but for an fd of -1 */

/* What was taken is given back to the kernel: no message of before may be looked at any more. */
void bpf_ring_give_back(struct bpf_ring *ring);

/* Sees how far the kernel has come. Returns how many octets there are to be read, unfinished ones included.
 */
uint64_t bpf_ring_look(struct bpf_ring *ring);

/* Takes limit records at most of those that bpf_ring_look() saw. octets of a message are those of its record,
 * which may be more than what was written into it. Returns how many. */
unsigned bpf_ring_take(struct bpf_ring *ring, struct rx_message *to, unsigned limit);
