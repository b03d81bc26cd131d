/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <arpa/inet.h>
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/wire.h"
#include "ctflow9/config/options.h"
#include "ctflow9/output/collectors.h"
#include "ctflow9/output/resolver.h"
#include "slow.h"

/*
 * What the tests of sending share: a struct collectors under an injected clock, numbered data datagrams, and
 * sockets that receive as collectors do. Each test runs in a process of its own, so one of everything is
 * enough.
 */

enum {
    RIG_WAIT_MS = 10000,
    RIG_FULL_OCTETS = 1396,  /* of a full data datagram */
    RIG_NUMBER_OFFSET = 24,  /* after NetFlow header and FlowSet header */
    RIG_DATA_TEMPLATE = 256, /* FlowSet id of data; templates are FlowSet 0 */
};

static struct options rig_options;
static struct stats rig_stats;
static struct packet *rig_packet;
static struct collectors *rig_udp;
static bool rig_probe;
static struct instant rig_now;
static unsigned rig_next_number;

static inline void rig_no_sink(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                               uint64_t ended_ms)
{
    (void)context, (void)datagram, (void)octets, (void)records, (void)ended_ms;
}

/* Before rig_open(), so that a test can change options. */
static inline void rig_setup(void)
{
    log_init(true);
    rig_options = (struct options){.max_datagram = 1400,
                                   .max_delay_ms = 1000,
                                   .queue = 65536,
                                   .template_refresh_s = 60,
                                   .template_datagrams = 20};
    rig_now = (struct instant){.wall_ns = UINT64_C(1800000000) * NS_PER_S, .monotonic_ns = 1000 * NS_PER_S};
}

static inline void rig_add_collector(const char *host, uint16_t port)
{
    struct host_port *collector = &rig_options.collectors[rig_options.collector_count++];
    snprintf(collector->host, sizeof(collector->host), "%s", host);
    collector->port = port;
}

static inline int rig_try_open(void)
{
    const struct packet_config packet_config = {
        .max_datagram = rig_options.max_datagram, .max_delay_ns = NS_PER_S, .stats = &rig_stats};
    ck_assert_int_eq(packet_open(&rig_packet, &packet_config, rig_now, rig_no_sink, NULL), 0);
    struct collectors_config config = {.peers = rig_options.collectors,
                                       .count = rig_options.collector_count,
                                       .each = {.max_rate = rig_options.max_rate,
                                                .queue = rig_options.queue,
                                                .template_refresh_s = rig_options.template_refresh_s,
                                                .template_datagrams = rig_options.template_datagrams},
                                       .max_datagram = rig_options.max_datagram,
                                       .packet = rig_packet,
                                       .probe = rig_probe};
    snprintf(config.each.source_address, sizeof(config.each.source_address), "%s",
             rig_options.source_address);
    return collectors_open(&rig_udp, &config, rig_now);
}

static inline void rig_open(void)
{
    ck_assert_int_eq(rig_try_open(), 0);
}

static inline void rig_teardown(void)
{
    collectors_close(rig_udp);
    packet_close(rig_packet);
}

static inline void rig_run(void)
{
    collectors_run(rig_udp, rig_now);
}

static inline void rig_run_after(uint64_t ns)
{
    rig_now.wall_ns += ns;
    rig_now.monotonic_ns += ns;
    rig_run();
}

static inline uint64_t rig_deadline_ns(void)
{
    struct poll_set set;
    poll_set_clear(&set);
    collectors_wants(rig_udp, &set);
    return set.deadline_ns;
}

/* Queues a data datagram that carries the next number, and returns that. */
static inline unsigned rig_queue_sized(size_t octets, unsigned records)
{
    uint8_t data[PACKET_OCTETS_MAX] = {0, 9};
    const uint16_t head[] = {htobe16(9), htobe16((uint16_t)records)};
    const uint16_t flowset[] = {htobe16(RIG_DATA_TEMPLATE),
                                htobe16((uint16_t)(octets - PACKET_HEADER_OCTETS))};
    const be32 number = htobe32(rig_next_number);
    memcpy(data, head, sizeof(head));
    memcpy(data + PACKET_HEADER_OCTETS, flowset, sizeof(flowset));
    memcpy(data + RIG_NUMBER_OFFSET, &number, sizeof(number));
    collectors_queue(rig_udp, data, octets, records, rig_now.wall_ns / NS_PER_MS);
    return rig_next_number++;
}

static inline unsigned rig_queue(unsigned records)
{
    return rig_queue_sized(RIG_FULL_OCTETS, records);
}

