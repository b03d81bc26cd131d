/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/routes.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_OCTETS = 256, ANSWER_OCTETS = 32768 /* a route may have many next hops */ };

enum { LOOPBACK = 1 }; /* its index, in every namespace */

struct routes {
    int fd;
    uint32_t sequence;
    _Alignas(struct nlmsghdr) char request[REQUEST_OCTETS];
    _Alignas(struct nlmsghdr) char answer[ANSWER_OCTETS];
};

int routes_open(struct routes **routes)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct routes *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    /* Connected to the kernel: nobody else's messages come. */
    if (opened->fd < 0 || connect(opened->fd, (const struct sockaddr *)&kernel, sizeof(kernel)) != 0) {
        int error = -errno;
        routes_close(opened);
        return error;
    }
    *routes = opened;
    return 0;
}

void routes_close(struct routes *routes)
{
    if (!routes)
        return;
    if (routes->fd >= 0)
        close(routes->fd);
    free(routes);
}

/* ---- a question ---- */

static void put_address(struct nlmsghdr *request, uint16_t type, uint8_t family,
                        const union flow_address *address)
{
    mnl_attr_put(request, type, family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4), address);
}

/* The ports take part in the choice among several next hops (fib_multipath_hash_policy 1), and in rules. */
static void put_ports(struct nlmsghdr *request, const struct route_question *question)
{
    mnl_attr_put_u8(request, RTA_IP_PROTO, question->protocol);
    if (question->source_port != 0)
        mnl_attr_put_u16(request, RTA_SPORT, question->source_port);
    if (question->destination_port != 0)
        mnl_attr_put_u16(request, RTA_DPORT, question->destination_port);
}

