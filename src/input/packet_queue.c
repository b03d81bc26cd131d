/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/packet_queue.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/base/thread.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/flow_cache.h"
#include "ctflow9/flow/flow_ring.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/packet_binding.h"
#include "ctflow9/input/packet_message.h"

/* Each message is a datagram of its own. */
enum {
    COPY_OCTETS = 128, /* of each packet: its headers */
    DATAGRAM_OCTETS = 2048,
    DATAGRAMS = FLOW_CACHE_BATCH,
    VERDICT_OCTETS = 64,
    RING_FLOWS = 8192,
    /* Less than any message takes of the receive buffer, of which the kernel doubles what it is given: so
     * that is full first, which shows in the numbers of the packets. A queue that is full shows nowhere. */
    CHARGE_OCTETS = 512,
    TYPE_PACKET = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET,
    TYPE_CONFIG = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG,
    TYPE_VERDICTS = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH
};

#define RETRY_NS NS_PER_S
/* After what should have worked did not. */
#define FAILURE_NS NS_PER_MS

struct packet_queue {
    struct packet_queue_config config;
    pthread_t thread;
    bool is_started;
    _Atomic bool stopping;  /* by who stops it */
    _Atomic bool abandoned; /* nobody takes flows any more */
    _Atomic bool is_awake;  /* the worker knows of flows in the ring */
    _Atomic bool over;
    struct flow_ring *ring;
    struct stats counted; /* the worker's: what it knows of stats */

    /* The thread's, from its start on. */
    struct stats stats;
    int fd, wake_fd;
    int state_fd; /* what the kernel shows of all queues; -1 = nothing */
    uint32_t length;
    bool is_bound;
    uint32_t next_number;
    struct wall_clock clock;
    struct flow_cache *cache;
    bool has_put;      /* flows into the ring, of which the worker does not know */
    uint64_t due_ns;   /* monotonic: the next look at the cache */
    uint64_t retry_ns; /* monotonic: the next try to bind, or to send a verdict */
    struct tell_once unseen, unaccounted, failures;
    int failure;

    struct mmsghdr headers[DATAGRAMS];
    struct iovec vectors[DATAGRAMS];
    struct packet_message read[DATAGRAMS];
    struct flow_packet packets[DATAGRAMS];
    unsigned verdicts_octets; /* not yet sent */
    _Alignas(struct nlmsghdr) char verdicts[DATAGRAMS * VERDICT_OCTETS];
    _Alignas(struct nlmsghdr) uint8_t datagrams[DATAGRAMS][DATAGRAM_OCTETS];
};

static const struct packet_binding binding = {
    .what = "NFQUEUE queue", .config_type = TYPE_CONFIG, .probe = NFQA_CFG_QUEUE_MAXLEN};

static const uint8_t parts[PACKET_PARTS] = {
    [NFQA_PACKET_HDR] = PACKET_PART_QUEUE_HEADER,
    [NFQA_MARK] = PACKET_PART_MARK,
    [NFQA_IFINDEX_INDEV] = PACKET_PART_IN,
    [NFQA_IFINDEX_OUTDEV] = PACKET_PART_OUT,
    [NFQA_IFINDEX_PHYSINDEV] = PACKET_PART_PORT_IN,
    [NFQA_IFINDEX_PHYSOUTDEV] = PACKET_PART_PORT_OUT,
    [NFQA_HWADDR] = PACKET_PART_SENDER,
    [NFQA_CAP_LEN] = PACKET_PART_LENGTH,
    [NFQA_VLAN] = PACKET_PART_VLAN,
    [NFQA_L2HDR] = PACKET_PART_ETHERNET,
    [NFQA_PAYLOAD] = PACKET_PART_PAYLOAD,
};

static void failed(struct packet_queue *queue, int error)
{
    queue->failure = error;
    tell_once_count(&queue->failures, 1);
}

/* ---- the kernel's queue ---- */

static void put_command(struct nlmsghdr *message, uint8_t command)
{
    const struct nfqnl_msg_config_cmd config = {.command = command};
    mnl_attr_put(message, NFQA_CFG_CMD, sizeof(config), &config);
}

