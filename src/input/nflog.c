/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/nflog.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/flow/flow_cache.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/packet_binding.h"
#include "ctflow9/input/packet_message.h"

/*
 * The kernel collects packets until a datagram is full, and fills it beyond what it was told, up to what its
 * allocator has given: hence room for twice as much.
 */
enum {
    KERNEL_OCTETS = 16000,
    DATAGRAM_OCTETS = 2 * KERNEL_OCTETS,
    DATAGRAMS = 32,
    THRESHOLD = 1000, /* packets */
    TIMEOUT_10MS = 1, /* in hundredths of a second */
    TYPE_PACKET = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET,
    TYPE_CONFIG = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG
};

#define RETRY_NS NS_PER_S

struct group {
    uint16_t number;
    bool is_bound;
    uint32_t next_sequence;
};

/* What one worker has of it. */
struct part {
    struct source_worker worker;
    int fd; /* -1: it has no groups */
    struct flow_cache *cache;
    unsigned group_count, bound_count;
    struct group groups[NFLOG_GROUPS_MAX];

    /* What was received and not yet handed on. */
    unsigned datagram_count, datagram;
    const struct nlmsghdr *message; /* the next one in the datagram; NULL = at its beginning */
    int message_octets;             /* from there on */
    bool is_drained;
    struct mmsghdr headers[DATAGRAMS];
    struct iovec vectors[DATAGRAMS];
    uint8_t *buffers;

    struct flow_packet batch[FLOW_CACHE_BATCH];
    unsigned batch_count;

    uint64_t due_ns;   /* monotonic: the next look at the cache */
    uint64_t retry_ns; /* monotonic: the next try to bind */
    struct tell_once lost, failures;
    int failure;
};

struct nflog {
    struct source source;
    struct nflog_config config;
    unsigned workers;
    struct part part[];
};

static struct nflog *of(struct source *source)
{
    return (struct nflog *)(void *)source;
}

/* ---- groups ---- */

static const struct packet_binding binding = {
    .what = "NFLOG group", .config_type = TYPE_CONFIG, .probe = NFULA_CFG_QTHRESH};

static void put_command(struct nlmsghdr *message, uint8_t command)
{
    const struct nfulnl_msg_config_cmd config = {.command = command};
    mnl_attr_put(message, NFULA_CFG_CMD, sizeof(config), &config);
}

/* All in one message: there are no packets yet that are logged in another way. */
static struct nlmsghdr *put_bind(char *buffer, uint16_t group, uint32_t size_octets)
{
    struct nlmsghdr *message = packet_binding_put(&binding, buffer, group);
    const struct nfulnl_msg_config_mode mode = {.copy_range = htobe32(size_octets),
                                                .copy_mode = NFULNL_COPY_PACKET};
    put_command(message, NFULNL_CFG_CMD_BIND);
    mnl_attr_put(message, NFULA_CFG_MODE, sizeof(mode), &mode);
    mnl_attr_put_u32(message, NFULA_CFG_NLBUFSIZ, htobe32(KERNEL_OCTETS));
    mnl_attr_put_u32(message, NFULA_CFG_TIMEOUT, htobe32(TIMEOUT_10MS));
    mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htobe32(THRESHOLD));
    mnl_attr_put_u16(message, NFULA_CFG_FLAGS, htobe16(NFULNL_CFG_F_SEQ));
    return message;
}

static int see_outcome(struct part *part, struct group *group, int outcome, bool is_first)
{
    int error = packet_binding_outcome(&binding, group->number, outcome, is_first);
    group->is_bound = error == 0;
    part->bound_count += error == 0;
    return error;
}

/* When nothing is read yet. 0 too when another program holds some, which are tried again. */
static int bind_groups(struct part *part, uint32_t size_octets)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    int error = 0;
    for (unsigned i = 0; i < part->group_count && (!error || error == -EBUSY); i++) {
        struct group *group = &part->groups[i];
        struct nlmsghdr *message = put_bind(buffer, group->number, size_octets);
        error = see_outcome(part, group, netlink_socket_request(part->fd, message, NULL, NULL), true);
    }
    return error == -EBUSY ? 0 : error;
}

static void failed(struct part *part, int error)
{
    part->failure = error;
    tell_once_count(&part->failures, 1);
}

