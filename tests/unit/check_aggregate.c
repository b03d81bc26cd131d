/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/aggregate.h"

#include <arpa/inet.h>
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/netflow/fields.h"

#include "run_suite.h"

#define START_NS (1000 * NS_PER_S + 1) /* monotonic; nearly a second before a whole one */

enum {
    RECORD_OCTETS = offsetof(struct record, destination_prefix_bits) + 1, /* without padding */
    LEFT_MAX = 20000
};

#define ALL_KEYS                                                                            \
    (AGGREGATE_KEY_SPORT | AGGREGATE_KEY_DPORT | AGGREGATE_KEY_PROTO | AGGREGATE_KEY_MARK | \
     AGGREGATE_KEY_ZONE | AGGREGATE_KEY_NAT | AGGREGATE_KEY_IN | AGGREGATE_KEY_OUT)

/* Records that left, in their order. */
static struct left {
    unsigned shape;
    struct record record;
} left[LEFT_MAX];
static size_t left_count;

static struct aggregate_config config;
static struct stats stats;
static struct aggregate *aggregate;

static void collect(void *context, unsigned shape, struct record *record)
{
    if (context != left || left_count == LEFT_MAX) /* asserting takes memory, which is measured below */
        ck_abort();
    left[left_count++] = (struct left){shape, *record};
    memset(record, 0xa5, sizeof(*record)); /* it may be changed */
}

static void setup(void)
{
    stats = (struct stats){0};
    left_count = 0;
    aggregate = NULL;
    config = (struct aggregate_config){.interval_s = 60, .capacity = 1000, .stats = &stats};
}

static void teardown(void)
{
    aggregate_close(aggregate);
}

static void open_by(struct aggregate_by by)
{
    config.by = by;
    ck_assert_int_eq(aggregate_open(&aggregate, &config, collect, left), 0);
}

/* Every end and everything else. */
static struct aggregate_by all(void)
{
    return (struct aggregate_by){.keys = ALL_KEYS,
                                 .source_ipv4_bits = 32,
                                 .source_ipv6_bits = 128,
                                 .destination_ipv4_bits = 32,
                                 .destination_ipv6_bits = 128};
}

static struct record udp_record(void)
{
    return (struct record){.ends.source_ipv4 = inet_addr("10.1.2.3"),
                           .ends.destination_ipv4 = inet_addr("192.0.2.53"),
                           .ends.source_port = htons(40000),
                           .ends.destination_port = htons(53),
                           .protocol = IPPROTO_UDP,
                           .ip_version = 4,
                           .flow_end_reason = FLOW_END_IDLE_TIMEOUT,
                           .octets = htobe64(100),
                           .packets = htobe64(1),
                           .start_ms = htobe64(5000),
                           .end_ms = htobe64(6000)};
}

static struct record udp6_record(void)
{
    struct record record = udp_record();
    record.ends.source_ipv4 = record.ends.destination_ipv4 = 0;
    record.ip_version = 6;
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8:1:2::3", record.ends.source_ipv6), 1);
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8:aaaa:bbbb::53", record.ends.destination_ipv6), 1);
    return record;
}

START_TEST(equal_records_become_one)
{
    open_by((struct aggregate_by){
        .keys = AGGREGATE_KEY_PROTO, .source_ipv4_bits = 32, .destination_ipv4_bits = 32});
    struct record record = udp_record();
    aggregate_add(aggregate, 0, &record, START_NS);
    record.ends.source_port = htons(40001);
    record.flow_end_reason = FLOW_END_FORCED;
    record.octets = htobe64(UINT64_C(0x100000000));
    record.packets = htobe64(20);
    record.start_ms = htobe64(4000);
    record.end_ms = htobe64(5500);
    aggregate_add(aggregate, 0, &record, START_NS);
    record.octets = record.packets = htobe64(0);
    record.start_ms = htobe64(4500);
    record.end_ms = htobe64(7000);
    aggregate_add(aggregate, 0, &record, START_NS);
    aggregate_flush(aggregate);

    ck_assert_uint_eq(left_count, 1);
    const struct record want = {.ends.source_ipv4 = inet_addr("10.1.2.3"),
                                .ends.destination_ipv4 = inet_addr("192.0.2.53"),
                                .protocol = IPPROTO_UDP,
                                .ip_version = 4,
                                .flow_end_reason = FLOW_END_FORCED,
                                .octets = htobe64(UINT64_C(0x100000064)),
                                .packets = htobe64(21),
                                .flows = htobe32(3),
                                .start_ms = htobe64(4000),
                                .end_ms = htobe64(7000),
                                .source_prefix_bits = 32,
                                .destination_prefix_bits = 32};
    ck_assert_uint_eq(left[0].shape, 0);
    ck_assert_mem_eq(&left[0].record, &want, RECORD_OCTETS);
    ck_assert_uint_eq(stats.aggregates_early, 0);
}
END_TEST