static int ask_to_bind(const struct packet_queue *queue)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    const uint32_t flags = NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO;
    struct nlmsghdr *message = packet_binding_put(&binding, buffer, queue->config.number);
    const struct nfqnl_msg_config_params params = {.copy_range = htobe32(COPY_OCTETS),
                                                   .copy_mode = NFQNL_COPY_PACKET};
    put_command(message, NFQNL_CFG_CMD_BIND);
    mnl_attr_put(message, NFQA_CFG_PARAMS, sizeof(params), &params);
    mnl_attr_put_u32(message, NFQA_CFG_MASK, htobe32(flags));
    mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htobe32(flags));
    return netlink_socket_request(queue->fd, message, NULL, NULL);
}

/* How many packets may wait. With 0 all of them pass without being queued. */
static void set_length(struct packet_queue *queue, uint32_t packets)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    struct nlmsghdr *message = packet_binding_put(&binding, buffer, queue->config.number);
    mnl_attr_put_u32(message, NFQA_CFG_QUEUE_MAXLEN, htobe32(packets));
    int error = packet_binding_send(queue->fd, message);
    if (error)
        failed(queue, error);
}

/* 0 when it is bound or another program has it, to be tried again. */
static int bind_queue(struct packet_queue *queue, bool is_first)
{
    int error = packet_binding_outcome(&binding, queue->config.number, ask_to_bind(queue), is_first);
    if (error)
        return error == -EBUSY ? 0 : error;
    queue->is_bound = true;
    queue->next_number = 1;
    return 0;
}

static void unbind_queue(struct packet_queue *queue)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    struct nlmsghdr *message = packet_binding_put(&binding, buffer, queue->config.number);
    put_command(message, NFQNL_CFG_CMD_UNBIND);
    int error = packet_binding_send(queue->fd, message);
    if (error) {
        errno = -error;
        log_warn("cannot unbind NFQUEUE queue %u", queue->config.number);
    }
    queue->is_bound = false;
}

/* ---- opening ---- */

/* A flow_sink: into the ring, in which there is room. */
static void to_ring(void *context, const struct flow *flow)
{
    struct packet_queue *queue = context;
    const struct flow_note note = {.flow = *flow, .kind = FLOW_NOTE_FLOW};
    flow_ring_put(queue->ring, &note);
    queue->has_put = true;
}

static int open_socket(struct packet_queue *queue)
{
    uint64_t octets = queue->config.rcvbuf_octets;
    queue->fd = netlink_socket_open();
    if (queue->fd < 0)
        return queue->fd;
    int64_t granted = netlink_socket_set_rcvbuf(
        queue->fd, octets < PACKET_QUEUE_RCVBUF_MAX ? octets : PACKET_QUEUE_RCVBUF_MAX);
    if (granted < 0)
        return (int)granted;
    queue->length = (uint32_t)(2 * granted / CHARGE_OCTETS);
    int error = netlink_socket_set_reliable(queue->fd, false);
    return error ? error : netlink_socket_connect(queue->fd);
}

static int open_parts(struct packet_queue *queue)
{
    const struct packet_queue_config *config = &queue->config;
    const struct flow_cache_config cache = {.capacity = config->flow_cache,
                                            .inactive_timeout_ns = config->inactive_timeout_ns,
                                            .active_timeout_ns = config->active_timeout_ns,
                                            .stats = &queue->stats,
                                            .clock = &queue->clock};
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        queue->vectors[i] = (struct iovec){.iov_base = queue->datagrams[i], .iov_len = DATAGRAM_OCTETS};
        queue->headers[i].msg_hdr = (struct msghdr){.msg_iov = &queue->vectors[i], .msg_iovlen = 1};
    }
    wall_clock_start(&queue->clock);
    queue->state_fd = open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC);
    queue->wake_fd = wake_open();
    int error = queue->wake_fd < 0 ? queue->wake_fd : flow_ring_open(&queue->ring, RING_FLOWS);
    if (!error)
        error = flow_cache_open(&queue->cache, &cache, to_ring, queue);
    return error ? error : open_socket(queue);
}

int packet_queue_open(struct packet_queue **queue, const struct packet_queue_config *config)
{
    struct packet_queue *opened = memory_allocate(sizeof(*opened), 0, 0);
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->fd = opened->wake_fd = opened->state_fd = -1;
    opened->due_ns = POLL_SET_NEVER;
    atomic_init(&opened->over, true);
    int error = open_parts(opened);
    if (error)
        log_cannot(error, "set up the reading of NFQUEUE (--flow-cache tells how much memory is taken)");
    else
        error = bind_queue(opened, true);
    if (error) {
        packet_queue_close(opened);
        return error;
    }
    if (opened->is_bound)
        set_length(opened, 0);
    *queue = opened;
    return 0;
}

