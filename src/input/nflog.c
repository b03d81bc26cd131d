/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/nflog.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/flow/flow_cache.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/packet_decode.h"

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
    TYPE_CONFIG = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG,
    NETDEV_EGRESS = 1,    /* NF_NETDEV_EGRESS, since Linux 5.16 */
    UNUSED_GROUP = 65535, /* to see whether it is privileges that are missing */
    VLAN_ID = 0xfff
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

static struct nlmsghdr *put_config(char *buffer, uint16_t group)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = TYPE_CONFIG;
    struct nfgenmsg *general = mnl_nlmsg_put_extra_header(message, sizeof(*general));
    *general = (struct nfgenmsg){.version = NFNETLINK_V0, .res_id = htobe16(group)};
    return message;
}

static void put_command(struct nlmsghdr *message, uint8_t command)
{
    const struct nfulnl_msg_config_cmd config = {.command = command};
    mnl_attr_put(message, NFULA_CFG_CMD, sizeof(config), &config);
}

/* All in one message: there are no packets yet that are logged in another way. */
static int ask_to_bind(int fd, uint16_t group, uint32_t size_octets)
{
    _Alignas(struct nlmsghdr) char buffer[256];
    struct nlmsghdr *message = put_config(buffer, group);
    const struct nfulnl_msg_config_mode mode = {.copy_range = htobe32(size_octets),
                                                .copy_mode = NFULNL_COPY_PACKET};
    put_command(message, NFULNL_CFG_CMD_BIND);
    mnl_attr_put(message, NFULA_CFG_MODE, sizeof(mode), &mode);
    mnl_attr_put_u32(message, NFULA_CFG_NLBUFSIZ, htobe32(KERNEL_OCTETS));
    mnl_attr_put_u32(message, NFULA_CFG_TIMEOUT, htobe32(TIMEOUT_10MS));
    mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htobe32(THRESHOLD));
    mnl_attr_put_u16(message, NFULA_CFG_FLAGS, htobe16(NFULNL_CFG_F_SEQ));
    return netlink_socket_request(fd, message, NULL, NULL);
}

/* Changes nothing, for nobody has bound the group: the kernel looks at privileges first. */
static bool is_privileged(void)
{
    _Alignas(struct nlmsghdr) char buffer[64];
    int fd = netlink_socket_open();
    if (fd < 0)
        return false;
    struct nlmsghdr *message = put_config(buffer, UNUSED_GROUP);
    mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htobe32(THRESHOLD));
    int error = netlink_socket_request(fd, message, NULL, NULL);
    close(fd);
    return error != -EPERM;
}

/* 0 when it is bound or another program holds it, to be tried again. */
static int bind_group(struct part *part, struct group *group, uint32_t size_octets, bool first)
{
    int error = ask_to_bind(part->fd, group->number, size_octets);
    if (error == -EPERM && is_privileged()) {
        if (first)
            log_warnx("NFLOG group %u is held by another program: trying again each second", group->number);
        return 0;
    }
    if (error == -EPERM)
        log_error("reading NFLOG group %u needs CAP_NET_ADMIN in the network namespace that is read: run "
                  "ctflow9 as root, or with that capability",
                  group->number);
    else if (error)
        log_cannot(error, "bind an NFLOG group");
    if (error)
        return error;
    if (!first)
        log_info("NFLOG group %u is read now", group->number);
    group->is_bound = true;
    part->bound_count++;
    return 0;
}

static int bind_groups(struct part *part, uint32_t size_octets, bool first)
{
    int error = 0;
    for (unsigned i = 0; i < part->group_count && !error; i++)
        if (!part->groups[i].is_bound)
            error = bind_group(part, &part->groups[i], size_octets, first);
    return error;
}