/* A record that differs in one member of which somebody may want to tell apart, and the keys that do. */
static const struct difference {
    size_t offset;
    uint32_t keys;        /* enum aggregate_key */
    unsigned source_bits; /* of an IPv4 address, at least */
    unsigned destination_bits;
    unsigned shape;
} differences[] = {
    {offsetof(struct record, ends.source_ipv4) + 3, 0, 25, 0, 0},
    {offsetof(struct record, ends.source_ipv4), 0, 1, 0, 0},
    {offsetof(struct record, ends.destination_ipv4) + 3, 0, 0, 25, 0},
    {offsetof(struct record, ends.source_port), AGGREGATE_KEY_SPORT, 0, 0, 0},
    {offsetof(struct record, ends.destination_port) + 1, AGGREGATE_KEY_DPORT, 0, 0, 0},
    {offsetof(struct record, protocol), AGGREGATE_KEY_PROTO, 0, 0, 0},
    {offsetof(struct record, mark) + 7, AGGREGATE_KEY_MARK, 0, 0, 0},
    {offsetof(struct record, vrf_id) + 3, AGGREGATE_KEY_ZONE, 0, 0, 0},
    {offsetof(struct record, ingress_interface) + 3, AGGREGATE_KEY_IN, 0, 0, 0},
    {offsetof(struct record, egress_interface), AGGREGATE_KEY_OUT, 0, 0, 0},
    {offsetof(struct record, flow_direction), 0, 0, 0, 0},
    {offsetof(struct record, post_nat.source_ipv4) + 2, AGGREGATE_KEY_NAT, 17, 0, SHAPE_NAT},
    {offsetof(struct record, post_nat.destination_ipv4) + 2, AGGREGATE_KEY_NAT, 0, 17, SHAPE_NAT},
    {offsetof(struct record, post_nat.source_port), AGGREGATE_KEY_NAT | AGGREGATE_KEY_SPORT, 0, 0, SHAPE_NAT},
    {offsetof(struct record, post_nat.destination_port), AGGREGATE_KEY_NAT | AGGREGATE_KEY_DPORT, 0, 0,
     SHAPE_NAT},
    {offsetof(struct record, icmp_type_code), AGGREGATE_KEY_DPORT, 0, 0, SHAPE_ICMP},
};

static size_t count_apart(struct aggregate_by by, const struct difference *difference)
{
    left_count = 0;
    open_by(by);
    unsigned shape = difference->shape & aggregate_shape(&by, SHAPE_OF_FLOW);
    struct record record = udp_record();
    aggregate_add(aggregate, shape, &record, START_NS);
    *((uint8_t *)&record + difference->offset) ^= 0x80;
    aggregate_add(aggregate, shape, &record, START_NS);
    aggregate_flush(aggregate);
    aggregate_close(aggregate);
    aggregate = NULL;
    return left_count;
}

/* The keys that tell them apart are enough, each of them is needed, and all others do not. */
START_TEST(keys_tell_apart)
{
    const struct difference *difference = &differences[_i];
    struct aggregate_by with = {.keys = difference->keys,
                                .source_ipv4_bits = (uint8_t)difference->source_bits,
                                .destination_ipv4_bits = (uint8_t)difference->destination_bits};
    ck_assert_uint_eq(count_apart(with, difference), 2);
    ck_assert_uint_eq(count_apart(all(), difference), 2);
    for (unsigned key = 1; key < ALL_KEYS; key <<= 1) {
        if ((difference->keys & key) == 0)
            continue;
        struct aggregate_by without = all();
        without.keys &= ~key;
        ck_assert_uint_eq(count_apart(without, difference), 1);
    }
    struct aggregate_by without = all();
    if (difference->source_bits > 0)
        without.source_ipv4_bits = (uint8_t)(difference->source_bits - 1);
    if (difference->destination_bits > 0)
        without.destination_ipv4_bits = (uint8_t)(difference->destination_bits - 1);
    if (difference->source_bits + difference->destination_bits > 0)
        ck_assert_uint_eq(count_apart(without, difference), 1);
}
END_TEST