/* The kernel refuses other protocols here (rtm_getroute_parse_ip_proto() in net/ipv4/fib_frontend.c). */
static bool may_name(const struct route_question *question)
{
    return question->protocol == IPPROTO_TCP || question->protocol == IPPROTO_UDP ||
           question->protocol == (question->family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static struct nlmsghdr *put_question(struct routes *routes, const struct route_question *question)
{
    const uint8_t bits = question->family == AF_INET6 ? 128 : 32;
    struct nlmsghdr *request = mnl_nlmsg_put_header(routes->request);
    request->nlmsg_type = RTM_GETROUTE;
    request->nlmsg_flags = NLM_F_REQUEST;
    request->nlmsg_seq = ++routes->sequence;
    struct rtmsg *route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
    route->rtm_family = question->family;
    route->rtm_dst_len = bits;
    route->rtm_src_len = bits;
    route->rtm_tos = question->family == AF_INET ? question->tos & (IPTOS_TOS_MASK & ~3) : 0;
    put_address(request, RTA_DST, question->family, &question->destination);
    put_address(request, RTA_SRC, question->family, &question->source);
    if (may_name(question))
        put_ports(request, question);
    if (question->mark != 0)
        mnl_attr_put_u32(request, RTA_MARK, question->mark);
    if (question->in_interface != 0)
        mnl_attr_put_u32(request, RTA_IIF, question->in_interface);
    return request;
}

/* ---- its answer ---- */

/* A mnl_attr_cb_t, of a struct route. */
static int see_attribute(const struct nlattr *attribute, void *context)
{
    struct route *route = context;
    switch (mnl_attr_get_type(attribute)) {
    case RTA_OIF:
        if (mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
            route->out_interface = mnl_attr_get_u32(attribute);
        break;
    case RTA_MULTIPATH:
        route->is_balanced = true;
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

static int read_route(const struct nlmsghdr *message, struct route *route)
{
    const struct rtmsg *told = mnl_nlmsg_get_payload(message);
    *route = (struct route){0};
    if (mnl_nlmsg_get_payload_len(message) < sizeof(*told))
        return -EBADMSG;
    mnl_attr_parse(message, sizeof(*told), see_attribute, route);
    switch (told->rtm_type) {
    case RTN_LOCAL:
    case RTN_ANYCAST:
        *route = (struct route){0};
        return 0;
    case RTN_MULTICAST:
    case RTN_BROADCAST:
        route->is_to_all = true;
        return 0;
    case RTN_UNICAST:
        return route->out_interface != 0 || route->is_balanced ? 0 : -ENETUNREACH;
    default:
        return -ENETUNREACH;
    }
}

static int read_answer(const struct nlmsghdr *message, struct route *route)
{
    if (message->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(message) >= sizeof(struct nlmsgerr)) {
        const struct nlmsgerr *told = mnl_nlmsg_get_payload(message);
        return told->error < 0 ? told->error : -EBADMSG;
    }
    return message->nlmsg_type == RTM_NEWROUTE ? read_route(message, route) : -EBADMSG;
}

static int converse(struct routes *routes, const struct nlmsghdr *request, struct route *route)
{
    if (send(routes->fd, request, request->nlmsg_len, 0) < 0)
        return -errno;
    for (;;) { /* what is left of an earlier question is passed over */
        ssize_t octets = recv(routes->fd, routes->answer, sizeof(routes->answer), 0);
        if (octets < 0)
            return -errno;
        const struct nlmsghdr *message = (const void *)routes->answer;
        if (!mnl_nlmsg_ok(message, (int)octets))
            return -EBADMSG;
        if (message->nlmsg_seq == request->nlmsg_seq)
            return read_answer(message, route);
    }
}

int routes_ask(struct routes *routes, const struct route_question *question, uint32_t *out_interface)
{
    struct route route;
    int error = converse(routes, put_question(routes, question), &route);
    *out_interface = error ? 0 : route.out_interface;
    /* What is for all, and comes in from outside, ends here. */
    if (!error && route.is_to_all && question->in_interface != 0)
        *out_interface = 0;
    return error;
}

int routes_look_up(struct routes *routes, uint8_t family, const union flow_address *address,
                   struct route *route)
{
    struct nlmsghdr *request = mnl_nlmsg_put_header(routes->request);
    request->nlmsg_type = RTM_GETROUTE;
    request->nlmsg_flags = NLM_F_REQUEST;
    request->nlmsg_seq = ++routes->sequence;
    struct rtmsg *asked = mnl_nlmsg_put_extra_header(request, sizeof(*asked));
    asked->rtm_family = family;
    asked->rtm_dst_len = family == AF_INET6 ? 128 : 32;
    asked->rtm_flags = RTM_F_FIB_MATCH; /* the route itself: it alone tells whether there are several */
    put_address(request, RTA_DST, family, address);
    return converse(routes, request, route);
}

/* ---- a connection ---- */

/*
 * A direction's packets before their source is translated and after their destination is: its own tuple's
 * source goes to the other tuple's.
 */
static struct route_question question_of(const struct flow *flow, enum flow_direction direction,
                                         uint32_t in_interface)
{
    const struct flow_tuple *own = &flow->tuple[direction], *other = &flow->tuple[!direction];
    return (struct route_question){.family = flow->family,
                                   .protocol = flow->protocol,
                                   .tos =
                                       flow_has_of(flow, FLOW_HAS_TOS, direction) ? flow->tos[direction] : 0,
                                   .source = own->src,
                                   .destination = other->src,
                                   .source_port = own->src_port,
                                   .destination_port = other->src_port,
                                   .mark = flow->mark,
                                   .in_interface = in_interface};
}

static void note(struct flow *flow, enum flow_direction direction, uint32_t in, uint32_t out)
{
    flow->in_interface[direction] = in;
    flow->out_interface[direction] = out;
    flow->has |= (uint32_t)FLOW_HAS_INTERFACES << direction;
}

/* Where what is sent by this machine to an address leaves by. */
static bool ask_plainly(struct routes *routes, const struct flow *flow, enum flow_direction direction,
                        uint32_t *out)
{
    struct route_question question = question_of(flow, direction, 0);
    question.source = (union flow_address){0};
    return routes_ask(routes, &question, out) == 0;
}

/* What stays within this machine passes through the loopback interface. */
static void note_way(struct flow *flow, uint32_t in, uint32_t out)
{
    bool is_own = in == 0 && out == 0;
    note(flow, FLOW_ORIGINAL, is_own ? LOOPBACK : in, is_own ? LOOPBACK : out);
}

void routes_note_by(const struct route *to_source, const struct route *to_destination, struct flow *flow)
{
    bool ends_here = to_destination->is_to_all && to_source->out_interface != 0;
    note_way(flow, to_source->out_interface, ends_here ? 0 : to_destination->out_interface);
}

/*
 * Where packets come in is not known: it is taken for where those to their source leave by. That is first
 * asked as if this machine answered; then each direction is asked with the interface that it comes in by, for
 * rules, the choice of a next hop and rp_filter look at it. Where the reply then goes is what counts: when
 * that is another interface than was thought first, or rp_filter (EINVAL) refuses what was, the original
 * direction is asked again with it.
 */
void routes_note(struct routes *routes, struct flow *flow)
{
    uint32_t in = 0, out = 0, back = 0;
    bool has_in = ask_plainly(routes, flow, FLOW_REPLY, &in);
    struct route_question there = question_of(flow, FLOW_ORIGINAL, in);
    if (!has_in || routes_ask(routes, &there, &out) != 0) {
        if (!ask_plainly(routes, flow, FLOW_ORIGINAL, &out))
            return;
    }
    const struct route_question reply = question_of(flow, FLOW_REPLY, out);
    bool has_back = routes_ask(routes, &reply, &back) == 0;
    if (has_back && back != in) {
        uint32_t again;
        in = there.in_interface = back;
        if (routes_ask(routes, &there, &again) == 0)
            out = again;
    }
    if (!has_in && !has_back)
        return;
    note_way(flow, in, out);
    if (has_back && (in | out) != 0)
        note(flow, FLOW_REPLY, out, back);
}
