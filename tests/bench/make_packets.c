/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sends UDP datagrams over the loopback device, to addresses of 127.0.0.0/8 in turn: one for each flow. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, PORT = 9, PAYLOAD_OCTETS = 100 };

/* Spreads the flows, so that neighbours do not come one after the other. */
static uint32_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

int main(int argc, char **argv)
{
    static uint8_t payload[PAYLOAD_OCTETS];
    struct iovec vector = {payload, sizeof(payload)};
    struct sockaddr_in to[BATCH];
    struct mmsghdr messages[BATCH];
    uint64_t state = 88172645463325252U;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (argc != 3 || fd < 0) {
        fputs("Usage: make_packets PACKETS FLOWS\n", stderr);
        return 1;
    }
    uint32_t flows = (uint32_t)strtoul(argv[2], NULL, 10);
    for (unsigned i = 0; i < BATCH; i++) {
        to[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT)};
        messages[i] = (struct mmsghdr){
            .msg_hdr = {
                .msg_name = &to[i], .msg_namelen = sizeof(to[i]), .msg_iov = &vector, .msg_iovlen = 1}};
    }
    for (unsigned long left = strtoul(argv[1], NULL, 10); left > 0;) {
        unsigned count = left < BATCH ? (unsigned)left : BATCH;
        for (unsigned i = 0; i < count; i++)
            to[i].sin_addr.s_addr = htonl((uint32_t)0x7f010000 + next(&state) % flows);
        int sent = sendmmsg(fd, messages, count, 0);
        if (sent < 0) {
            perror("make_packets");
            return 1;
        }
        left -= (unsigned)sent;
    }
    return 0;
}
