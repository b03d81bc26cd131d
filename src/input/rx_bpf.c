/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A socket filter copies each message into a BPF ring buffer that we have mapped (bpf_filter.h); receiving is
 * reading memory. What the ring has no room for waits in the socket as ever, so that all that the kernel does
 * for a full socket, reliable delivery above all, holds here as well.
 *
 * Measured, ns of CPU an event, with events made on one CPU and read on the other: this 54, recvmmsg 690; and
 * making the events took 2,200 instead of 2,700, because no socket buffer is queued and none is freed on the
 * other CPU.
 *
 * The layout of the mapping is that of linux/bpf.h and kernel/bpf/ringbuf.c: one page with the consumer's
 * position, one with the producer's, and the records, mapped twice so that none is broken at the end.
 * Positions only grow. A record's header says how long it is, whether it is still being written, and whether
 * it was given up.
 *
 * A position is an unsigned long of the kernel's: 64 bits on a 64-bit kernel, though this program may
 * have 32. Since the producer is never further ahead than the ring is long, the low 32 bits of its position
 * tell all of it. The consumer's is written in full; where that takes two stores the kernel may see half of
 * it, which is so far from the producer's that the ring is full for once, and the message waits in the
 * socket. A 32-bit kernel reads the low half only; on a big-endian machine a 32-bit program does not know
 * where that is.
 */
#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/input/bpf_filter.h"
#include "ctflow9/input/rx.h"

enum {
    RING_OCTETS_MAX = 4 << 20, /* 16,000 events: 5 ms of three million a second */
    RING_OCTETS_MIN = 1 << 14, /* 64 events; what finds no room waits in the socket */
    RING_STEP = 4,
    RECORD_OCTETS_MAX = BPF_RINGBUF_HDR_SZ + BPF_FILTER_OCTETS_MAX,
    AHEAD_OCTETS = 2048,
    PREFETCH_OCTETS = 256,
    LINE_OCTETS = 64,
    POSITIONS_UNKNOWN = BYTE_ORDER == BIG_ENDIAN && sizeof(long) < sizeof(uint64_t),
    LOW_HALF = BYTE_ORDER == BIG_ENDIAN /* of a position, as 32-bit words */
};

struct bpf_rx {
    struct rx rx;
    struct rx *socket; /* receives what found no room in the ring */
    size_t octets;     /* of the ring, a power of two */
    size_t page_octets;
    _Atomic uint64_t *consumer;       /* its page is mapped for writing, */
    const _Atomic uint32_t *producer; /* this one and the records behind it for reading */
    const uint8_t *records;
    uint64_t at;   /* read up to here */
    uint64_t end;  /* the kernel was seen to have come to here */
    bool was_full; /* so that the socket may have got something that is not read yet */
    int failure;   /* the socket's -errno, not yet told; 0 = none */
    struct rx_message messages[RX_BATCH];
};

/* As much as the socket may hold, within limits. */
static int choose_size(struct bpf_rx *own)
{
    int rcvbuf;
    socklen_t size = sizeof(rcvbuf);
    if (getsockopt(own->rx.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, &size) != 0)
        return -errno;
    own->page_octets = (size_t)sysconf(_SC_PAGESIZE);
    own->octets = own->page_octets;
    while (own->octets < RING_OCTETS_MAX && own->octets * 2 <= (size_t)rcvbuf / 2)
        own->octets *= 2;
    return 0;
}

