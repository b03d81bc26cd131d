/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/packet_decode.h"

#include <arpa/inet.h>
#include <check.h>
#include <linux/if_ether.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "run_suite.h"

enum { ROOM = 512 };

/* A packet in the making. */
static uint8_t data[ROOM];
static size_t octets;
static struct flow_packet packet;

static void put(const void *more, size_t count)
{
    ck_assert_uint_le(octets + count, ROOM);
    memcpy(data + octets, more, count);
    octets += count;
}

#define PUT(text) put(text, sizeof(text) - 1)

static void begin(void)
{
    octets = 0;
    memset(&packet, 0, sizeof(packet));
}

static void put_ipv4(uint16_t total, uint16_t fragment, uint8_t protocol)
{
    const uint8_t header[] = {0x45,
                              0xb8,
                              (uint8_t)(total >> 8),
                              (uint8_t)total,
                              0,
                              0,
                              (uint8_t)(fragment >> 8),
                              (uint8_t)fragment,
                              64,
                              protocol,
                              0,
                              0,
                              192,
                              0,
                              2,
                              1,
                              192,
                              0,
                              2,
                              2};
    put(header, sizeof(header));
}

static void put_ipv6(uint16_t payload, uint8_t next)
{
    uint8_t header[40] = {0x6b, 0x80, 0, 0, (uint8_t)(payload >> 8), (uint8_t)payload, next, 64};
    inet_pton(AF_INET6, "2001:db8::1", header + 8);
    inet_pton(AF_INET6, "2001:db8::2", header + 24);
    put(header, sizeof(header));
}

/* Ports 1000 and 53; as TCP: SYN and ACK. */
static void put_ports(void)
{
    PUT("\x03\xe8\x00\x35\0\0\0\0\0\0\0\0\x50\x12\0\0\0\0\0\0");
}

static enum packet_verdict decode(uint16_t ethertype)
{
    return packet_decode(data, octets, ethertype, &packet);
}

static void expect_ports(uint16_t source, uint16_t destination)
{
    ck_assert_uint_eq(ntohs(packet.key.src_port), source);
    ck_assert_uint_eq(ntohs(packet.key.dst_port), destination);
}

START_TEST(reads_ipv4)
{
    begin();
    put_ipv4(1500, 0, IPPROTO_TCP);
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    ck_assert_int_eq(packet.key.family, AF_INET);
    ck_assert_uint_eq(ntohl(packet.key.src.v4), 0xc0000201);
    ck_assert_uint_eq(ntohl(packet.key.dst.v4), 0xc0000202);
    ck_assert_uint_eq(packet.key.tos, 0xb8);
    ck_assert_uint_eq(packet.key.protocol, IPPROTO_TCP);
    ck_assert_uint_eq(packet.octets, 1500);
    ck_assert_uint_eq(packet.tcp_flags, TH_SYN | TH_ACK);
    ck_assert(!packet.has_link);
    expect_ports(1000, 53);
}
END_TEST

START_TEST(reads_behind_ipv4_options)
{
    begin();
    put_ipv4(60, 0, IPPROTO_UDP);
    data[0] = 0x4f;
    for (unsigned i = 0; i < 10; i++)
        PUT("\x01\x01\x01\x01");
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    ck_assert_uint_eq(packet.octets, 60);
    expect_ports(0, 0); /* the packet ends in front of them: what follows is padding */
    data[3] = 80;
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    expect_ports(1000, 53);
}
END_TEST

START_TEST(reads_icmp)
{
    begin();
    put_ipv4(28, 0, IPPROTO_ICMP);
    PUT("\x03\x0d\0\0\0\0\0\0");
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    expect_ports(0, 0x030d);
    begin();
    put_ipv6(8, IPPROTO_ICMPV6);
    PUT("\x80\x01\0\0\0\0\0\0");
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_IP);
    expect_ports(0, 0x8001);
}
END_TEST

START_TEST(gives_ports_to_the_first_fragment)
{
    begin();
    put_ipv4(60, 0x2000, IPPROTO_UDP);
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    expect_ports(1000, 53);
    data[7] = 1;
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    expect_ports(0, 0);
    ck_assert_uint_eq(packet.tcp_flags, 0);
    ck_assert_uint_eq(packet.octets, 60);

    begin();
    put_ipv6(28, IPPROTO_FRAGMENT);
    PUT("\x11\0\0\x01\0\0\0\0");
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_IP);
    ck_assert_uint_eq(packet.key.protocol, IPPROTO_UDP);
    expect_ports(1000, 53);
    data[43] = 8;
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_IP);
    ck_assert_uint_eq(packet.key.protocol, IPPROTO_UDP);
    expect_ports(0, 0);
}
END_TEST

