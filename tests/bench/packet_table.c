/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the flow cache costs alone: decoding, hashing, finding and adding up, for packets of so many flows. */
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/flow/flow_cache.h"
#include "ctflow9/input/packet_decode.h"

enum { PLACES = 262144, WARMING = 2000000, PACKETS = 4000000, CLOCK_EVERY = 4096, SNAP_OCTETS = 128 };

static void forget(void *context, const struct flow *flow)
{
    *(uint64_t *)context += flow->packets[FLOW_ORIGINAL];
}

static uint32_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* 0 flows: each packet is a new one. */
static void add(struct flow_cache *cache, struct wall_clock *clock, uint32_t count, uint32_t flows,
                uint64_t *state)
{
    static uint8_t data[FLOW_CACHE_BATCH][SNAP_OCTETS];
    static struct flow_packet packets[FLOW_CACHE_BATCH];
    static const uint8_t header[] = {0x45, 0, 0, SNAP_OCTETS, 0, 0, 0, 0, 64, IPPROTO_UDP};
    for (uint32_t i = 0; i < count; i += FLOW_CACHE_BATCH) {
        for (unsigned j = 0; j < FLOW_CACHE_BATCH; j++) {
            be32 source = flows ? next(state) % flows : (uint32_t)(*state += 1);
            memcpy(data[j], header, sizeof(header));
            memcpy(data[j] + 12, &source, sizeof(source));
            packet_decode(data[j], sizeof(data[j]), ETH_P_IP, &packets[j]);
        }
        if (i % CLOCK_EVERY == 0)
            wall_clock_watch(clock);
        flow_cache_add(cache, packets, FLOW_CACHE_BATCH);
    }
}

int main(int argc, char **argv)
{
    struct wall_clock clock;
    struct stats stats = {0};
    struct flow_cache *cache;
    uint64_t state = 88172645463325252U, forgotten = 0;
    uint32_t flows = argc == 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    if (argc != 2) {
        fputs("Usage: packet_table FLOWS\nPrints nanoseconds a packet; 0: every packet is a new flow.\n",
              stderr);
        return 1;
    }
    wall_clock_start(&clock);
    const struct flow_cache_config config = {.capacity = flows > PLACES ? flows : PLACES,
                                             .inactive_timeout_ns = 15 * NS_PER_S,
                                             .active_timeout_ns = 60 * NS_PER_S,
                                             .stats = &stats,
                                             .clock = &clock};
    if (flow_cache_open(&cache, &config, forget, &forgotten) != 0)
        return 1;
    add(cache, &clock, WARMING, flows, &state);
    uint64_t begin_ns = instant_read_clock(CLOCK_PROCESS_CPUTIME_ID);
    add(cache, &clock, PACKETS, flows, &state);
    printf("%.1f\n", (double)(instant_read_clock(CLOCK_PROCESS_CPUTIME_ID) - begin_ns) / PACKETS);
    flow_cache_close(cache);
    return 0;
}
