/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One collector by itself: its place in the ring, what it drops, its name. How several behave, and what
 * happens on their way: check_collectors.c and tests/kernel/check_udp_recovery.c. */
#include "ctflow9/output/collector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/netflow/packet_header.h"
#include "run_suite.h"

enum { OCTETS = 400, RECORDS = 5, QUEUE = 50 };

static struct collector_common common;
static struct stats stats;
static struct instant now;

static void no_sink(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                    uint64_t ended_ms)
{
    (void)context, (void)datagram, (void)octets, (void)records, (void)ended_ms;
}

static void setup(void)
{
    const struct packet_config packet = {.max_datagram = 1400, .max_delay_ns = NS_PER_S, .stats = &stats};
    now = (struct instant){.wall_ns = UINT64_C(1800000000) * NS_PER_S, .monotonic_ns = 1000 * NS_PER_S};
    common = (struct collector_common){
        .config = {.queue = QUEUE, .template_refresh_s = 60, .template_datagrams = 20},
        .source_family = AF_UNSPEC,
        .now_ns = now.monotonic_ns};
    ck_assert_int_eq(packet_open(&common.packet, &packet, now, no_sink, NULL), 0);
    ck_assert_int_eq(datagram_ring_open(&common.ring, 1 << 20, OCTETS), 0);
    ck_assert_int_eq(datagram_batch_open(&common.batch), 0);
    ck_assert_int_eq(resolver_open(&common.resolver), 0);
}

static void teardown(void)
{
    resolver_close(common.resolver);
    datagram_batch_close(common.batch);
    datagram_ring_close(common.ring);
    packet_close(common.packet);
}