/* The answers come among the packets of other groups, see take_answer(): none of these is passed over. */
static void bind_groups_again(struct part *part, uint32_t size_octets)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    for (unsigned i = 0; i < part->group_count; i++) {
        struct group *group = &part->groups[i];
        if (group->is_bound)
            continue;
        struct nlmsghdr *message = put_bind(buffer, group->number, size_octets);
        message->nlmsg_flags = NLM_F_ACK;
        message->nlmsg_seq = i + 1;
        int error = packet_binding_send(part->fd, message);
        if (error)
            failed(part, error);
    }
}

/* EBUSY: it was bound, and the buffer had no room for the answer that said so. */
static void take_answer(struct part *part, const struct nlmsghdr *message)
{
    const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
    unsigned number = message->nlmsg_seq;
    if (number == 0 || number > part->group_count || part->groups[number - 1].is_bound ||
        mnl_nlmsg_get_payload_len(message) < sizeof(*answer))
        return;
    int error =
        see_outcome(part, &part->groups[number - 1], answer->error == -EBUSY ? 0 : answer->error, false);
    if (error && error != -EBUSY)
        failed(part, error);
}

/* The kernel sends what it has collected before the call returns; its answer is left to be drained. */
static void unbind_group(const struct part *part, struct group *group)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    struct nlmsghdr *message = packet_binding_put(&binding, buffer, group->number);
    put_command(message, NFULNL_CFG_CMD_UNBIND);
    int error = packet_binding_send(part->fd, message);
    if (error) {
        errno = -error;
        log_warn("cannot unbind NFLOG group %u", group->number);
    }
    group->is_bound = false;
}

/* ---- opening ---- */

static int open_socket(struct part *part, uint64_t rcvbuf_octets)
{
    part->fd = netlink_socket_open();
    if (part->fd < 0)
        return part->fd;
    int64_t granted = netlink_socket_set_rcvbuf(part->fd, rcvbuf_octets);
    if (granted < 0)
        return (int)granted;
    int error = netlink_socket_set_reliable(part->fd, false);
    return error ? error : netlink_socket_connect(part->fd);
}

static int open_buffers(struct part *part)
{
    part->buffers = memory_map(DATAGRAMS, DATAGRAM_OCTETS, MEMORY_WHEN_TOUCHED);
    if (!part->buffers)
        return -ENOMEM;
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        part->vectors[i] = (struct iovec){.iov_base = part->buffers + i * (size_t)DATAGRAM_OCTETS,
                                          .iov_len = DATAGRAM_OCTETS};
        part->headers[i].msg_hdr = (struct msghdr){.msg_iov = &part->vectors[i], .msg_iovlen = 1};
    }
    return 0;
}

static int open_part(struct nflog *nflog, unsigned index)
{
    const struct nflog_config *config = &nflog->config;
    struct part *part = &nflog->part[index];
    for (unsigned i = index; i < config->groups.count; i += nflog->workers)
        part->groups[part->group_count++].number = config->groups.group[i];
    if (part->group_count == 0)
        return 0;
    const struct flow_cache_config cache = {.capacity =
                                                (config->flow_cache + nflog->workers - 1) / nflog->workers,
                                            .inactive_timeout_ns = config->inactive_timeout_ns,
                                            .active_timeout_ns = config->active_timeout_ns,
                                            .stats = part->worker.stats,
                                            .clock = part->worker.clock};
    int error = flow_cache_open(&part->cache, &cache, part->worker.outlet.sink, part->worker.outlet.context);
    if (!error)
        error = open_buffers(part);
    if (!error)
        error = open_socket(part, config->rcvbuf_octets);
    if (error)
        log_cannot(error, "set up the reading of NFLOG (--flow-cache tells how much memory is taken)");
    return error ? error : bind_groups(part, config->size_octets);
}

static void nflog_close(struct source *source)
{
    struct nflog *nflog = of(source);
    for (unsigned i = 0; i < nflog->workers; i++) {
        struct part *part = &nflog->part[i];
        if (part->fd >= 0)
            close(part->fd);
        memory_unmap(part->buffers, DATAGRAMS, DATAGRAM_OCTETS);
        flow_cache_close(part->cache);
    }
    free(nflog);
}

static int nflog_open(struct source **source, const void *config, const struct source_worker *worker,
                      unsigned workers)
{
    struct nflog *opened = memory_allocate(sizeof(*opened), workers, sizeof(opened->part[0]));
    if (!opened)
        return -ENOMEM;
    opened->source.ops = &nflog_source;
    memcpy(&opened->config, config, sizeof(opened->config));
    opened->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        opened->part[i].worker = worker[i];
        opened->part[i].fd = -1;
        opened->part[i].is_drained = true;
        opened->part[i].due_ns = POLL_SET_NEVER;
    }
    int error = 0;
    for (unsigned i = 0; i < workers && !error; i++)
        error = open_part(opened, i);
    if (error) {
        nflog_close(&opened->source);
        return error;
    }
    *source = &opened->source;
    return 0;
}