static void *map(const struct bpf_rx *own, size_t octets, int protection, size_t offset)
{
    void *mapped = mmap(NULL, octets, protection, MAP_SHARED, own->rx.ring_fd, (off_t)offset);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static size_t producer_octets(const struct bpf_rx *own)
{
    return own->page_octets + 2 * own->octets;
}

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
static int create_ring(struct bpf_rx *own)
{
    const size_t wanted = own->octets;
    int fd = bpf_filter_create_ring((uint32_t)own->octets);
    if (fd == -EPERM && raise_locked_memory())
        fd = bpf_filter_create_ring((uint32_t)own->octets);
    while ((fd == -ENOMEM || fd == -EPERM) && own->octets / RING_STEP >= own->page_octets &&
           own->octets / RING_STEP >= RING_OCTETS_MIN) {
        own->octets /= RING_STEP;
        fd = bpf_filter_create_ring((uint32_t)own->octets);
    }
    if (fd >= 0 && own->octets < wanted)
        log_info("the BPF ring buffer has %zu octets instead of %zu: a limit on memory allows no more",
                 own->octets, wanted);
    return fd;
}

static int map_ring(struct bpf_rx *own)
{
    own->rx.ring_fd = create_ring(own);
    if (own->rx.ring_fd < 0)
        return own->rx.ring_fd;
    own->consumer = map(own, own->page_octets, PROT_READ | PROT_WRITE, 0);
    if (own->consumer == NULL)
        return -errno;
    own->producer = map(own, producer_octets(own), PROT_READ, own->page_octets);
    if (own->producer == NULL)
        return -errno;
    own->records = (const uint8_t *)own->producer + own->page_octets;
    return 0;
}

static void bpf_close(struct rx *rx)
{
    struct bpf_rx *own = (void *)rx;
    rx_close(own->socket);
    if (own->producer != NULL)
        munmap((void *)own->producer, producer_octets(own));
    if (own->consumer != NULL)
        munmap(own->consumer, own->page_octets);
    if (own->rx.ring_fd >= 0)
        close(own->rx.ring_fd);
    free(own);
}

static int bpf_open(struct rx **rx, int fd, const struct netlink_filter *filter)
{
    const struct netlink_filter everything = {0};
    if (POSITIONS_UNKNOWN)
        return -EOPNOTSUPP;
    struct bpf_rx *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return -ENOMEM;
    opened->rx = (struct rx){.backend = &rx_bpf, .fd = fd, .ring_fd = -1};
    int error = choose_size(opened);
    if (!error)
        error = map_ring(opened);
    if (!error)
        error = rx_recvmmsg.open(&opened->socket, fd, NULL);
    int source = BPF_FILTER_NO_SOURCE;
    if (!error)
        error = bpf_filter_find_source(&source);
    opened->rx.tells_programs = source != BPF_FILTER_NO_SOURCE;
    if (!error)
        error = bpf_filter_attach(fd, opened->rx.ring_fd, filter ? filter : &everything, source);
    if (error) {
        bpf_close(&opened->rx);
        return error;
    }
    *rx = &opened->rx;
    return 0;
}

/* Lets the kernel write over what was read. */
static void give_back(struct bpf_rx *own)
{
    /* Pairs with the acquire of the consumer's position in __bpf_ringbuf_reserve(), kernel/bpf/ringbuf.c. */
    atomic_store_explicit(own->consumer, own->at, memory_order_release);
}

static const uint8_t *record_at(const struct bpf_rx *own, uint64_t position)
{
    return own->records + ((size_t)position & (own->octets - 1));
}

/* What is read next but a few is still in the cache of the CPU that made it. */
static void prefetch(const struct bpf_rx *own)
{
    const uint8_t *ahead = record_at(own, own->at + AHEAD_OCTETS);
    for (int i = 0; i < PREFETCH_OCTETS; i += LINE_OCTETS)
        __builtin_prefetch(ahead + i);
}

/* How far the kernel has come. Since nobody but us makes room, a ring that was full is still nearly so. */
static void look(struct bpf_rx *own)
{
    /* Pairs with the release of the producer's position in __bpf_ringbuf_reserve(): the headers up to there
     * are in place. */
    uint32_t end = atomic_load_explicit(&own->producer[LOW_HALF], memory_order_acquire);
    own->end = own->at + (uint32_t)(end - (uint32_t)own->at);
    own->was_full |= own->end - own->at > own->octets - RECORD_OCTETS_MAX;
}

static unsigned take_from_ring(struct bpf_rx *own, struct rx_message *to, unsigned limit)
{
    unsigned count = 0;
    own->rx.is_pending = false;
    while (count < limit && own->at != own->end) {
        const uint8_t *record = record_at(own, own->at);
        /* Pairs with the exchange in bpf_ringbuf_commit(): the message is whole. */
        uint32_t header =
            atomic_load_explicit((const _Atomic uint32_t *)(const void *)record, memory_order_acquire);
        if (header & BPF_RINGBUF_BUSY_BIT) {
            own->rx.is_pending = true;
            break;
        }
        uint32_t octets = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
        const struct nlmsghdr *message = (const void *)(record + BPF_RINGBUF_HDR_SZ);
        prefetch(own);
        if (!(header & BPF_RINGBUF_DISCARD_BIT))
            to[count++] = (struct rx_message){.data = message, .octets = message->nlmsg_len};
        own->at += (BPF_RINGBUF_HDR_SZ + octets + 7) & ~7U;
    }
    return count;
}

static unsigned take_from_socket(struct bpf_rx *own, struct rx_message *to, unsigned limit)
{
    const struct rx_message *messages;
    int count = own->failure == 0 ? rx_receive(own->socket, limit, &messages) : 0;
    if (count < 0)
        own->failure = count;
    if (count <= 0)
        return 0;
    memcpy(to, messages, (size_t)count * sizeof(*to));
    return (unsigned)count;
}

/*
 * The ring is looked at first, and the socket read once: what a second time brought would lie in the same
 * buffers. Neither has to wait until the other is empty.
 */
static int bpf_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    struct bpf_rx *own = (void *)rx;
    give_back(own);
    look(own);
    unsigned count = take_from_ring(own, own->messages, own->was_full ? limit / 2 : limit);
    if (count < limit) {
        unsigned from_socket = take_from_socket(own, own->messages + count, limit - count);
        own->was_full = from_socket == limit - count;
        count += from_socket;
        count += take_from_ring(own, own->messages + count, limit - count);
    }
    if (count == 0 && own->failure != 0) {
        int failure = own->failure;
        own->failure = 0;
        return failure;
    }
    *messages = own->messages;
    return (int)count;
}

static const char *bpf_reason(int error)
{
    switch (error) {
    case -ENOSYS:
        return "this kernel has no BPF, or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        return "it needs CAP_BPF outside any container, or a seccomp filter refuses it; before Linux 5.11 "
               "also locked memory (ulimit -l, systemd's LimitMEMLOCK=)";
    case -EINVAL:
        return "this kernel's BPF is too old, it needs Linux 5.8";
    case -EOPNOTSUPP:
        return "a big-endian program of 32 bits cannot know where a kernel of 64 bits writes";
    default:
        return rx_lack(error);
    }
}

const struct rx_backend rx_bpf = {
    .reason = bpf_reason, .open = bpf_open, .close = bpf_close, .receive = bpf_receive};
