/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/route_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/input/route_cache.h"

enum { DATAGRAM_OCTETS = 32768, NOTICES_A_TURN = 1024 };
enum { RTNETLINK_NEXTHOP = 32 }; /* RTNLGRP_NEXTHOP, Linux 5.3 */

/* FRA_DSCP (Linux 6.12), FRA_SPORT_MASK, FRA_DPORT_MASK and FRA_DSCP_MASK (6.15) */
enum { RULE_DSCP = 25, RULE_SOURCE_PORT_MASK = 28, RULE_DESTINATION_PORT_MASK = 29, RULE_DSCP_MASK = 30 };

struct route_rules {
    int notices_fd, questions_fd;
    int policy_fd[2]; /* fib_multipath_hash_policy of IPv4 and IPv6 in this namespace; -1 = there is none */
    uint32_t sequence;
    _Alignas(struct nlmsghdr) char datagram[DATAGRAM_OCTETS];
};

static int open_socket(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    return fd < 0 ? -errno : fd;
}

static int open_notices(struct route_rules *rules)
{
    static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                 RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
                                 RTNLGRP_IPV6_RULE};
    const int nexthop = RTNETLINK_NEXTHOP;
    const struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    rules->notices_fd = open_socket();
    if (rules->notices_fd < 0)
        return rules->notices_fd;
    /* One without an address gets no notice. */
    if (bind(rules->notices_fd, (const struct sockaddr *)&own, sizeof(own)) != 0)
        return -errno;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        if (setsockopt(rules->notices_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(int)) != 0)
            return -errno;
    /* Without it there are none. */
    setsockopt(rules->notices_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nexthop, sizeof(nexthop));
    return 0;
}

static int open_questions(struct route_rules *rules)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    rules->questions_fd = open_socket();
    if (rules->questions_fd < 0)
        return rules->questions_fd;
    return connect(rules->questions_fd, (const struct sockaddr *)&kernel, sizeof(kernel)) == 0 ? 0 : -errno;
}

int route_rules_open(struct route_rules **rules)
{
    struct route_rules *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->notices_fd = opened->questions_fd = -1;
    /* Of this namespace, whatever the thread enters later. */
    opened->policy_fd[0] = open("/proc/sys/net/ipv4/fib_multipath_hash_policy", O_RDONLY | O_CLOEXEC);
    opened->policy_fd[1] = open("/proc/sys/net/ipv6/fib_multipath_hash_policy", O_RDONLY | O_CLOEXEC);
    int error = open_notices(opened);
    if (!error)
        error = open_questions(opened);
    if (error) {
        route_rules_close(opened);
        return error;
    }
    *rules = opened;
    return 0;
}

void route_rules_close(struct route_rules *rules)
{
    if (!rules)
        return;
    const int fds[] = {rules->notices_fd, rules->questions_fd, rules->policy_fd[0], rules->policy_fd[1]};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(rules);
}

/* ---- notices ---- */

/* What they say does not matter: everything is asked again. Nor who says it, and whether some were lost. */
bool route_rules_take_notices(struct route_rules *rules)
{
    for (unsigned taken = 0; taken < NOTICES_A_TURN; taken++) {
        ssize_t octets = recv(rules->notices_fd, rules->datagram, sizeof(rules->datagram), 0);
        if (octets < 0 && errno != ENOBUFS && errno != EINTR)
            return taken > 0;
    }
    return true;
}

void route_rules_wants(const struct route_rules *rules, struct poll_set *set)
{
    poll_set_add(set, rules->notices_fd, POLLIN);
}

/* ---- rules ---- */

/* A mnl_attr_cb_t, of parts. */
static int see_attribute(const struct nlattr *attribute, void *context)
{
    uint8_t *parts = context;
    switch (mnl_attr_get_type(attribute)) {
    case FRA_DST:
    case FRA_GOTO:
    case FRA_PRIORITY:
    case FRA_FLOW:
    case FRA_TABLE:
    case FRA_SUPPRESS_IFGROUP:
    case FRA_SUPPRESS_PREFIXLEN:
    case FRA_PROTOCOL:
    case FRA_PAD:
        break; /* the destination, and what is done then */
    case FRA_SRC:
    case FRA_IIFNAME:
    case FRA_OIFNAME:
    case FRA_L3MDEV:
        *parts |= ROUTE_BY_BOTH;
        break;
    case FRA_FWMARK:
    case FRA_FWMASK:
        *parts |= ROUTE_BY_BOTH | ROUTE_BY_MARK;
        break;
    case FRA_IP_PROTO:
    case FRA_SPORT_RANGE:
    case FRA_DPORT_RANGE:
    case RULE_SOURCE_PORT_MASK:
    case RULE_DESTINATION_PORT_MASK:
        *parts |= ROUTE_BY_BOTH | ROUTE_BY_PORTS;
        break;
    case RULE_DSCP:
    case RULE_DSCP_MASK:
        *parts |= ROUTE_BY_BOTH | ROUTE_BY_TOS;
        break;
    default:
        *parts |= ROUTE_BY_ALL;
        break;
    }
    return MNL_CB_OK;
}

static void see_rule(const struct nlmsghdr *message, uint8_t *parts)
{
    const struct fib_rule_hdr *rule = mnl_nlmsg_get_payload(message);
    if (mnl_nlmsg_get_payload_len(message) < sizeof(*rule))
        return;
    if (rule->tos != 0)
        *parts |= ROUTE_BY_BOTH | ROUTE_BY_TOS;
    mnl_attr_parse(message, sizeof(*rule), see_attribute, parts);
}

static int ask(struct route_rules *rules, uint8_t family)
{
    _Alignas(struct nlmsghdr) char buffer[NLMSG_SPACE(sizeof(struct fib_rule_hdr))];
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = RTM_GETRULE;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = ++rules->sequence;
    struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(request, sizeof(*rule));
    rule->family = family;
    return send(rules->questions_fd, request, request->nlmsg_len, 0) < 0 ? -errno : 0;
}

/* 1 = there is more to come, 0 = that was the end, or -errno. */
static int read_some(struct route_rules *rules, uint8_t *parts)
{
    ssize_t octets = recv(rules->questions_fd, rules->datagram, sizeof(rules->datagram), 0);
    if (octets < 0)
        return errno == EINTR ? 1 : -errno;
    int left = (int)octets;
    for (const struct nlmsghdr *message = (const void *)rules->datagram; mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
        if (message->nlmsg_seq != rules->sequence)
            continue; /* of a question that failed */
        if (message->nlmsg_type == NLMSG_DONE)
            return 0;
        if (message->nlmsg_type == NLMSG_ERROR)
            return -EBADMSG;
        if (message->nlmsg_type == RTM_NEWRULE)
            see_rule(message, parts);
    }
    return 1;
}

uint8_t route_rules_read(struct route_rules *rules, uint8_t family)
{
    uint8_t parts = 0;
    int more = ask(rules, family);
    for (more = more ? more : 1; more > 0;)
        more = read_some(rules, &parts);
    return more < 0 ? ROUTE_BY_ALL : parts;
}

/* Policy 0 hashes addresses: of IPv6 also the flow label, which nobody knows. */
uint8_t route_rules_read_balancing(const struct route_rules *rules, uint8_t family)
{
    char policy = 0;
    ssize_t octets = pread(rules->policy_fd[family == AF_INET6], &policy, sizeof(policy), 0);
    return octets == 1 && policy == '0' ? ROUTE_BY_BOTH : ROUTE_BY_BOTH | ROUTE_BY_PORTS;
}