/* ---- packets ---- */

static const uint8_t parts[PACKET_PARTS] = {
    [NFULA_PACKET_HDR] = PACKET_PART_LOG_HEADER,
    [NFULA_IFINDEX_INDEV] = PACKET_PART_IN,
    [NFULA_IFINDEX_OUTDEV] = PACKET_PART_OUT,
    [NFULA_IFINDEX_PHYSINDEV] = PACKET_PART_PORT_IN,
    [NFULA_IFINDEX_PHYSOUTDEV] = PACKET_PART_PORT_OUT,
    [NFULA_VLAN] = PACKET_PART_VLAN,
    [NFULA_HWTYPE] = PACKET_PART_LINK_TYPE,
    [NFULA_HWHEADER] = PACKET_PART_LINK_HEADER,
    [NFULA_SEQ] = PACKET_PART_NUMBER,
    [NFULA_PAYLOAD] = PACKET_PART_PAYLOAD,
};

static void see_sequence(struct part *part, uint16_t number, uint32_t sequence)
{
    for (unsigned i = 0; i < part->group_count; i++) {
        struct group *group = &part->groups[i];
        if (group->number != number)
            continue;
        uint32_t lost = sequence - group->next_sequence;
        group->next_sequence = sequence + 1;
        if (lost == 0)
            return;
        stats_count(&part->worker.stats->packets_lost, lost);
        tell_once_count(&part->lost, lost);
        return;
    }
}

static void take_message(struct part *part, const struct nlmsghdr *message)
{
    struct stats *stats = part->worker.stats;
    struct flow_packet *packet = &part->batch[part->batch_count];
    struct packet_message read;
    if (message->nlmsg_type == NLMSG_ERROR)
        take_answer(part, message);
    if (message->nlmsg_type != TYPE_PACKET || !packet_message_read(&read, packet, message, parts))
        return;
    stats_count(&stats->packets, 1);
    if (read.has_number)
        see_sequence(part, read.group, read.number);
    if (packet_message_decode(&read, packet, stats))
        part->batch_count++;
}

/* ---- draining ---- */

/* Returns whether there is something. */
static bool receive(struct part *part)
{
    int count = recvmmsg(part->fd, part->headers, DATAGRAMS, MSG_DONTWAIT, NULL);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        failed(part, -errno);
    part->datagram_count = count > 0 ? (unsigned)count : 0;
    part->datagram = 0;
    part->message = NULL;
    part->is_drained = count <= 0;
    wall_clock_watch(part->worker.clock);
    return count > 0;
}

static void begin_datagram(struct part *part)
{
    const struct mmsghdr *header = &part->headers[part->datagram];
    part->message = part->vectors[part->datagram].iov_base;
    part->message_octets = (int)header->msg_len;
    if (header->msg_hdr.msg_flags & MSG_TRUNC)
        stats_count(&part->worker.stats->truncated, 1);
}

/* The next message of what was received; NULL = there is none. */
static const struct nlmsghdr *next_message(struct part *part)
{
    while (part->datagram < part->datagram_count) {
        if (!part->message)
            begin_datagram(part);
        if (mnl_nlmsg_ok(part->message, part->message_octets)) {
            const struct nlmsghdr *message = part->message;
            part->message = mnl_nlmsg_next(message, &part->message_octets);
            return message;
        }
        part->message = NULL;
        part->datagram++;
    }
    return NULL;
}

static void flush_batch(struct part *part)
{
    flow_cache_add(part->cache, part->batch, part->batch_count);
    part->batch_count = 0;
}

/* As many packets as fit into a batch, each of which may end a flow. Returns how many messages. */
static unsigned take_batch(struct part *part)
{
    unsigned taken = 0;
    const struct nlmsghdr *message = NULL;
    while (part->batch_count < FLOW_CACHE_BATCH && (message = next_message(part)) != NULL) {
        take_message(part, message);
        taken++;
    }
    flush_batch(part);
    return taken;
}

static unsigned nflog_drain(struct source *source, unsigned worker, unsigned limit)
{
    struct part *part = &of(source)->part[worker];
    unsigned taken = 0;
    if (part->fd < 0)
        return 0;
    while (taken < limit && flow_outlet_room(&part->worker.outlet, FLOW_CACHE_BATCH) == FLOW_CACHE_BATCH) {
        if (part->datagram == part->datagram_count && !receive(part))
            break;
        taken += take_batch(part);
    }
    return taken < limit ? taken : limit;
}