/* The field table says it of each: two records that differ in one field alone. */
START_TEST(fields_merge_as_the_table_says)
{
    const struct field *field = &fields_connection.fields[_i];
    const struct aggregate_by by = all();
    unsigned shape = field->with & SHAPE_OF_FLOW;
    if ((aggregate_shape(&by, shape) & field->with) != field->with)
        return; /* --fields times, and prefixes' lengths */

    struct record record = udp_record();
    uint8_t *last_octet = (uint8_t *)&record + field->offset + field->octets - 1;
    open_by(by);
    memset((uint8_t *)&record + field->offset, 0, field->octets);
    for (uint8_t value = 1; value <= 2; value++) {
        *last_octet = value;
        aggregate_add(aggregate, shape, &record, START_NS);
    }
    aggregate_flush(aggregate);
    bool told_apart = field->merge != FIELD_SUM && field->merge != FIELD_FIRST &&
                      field->merge != FIELD_LAST && field->merge != FIELD_MADE;
    ck_assert_uint_eq(left_count, told_apart ? 2 : 1);
    uint8_t got = ((const uint8_t *)&left[0].record)[field->offset + field->octets - 1U];
    if (told_apart)
        ck_assert_uint_eq(got, 1);
    else if (field->merge == FIELD_SUM)
        ck_assert_uint_eq(got, 3);
}
END_TEST

/* When no key asks for them, so that an aggregate is of many: not known. */
START_TEST(interfaces_are_of_many)
{
    struct aggregate_by by = all();
    by.keys &= ~(uint32_t)(AGGREGATE_KEY_IN | AGGREGATE_KEY_OUT);
    open_by(by);
    struct record record = udp_record();
    for (uint32_t i = 1; i <= 3; i++) {
        record.ingress_interface = htobe32(i);
        record.egress_interface = htobe32(10 - i);
        aggregate_add(aggregate, 0, &record, START_NS);
    }
    aggregate_flush(aggregate);
    ck_assert_uint_eq(left_count, 1);
    ck_assert_uint_eq(left[0].record.ingress_interface, 0);
    ck_assert_uint_eq(left[0].record.egress_interface, 0);
}
END_TEST

START_TEST(addresses_are_cut_to_their_prefix)
{
    open_by((struct aggregate_by){.source_ipv4_bits = 20,
                                  .source_ipv6_bits = 49,
                                  .destination_ipv6_bits = 128,
                                  .keys = AGGREGATE_KEY_NAT});
    struct record record = udp_record();
    record.ends.source_ipv4 = record.post_nat.source_ipv4 = inet_addr("10.255.255.255");
    aggregate_add(aggregate, SHAPE_NAT, &record, START_NS);
    record = udp6_record();
    memset(record.ends.source_ipv6 + 4, 0xff, 12);
    aggregate_add(aggregate, SHAPE_IPV6, &record, START_NS);
    aggregate_flush(aggregate);

    ck_assert_uint_eq(left_count, 2);
    const struct record *ipv4 = &left[0].record, *ipv6 = &left[1].record;
    ck_assert_uint_eq(ipv4->ends.source_ipv4, inet_addr("10.255.240.0"));
    ck_assert_uint_eq(ipv4->post_nat.source_ipv4, inet_addr("10.255.240.0"));
    ck_assert_uint_eq(ipv4->ends.destination_ipv4, 0);
    ck_assert_uint_eq(ipv4->source_prefix_bits, 20);
    ck_assert_uint_eq(ipv4->destination_prefix_bits, 0);
    uint8_t want[16];
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8:ffff:8000::", want), 1);
    ck_assert_mem_eq(ipv6->ends.source_ipv6, want, 16);
    ck_assert_mem_eq(ipv6->ends.destination_ipv6, record.ends.destination_ipv6, 16);
    ck_assert_uint_eq(ipv6->source_prefix_bits, 49);
    ck_assert_uint_eq(ipv6->destination_prefix_bits, 128);
}
END_TEST

