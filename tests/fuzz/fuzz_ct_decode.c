/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any octets as a conntrack message: with the length that they claim, and with the length that they have. The
 * seeds in fuzz_ct_decode/ are the kernel's: oracle --write-corpus fuzz_ct_decode.
 */
#include "ctflow9/input/ct_decode.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_flow(const struct flow *flow)
{
    require(flow->family == AF_INET || flow->family == AF_INET6);
    require(flow->end_reason == 0);
    require(flow_has(flow, FLOW_HAS_START) || flow->start_ns == 0);
    require(flow_has(flow, FLOW_HAS_STOP) || flow->stop_ns == 0);
    require(flow_has(flow, FLOW_HAS_STATUS) || flow->status == 0);
    require(flow_has(flow, FLOW_HAS_TIMEOUT) || flow->timeout_s == 0);
    require(flow_has(flow, FLOW_HAS_TCP_STATE) || flow->tcp_state == 0);
    for (int i = 0; i < 2; i++) {
        require(flow_has(flow, FLOW_HAS_COUNTERS) || (flow->packets[i] | flow->octets[i]) == 0);
        for (size_t octet = sizeof(be32); flow->family == AF_INET && octet < 16; octet++)
            require(flow->tuple[i].src.v6[octet] == 0 && flow->tuple[i].dst.v6[octet] == 0);
    }
}

/* Whether every member is the same; there is a hole in front of vlan. */
static bool same(const struct flow *a, const struct flow *b)
{
    const size_t before = offsetof(struct flow, link_source) + sizeof(a->link_source);
    const size_t after = offsetof(struct flow, vlan);

    return memcmp(a, b, before) == 0 &&
           memcmp((const char *)a + after, (const char *)b + after, sizeof(*a) - after) == 0;
}

/*
 * The message's first length octets, in a block that ends there; by a decoder that remembers what came
 * before, and by one that has seen nothing.
 */
static void decode(const uint8_t *data, uint32_t length)
{
    const size_t octets = length < sizeof(struct nlmsghdr) ? sizeof(struct nlmsghdr) : length;
    struct nlmsghdr *message = malloc(octets);
    static struct ct_decoder *experienced;
    struct ct_decoder *fresh;
    struct flow flow, again;

    require(experienced != NULL || ct_decoder_open(&experienced) == 0);
    require(ct_decoder_open(&fresh) == 0);
    require(message != NULL);
    memcpy(message, data, octets);
    message->nlmsg_len = length;
    memset(&flow, 0, sizeof(flow));
    memset(&again, 0xff, sizeof(again));
    const int result = ct_decode(fresh, message, &flow);
    require(result == 0 || result == -EBADMSG);
    require(ct_decode(experienced, message, &again) == result);
    if (result == 0) {
        check_flow(&flow);
        require(same(&flow, &again)); /* no member was left as it had been */
    }
    ct_decoder_close(fresh);
    free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
    struct nlmsghdr header;

    if (octets < sizeof(header))
        return 0;
    memcpy(&header, data, sizeof(header));
    if (header.nlmsg_len <= octets)
        decode(data, header.nlmsg_len);
    decode(data, (uint32_t)octets);
    return 0;
}