static int receive_at(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static struct collector *open_collector(const char *host, uint16_t port)
{
    struct host_port peer = {.port = port};
    struct collector *collector;
    snprintf(peer.host, sizeof(peer.host), "%s", host);
    ck_assert_int_eq(collector_open(&collector, &peer, &common), 0);
    collector_begin(collector);
    return collector;
}

/* A data datagram: its FlowSet is 256. */
static void put_data(unsigned count)
{
    uint8_t datagram[OCTETS] = {0, 9};
    datagram[PACKET_HEADER_OCTETS] = 1;
    while (count-- > 0)
        datagram_ring_put(common.ring, datagram, sizeof(datagram), RECORDS, 0);
}

static void run(struct collector *collector)
{
    common.now_ns = now.monotonic_ns;
    collector_run(collector, now);
}

/* Takes what has arrived: data and templates by their FlowSet, each in its sequence. Returns how much data.
 */
static unsigned receive(int fd, unsigned *templates, uint32_t *sequence)
{
    uint8_t datagram[2048];
    unsigned data = 0;
    while (recv(fd, datagram, sizeof(datagram), 0) > PACKET_HEADER_OCTETS) {
        uint32_t wire;
        memcpy(&wire, datagram + 12, sizeof(wire));
        ck_assert_uint_eq(ntohl(wire), (*sequence)++);
        bool is_data = datagram[PACKET_HEADER_OCTETS] == 1;
        ck_assert_msg(!is_data || *templates > 0, "data before templates");
        data += is_data;
        *templates += !is_data;
    }
    return data;
}

START_TEST(starts_at_the_end_of_the_ring_with_templates)
{
    uint16_t port;
    unsigned templates = 0;
    uint32_t sequence = 0;
    int fd = receive_at(&port);
    put_data(3);
    struct collector *collector = open_collector("127.0.0.1", port);
    ck_assert_uint_eq(collector_position(collector), datagram_ring_end(common.ring));
    ck_assert(!collector_pending(collector));
    put_data(4);
    ck_assert(collector_pending(collector));
    run(collector);
    ck_assert(!collector_pending(collector));
    ck_assert_uint_eq(collector_position(collector), datagram_ring_end(common.ring));
    ck_assert_uint_eq(receive(fd, &templates, &sequence), 4);
    ck_assert_uint_gt(templates, 0);
    ck_assert_uint_eq(collector_stats(collector)->records, 4 * RECORDS);
    ck_assert_uint_eq(collector_stats(collector)->datagrams, 4 + templates);
    collector_close(collector);
    close(fd);
}
END_TEST

/* The gap in the sequence is the loss. */
START_TEST(what_it_drops_is_counted_and_seen)
{
    uint16_t port;
    unsigned templates = 0;
    uint32_t sequence = 0;
    int fd = receive_at(&port);
    struct collector *collector = open_collector("127.0.0.1", port);
    run(collector);
    ck_assert_uint_eq(receive(fd, &templates, &sequence), 0);
    put_data(3);
    uint64_t before = collector_position(collector);
    collector_drop(collector);
    ck_assert_uint_gt(collector_position(collector), before);
    ck_assert_uint_eq(collector_stats(collector)->records_dropped, RECORDS);
    ck_assert_uint_eq(collector_stats(collector)->datagrams_dropped, 1);
    run(collector);
    sequence++;
    ck_assert_uint_eq(receive(fd, &templates, &sequence), 2);
    collector_close(collector);
    close(fd);
}
END_TEST

START_TEST(is_trimmed_to_its_queue)
{
    struct collector *collector = open_collector("127.0.0.1", 9);
    put_data(QUEUE / RECORDS);
    collector_trim(collector);
    ck_assert_uint_eq(collector_stats(collector)->records_dropped, 0);
    put_data(3);
    collector_trim(collector);
    ck_assert_uint_eq(collector_stats(collector)->records_dropped, 3 * RECORDS);
    ck_assert_uint_eq(datagram_ring_records_from(common.ring, collector_position(collector)), QUEUE);
    collector_close(collector);
}
END_TEST

START_TEST(goes_where_the_ring_was_rewound_to)
{
    uint16_t port;
    unsigned templates = 0;
    uint32_t sequence = 0;
    int fd = receive_at(&port);
    struct collector *collector = open_collector("127.0.0.1", port);
    put_data(5);
    run(collector);
    collector_move(collector, datagram_ring_rewind(common.ring));
    ck_assert_uint_eq(collector_position(collector), datagram_ring_end(common.ring));
    put_data(2);
    run(collector);
    ck_assert_uint_eq(receive(fd, &templates, &sequence), 7);
    collector_close(collector);
    close(fd);
}
END_TEST

START_TEST(wants_the_time_of_its_templates)
{
    uint16_t port;
    struct poll_set set;
    unsigned templates = 0;
    uint32_t sequence = 0;
    int fd = receive_at(&port);
    struct collector *collector = open_collector("127.0.0.1", port);
    run(collector);
    receive(fd, &templates, &sequence);
    poll_set_clear(&set);
    collector_wants(collector, &set);
    ck_assert_uint_eq(set.deadline_ns, now.monotonic_ns + 60 * NS_PER_S);
    now.monotonic_ns += 60 * NS_PER_S;
    now.wall_ns += 60 * NS_PER_S;
    templates = 0;
    run(collector);
    ck_assert_uint_eq(receive(fd, &templates, &sequence), 0);
    ck_assert_uint_gt(templates, 0);
    collector_close(collector);
    close(fd);
}
END_TEST

START_TEST(is_called_as_it_was_given)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *name;
    } names[] = {
        {"127.0.0.1", 2055, "127.0.0.1:2055"}, {"::1", 9995, "[::1]:9995"}, {"a.invalid", 1, "a.invalid:1"}};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct collector *collector = open_collector(names[i].host, names[i].port);
        ck_assert_str_eq(collector_name(collector), names[i].name);
        collector_close(collector);
    }
    collector_close(NULL);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("collector");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, starts_at_the_end_of_the_ring_with_templates);
    tcase_add_test(tcase, what_it_drops_is_counted_and_seen);
    tcase_add_test(tcase, is_trimmed_to_its_queue);
    tcase_add_test(tcase, goes_where_the_ring_was_rewound_to);
    tcase_add_test(tcase, wants_the_time_of_its_templates);
    tcase_add_test(tcase, is_called_as_it_was_given);
    Suite *suite = suite_create("collector");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
