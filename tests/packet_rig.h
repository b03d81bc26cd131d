/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/netflow/packet.h"

/*
 * What the tests of struct packet share: one under an injected clock, flows for it, and a sink that keeps
 * every datagram. Each test runs in a process of its own, so one of everything is enough.
 */

#define NOW_S  UINT64_C(1790000000)
#define NOW_NS (NOW_S * NS_PER_S + 250 * NS_PER_MS)

enum { DATAGRAMS_MAX = 512 };

/* What the sink got, in order. */
static struct sink {
    unsigned count;
    struct datagram {
        uint8_t data[PACKET_OCTETS_MAX];
        size_t octets;
        unsigned records;
        uint64_t ended_ms;
    } datagrams[DATAGRAMS_MAX];
} sink;

static struct stats stats;
static struct packet *packet;
static struct packet_config config;
static struct instant now;

static inline void collect(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                           uint64_t ended_ms)
{
    struct sink *to = context;
    ck_assert_uint_lt(to->count, DATAGRAMS_MAX);
    struct datagram *got = &to->datagrams[to->count++];
    memcpy(got->data, datagram, octets);
    got->octets = octets;
    got->records = records;
    got->ended_ms = ended_ms;
}

static inline void setup(void)
{
    sink.count = 0;
    stats = (struct stats){0};
    now = (struct instant){.wall_ns = NOW_NS, .monotonic_ns = 77 * NS_PER_S};
    config = (struct packet_config){.source_id = 0xabcdef01,
                                    .max_datagram = 1400,
                                    .max_delay_ns = NS_PER_S,
                                    .active_timeout_s = 60,
                                    .idle_timeout_s = 15,
                                    .stats = &stats};
    packet = NULL;
}

static inline void teardown(void)
{
    packet_close(packet);
}

static inline void open_packet(void)
{
    ck_assert_int_eq(packet_open(&packet, &config, now, collect, &sink), 0);
}

static inline void advance(uint64_t ns)
{
    now.wall_ns += ns;
    now.monotonic_ns += ns;
}

