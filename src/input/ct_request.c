/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_request.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { REQUEST_OCTETS = 256 };

static struct nlmsghdr *start_request(void *buffer, uint8_t type, uint8_t family)
{
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(request, sizeof(*extra));
    extra->nfgen_family = family;
    return request;
}

static void put_addresses(struct nlmsghdr *request, const struct flow *flow, const struct flow_tuple *tuple)
{
    struct nlattr *nest = mnl_attr_nest_start(request, CTA_TUPLE_IP);
    if (flow->family == AF_INET) {
        mnl_attr_put_u32(request, CTA_IP_V4_SRC, tuple->src.v4);
        mnl_attr_put_u32(request, CTA_IP_V4_DST, tuple->dst.v4);
    } else {
        mnl_attr_put(request, CTA_IP_V6_SRC, sizeof(tuple->src.v6), tuple->src.v6);
        mnl_attr_put(request, CTA_IP_V6_DST, sizeof(tuple->dst.v6), tuple->dst.v6);
    }
    mnl_attr_nest_end(request, nest);
}

static void put_protocol(struct nlmsghdr *request, const struct flow *flow, const struct flow_tuple *tuple)
{
    struct nlattr *nest = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(request, CTA_PROTO_NUM, flow->protocol);
    if (!flow_is_icmp(flow)) {
        mnl_attr_put_u16(request, CTA_PROTO_SRC_PORT, tuple->src_port);
        mnl_attr_put_u16(request, CTA_PROTO_DST_PORT, tuple->dst_port);
    } else {
        const bool v4 = flow->family == AF_INET;
        mnl_attr_put_u16(request, v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, tuple->icmp_id);
        mnl_attr_put_u8(request, v4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, tuple->icmp_type);
        mnl_attr_put_u8(request, v4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, tuple->icmp_code);
    }
    mnl_attr_nest_end(request, nest);
}

int ct_request_entry(int fd, uint8_t type, const struct flow *flow, netlink_socket_on_message *on_message,
                     void *context)
{
    _Alignas(struct nlmsghdr) char buffer[REQUEST_OCTETS];
    const struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    struct nlmsghdr *request = start_request(buffer, type, flow->family);
    struct nlattr *nest = mnl_attr_nest_start(request, CTA_TUPLE_ORIG);
    put_addresses(request, flow, tuple);
    put_protocol(request, flow, tuple);
    if (flow_zone_of(flow, FLOW_ORIGINAL) != 0)
        mnl_attr_put_u16(request, CTA_TUPLE_ZONE, htobe16(flow->zone));
    mnl_attr_nest_end(request, nest);
    if (flow_zone_of_both(flow) != 0)
        mnl_attr_put_u16(request, CTA_ZONE, htobe16(flow->zone));
    return netlink_socket_request(fd, request, on_message, context);
}

int ct_request_dump(int fd, uint8_t type, const struct netlink_mark *mark,
                    netlink_socket_on_message *on_message, void *context)
{
    _Alignas(struct nlmsghdr) char buffer[REQUEST_OCTETS];
    struct nlmsghdr *request = start_request(buffer, type, AF_UNSPEC);
    request->nlmsg_flags |= NLM_F_DUMP;
    if (mark && mark->given) {
        mnl_attr_put_u32(request, CTA_MARK, htobe32(mark->value));
        mnl_attr_put_u32(request, CTA_MARK_MASK, htobe32(mark->mask));
    }
    return netlink_socket_request(fd, request, on_message, context);
}