/* The kernel sends what it has collected before the call returns; its answer is left to be drained. */
static void unbind_group(const struct part *part, struct group *group)
{
    _Alignas(struct nlmsghdr) char buffer[64];
    struct nlmsghdr *message = put_config(buffer, group->number);
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    put_command(message, NFULNL_CFG_CMD_UNBIND);
    message->nlmsg_flags = NLM_F_REQUEST;
    if (sendto(part->fd, message, message->nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) <
        0)
        log_warn("cannot unbind NFLOG group %u", group->number);
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
    return error ? error : bind_groups(part, config->size_octets, true);
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

/* What a message has; the kernel's attributes, unknown ones left out. */
struct logged {
    const struct nlattr *payload;
    const struct nlattr *link_header;
    uint16_t link_type;
    uint32_t sequence;
    uint16_t hw_protocol;
    uint8_t hook;
    bool has_sequence;
};

static bool has_octets(const struct nlattr *attribute, size_t octets)
{
    return mnl_attr_get_payload_len(attribute) >= octets;
}

static uint32_t get_be32(const struct nlattr *attribute)
{
    be32 value = 0;
    if (has_octets(attribute, sizeof(value)))
        memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
    return be32toh(value);
}

static uint16_t get_be16(const struct nlattr *attribute)
{
    be16 value = 0;
    if (has_octets(attribute, sizeof(value)))
        memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
    return be16toh(value);
}

static bool is_attribute(const struct nlattr *attribute, const void *end)
{
    return mnl_attr_ok(attribute, (int)((const char *)end - (const char *)attribute));
}

static void read_vlan(const struct nlattr *nest, struct flow_key *key)
{
    const struct nlattr *attribute = mnl_attr_get_payload(nest);
    const char *end = (const char *)attribute + mnl_attr_get_payload_len(nest);
    for (; is_attribute(attribute, end); attribute = mnl_attr_next(attribute)) {
        if (mnl_attr_get_type(attribute) == NFULA_VLAN_TCI)
            key->vlan = get_be16(attribute) & VLAN_ID;
    }
}

static void read_attribute(const struct nlattr *attribute, struct logged *logged, struct flow_packet *packet)
{
    struct flow_key *key = &packet->key;
    struct nfulnl_msg_packet_hdr header;
    switch (mnl_attr_get_type(attribute)) {
    case NFULA_PACKET_HDR:
        if (has_octets(attribute, sizeof(header))) {
            memcpy(&header, mnl_attr_get_payload(attribute), sizeof(header));
            logged->hw_protocol = be16toh(header.hw_protocol);
            logged->hook = header.hook;
        }
        break;
    case NFULA_IFINDEX_INDEV:
        key->in_interface = key->in_interface ? key->in_interface : get_be32(attribute);
        break;
    case NFULA_IFINDEX_OUTDEV:
        key->out_interface = key->out_interface ? key->out_interface : get_be32(attribute);
        break;
    case NFULA_IFINDEX_PHYSINDEV: /* a bridge's port, which tells more than the bridge */
        key->in_interface = get_be32(attribute);
        break;
    case NFULA_IFINDEX_PHYSOUTDEV:
        key->out_interface = get_be32(attribute);
        break;
    case NFULA_VLAN:
        read_vlan(attribute, key);
        break;
    case NFULA_HWTYPE:
        logged->link_type = get_be16(attribute);
        break;
    case NFULA_HWHEADER:
        logged->link_header = attribute;
        break;
    case NFULA_SEQ:
        logged->sequence = get_be32(attribute);
        logged->has_sequence = has_octets(attribute, sizeof(be32));
        break;
    case NFULA_PAYLOAD:
        logged->payload = attribute;
        break;
    default:
        break;
    }
}

/* What only all attributes together tell. */
static void read_rest(uint8_t family, const struct logged *logged, struct flow_packet *packet)
{
    packet->key.is_egress = family == NFPROTO_NETDEV
                                ? logged->hook == NETDEV_EGRESS
                                : logged->hook == NF_INET_LOCAL_OUT || logged->hook == NF_INET_POST_ROUTING;
    if (logged->link_type != ARPHRD_ETHER || !logged->link_header ||
        !has_octets(logged->link_header, ETH_HLEN))
        return;
    const uint8_t *header = mnl_attr_get_payload(logged->link_header);
    memcpy(packet->link_destination, header, sizeof(packet->link_destination));
    memcpy(packet->link_source, header + ETH_ALEN, sizeof(packet->link_source));
    packet->has_link = true;
}

static uint16_t ethertype_of(uint8_t family, const struct logged *logged)
{
    if (family == NFPROTO_IPV4)
        return ETH_P_IP;
    if (family == NFPROTO_IPV6)
        return ETH_P_IPV6;
    return family == NFPROTO_NETDEV && logged->hook == NETDEV_EGRESS ? ETH_P_TEB : logged->hw_protocol;
}

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

static void take_packet(struct part *part, const struct nlmsghdr *message)
{
    struct stats *stats = part->worker.stats;
    const struct nfgenmsg *general = mnl_nlmsg_get_payload(message);
    struct flow_packet *packet = &part->batch[part->batch_count];
    struct logged logged = {0};
    const struct nlattr *attribute = mnl_nlmsg_get_payload_offset(message, sizeof(*general));
    const void *end = mnl_nlmsg_get_payload_tail(message);
    memset(packet, 0, sizeof(*packet));
    for (; is_attribute(attribute, end); attribute = mnl_attr_next(attribute))
        read_attribute(attribute, &logged, packet);
    read_rest(general->nfgen_family, &logged, packet);
    stats_count(&stats->packets, 1);
    if (logged.has_sequence)
        see_sequence(part, be16toh(general->res_id), logged.sequence);

    enum packet_verdict verdict = PACKET_IS_MALFORMED;
    if (logged.payload)
        verdict =
            packet_decode(mnl_attr_get_payload(logged.payload), mnl_attr_get_payload_len(logged.payload),
                          ethertype_of(general->nfgen_family, &logged), packet);
    if (verdict == PACKET_IS_OTHER)
        stats_count(&stats->packets_other, 1);
    if (verdict == PACKET_IS_MALFORMED)
        stats_count(&stats->packets_malformed, 1);
    if (verdict != PACKET_IS_IP)
        return;
    if (packet->octets == 0)
        stats_count(&stats->packets_unsized, 1);
    part->batch_count++;
}

static void take_message(struct part *part, const struct nlmsghdr *message)
{
    if (message->nlmsg_type == TYPE_PACKET && message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nfgenmsg)))
        take_packet(part, message);
}

/* ---- draining ---- */

static void failed(struct part *part, int error)
{
    part->failure = error;
    tell_once_count(&part->failures, 1);
}

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

static bool nflog_run(struct source *source, unsigned worker, struct instant now)
{
    struct nflog *nflog = of(source);
    struct part *part = &nflog->part[worker];
    if (part->fd < 0)
        return false;
    bool is_new = part->due_ns == POLL_SET_NEVER && flow_cache_count(part->cache) > 0;
    bool more = is_new || now.monotonic_ns >= part->due_ns ? run_cache(part, now) : false;
    if (part->bound_count < part->group_count && now.monotonic_ns >= part->retry_ns) {
        part->retry_ns = now.monotonic_ns + RETRY_NS;
        bind_groups(part, nflog->config.size_octets, false);
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
    .run = nflog_run,
    .wants = nflog_wants,
    .wants_event = nflog_wants_event,
    .stop = nflog_stop,
    .finish = nflog_finish,
};