static inline uint64_t get(const uint8_t *at, size_t octets)
{
    uint64_t value = 0;
    for (size_t i = 0; i < octets; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint16_t count_of(const struct datagram *datagram)
{
    return (uint16_t)get(datagram->data + 2, 2);
}

static inline uint64_t uptime_of(const struct datagram *datagram)
{
    return get(datagram->data + 4, 4);
}

static inline uint64_t unix_secs_of(const struct datagram *datagram)
{
    return get(datagram->data + 8, 4);
}

static inline uint16_t template_of(const struct datagram *datagram)
{
    return (uint16_t)get(datagram->data + PACKET_HEADER_OCTETS, 2);
}

static inline const uint8_t *record_of(const struct datagram *datagram, size_t index, size_t record_octets)
{
    return datagram->data + PACKET_HEADER_OCTETS + 4 + index * record_octets;
}

/* SysUptime as a wall-clock time, by the datagram's own epoch. */
static inline uint64_t wall_ms_of(const struct datagram *datagram, uint64_t sys_uptime_ms)
{
    return unix_secs_of(datagram) * 1000 - uptime_of(datagram) + sys_uptime_ms;
}

static inline struct flow udp_flow(void)
{
    struct flow flow = {.packets = {3, 2},
                        .octets = {300, 0x0102030405060708},
                        .start_ns = NOW_NS - 5 * NS_PER_S - 1,
                        .stop_ns = NOW_NS - NS_PER_S,
                        .mark = 0x1234,
                        .zone = 7,
                        .family = AF_INET,
                        .protocol = IPPROTO_UDP,
                        .end_reason = FLOW_END_IDLE_TIMEOUT,
                        .has = FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP};
    struct flow_tuple *original = &flow.tuple[FLOW_ORIGINAL], *reply = &flow.tuple[FLOW_REPLY];
    original->src.v4 = reply->dst.v4 = inet_addr("10.0.0.1");
    original->dst.v4 = reply->src.v4 = inet_addr("192.0.2.9");
    original->src_port = reply->dst_port = htons(40000);
    original->dst_port = reply->src_port = htons(53);
    return flow;
}

static inline struct flow udp6_flow(void)
{
    struct flow flow = udp_flow();
    struct flow_tuple *original = &flow.tuple[FLOW_ORIGINAL], *reply = &flow.tuple[FLOW_REPLY];
    flow.family = AF_INET6;
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8::1", original->src.v6), 1);
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8:1::2", original->dst.v6), 1);
    reply->src = original->dst;
    reply->dst = original->src;
    return flow;
}

/* Adds one flow and returns the one datagram that it makes. */
static inline const struct datagram *export(const struct flow *flow)
{
    sink.count = 0;
    packet_begin(packet, now);
    packet_add(packet, flow);
    packet_flush(packet, now);
    ck_assert_uint_eq(sink.count, 1);
    return &sink.datagrams[0];
}

/* Walks all FlowSets of the template datagrams; returns how many templates and how many options records there
 * are. */
static inline void count_announced(unsigned *templates, unsigned *options_templates,
                                   unsigned *options_records)
{
    *templates = *options_templates = *options_records = 0;
    for (unsigned i = 0; i < sink.count; i++) {
        const struct datagram *datagram = &sink.datagrams[i];
        unsigned count = 0;
        ck_assert_uint_eq(datagram->records, 0);
        ck_assert_uint_le(datagram->octets, config.max_datagram);
        uint64_t at = PACKET_HEADER_OCTETS;
        while (at < datagram->octets) {
            uint64_t id = get(datagram->data + at, 2), octets = get(datagram->data + at + 2, 2);
            ck_assert_uint_ge(octets, 8);
            if (id == 0) {
                ck_assert_uint_eq(octets,
                                  8 + get(datagram->data + at + 6, 2) * 4); /* one template, no padding */
                ++*templates;
            } else if (id == 1) {
                uint64_t fields = get(datagram->data + at + 6, 2) + get(datagram->data + at + 8, 2);
                ck_assert_uint_eq(octets, 10 + fields);
                ++*options_templates;
            } else {
                ck_assert_uint_eq(octets % 4, 0);
                ++*options_records;
            }
            at += octets;
            count++;
        }
        ck_assert_uint_eq(at, datagram->octets);
        ck_assert_uint_eq(count_of(datagram), count);
    }
}

/* A flow of packets of each shape, 0 to 3. */
static inline struct flow any_packets(unsigned i)
{
    struct flow flow = i & 1 ? udp6_flow() : udp_flow();
    flow.kind = FLOW_PACKETS;
    flow.packets[FLOW_REPLY] = flow.octets[FLOW_REPLY] = 0;
    if (i & 2)
        flow.protocol = i & 1 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    flow.tos[FLOW_ORIGINAL] = 0xb8;
    flow.tcp_flags[FLOW_ORIGINAL] = 0x1b;
    flow.ttl.min = 61;
    flow.ttl.max = 64;
    flow.vlan[FLOW_ORIGINAL] = 0x234;
    flow.in_interface[FLOW_ORIGINAL] = 5;
    flow.out_interface[FLOW_ORIGINAL] = 6;
    memcpy(flow.link_source[FLOW_ORIGINAL], "\x02\0\0\0\0\1", 6);
    memcpy(flow.link_source[FLOW_REPLY], "\x02\0\0\0\0\2", 6);
    flow.has |= FLOW_HAS_INTERFACES | FLOW_EGRESS | FLOW_HAS_TOS | FLOW_HAS_TTL | FLOW_HAS_TCP_FLAGS |
                FLOW_HAS_VLAN | 3 * FLOW_HAS_LINK_SOURCE;
    return flow;
}

/* A flow of each shape, 0 to 15. */
static inline struct flow any_shape(unsigned i)
{
    struct flow flow = i & 1 ? udp6_flow() : udp_flow();
    if (i & 2)
        flow.tuple[FLOW_REPLY].dst.v6[3] ^= 1;
    if (i & 4)
        flow.protocol = i & 1 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    if (i & 8)
        flow.has &= ~(uint32_t)FLOW_HAS_COUNTERS;
    return flow;
}