void packet_queue_close(struct packet_queue *queue)
{
    if (!queue)
        return;
    if (queue->is_started) {
        atomic_store_explicit(&queue->abandoned, true, memory_order_relaxed);
        packet_queue_stop(queue);
        pthread_join(queue->thread, NULL);
    }
    int fds[] = {queue->fd, queue->wake_fd, queue->state_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    flow_cache_close(queue->cache);
    flow_ring_close(queue->ring);
    free(queue);
}

/* ---- verdicts ---- */

/* The one that the packet is to have. */
static uint32_t mark_of(const struct packet_queue *queue, const struct packet_message *read)
{
    const struct netlink_mark *mark = &queue->config.mark;
    return mark->given ? (read->mark & ~mark->mask) | mark->value : 0;
}

/* For this packet, and for all before it that have none. */
static void put_verdict(struct packet_queue *queue, uint32_t number, uint32_t mark)
{
    struct nlmsghdr *message =
        packet_binding_put(&binding, queue->verdicts + queue->verdicts_octets, queue->config.number);
    const struct nfqnl_msg_verdict_hdr header = {
        .verdict = htobe32(queue->config.repeats ? NF_REPEAT : NF_ACCEPT), .id = htobe32(number)};
    message->nlmsg_type = TYPE_VERDICTS;
    message->nlmsg_flags = NLM_F_REQUEST;
    mnl_attr_put(message, NFQA_VERDICT_HDR, sizeof(header), &header);
    if (queue->config.mark.given)
        mnl_attr_put_u32(message, NFQA_MARK, htobe32(mark));
    queue->verdicts_octets += message->nlmsg_len;
}

/* All of them in one call, in which the packets go the rest of their way. */
static void send_verdicts(struct packet_queue *queue)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent = sendto(queue->fd, queue->verdicts, queue->verdicts_octets, 0,
                          (const struct sockaddr *)&kernel, sizeof(kernel));
    if (sent < 0)
        failed(queue, -errno);
    else
        queue->verdicts_octets = 0;
}

/* One for each run of packets with the same mark. */
static void give_verdicts(struct packet_queue *queue, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t mark = mark_of(queue, &queue->read[i]);
        if (i + 1 == count || mark_of(queue, &queue->read[i + 1]) != mark)
            put_verdict(queue, queue->read[i].number, mark);
    }
    if (queue->verdicts_octets > 0)
        send_verdicts(queue);
}

/* ---- packets ---- */

static void count_unseen(struct packet_queue *queue, uint32_t next)
{
    uint32_t unseen = next - queue->next_number;
    queue->next_number = next;
    if (unseen == 0)
        return;
    stats_count(&queue->stats.packets_lost, unseen);
    tell_once_count(&queue->unseen, unseen);
}

/* Returns how many packets. */
static unsigned receive(struct packet_queue *queue)
{
    unsigned count = 0;
    int received = recvmmsg(queue->fd, queue->headers, DATAGRAMS, MSG_DONTWAIT, NULL);
    if (received < 0 && errno != EAGAIN && errno != EINTR)
        failed(queue, -errno);
    for (int i = 0; i < received; i++) {
        const struct nlmsghdr *message = (const void *)queue->datagrams[i];
        if (queue->headers[i].msg_hdr.msg_flags & MSG_TRUNC)
            stats_count(&queue->stats.truncated, 1);
        if (mnl_nlmsg_ok(message, (int)queue->headers[i].msg_len) && message->nlmsg_type == TYPE_PACKET &&
            packet_message_read(&queue->read[count], &queue->packets[count], message, parts) &&
            queue->read[count].has_number)
            count++;
    }
    return count;
}

