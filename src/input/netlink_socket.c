/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/netlink_socket.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"

/* The kernel's answers, dumps included, fit: it makes them no longer than NLMSG_GOODSIZE, 8 KiB at most. */
enum { ANSWER_OCTETS = 16384, ANSWER_GOES_ON = 1 };

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int netlink_socket_open(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0)
        return -errno;
    const struct sockaddr_nl any_port = {.nl_family = AF_NETLINK};
    if (bind(fd, (const struct sockaddr *)&any_port, sizeof(any_port)) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int netlink_socket_connect(int fd)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) == 0 ? 0 : -errno;
}

int64_t netlink_socket_set_rcvbuf(int fd, uint64_t octets)
{
    int asked = octets > NETLINK_SOCKET_RCVBUF_MAX ? NETLINK_SOCKET_RCVBUF_MAX : (int)octets;
    int error = set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, asked);
    if (error == -EPERM)
        error = set_option(fd, SOL_SOCKET, SO_RCVBUF, asked);
    if (error != 0)
        return error;

    int doubled;
    socklen_t size = sizeof(doubled);
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &doubled, &size) != 0)
        return -errno;
    return doubled / 2;
}

int netlink_socket_set_reliable(int fd, bool reliable)
{
    int error = set_option(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    return error != 0 ? error : set_option(fd, SOL_NETLINK, NETLINK_BROADCAST_ERROR, reliable);
}

static int read_meminfo(int fd, uint32_t meminfo[SK_MEMINFO_VARS])
{
    socklen_t size = SK_MEMINFO_VARS * sizeof(meminfo[0]);
    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, meminfo, &size) == 0 ? 0 : -errno;
}

int netlink_socket_drops(int fd, uint32_t *drops)
{
    uint32_t meminfo[SK_MEMINFO_VARS];
    int error = read_meminfo(fd, meminfo);
    if (!error)
        *drops = meminfo[SK_MEMINFO_DROPS];
    return error;
}

/* ctnetlink makes room for all that an event may tell, about so much (ctnetlink_nlmsg_size()), and an event
 * keeps it: the kernel gives back only what is more than half. */
enum { EVENT_ROOM_OCTETS = 480 };

/* No privilege is needed for it. */
static int send_to_oneself(int fd)
{
    static const uint8_t message[EVENT_ROOM_OCTETS];
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    socklen_t size = sizeof(own);
    if (bind(fd, (const struct sockaddr *)&own, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&own, &size) != 0 ||
        sendto(fd, message, sizeof(message), MSG_DONTWAIT, (const struct sockaddr *)&own, size) < 0)
        return -errno;
    return 0;
}

int netlink_socket_event_charge(void)
{
    uint32_t meminfo[SK_MEMINFO_VARS];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
    if (fd < 0)
        return -errno;
    int error = send_to_oneself(fd);
    if (!error)
        error = read_meminfo(fd, meminfo);
    close(fd);
    return error ? error : (int)meminfo[SK_MEMINFO_RMEM_ALLOC];
}

/* The value of a 32-bit attribute, as the kernel's classic BPF finds it; 0 when there is none. */
enum { LOAD_ATTRIBUTE = 6 };

/* SKF_AD_NLATTR: A = offset of the first attribute of type X at or after offset A, 0 when there is none;
 * that 0 serves as the value. Loads of words convert from network byte order, the order of the attributes. */
static unsigned load_attribute(struct sock_filter *code, uint32_t type)
{
    const struct sock_filter load[LOAD_ATTRIBUTE] = {
        BPF_STMT(BPF_LD | BPF_IMM, NLMSG_HDRLEN + sizeof(struct nfgenmsg)),
        BPF_STMT(BPF_LDX | BPF_IMM, type),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, sizeof(struct nlattr)),
    };
    memcpy(code, load, sizeof(load));
    return LOAD_ATTRIBUTE;
}

