/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The layout of the mapping is that of linux/bpf.h and kernel/bpf/ringbuf.c: one page with the consumer's
 * position, one with the producer's, and the records, mapped twice so that none is broken at the end.
 * Positions only grow. A record's header says how long it is, whether it is still being written, and whether
 * it was given up.
 *
 * A position is an unsigned long of the kernel's: 64 bits on a 64-bit kernel, though this program may
 * have 32. Since the producer is never further ahead than the ring is long, the low 32 bits of its position
 * tell all of it. The consumer's is written in full; where that takes two stores the kernel may see half of
 * it, which is so far from the producer's that the ring is full for once. A 32-bit kernel reads the low half
 * only; on a big-endian machine a 32-bit program does not know where that is.
 */
#include "ctflow9/input/bpf_ring.h"

#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ctflow9/base/log.h"

enum {
    RING_OCTETS_MIN = 1 << 14, /* 64 events */
    RING_STEP = 4,
    AHEAD_OCTETS = 2048,
    PREFETCH_OCTETS = 256,
    LINE_OCTETS = 64,
    POSITIONS_UNKNOWN = BYTE_ORDER == BIG_ENDIAN && sizeof(long) < sizeof(uint64_t),
    LOW_HALF = BYTE_ORDER == BIG_ENDIAN /* of a position, as 32-bit words */
};

/* Whether there is more locked memory now than there was. */
static bool raise_locked_memory(void)
{
    const struct rlimit unlimited = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    if (setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0)
        return true;
    if (limit.rlim_cur == limit.rlim_max)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

/*
 * As large as the memory allows: a quarter of what is refused, and so on. Before Linux 5.11 a ring counts as
 * locked memory, and what goes beyond is refused as a lack of privileges is, with EPERM.
 */
static int create(struct bpf_ring *ring, bpf_ring_make *make, void *context)
{
    const size_t wanted = ring->octets;
    int fd = make(context, (uint32_t)ring->octets);
    if (fd == -EPERM && raise_locked_memory())
        fd = make(context, (uint32_t)ring->octets);
    while ((fd == -ENOMEM || fd == -EPERM) && ring->octets / RING_STEP >= ring->page_octets &&
           ring->octets / RING_STEP >= RING_OCTETS_MIN) {
        ring->octets /= RING_STEP;
        fd = make(context, (uint32_t)ring->octets);
    }
    if (fd >= 0 && ring->octets < wanted)
        log_info("the BPF ring buffer has %zu octets instead of %zu: a limit on memory allows no more",
                 ring->octets, wanted);
    return fd;
}

static void *map(const struct bpf_ring *ring, size_t octets, int protection, size_t offset)
{
    void *mapped = mmap(NULL, octets, protection, MAP_SHARED, ring->fd, (off_t)offset);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static size_t producer_octets(const struct bpf_ring *ring)
{
    return ring->page_octets + 2 * ring->octets;
}

static int open_and_map(struct bpf_ring *ring, bpf_ring_make *make, void *context)
{
    ring->fd = create(ring, make, context);
    if (ring->fd < 0)
        return ring->fd;
    ring->consumer = map(ring, ring->page_octets, PROT_READ | PROT_WRITE, 0);
    if (ring->consumer == NULL)
        return -errno;
    ring->producer = map(ring, producer_octets(ring), PROT_READ, ring->page_octets);
    if (ring->producer == NULL)
        return -errno;
    ring->records = (const uint8_t *)ring->producer + ring->page_octets;
    return 0;
}

int bpf_ring_open(struct bpf_ring *ring, uint64_t octets, bpf_ring_make *make, void *context)
{
    *ring = (struct bpf_ring){.fd = -1, .page_octets = (size_t)sysconf(_SC_PAGESIZE)};
    if (POSITIONS_UNKNOWN)
        return -EOPNOTSUPP;
    ring->octets = ring->page_octets;
    while ((uint64_t)ring->octets * 2 <= octets)
        ring->octets *= 2;
    int error = open_and_map(ring, make, context);
    if (error)
        bpf_ring_close(ring);
    return error;
}

void bpf_ring_close(struct bpf_ring *ring)
{
    if (ring->producer != NULL)
        munmap((void *)ring->producer, producer_octets(ring));
    if (ring->consumer != NULL)
        munmap(ring->consumer, ring->page_octets);
    if (ring->fd >= 0)
        close(ring->fd);
    *ring = (struct bpf_ring){.fd = -1};
}

void bpf_ring_give_back(struct bpf_ring *ring)
{
    /* Pairs with the acquire of the consumer's position in __bpf_ringbuf_reserve(), kernel/bpf/ringbuf.c. */
    atomic_store_explicit(ring->consumer, ring->at, memory_order_release);
}

uint64_t bpf_ring_look(struct bpf_ring *ring)
{
    /* Pairs with the release of the producer's position in __bpf_ringbuf_reserve(): the headers up to there
     * are in place. */
    uint32_t end = atomic_load_explicit(&ring->producer[LOW_HALF], memory_order_acquire);
    ring->end = ring->at + (uint32_t)(end - (uint32_t)ring->at);
    return ring->end - ring->at;
}

static const uint8_t *record_at(const struct bpf_ring *ring, uint64_t position)
{
    return ring->records + ((size_t)position & (ring->octets - 1));
}

/* What is read next but a few is still in the cache of the CPU that made it. */
static void prefetch(const struct bpf_ring *ring)
{
    const uint8_t *ahead = record_at(ring, ring->at + AHEAD_OCTETS);
    for (int i = 0; i < PREFETCH_OCTETS; i += LINE_OCTETS)
        __builtin_prefetch(ahead + i);
}

unsigned bpf_ring_take(struct bpf_ring *ring, struct rx_message *to, unsigned limit)
{
    unsigned count = 0;
    ring->is_pending = false;
    while (count < limit && ring->at != ring->end) {
        const uint8_t *record = record_at(ring, ring->at);
        /* Pairs with the exchange in bpf_ringbuf_commit(): the message is whole. */
        uint32_t header =
            atomic_load_explicit((const _Atomic uint32_t *)(const void *)record, memory_order_acquire);
        if (header & BPF_RINGBUF_BUSY_BIT) {
            ring->is_pending = true;
            break;
        }
        uint32_t octets = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
        prefetch(ring);
        if (!(header & BPF_RINGBUF_DISCARD_BIT))
            to[count++] = (struct rx_message){.data = record + BPF_RINGBUF_HDR_SZ, .octets = octets};
        ring->at += (BPF_RINGBUF_HDR_SZ + octets + 7) & ~7U;
    }
    return count;
}
