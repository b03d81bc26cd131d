/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "ctflow9/flow/flow.h"

/* Flows as the tests of the text outputs want them. */

static inline void sample_tuple(struct flow_tuple *tuple, int family, const char *src, uint16_t src_port,
                                const char *dst, uint16_t dst_port)
{
    memset(tuple, 0, sizeof(*tuple));
    inet_pton(family, src, &tuple->src);
    inet_pton(family, dst, &tuple->dst);
    tuple->src_port = htobe16(src_port);
    tuple->dst_port = htobe16(dst_port);
}

/* An untranslated flow of 12 and 9 packets that ended 2026-11-23 14:03:07.123456789 UTC after 12.4 s. */
static inline struct flow sample_flow(uint8_t protocol, const char *src, uint16_t src_port, const char *dst,
                                      uint16_t dst_port)
{
    uint8_t family = strchr(src, ':') != NULL ? AF_INET6 : AF_INET;
    struct flow flow = {
        .family = family,
        .protocol = protocol,
        .packets = {12, 9},
        .octets = {3412, 120345},
        .start_ns = UINT64_C(1795442574723456789),
        .stop_ns = UINT64_C(1795442587123456789),
        .end_reason = FLOW_END_IDLE_TIMEOUT,
        .has = FLOW_HAS_COUNTERS | FLOW_HAS_START | FLOW_HAS_STOP,
    };
    sample_tuple(&flow.tuple[FLOW_ORIGINAL], family, src, src_port, dst, dst_port);
    sample_tuple(&flow.tuple[FLOW_REPLY], family, dst, dst_port, src, src_port);
    return flow;
}

/* Everything as long as it can be. */
static inline struct flow sample_longest_flow(void)
{
    static const char *const address = "1111:2222:3333:4444:5555:6666:7777:8888";
    struct flow flow = sample_flow(136, address, UINT16_MAX, address, UINT16_MAX);
    for (int direction = FLOW_ORIGINAL; direction <= FLOW_REPLY; direction++) {
        flow.packets[direction] = flow.octets[direction] = UINT64_MAX;
        flow.in_interface[direction] = flow.out_interface[direction] = UINT32_MAX;
    }
    sample_tuple(&flow.tuple[FLOW_REPLY], AF_INET6, "a111:2222:3333:4444:5555:6666:7777:8888", 54321,
                 "b111:2222:3333:4444:5555:6666:7777:8888", 54321);
    flow.start_ns = 0;
    flow.stop_ns = UINT64_MAX;
    flow.status = flow.mark = flow.id = flow.timeout_s = UINT32_MAX;
    flow.zone = UINT16_MAX;
    flow.tcp_state = 3;
    flow.end_reason = FLOW_END_LACK_OF_RESOURCES;
    flow.has = UINT32_MAX;
    return flow;
}