/* Families, translated or not, ICMP or not, with counters or without: other templates. */
START_TEST(shapes_are_kept_apart)
{
    open_by(all());
    struct record record = {0};
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < SHAPES_OF_FLOW; i++)
            aggregate_add(aggregate, shape_at(i), &record, START_NS);
    aggregate_flush(aggregate);
    ck_assert_uint_eq(left_count, SHAPES_OF_FLOW);
    for (unsigned i = 0; i < SHAPES_OF_FLOW; i++) {
        ck_assert_uint_eq(left[i].shape, shape_at(i));
        ck_assert_uint_eq(be32toh(left[i].record.flows), 3);
    }
}
END_TEST

static uint64_t deadline_ns(void)
{
    struct poll_set set;
    poll_set_clear(&set);
    aggregate_wants(aggregate, &set);
    return set.deadline_ns;
}

static void add_from_port(uint16_t port, uint64_t now_ns)
{
    struct record record = udp_record();
    record.ends.source_port = htons(port);
    aggregate_add(aggregate, 0, &record, now_ns);
}

START_TEST(each_leaves_when_its_interval_is_over)
{
    open_by(all());
    ck_assert_uint_eq(deadline_ns(), POLL_SET_NEVER);
    add_from_port(1, START_NS);
    add_from_port(2, START_NS + NS_PER_S / 2); /* in the same second */
    add_from_port(3, START_NS + NS_PER_S);
    add_from_port(1, START_NS + 30 * NS_PER_S); /* its interval has begun already */
    ck_assert_uint_eq(deadline_ns(), 1061 * NS_PER_S);

    aggregate_run(aggregate, 1061 * NS_PER_S - 1);
    ck_assert_uint_eq(left_count, 0);
    aggregate_run(aggregate, 1061 * NS_PER_S);
    ck_assert_uint_eq(left_count, 2);
    ck_assert_uint_eq(ntohs(left[0].record.ends.source_port), 1);
    ck_assert_uint_eq(be32toh(left[0].record.flows), 2);
    ck_assert_uint_eq(left[0].record.flow_end_reason, FLOW_END_ACTIVE_TIMEOUT);
    ck_assert_uint_eq(ntohs(left[1].record.ends.source_port), 2);
    ck_assert_uint_eq(deadline_ns(), 1062 * NS_PER_S);

    add_from_port(1, 1061 * NS_PER_S); /* a new one, from a whole second on */
    aggregate_run(aggregate, 1062 * NS_PER_S);
    ck_assert_uint_eq(left_count, 3);
    ck_assert_uint_eq(ntohs(left[2].record.ends.source_port), 3);
    ck_assert_uint_eq(deadline_ns(), 1121 * NS_PER_S);
    aggregate_run(aggregate, 2000 * NS_PER_S);
    ck_assert_uint_eq(left_count, 4);
    ck_assert_uint_eq(be32toh(left[3].record.flows), 1);
    ck_assert_uint_eq(deadline_ns(), POLL_SET_NEVER);
    aggregate_run(aggregate, 3000 * NS_PER_S);
    ck_assert_uint_eq(left_count, 4);
}
END_TEST

/* Many that are due leave in turns, and none is left behind. */
START_TEST(many_leave_in_turns)
{
    enum { MANY = 15000 };
    config.capacity = MANY;
    open_by(all());
    for (uint16_t port = 0; port < MANY; port++)
        add_from_port(port, START_NS);
    const uint64_t now_ns = 1061 * NS_PER_S;
    aggregate_run(aggregate, now_ns);
    ck_assert_uint_gt(left_count, 0);
    ck_assert_uint_lt(left_count, MANY);
    unsigned turns = 1;
    for (; deadline_ns() <= now_ns; turns++)
        aggregate_run(aggregate, now_ns);
    ck_assert_uint_eq(left_count, MANY);
    ck_assert_uint_lt(turns, 10);
    ck_assert_uint_eq(stats.aggregates_early, 0);
}
END_TEST