/* Drops the message unless A has that value. */
static unsigned demand(struct sock_filter *code, uint32_t value)
{
    code[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
    code[1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    return 2;
}

int netlink_socket_filter(int fd, const struct netlink_filter *filter)
{
    const struct netlink_mark *mark = &filter->mark;
    const struct netlink_share *share = &filter->share;
    struct sock_filter code[2 * (LOAD_ATTRIBUTE + 3) + 1];
    unsigned length = 0;
    if (mark->given) {
        length += load_attribute(code + length, CTA_MARK);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mark->mask);
        length += demand(code + length, mark->value);
    }
    if (share->count > 1) {
        length += load_attribute(code + length, CTA_ID);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, share->count);
        length += demand(code + length, share->index);
    }
    if (length == 0)
        return 0;
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    const struct sock_fprog program = {.len = (unsigned short)length, .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 ? 0 : -errno;
}

int netlink_socket_join(int fd, unsigned group)
{
    return set_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, (int)group);
}

int netlink_socket_leave(int fd, unsigned group)
{
    return set_option(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, (int)group);
}

/* ANSWER_GOES_ON, or the end of the answer: 0 or -errno. */
static int read_answer(const void *datagram, int octets, uint32_t sequence,
                       netlink_socket_on_message *on_message, void *context)
{
    for (const struct nlmsghdr *message = datagram; mnl_nlmsg_ok(message, octets);
         message = mnl_nlmsg_next(message, &octets)) {
        if (message->nlmsg_seq != sequence)
            continue;
        if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
            if (mnl_nlmsg_get_payload_len(message) < sizeof(int))
                return -EBADMSG;
            return *(const int *)mnl_nlmsg_get_payload(message);
        }
        if (on_message != NULL && !on_message(context, message))
            return -ECANCELED;
    }
    return ANSWER_GOES_ON;
}

/* One datagram of the kernel's: its octets, 0 when it is another program's, or -errno. */
static int receive_answer(int fd, void *buffer, uint64_t deadline_ns)
{
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    int wait_ms = now_ns < deadline_ns ? (int)((deadline_ns - now_ns) / NS_PER_MS) + 1 : 0;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, wait_ms);
    if (ready <= 0)
        return ready == 0 ? -ETIMEDOUT : -errno;

    struct sockaddr_nl source = {0};
    socklen_t source_size = sizeof(source);
    ssize_t octets = recvfrom(fd, buffer, ANSWER_OCTETS, MSG_TRUNC, (struct sockaddr *)&source, &source_size);
    if (octets < 0)
        return -errno;
    if (source.nl_pid != 0)
        return 0;
    return octets > ANSWER_OCTETS ? -EMSGSIZE : (int)octets;
}

int netlink_socket_request(int fd, struct nlmsghdr *request, netlink_socket_on_message *on_message,
                           void *context)
{
    uint64_t start_ns = instant_read_clock(CLOCK_MONOTONIC);
    /* A late answer to an earlier request that was given up on must not pass for this one's. */
    request->nlmsg_seq = (uint32_t)(start_ns / NS_PER_US);
    request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, request, request->nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -errno;

    _Alignas(struct nlmsghdr) uint8_t answer[ANSWER_OCTETS];
    uint64_t deadline_ns = start_ns + NS_PER_S;
    for (;;) {
        int octets = receive_answer(fd, answer, deadline_ns);
        if (octets == -EINTR || octets == -EAGAIN)
            continue;
        if (octets < 0)
            return octets;
        int outcome = read_answer(answer, octets, request->nlmsg_seq, on_message, context);
        if (outcome != ANSWER_GOES_ON)
            return outcome;
        if (octets > 0)
            deadline_ns = instant_read_clock(CLOCK_MONOTONIC) + NS_PER_S;
    }
}

void netlink_socket_read_out(int fd, uint64_t limit_ns)
{
    char octet;
    uint64_t begin_ns = instant_read_clock(CLOCK_MONOTONIC);
    while (recv(fd, &octet, sizeof(octet), MSG_DONTWAIT | MSG_TRUNC) >= 0 &&
           instant_read_clock(CLOCK_MONOTONIC) - begin_ns < limit_ns)
        continue;
}