static bool is_set(const _Atomic bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

/* Tells the worker of flows, if it does not know already. */
static void hand_on(struct packet_queue *queue)
{
    if (!queue->has_put)
        return;
    queue->has_put = false;
    /* Pairs with the exchange in packet_queue_take(): what was put is seen there, or this one is. */
    if (!atomic_exchange_explicit(&queue->is_awake, true, memory_order_acq_rel))
        wake(queue->config.wake_fd);
}

/* How many flows the ring has room for; at the end it is waited for, until nobody takes any. */
static size_t room_of(struct packet_queue *queue, size_t wanted)
{
    const struct timespec moment = {.tv_nsec = NS_PER_MS};
    size_t room = flow_ring_room(queue->ring);
    while (room < wanted && is_set(&queue->stopping) && !is_set(&queue->abandoned)) {
        hand_on(queue);
        nanosleep(&moment, NULL);
        room = flow_ring_room(queue->ring);
    }
    return room;
}

/* Each packet may end a flow. */
static void account(struct packet_queue *queue, unsigned count)
{
    bool has_room = room_of(queue, count) >= count;
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        count_unseen(queue, queue->read[i].number);
        queue->next_number++;
        if (has_room && packet_message_decode(&queue->read[i], &queue->packets[i], &queue->stats))
            queue->packets[kept++] = queue->packets[i];
    }
    stats_count(has_room ? &queue->stats.packets : &queue->stats.packets_lost, count);
    if (!has_room)
        tell_once_count(&queue->unaccounted, count);
    flow_cache_add(queue->cache, queue->packets, kept);
}

/* Returns whether there may be more. */
static bool take_packets(struct packet_queue *queue)
{
    if (queue->verdicts_octets > 0)
        send_verdicts(queue);
    if (queue->verdicts_octets > 0)
        return false;
    unsigned count = receive(queue);
    if (count == 0)
        return false;
    give_verdicts(queue, count);
    wall_clock_watch(&queue->clock);
    account(queue, count);
    return true;
}

/* ---- the thread ---- */

/* The cache's time goes by the boot clock, the wait by the monotonic one. */
static void run_cache(struct packet_queue *queue, uint64_t now_ns)
{
    enum { ENDS = 1024 };

    size_t room = flow_ring_room(queue->ring);
    wall_clock_watch(&queue->clock);
    bool more = flow_cache_run(queue->cache, room < ENDS ? (unsigned)room : ENDS);
    uint64_t due_ns = flow_cache_due_ns(queue->cache);
    uint64_t boot_ns = queue->clock.boot_ns;
    queue->due_ns =
        due_ns == UINT64_MAX ? POLL_SET_NEVER : now_ns + (due_ns > boot_ns ? due_ns - boot_ns : 0);
    if (more)
        queue->due_ns = now_ns + NS_PER_MS;
}

static void tell_troubles(struct packet_queue *queue, uint64_t now_ns)
{
    unsigned number = queue->config.number;
    uint64_t unseen = tell_once_due(&queue->unseen, now_ns);
    if (unseen > 0)
        log_warnx("%" PRIu64 " packets passed NFQUEUE queue %u without being counted, they came faster than "
                  "they were read; raise --rcvbuf, or queue fewer",
                  unseen, number);
    uint64_t unaccounted = tell_once_due(&queue->unaccounted, now_ns);
    if (unaccounted > 0)
        log_warnx("%" PRIu64
                  " packets of NFQUEUE queue %u were not counted, their flows end faster than they "
                  "are exported; raise --flow-cache or --workers, or queue fewer",
                  unaccounted, number);
    uint64_t failures = tell_once_due(&queue->failures, now_ns);
    if (failures > 0) {
        errno = -queue->failure;
        log_warn("trouble with the socket of NFQUEUE queue %u, %" PRIu64 " times", number, failures);
    }
}

static void wait_for_packets(struct packet_queue *queue, uint64_t now_ns)
{
    struct poll_set set;
    poll_set_clear(&set);
    poll_set_add(&set, queue->fd, POLLIN);
    poll_set_add(&set, queue->wake_fd, POLLIN);
    poll_set_before(&set, queue->due_ns);
    if (!queue->is_bound)
        poll_set_before(&set, queue->retry_ns);
    if (queue->verdicts_octets > 0) {
        set.count = 0;
        poll_set_before(&set, now_ns + FAILURE_NS);
    }
    poll_set_wait(&set, now_ns);
    wake_take(queue->wake_fd);
}

static void bind_again(struct packet_queue *queue, uint64_t now_ns)
{
    if (now_ns < queue->retry_ns)
        return;
    queue->retry_ns = now_ns + RETRY_NS;
    int error = bind_queue(queue, false);
    if (error)
        failed(queue, error);
    else if (queue->is_bound)
        set_length(queue, queue->length);
}