START_TEST(when_full_the_oldest_leaves_early)
{
    config.capacity = 3;
    open_by(all());
    for (uint16_t port = 1; port <= 3; port++)
        add_from_port(port, START_NS);
    add_from_port(1, START_NS);
    ck_assert_uint_eq(left_count, 0);
    add_from_port(4, START_NS);
    ck_assert_uint_eq(left_count, 1);
    ck_assert_uint_eq(stats.aggregates_early, 1);
    ck_assert_uint_eq(ntohs(left[0].record.ends.source_port), 1);
    ck_assert_uint_eq(be32toh(left[0].record.flows), 2);
    ck_assert_uint_eq(left[0].record.flow_end_reason, FLOW_END_LACK_OF_RESOURCES);
    add_from_port(1, START_NS);
    ck_assert_uint_eq(left_count, 2);
    ck_assert_uint_eq(ntohs(left[1].record.ends.source_port), 2);
    ck_assert_uint_eq(stats.aggregates, 3);
    ck_assert_uint_eq(stats.aggregates_limit, 3);
    aggregate_flush(aggregate);
    ck_assert_uint_eq(left_count, 5);
    ck_assert_uint_eq(stats.aggregates_early, 2);
    ck_assert_uint_eq(stats.aggregates, 0);
    ck_assert_uint_eq(left[4].record.flow_end_reason, FLOW_END_FORCED);
}
END_TEST

static long resident_octets(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A large table of which little is used at a time. */
START_TEST(memory_is_touched_as_far_as_it_fills)
{
    enum { ROUNDS = 10000, AT_A_TIME = 10 };
    config.capacity = ROUNDS * AT_A_TIME;
    open_by(all());
    long before = resident_octets();
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint16_t port = 0; port < AT_A_TIME; port++)
            add_from_port(port, START_NS);
        left_count = 0;
        aggregate_flush(aggregate);
    }
    ck_assert_uint_eq(left_count, AT_A_TIME);
    ck_assert_int_lt(resident_octets() - before, 4 << 20); /* all would be 22 MiB */
}
END_TEST

/* ---- any records under any keys, beside a list that is gone through from its beginning ---- */

struct expected {
    unsigned shape;
    struct record key;
    uint64_t octets, packets, flows, start_ms, end_ms;
};

static struct expected expected[LEFT_MAX];
static size_t expected_count;

static unsigned any(unsigned count)
{
    return (unsigned)rand() % count;
}

static void cut(void *to, const void *from, unsigned bits)
{
    for (unsigned i = 0; i < bits; i++)
        ((uint8_t *)to)[i / 8] |= (uint8_t)(((const uint8_t *)from)[i / 8] & 0x80 >> i % 8);
}

/* What is left of a record in its aggregate, member by member. */
static struct record key_of(const struct aggregate_by *by, unsigned shape, const struct record *record)
{
    bool ipv6 = shape & SHAPE_IPV6, nat = by->keys & AGGREGATE_KEY_NAT && shape & SHAPE_NAT;
    struct record key = {.ip_version = record->ip_version,
                         .source_prefix_bits = ipv6 ? by->source_ipv6_bits : by->source_ipv4_bits,
                         .destination_prefix_bits =
                             ipv6 ? by->destination_ipv6_bits : by->destination_ipv4_bits};
    if (ipv6) {
        cut(key.ends.source_ipv6, record->ends.source_ipv6, by->source_ipv6_bits);
        cut(key.ends.destination_ipv6, record->ends.destination_ipv6, by->destination_ipv6_bits);
    } else {
        cut(&key.ends.source_ipv4, &record->ends.source_ipv4, by->source_ipv4_bits);
        cut(&key.ends.destination_ipv4, &record->ends.destination_ipv4, by->destination_ipv4_bits);
    }
    if (nat && ipv6) {
        cut(key.post_nat.source_ipv6, record->post_nat.source_ipv6, by->source_ipv6_bits);
        cut(key.post_nat.destination_ipv6, record->post_nat.destination_ipv6, by->destination_ipv6_bits);
    } else if (nat) {
        cut(&key.post_nat.source_ipv4, &record->post_nat.source_ipv4, by->source_ipv4_bits);
        cut(&key.post_nat.destination_ipv4, &record->post_nat.destination_ipv4, by->destination_ipv4_bits);
    }
    if (by->keys & AGGREGATE_KEY_SPORT) {
        key.ends.source_port = record->ends.source_port;
        key.post_nat.source_port = nat ? record->post_nat.source_port : 0;
    }
    if (by->keys & AGGREGATE_KEY_DPORT) {
        key.ends.destination_port = record->ends.destination_port;
        key.post_nat.destination_port = nat ? record->post_nat.destination_port : 0;
    }
    if (by->keys & AGGREGATE_KEY_DPORT && shape & SHAPE_ICMP) {
        key.icmp_type_code = ipv6 ? 0 : record->icmp_type_code;
        key.icmpv6_type = ipv6 ? record->icmpv6_type : 0;
        key.icmpv6_code = ipv6 ? record->icmpv6_code : 0;
    }
    key.protocol = by->keys & AGGREGATE_KEY_PROTO ? record->protocol : 0;
    key.mark = by->keys & AGGREGATE_KEY_MARK ? record->mark : 0;
    key.vrf_id = by->keys & AGGREGATE_KEY_ZONE ? record->vrf_id : 0;
    return key;
}

