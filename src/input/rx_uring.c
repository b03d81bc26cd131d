/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One receive of io_uring's goes on for ever: each datagram takes the next buffer from a ring that the kernel
 * has mapped, and leaves a completion in another ring that we have mapped. No system call per message; one
 * per rx_receive() that finds something.
 *
 * The kernel does the receiving only inside our call (IORING_SETUP_DEFER_TASKRUN), so that nothing disturbs
 * us between two drains, and until then the socket stays readable: it can be waited for. Measured, CPU of a
 * reader that drains every millisecond, ns an event: this 525, recvmmsg 589, IORING_SETUP_COOP_TASKRUN 980 to
 * 1,250, neither 1,250. More buffers than a batch (256, 512) and a registered socket gain nothing.
 *
 * It is recv that goes on where the socket's filter tells what programs sent, else recvmsg, which puts the
 * source in front of each message.
 *
 * When every buffer is taken the receive ends with ENOBUFS, before it touches the socket: nothing is lost,
 * and the receive begins again with the buffers of the batch that was decoded.
 *
 * IORING_SETUP_DEFER_TASKRUN needs Linux 6.1. liburing 2.3 as a shared library lacks io_uring_enable_rings()
 * and io_uring_register_restrictions(): io_uring_register() does both.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "ctflow9/input/bpf_filter.h"
#include "ctflow9/input/rx.h"

enum {
    BUFFERS = RX_BATCH,        /* a power of two */
    COMPLETIONS = 2 * BUFFERS, /* never overflows: one for each buffer, and one for the receive's end */
    FREE_OCTETS = BUFFERS * sizeof(struct io_uring_buf)
};

/* A datagram, as recvmsg writes it; recv writes the message alone. */
struct buffer {
    struct io_uring_recvmsg_out told;
    struct sockaddr_nl source;
    uint8_t message[RX_MESSAGE_OCTETS];
};
_Static_assert(offsetof(struct buffer, message) ==
                       sizeof(struct io_uring_recvmsg_out) + sizeof(struct sockaddr_nl) &&
                   offsetof(struct buffer, message) % _Alignof(struct nlmsghdr) == 0,
               "the kernel leaves no gaps");

struct uring_rx {
    struct rx rx;
    bool filter_tells; /* which messages programs sent, so that their sources are not asked for */
    struct io_uring ring;
    struct io_uring_buf_ring *free; /* the buffers that the kernel may fill; mapped by both */
    bool enabled;                   /* by the thread that receives: the ring then obeys no other */
    bool armed;                     /* the receive goes on */
    int failure;                    /* the receive's -errno, not yet told; 0 = none */
    unsigned count;                 /* messages of the present batch */
    uint16_t taken[RX_BATCH];       /* their buffers */
    struct rx_message messages[RX_BATCH];
    struct msghdr header; /* what the receive asks for */
    struct buffer buffers[BUFFERS];
};

static void give(struct uring_rx *own, uint16_t taken, int place)
{
    struct buffer *buffer = &own->buffers[taken];
    void *start = own->filter_tells ? (void *)buffer->message : buffer;
    unsigned octets = own->filter_tells ? sizeof(buffer->message) : sizeof(*buffer);
    io_uring_buf_ring_add(own->free, start, octets, taken, io_uring_buf_ring_mask(BUFFERS), place);
}

/* The kernel gets the buffers of the last batch back. */
static void give_back(struct uring_rx *own)
{
    for (unsigned i = 0; i < own->count; i++)
        give(own, own->taken[i], (int)i);
    io_uring_buf_ring_advance(own->free, (int)own->count);
    own->count = 0;
}

static int map_buffers(struct uring_rx *own)
{
    void *mapped = mmap(NULL, FREE_OCTETS, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (mapped == MAP_FAILED)
        return -errno;
    own->free = mapped;
    struct io_uring_buf_reg buffers = {.ring_addr = (uintptr_t)mapped, .ring_entries = BUFFERS};
    int error = io_uring_register_buf_ring(&own->ring, &buffers, 0);
    if (error)
        return error;
    io_uring_buf_ring_init(own->free);
    for (uint16_t i = 0; i < BUFFERS; i++)
        own->taken[own->count++] = i;
    give_back(own);
    return 0;
}

/* From its enabling on the ring does nothing but what begin() and end() ask for. */
static int restrict_ring(struct uring_rx *own)
{
    const uint8_t receive = own->filter_tells ? IORING_OP_RECV : IORING_OP_RECVMSG;
    struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = receive},
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_BUFFER_SELECT},
        {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_SYNC_CANCEL},
    };
    return io_uring_register((unsigned)own->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
                             sizeof(allowed) / sizeof(allowed[0]));
}

/*
 * Closing the ring does this too, but 10 to 20 ms later, and until then the socket stays open and hears
 * events. Only the thread that the ring belongs to can hurry it.
 */
static void end(struct uring_rx *own)
{
    struct io_uring_sync_cancel_reg everything = {.flags = IORING_ASYNC_CANCEL_ANY,
                                                  .timeout = {.tv_sec = -1, .tv_nsec = -1}};
    if (io_uring_register_sync_cancel(&own->ring, &everything) > 0)
        io_uring_get_events(&own->ring);
}

static void uring_close(struct rx *rx)
{
    struct uring_rx *own = (struct uring_rx *)rx;
    if (own->armed)
        end(own);
    io_uring_queue_exit(&own->ring);
    if (own->free != NULL)
        munmap(own->free, FREE_OCTETS);
    free(own);
}

