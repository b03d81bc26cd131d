// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctflow9/output/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

char *text_digits(char *at, uint64_t number, unsigned width)
{
    for (unsigned i = width; i > 0; i--, number /= 10)
        at[i - 1] = (char)('0' + number % 10);
    return at + width;
}

char *text_number(char *at, uint64_t number)
{
    unsigned width = 1;
    for (uint64_t rest = number / 10; rest != 0; rest /= 10)
        width++;
    return text_digits(at, number, width);
}

char *text_address(char *at, const struct flow *flow, const union flow_address *address)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(flow->family, address, text, sizeof(text));
    return stpcpy(at, text);
}

char *text_date_time(char *at, const struct tm *time, char separator)
{
    at = text_digits(at, (uint64_t)time->tm_year + 1900, 4);
    *at++ = '-';
    at = text_digits(at, (uint64_t)time->tm_mon + 1, 2);
    *at++ = '-';
    at = text_digits(at, (uint64_t)time->tm_mday, 2);
    *at++ = separator;
    at = text_digits(at, (uint64_t)time->tm_hour, 2);
    *at++ = ':';
    at = text_digits(at, (uint64_t)time->tm_min, 2);
    *at++ = ':';
    return text_digits(at, (uint64_t)time->tm_sec, 2);
}

const char *text_protocol(uint8_t protocol)
{
    static const char *const names[UINT8_MAX + 1] = {
        [IPPROTO_ICMP] = "icmp",       [IPPROTO_IGMP] = "igmp",
        [IPPROTO_IPIP] = "ipip",       [IPPROTO_TCP] = "tcp",
        [IPPROTO_UDP] = "udp",         [IPPROTO_DCCP] = "dccp",
        [IPPROTO_IPV6] = "ipv6",       [IPPROTO_GRE] = "gre",
        [IPPROTO_ESP] = "esp",         [IPPROTO_AH] = "ah",
        [IPPROTO_ICMPV6] = "icmp6",    [89] = "ospf",
        [IPPROTO_PIM] = "pim",         [112] = "vrrp",
        [IPPROTO_SCTP] = "sctp",       [115] = "l2tp",
        [IPPROTO_UDPLITE] = "udplite",
    };
    return names[protocol];
}

const char *text_source(uint8_t source)
{
    static const char *const names[] = {[FLOW_COUNTER_NFACCT] = "nfacct"};
    return names[source];
}

bool text_has_ports(const struct flow *flow)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL];
    const struct flow_tuple *reply = &flow->tuple[FLOW_REPLY];
    return (original->src_port | original->dst_port | reply->src_port | reply->dst_port) != 0;
}