static void turn(struct packet_queue *queue)
{
    enum { BATCHES = 64 }; /* between two looks at the cache */

    bool more = true;
    for (unsigned i = 0; i < BATCHES && more; i++)
        more = take_packets(queue);
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    if (flow_cache_see_timeouts(queue->cache))
        queue->due_ns = 0;
    bool is_new = queue->due_ns == POLL_SET_NEVER && flow_cache_count(queue->cache) > 0;
    if (is_new || now_ns >= queue->due_ns)
        run_cache(queue, now_ns);
    hand_on(queue);
    if (!queue->is_bound)
        bind_again(queue, now_ns);
    tell_troubles(queue, now_ns);
    if (!more)
        wait_for_packets(queue, now_ns);
}

/* How many packets the kernel has numbered; 0 when it does not say. */
static uint32_t ask_numbered(const struct packet_queue *queue)
{
    char text[8192];
    ssize_t octets = queue->state_fd < 0 ? 0 : pread(queue->state_fd, text, sizeof(text) - 1, 0);
    text[octets > 0 ? octets : 0] = '\0';
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        unsigned number;
        uint32_t numbered;
        if (sscanf(line, "%u %*d %*u %*u %*u %*u %*u %" SCNu32, &number, &numbered) == 2 &&
            number == queue->config.number)
            return numbered;
    }
    return 0;
}

/* Lets pass what comes from now on, takes what waits, and counts what was lost behind that. */
static void leave(struct packet_queue *queue)
{
    enum { TRIES = 1000 };

    if (!queue->is_bound)
        return;
    const struct timespec moment = {.tv_nsec = FAILURE_NS};
    set_length(queue, 0);
    while (take_packets(queue))
        hand_on(queue);
    for (unsigned i = 0; i < TRIES && queue->verdicts_octets > 0; i++) {
        nanosleep(&moment, NULL);
        while (take_packets(queue))
            hand_on(queue);
    }
    uint32_t numbered = ask_numbered(queue);
    if (numbered != 0)
        count_unseen(queue, numbered + 1);
    unbind_queue(queue);
}

static void *run(void *context)
{
    struct packet_queue *queue = context;
    while (!is_set(&queue->stopping))
        turn(queue);
    leave(queue);
    tell_troubles(queue, UINT64_MAX);
    for (size_t room = room_of(queue, 1); room > 0 && flow_cache_finish(queue->cache, (unsigned)room);
         room = room_of(queue, 1))
        hand_on(queue);
    /* Pairs with the acquire in packet_queue_is_over(): all flows are in the ring. */
    atomic_store_explicit(&queue->over, true, memory_order_release);
    wake(queue->config.wake_fd);
    return NULL;
}

int packet_queue_start(struct packet_queue *queue)
{
    char name[16];
    snprintf(name, sizeof(name), "nfqueue %u", queue->config.number);
    atomic_store_explicit(&queue->over, false, memory_order_relaxed);
    if (queue->is_bound)
        set_length(queue, queue->length);
    int error = thread_start(&queue->thread, run, queue);
    queue->is_started = error == 0;
    if (error)
        atomic_store_explicit(&queue->over, true, memory_order_relaxed);
    else
        pthread_setname_np(queue->thread, name);
    return error;
}

void packet_queue_stop(struct packet_queue *queue)
{
    atomic_store_explicit(&queue->stopping, true, memory_order_relaxed);
    wake(queue->wake_fd);
}

void packet_queue_set_timeouts(struct packet_queue *queue, uint64_t inactive_timeout_ns,
                               uint64_t active_timeout_ns)
{
    flow_cache_set_timeouts(queue->cache, inactive_timeout_ns, active_timeout_ns);
    wake(queue->wake_fd);
}

/* ---- the worker ---- */

unsigned packet_queue_take(struct packet_queue *queue, unsigned limit, flow_sink *sink, void *context)
{
    unsigned taken = 0;
    const struct flow_note *note;
    /* Pairs with the exchange in hand_on(). */
    atomic_exchange_explicit(&queue->is_awake, false, memory_order_acq_rel);
    for (; taken < limit && (note = flow_ring_peek(queue->ring)) != NULL; taken++) {
        sink(context, &note->flow);
        flow_ring_take(queue->ring);
    }
    return taken;
}

bool packet_queue_is_over(const struct packet_queue *queue)
{
    /* Pairs with the release in run(). */
    return atomic_load_explicit(&queue->over, memory_order_acquire) && flow_ring_waiting(queue->ring) == 0;
}

void packet_queue_count(struct packet_queue *queue, struct stats *stats)
{
    stats_add_since(stats, &queue->stats, &queue->counted);
}