static int uring_open(struct rx **rx, int fd, const struct netlink_filter *filter)
{
    struct io_uring_params parameters = {.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
                                                  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                                                  IORING_SETUP_CQSIZE,
                                         .cq_entries = COMPLETIONS};
    struct uring_rx *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return -ENOMEM;
    opened->rx = (struct rx){.backend = &rx_uring, .fd = fd, .ring_fd = -1, .tells_programs = true};
    opened->header.msg_namelen = sizeof(opened->buffers[0].source);
    int error = rx_filter_socket(fd, filter, &opened->filter_tells);
    if (!error)
        error = io_uring_queue_init_params(1, &opened->ring, &parameters);
    if (error) {
        free(opened);
        return error;
    }
    error = map_buffers(opened);
    if (!error)
        error = restrict_ring(opened);
    if (error) {
        uring_close(&opened->rx);
        return error;
    }
    *rx = &opened->rx;
    return 0;
}

static void begin(struct uring_rx *own)
{
    struct io_uring_sqe *receive = io_uring_get_sqe(&own->ring);
    if (own->filter_tells)
        io_uring_prep_recv_multishot(receive, own->rx.fd, NULL, 0, MSG_TRUNC);
    else
        io_uring_prep_recvmsg_multishot(receive, own->rx.fd, &own->header, MSG_TRUNC);
    receive->flags |= IOSQE_BUFFER_SELECT;
    own->armed = true;
}

/* There is something that the kernel does only inside our call. */
static bool has_work(const struct uring_rx *own)
{
    unsigned flags = io_uring_smp_load_acquire(own->ring.sq.kflags);
    return !own->armed || io_uring_sq_ready(&own->ring) > 0 || (flags & IORING_SQ_TASKRUN) != 0;
}

/* Has the kernel receive. */
static int work(struct uring_rx *own)
{
    if (!own->enabled) {
        int error = io_uring_register((unsigned)own->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        if (error)
            return error;
        own->enabled = true;
    }
    if (!own->armed)
        begin(own);
    int submitted = io_uring_submit_and_get_events(&own->ring);
    return submitted < 0 ? submitted : 0;
}

static void take(struct uring_rx *own, const struct io_uring_cqe *completion)
{
    uint16_t taken = (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
    const struct buffer *buffer = &own->buffers[taken];
    /* The datagram's (MSG_TRUNC), in the buffer or not. */
    uint32_t octets = own->filter_tells ? (uint32_t)completion->res : buffer->told.payloadlen;
    own->messages[own->count] = (struct rx_message){
        .data = buffer->message,
        .octets = octets < RX_MESSAGE_OCTETS ? octets : RX_MESSAGE_OCTETS,
        .truncated = octets > RX_MESSAGE_OCTETS,
        .from_program = own->filter_tells ? octets == BPF_FILTER_CUT_OCTETS : buffer->source.nl_pid != 0};
    own->taken[own->count++] = taken;
}

/* Takes what the kernel has received, limit messages at most. */
static void reap(struct uring_rx *own, unsigned limit)
{
    struct io_uring_cqe *completion;
    unsigned head;
    unsigned reaped = 0;
    io_uring_for_each_cqe(&own->ring, head, completion)
    {
        if (own->count == limit)
            break;
        reaped++;
        own->armed = (completion->flags & IORING_CQE_F_MORE) != 0;
        if ((completion->flags & IORING_CQE_F_BUFFER) != 0)
            take(own, completion);
        else if (completion->res != -ENOBUFS)
            own->failure = completion->res;
    }
    io_uring_cq_advance(&own->ring, reaped);
}

static int uring_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    struct uring_rx *own = (struct uring_rx *)rx;
    give_back(own);
    reap(own, limit);
    bool moves = true;
    while (moves && own->count < limit && own->failure == 0 && has_work(own)) {
        unsigned before = own->count;
        int error = work(own);
        reap(own, limit);
        if (error)
            own->failure = error;
        else if (own->failure == 0 && !own->armed && own->count == before)
            own->failure = -ENOBUFS;                /* the socket's own, there were buffers */
        moves = own->count > before || !own->armed; /* Linux 7.3 may leave the flag set with nothing to do */
    }
    if (own->count == 0 && own->failure != 0) {
        int failure = own->failure;
        own->failure = 0;
        return failure;
    }
    *messages = own->messages;
    return (int)own->count;
}

/*
 * 0 when all that rx_uring.c needs is available. Receiving from no socket tells: only a ring that works comes
 * to the point of missing it.
 */
static int uring_probe(void)
{
    struct rx *rx;
    const struct rx_message *messages;
    int error = uring_open(&rx, -1, NULL);
    if (error)
        return error;
    error = rx_receive(rx, 1, &messages);
    rx_close(rx);
    return error == -EBADF ? 0 : error;
}

static const char *uring_reason(int error)
{
    switch (error) {
    case -ENOSYS:
        return "this kernel has no io_uring, or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        return "io_uring is switched off (sysctl kernel.io_uring_disabled) or refused by a seccomp filter";
    case -EINVAL:
        return "this kernel's io_uring is too old, it needs Linux 6.1";
    case -ENOMEM:
        return "the limit on memory or on locked memory is too low (ulimit -l, systemd's LimitMEMLOCK=)";
    default:
        return rx_lack(error);
    }
}

const struct rx_backend rx_uring = {.probe = uring_probe,
                                    .reason = uring_reason,
                                    .open = uring_open,
                                    .close = uring_close,
                                    .receive = uring_receive};
