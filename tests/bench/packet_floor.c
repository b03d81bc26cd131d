/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What reading packets costs at least. NFLOG: drains every millisecond with recvmmsg, bound as ctflow9 binds
 * its groups, and throws everything away unread. NFQUEUE: receives with recvmmsg when packets come, and gives
 * all of them one verdict.
 */
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/wire.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/packet_binding.h"

enum {
    LOG_RCVBUF_OCTETS = 64 << 20,
    QUEUE_RCVBUF_OCTETS = 16 << 20,
    NUMBER = 5,
    COPY_OCTETS = 128,
    LOG_OCTETS = 32000,
    LOG_BATCH = 32,
    QUEUE_OCTETS = 2048,
    QUEUE_BATCH = 64
};

static const struct packet_binding log_binding = {.config_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG};
static const struct packet_binding queue_binding = {.config_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG};

static _Alignas(struct nlmsghdr) uint8_t buffers[LOG_BATCH * LOG_OCTETS];

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    perror(what);
    exit(1);
}

static int open_socket(uint64_t rcvbuf_octets)
{
    int fd = netlink_socket_open();
    must(fd >= 0 && netlink_socket_set_rcvbuf(fd, rcvbuf_octets) > 0 &&
             netlink_socket_set_reliable(fd, false) == 0,
         "packet_floor: socket");
    return fd;
}

static void bind_group(int fd)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    struct nlmsghdr *message = packet_binding_put(&log_binding, buffer, NUMBER);
    const struct nfulnl_msg_config_cmd command = {.command = NFULNL_CFG_CMD_BIND};
    const struct nfulnl_msg_config_mode mode = {.copy_range = htobe32(COPY_OCTETS),
                                                .copy_mode = NFULNL_COPY_PACKET};
    mnl_attr_put(message, NFULA_CFG_CMD, sizeof(command), &command);
    mnl_attr_put(message, NFULA_CFG_MODE, sizeof(mode), &mode);
    mnl_attr_put_u32(message, NFULA_CFG_NLBUFSIZ, htobe32(LOG_OCTETS / 2));
    mnl_attr_put_u32(message, NFULA_CFG_TIMEOUT, htobe32(1));
    mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htobe32(1000));
    mnl_attr_put_u16(message, NFULA_CFG_FLAGS, htobe16(NFULNL_CFG_F_SEQ));
    must(netlink_socket_request(fd, message, NULL, NULL) == 0, "packet_floor: bind");
}

static void bind_queue(int fd)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    struct nlmsghdr *message = packet_binding_put(&queue_binding, buffer, NUMBER);
    const uint32_t flags = NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO;
    const struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
    const struct nfqnl_msg_config_params params = {.copy_range = htobe32(COPY_OCTETS),
                                                   .copy_mode = NFQNL_COPY_PACKET};
    mnl_attr_put(message, NFQA_CFG_CMD, sizeof(command), &command);
    mnl_attr_put(message, NFQA_CFG_PARAMS, sizeof(params), &params);
    mnl_attr_put_u32(message, NFQA_CFG_QUEUE_MAXLEN, htobe32(2 * QUEUE_RCVBUF_OCTETS / 512));
    mnl_attr_put_u32(message, NFQA_CFG_MASK, htobe32(flags));
    mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htobe32(flags));
    must(netlink_socket_request(fd, message, NULL, NULL) == 0, "packet_floor: bind");
}

static void give_verdict(int fd, be32 id)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    struct nlmsghdr *message = packet_binding_put(&queue_binding, buffer, NUMBER);
    const struct nfqnl_msg_verdict_hdr header = {.verdict = htobe32(NF_ACCEPT), .id = id};
    message->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH;
    mnl_attr_put(message, NFQA_VERDICT_HDR, sizeof(header), &header);
    packet_binding_send(fd, message);
}

/* The packet's number stands at the beginning of the first attribute. */
static be32 id_of(const struct nlmsghdr *message)
{
    const struct nlattr *first = mnl_nlmsg_get_payload_offset(message, sizeof(struct nfgenmsg));
    be32 id;
    memcpy(&id, mnl_attr_get_payload(first), sizeof(id));
    return id;
}

static void drain(int fd, bool is_queue)
{
    unsigned batch = is_queue ? QUEUE_BATCH : LOG_BATCH;
    size_t octets = is_queue ? QUEUE_OCTETS : LOG_OCTETS;
    struct iovec vectors[QUEUE_BATCH];
    struct mmsghdr messages[QUEUE_BATCH];
    int count;
    for (unsigned i = 0; i < batch; i++) {
        vectors[i] = (struct iovec){buffers + i * octets, octets};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}};
    }
    while ((count = recvmmsg(fd, messages, batch, MSG_DONTWAIT, NULL)) > 0)
        if (is_queue)
            give_verdict(fd, id_of(vectors[count - 1].iov_base));
}

/* Until it is killed. */
int main(int argc, char **argv)
{
    const struct timespec interval = {.tv_nsec = NS_PER_MS};
    if (argc != 2 || (strcmp(argv[1], "nflog") != 0 && strcmp(argv[1], "nfqueue") != 0)) {
        fputs("Usage: packet_floor nflog|nfqueue\nReads group or queue 5 until it is killed.\n", stderr);
        return 1;
    }
    bool is_queue = strcmp(argv[1], "nfqueue") == 0;
    int fd = open_socket(is_queue ? QUEUE_RCVBUF_OCTETS : LOG_RCVBUF_OCTETS);
    if (is_queue)
        bind_queue(fd);
    else
        bind_group(fd);
    for (;;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        poll(&waiting, 1, -1);
        drain(fd, is_queue);
        if (!is_queue)
            nanosleep(&interval, NULL);
    }
}
