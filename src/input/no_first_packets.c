/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for first_packets.c where the BPF program is not built (CTFLOW9_BPF). */
#include "ctflow9/input/first_packets.h"

#include <errno.h>
#include <stddef.h>

int first_packets_open(struct first_packets **packets, uint32_t connections_max)
{
    (void)packets, (void)connections_max;
    return -EOPNOTSUPP;
}

void first_packets_close(struct first_packets *packets)
{
    (void)packets;
}

const char *first_packets_reason(int error)
{
    (void)error;
    return "this ctflow9 was built without BPF programs (CTFLOW9_BPF)";
}

void first_packets_see_clock(struct first_packets *packets)
{
    (void)packets;
}

uint64_t first_packets_evicted(const struct first_packets *packets)
{
    (void)packets;
    return 0;
}

const struct first_packets_table *first_packets_table(const struct first_packets *packets)
{
    (void)packets;
    return NULL;
}