START_TEST(reads_behind_extension_headers)
{
    begin();
    put_ipv6(200, IPPROTO_HOPOPTS);
    PUT("\x2b\0\x01\x04\0\0\0\0");                   /* hop by hop, routing next */
    PUT("\x33\0\0\0\0\0\0\0");                       /* routing, AH next */
    PUT("\x3c\x01\0\0\0\0\0\0\0\0\0\0");             /* AH of 12 octets, destination options next */
    PUT("\x06\x01\x01\x0c\0\0\0\0\0\0\0\0\0\0\0\0"); /* 16 octets, TCP next */
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_IP);
    ck_assert_uint_eq(packet.key.tos, 0xb8);
    ck_assert_uint_eq(packet.key.protocol, IPPROTO_TCP);
    ck_assert_uint_eq(packet.octets, 240);
    ck_assert_uint_eq(packet.tcp_flags, TH_SYN | TH_ACK);
    expect_ports(1000, 53);
}
END_TEST

START_TEST(tells_lengths_that_do_not_fit)
{
    begin();
    put_ipv4(0, 0, IPPROTO_TCP);
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_IP);
    ck_assert_uint_eq(packet.octets, 0);
    expect_ports(1000, 53);
    begin();
    put_ipv6(0, IPPROTO_HOPOPTS);
    PUT("\x06\0\xc2\x04\0\x01\x86\xa0"); /* a jumbogram of 100,000 */
    put_ports();
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_IP);
    ck_assert_uint_eq(packet.octets, 100040);
    expect_ports(1000, 53);
    begin();
    put_ipv6(0, IPPROTO_NONE);
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_IP);
    ck_assert_uint_eq(packet.octets, 40);
}
END_TEST

START_TEST(reads_ethernet_and_vlan_tags)
{
    begin();
    PUT("\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x88\xa8");
    PUT("\x20\x64\x81\x00"); /* 100, */
    PUT("\x00\x07\x08\x00"); /* and 7 in it */
    put_ipv4(28, 0, IPPROTO_UDP);
    put_ports();
    ck_assert_int_eq(decode(ETH_P_TEB), PACKET_IS_IP);
    ck_assert(packet.has_link);
    ck_assert_mem_eq(packet.link_source, "\x02\0\0\0\0\x01", 6);
    ck_assert_mem_eq(packet.link_destination, "\x02\0\0\0\0\x02", 6);
    ck_assert_uint_eq(packet.key.vlan, 100);
    expect_ports(1000, 53);
    packet.key.vlan = 9; /* the outer one was told apart */
    ck_assert_int_eq(packet_decode(data + 14, octets - 14, ETH_P_8021Q, &packet), PACKET_IS_IP);
    ck_assert_uint_eq(packet.key.vlan, 9);
}
END_TEST

START_TEST(leaves_out_what_is_not_ip)
{
    begin();
    PUT("\x00\x01\x08\x00\x06\x04\x00\x01");
    ck_assert_int_eq(decode(ETH_P_ARP), PACKET_IS_OTHER);
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_MALFORMED);
    ck_assert_int_eq(decode(ETH_P_IPV6), PACKET_IS_MALFORMED);
    ck_assert_int_eq(decode(ETH_P_TEB), PACKET_IS_MALFORMED);
    begin();
    put_ipv4(28, 0, IPPROTO_UDP);
    data[0] = 0x44; /* a header of 16 octets */
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_MALFORMED);
    data[0] = 0x65;
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_MALFORMED);
    data[0] = 0x45;
    data[3] = 19;
    ck_assert_int_eq(decode(ETH_P_IP), PACKET_IS_MALFORMED);
}
END_TEST

/* In a block that ends there: AddressSanitizer sees who reads on. Addresses are told as soon as they are
 * there.
 */
START_TEST(bears_truncation_at_every_octet)
{
    begin();
    put_ipv6(200, IPPROTO_HOPOPTS);
    PUT("\x2c\0\xc2\x04\0\0\0\0\x06\0\0\0\0\0\0\0");
    put_ports();
    for (size_t length = 0; length <= octets; length++) {
        uint8_t *block = malloc(length > 0 ? length : 1);
        memcpy(block, data, length);
        enum packet_verdict verdict = packet_decode(block, length, ETH_P_IPV6, &packet);
        ck_assert_int_eq(verdict, length < 40 ? PACKET_IS_MALFORMED : PACKET_IS_IP);
        expect_ports(length < 60 ? 0 : 1000, length < 60 ? 0 : 53);
        free(block);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("packet_decode");
    tcase_add_test(tcase, reads_ipv4);
    tcase_add_test(tcase, reads_behind_ipv4_options);
    tcase_add_test(tcase, reads_icmp);
    tcase_add_test(tcase, gives_ports_to_the_first_fragment);
    tcase_add_test(tcase, reads_behind_extension_headers);
    tcase_add_test(tcase, tells_lengths_that_do_not_fit);
    tcase_add_test(tcase, reads_ethernet_and_vlan_tags);
    tcase_add_test(tcase, leaves_out_what_is_not_ip);
    tcase_add_test(tcase, bears_truncation_at_every_octet);
    Suite *suite = suite_create("packet_decode");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