static bool nflog_is_drained(const struct source *source, unsigned worker)
{
    const struct nflog *nflog = (const void *)source;
    return nflog->part[worker].is_drained;
}

static void tell_troubles(struct part *part, uint64_t now_ns)
{
    uint64_t lost = tell_once_due(&part->lost, now_ns);
    if (lost > 0)
        log_warnx("%" PRIu64 " logged packets were lost, they came faster than they were read; raise "
                  "--rcvbuf, or log fewer",
                  lost);
    uint64_t failures = tell_once_due(&part->failures, now_ns);
    if (failures > 0) {
        errno = -part->failure;
        log_warn("trouble with the socket that reads NFLOG, %" PRIu64 " times", failures);
    }
}

/* The cache's time goes by the boot clock, the wait by the monotonic one. */
static bool run_cache(struct part *part, struct instant now)
{
    enum { ENDS = 1024 };

    wall_clock_watch(part->worker.clock);
    bool more = flow_cache_run(part->cache, flow_outlet_room(&part->worker.outlet, ENDS));
    uint64_t due_ns = flow_cache_due_ns(part->cache);
    uint64_t boot_ns = part->worker.clock->boot_ns;
    part->due_ns =
        due_ns == UINT64_MAX ? POLL_SET_NEVER : now.monotonic_ns + (due_ns > boot_ns ? due_ns - boot_ns : 0);
    return more;
}

static void nflog_change(struct source *source, const void *own)
{
    struct nflog *nflog = of(source);
    const struct nflog_config *config = own;
    for (unsigned i = 0; i < nflog->workers; i++) {
        struct part *part = &nflog->part[i];
        if (part->fd < 0)
            continue;
        flow_cache_set_timeouts(part->cache, config->inactive_timeout_ns, config->active_timeout_ns);
        wake(part->worker.wake_fd);
    }
}

static bool nflog_run(struct source *source, unsigned worker, struct instant now)
{
    struct nflog *nflog = of(source);
    struct part *part = &nflog->part[worker];
    if (part->fd < 0)
        return false;
    if (flow_cache_see_timeouts(part->cache))
        part->due_ns = 0;
    bool is_new = part->due_ns == POLL_SET_NEVER && flow_cache_count(part->cache) > 0;
    bool more = is_new || now.monotonic_ns >= part->due_ns ? run_cache(part, now) : false;
    if (part->bound_count < part->group_count && now.monotonic_ns >= part->retry_ns) {
        part->retry_ns = now.monotonic_ns + RETRY_NS;
        bind_groups_again(part, nflog->config.size_octets);
    }
    tell_troubles(part, now.monotonic_ns);
    return more || part->datagram < part->datagram_count;
}

static void nflog_wants(const struct source *source, unsigned worker, struct poll_set *set)
{
    const struct nflog *nflog = (const void *)source;
    const struct part *part = &nflog->part[worker];
    poll_set_before(set, part->due_ns);
    if (part->bound_count < part->group_count)
        poll_set_before(set, part->retry_ns);
}

static void nflog_wants_event(const struct source *source, unsigned worker, struct poll_set *set)
{
    const struct nflog *nflog = (const void *)source;
    if (nflog->part[worker].fd >= 0)
        poll_set_add(set, nflog->part[worker].fd, POLLIN);
}

static void nflog_stop(struct source *source, unsigned worker)
{
    struct part *part = &of(source)->part[worker];
    for (unsigned i = 0; i < part->group_count; i++)
        if (part->groups[i].is_bound)
            unbind_group(part, &part->groups[i]);
    part->is_drained = part->fd < 0;
}

static bool nflog_finish(struct source *source, unsigned worker)
{
    enum { ENDS = 16384 };

    struct part *part = &of(source)->part[worker];
    if (part->fd < 0)
        return false;
    tell_troubles(part, instant_read_clock(CLOCK_MONOTONIC));
    return flow_cache_finish(part->cache, flow_outlet_room(&part->worker.outlet, ENDS));
}

const struct source_ops nflog_source = {
    .name = "nflog",
    .open = nflog_open,
    .close = nflog_close,
    .drain = nflog_drain,
    .is_drained = nflog_is_drained,
    .change = nflog_change,
    .run = nflog_run,
    .wants = nflog_wants,
    .wants_event = nflog_wants_event,
    .stop = nflog_stop,
    .finish = nflog_finish,
};