static inline const struct collector_stats *rig_collector(size_t index)
{
    return collectors_stats(rig_udp, index);
}

/* A receiving socket on host; port 0 takes any. */
static inline int rig_receiver(const char *host, uint16_t port)
{
    struct sockaddr_storage address;
    ck_assert_int_eq(host_port_numeric(host, port, &address), 0);
    int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    /* Forced where net.core.rmem_max is small; in a user namespace that is refused. */
    const int octets = 8 << 20, on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof(octets)) != 0)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof(octets)), 0);
    if (address.ss_family == AF_INET6)
        ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
    ck_assert_msg(bind(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_in6)) == 0, "bind: %s",
                  strerror(errno));
    return fd;
}

/* Whether receivers hold megabytes; says so when they do not, see rig_receiver(). */
static inline bool rig_holds_megabytes(void)
{
    int fd = rig_receiver("127.0.0.1", 0), octets;
    socklen_t size = sizeof(octets);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, &size), 0);
    close(fd);
    if (octets < 4 << 20)
        fprintf(stderr, "not tested, receive buffers: %d octets at most\n", octets);
    return octets >= 4 << 20;
}

static inline uint16_t rig_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t octets = sizeof(address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &octets), 0);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* More small datagrams than a socket's receive buffer holds by default. */
static inline void rig_flood(int fd, const struct sockaddr_storage *to)
{
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(struct sockaddr_in6)), 1);
}

/* From here on, messages go to a file; rig_log() gives all of them so far. */
static inline int rig_capture_log(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    return fd;
}

static inline const char *rig_log(int fd)
{
    static char text[16384];
    ssize_t octets = pread(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(octets, 0);
    text[octets] = '\0';
    return text;
}

static inline void rig_expect_log(int fd, const char *part)
{
    const char *text = rig_log(fd);
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

struct rig_datagram {
    bool templates;
    uint32_t sequence;
    unsigned number; /* of data */
    size_t octets;
    struct sockaddr_storage from;
};

static inline struct rig_datagram rig_decode(const uint8_t *data, size_t octets)
{
    ck_assert_uint_ge(octets, RIG_NUMBER_OFFSET + sizeof(be32));
    struct rig_datagram datagram = {.octets = octets};
    uint16_t flowset;
    be32 sequence, number;
    memcpy(&sequence, data + 12, sizeof(sequence));
    memcpy(&flowset, data + PACKET_HEADER_OCTETS, sizeof(flowset));
    memcpy(&number, data + RIG_NUMBER_OFFSET, sizeof(number));
    ck_assert_uint_eq(data[1], 9);
    datagram.sequence = be32toh(sequence);
    datagram.templates = be16toh(flowset) != RIG_DATA_TEMPLATE;
    datagram.number = be32toh(number);
    return datagram;
}

/* How long what must come is waited for. */
static inline int rig_wait_ms(void)
{
    return RIG_WAIT_MS * (int)slow_factor();
}

/* Takes a datagram that is there within wait_ms. */
static inline bool rig_receive(int fd, int wait_ms, struct rig_datagram *datagram)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, wait_ms) == 0)
        return false;
    uint8_t data[65536];
    struct sockaddr_storage from = {0};
    socklen_t from_octets = sizeof(from);
    ssize_t octets = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &from_octets);
    ck_assert_int_gt(octets, 0);
    *datagram = rig_decode(data, (size_t)octets);
    datagram->from = from;
    return true;
}

static inline struct rig_datagram rig_expect(int fd)
{
    struct rig_datagram datagram;
    ck_assert_msg(rig_receive(fd, rig_wait_ms(), &datagram), "no datagram came");
    return datagram;
}

static inline void rig_expect_templates(int fd, uint32_t sequence)
{
    struct rig_datagram datagram = rig_expect(fd);
    ck_assert_msg(datagram.templates, "data %u where templates were due", datagram.number);
    ck_assert_uint_eq(datagram.sequence, sequence);
}

static inline void rig_expect_data(int fd, uint32_t sequence, unsigned number)
{
    struct rig_datagram datagram = rig_expect(fd);
    ck_assert_msg(!datagram.templates, "templates where data %u was due", number);
    ck_assert_uint_eq(datagram.number, number);
    ck_assert_uint_eq(datagram.sequence, sequence);
}

/* Loopback delivers within the send: what is not there will not come. */
static inline void rig_expect_nothing(int fd)
{
    struct rig_datagram datagram;
    ck_assert_msg(!rig_receive(fd, 0, &datagram), "a datagram came that was not due: %s, sequence %u",
                  datagram.templates ? "templates" : "data", datagram.sequence);
}