static struct expected *find(unsigned shape, const struct record *key)
{
    size_t i = 0;
    while (i < expected_count &&
           (expected[i].shape != shape || memcmp(&expected[i].key, key, RECORD_OCTETS) != 0))
        i++;
    return i < expected_count ? &expected[i] : NULL;
}

static void expect(const struct aggregate_by *by, unsigned shape, const struct record *record)
{
    struct record key = key_of(by, shape, record);
    struct expected *one = find(shape, &key);
    if (!one) {
        one = &expected[expected_count++];
        *one = (struct expected){.shape = shape, .key = key, .start_ms = UINT64_MAX};
    }
    uint64_t start_ms = be64toh(record->start_ms), end_ms = be64toh(record->end_ms);
    one->octets += be64toh(record->octets);
    one->packets += be64toh(record->packets);
    one->flows++;
    one->start_ms = start_ms < one->start_ms ? start_ms : one->start_ms;
    one->end_ms = end_ms > one->end_ms ? end_ms : one->end_ms;
}

/* Takes what left off the sums. */
static void settle(void)
{
    uint64_t start_ms[LEFT_MAX], end_ms[LEFT_MAX] = {0};
    memset(start_ms, 0xff, sizeof(start_ms));
    for (size_t i = 0; i < left_count; i++) {
        struct record got = left[i].record, key = got;
        key.octets = key.packets = key.start_ms = key.end_ms = 0;
        key.flows = 0;
        key.flow_end_reason = 0;
        struct expected *one = find(left[i].shape, &key);
        ck_assert_ptr_nonnull(one);
        one->octets -= be64toh(got.octets);
        one->packets -= be64toh(got.packets);
        one->flows -= be32toh(got.flows);
        size_t at = (size_t)(one - expected);
        start_ms[at] = be64toh(got.start_ms) < start_ms[at] ? be64toh(got.start_ms) : start_ms[at];
        end_ms[at] = be64toh(got.end_ms) > end_ms[at] ? be64toh(got.end_ms) : end_ms[at];
    }
    for (size_t i = 0; i < expected_count; i++) {
        ck_assert_uint_eq(expected[i].octets, 0);
        ck_assert_uint_eq(expected[i].packets, 0);
        ck_assert_uint_eq(expected[i].flows, 0);
        ck_assert_uint_eq(expected[i].start_ms, start_ms[i]);
        ck_assert_uint_eq(expected[i].end_ms, end_ms[i]);
    }
}

static struct aggregate_by any_keys(void)
{
    static const uint8_t ipv4[] = {0, 1, 8, 13, 24, 31, 32, 32}, ipv6[] = {0, 1, 48, 64, 65, 127, 128, 128};
    return (struct aggregate_by){.keys = any(ALL_KEYS + 1),
                                 .source_ipv4_bits = ipv4[any(8)],
                                 .source_ipv6_bits = ipv6[any(8)],
                                 .destination_ipv4_bits = ipv4[any(8)],
                                 .destination_ipv6_bits = ipv6[any(8)]};
}

/* An address that is seldom new, and differs from others in one bit at either end of an octet. */
static void any_address(uint8_t *address, unsigned octets)
{
    if (any(2))
        address[any(octets)] = any(2) ? 0x80 : 0x01;
}

/* Everything is set, also what the shape does not send. */
static struct record any_record(unsigned shape)
{
    struct record record = {.ends.source_port = htons((uint16_t)any(3)),
                            .ends.destination_port = htons((uint16_t)any(3)),
                            .protocol = (uint8_t)any(2),
                            .ip_version = shape & SHAPE_IPV6 ? 6 : 4,
                            .flow_end_reason = (uint8_t)any(5),
                            .octets = htobe64((uint64_t)rand() << any(20)),
                            .packets = htobe64(any(1000)),
                            .post_nat.source_port = htons((uint16_t)any(2)),
                            .post_nat.destination_port = htons((uint16_t)any(2)),
                            .icmp_type_code = htons((uint16_t)any(2)),
                            .icmpv6_type = (uint8_t)any(2),
                            .icmpv6_code = (uint8_t)any(2),
                            .mark = htobe64(any(2)),
                            .vrf_id = htobe32(any(2)),
                            .start_ms = htobe64(any(100000)),
                            .end_ms = htobe64(100000 + any(100000))};
    any_address(record.ends.source_ipv6, 16);
    any_address(record.ends.destination_ipv6, 16);
    any_address(record.post_nat.source_ipv6, 16);
    any_address(record.post_nat.destination_ipv6, 16);
    any_address((uint8_t *)&record.ends.source_ipv4, 4);
    any_address((uint8_t *)&record.ends.destination_ipv4, 4);
    any_address((uint8_t *)&record.post_nat.source_ipv4, 4);
    any_address((uint8_t *)&record.post_nat.destination_ipv4, 4);
    return record;
}

/* Capacities from one that is enough to one, and every other round all hashes the same. */
START_TEST(totals_are_kept)
{
    static const uint32_t capacities[] = {LEFT_MAX, LEFT_MAX, 1000, 64, 7, 2, 1};
    enum { CAPACITIES = sizeof(capacities) / sizeof(capacities[0]), RECORDS = 5000 };
    srand((unsigned)_i + 1);
    struct aggregate_by by = any_keys();
    config.capacity = capacities[_i / 2 % CAPACITIES];
    config.collide = _i % 2;
    open_by(by);
    expected_count = 0;
    bool time_passes = any(2);
    uint64_t now_ns = START_NS;
    for (unsigned i = 0; i < RECORDS; i++) {
        unsigned shape = shape_at(any(SHAPES_OF_FLOW)) & aggregate_shape(&by, SHAPE_OF_FLOW);
        struct record record = any_record(shape);
        expect(&by, shape, &record);
        aggregate_add(aggregate, shape, &record, now_ns);
        if (time_passes && any(10) == 0) {
            now_ns += any(2000) * NS_PER_MS;
            aggregate_run(aggregate, now_ns);
        }
    }
    aggregate_flush(aggregate);
    if (!time_passes && stats.aggregates_early == 0)
        ck_assert_uint_eq(left_count, expected_count);
    if (config.capacity == LEFT_MAX)
        ck_assert_uint_eq(stats.aggregates_early, 0);
    settle();
}
END_TEST

/* Entries of more than 2^32 octets are fewer modulo 2^32. */
START_TEST(refuses_what_does_not_fit)
{
    size_t most = SIZE_MAX / sizeof(struct record);
    for (config.capacity = 20000000; config.capacity < 60000000; config.capacity += 1000000) {
        int error = aggregate_open(&aggregate, &config, collect, left);
        ck_assert(error == -ENOMEM || (error == 0 && most >= config.capacity));
        if (!error)
            aggregate_close(aggregate);
    }
    aggregate = NULL;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aggregate");
    TCase *tests = tcase_create("aggregate");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, equal_records_become_one);
    tcase_add_loop_test(tests, keys_tell_apart, 0, sizeof(differences) / sizeof(differences[0]));
    tcase_add_loop_test(tests, fields_merge_as_the_table_says, 0, (int)fields_connection.count);
    tcase_add_test(tests, interfaces_are_of_many);
    tcase_add_test(tests, addresses_are_cut_to_their_prefix);
    tcase_add_test(tests, shapes_are_kept_apart);
    tcase_add_test(tests, each_leaves_when_its_interval_is_over);
    tcase_add_test(tests, many_leave_in_turns);
    tcase_add_test(tests, when_full_the_oldest_leaves_early);
    tcase_add_test(tests, memory_is_touched_as_far_as_it_fills);
    tcase_add_test(tests, refuses_what_does_not_fit);
    tcase_add_loop_test(tests, totals_are_kept, 0, 112);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
