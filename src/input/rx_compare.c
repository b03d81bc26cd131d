/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which backend takes less CPU depends on the processor: measured on Linux 6.18, all of ctflow9, the ring
 * took 7 % less than recvmmsg on one kind (Intel Xeon), 8 % more on another (AMD EPYC). So both receive some
 * thousand messages of an event's size, which ctflow9 sends to itself, in turn. A round is as many of them as
 * the receive buffer takes, which depends on what the kernel charges for one. The least time that a message
 * of a round took is compared: whatever disturbs a round only makes it longer.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/input/rx_compare.h"

enum {
    ROUNDS = 16,
    MESSAGES = 2 * RX_BATCH, /* in a round, at most */
    MESSAGE_OCTETS = 244
};

static int open_socket(struct sockaddr_nl *address)
{
    socklen_t octets = sizeof(*address);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_USERSOCK);
    if (fd < 0)
        return -errno;
    *address = (struct sockaddr_nl){.nl_family = AF_NETLINK};
    if (bind(fd, (struct sockaddr *)address, octets) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &octets) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* Returns how many found room, or -errno when none did. */
static int send_round(int sender, const struct sockaddr_nl *address)
{
    static const uint8_t message[MESSAGE_OCTETS];
    for (int sent = 0; sent < MESSAGES; sent++)
        if (sendto(sender, message, sizeof(message), 0, (const struct sockaddr *)address, sizeof(*address)) <
            0)
            return sent > 0 && errno == EAGAIN ? sent : -errno;
    return MESSAGES;
}

/* The CPU time that receiving a message takes, in ns, or -errno. */
static int64_t measure(struct rx *rx, int sender, const struct sockaddr_nl *address)
{
    int sent = send_round(sender, address);
    if (sent < 0)
        return sent;
    uint64_t before_ns = instant_read_clock(CLOCK_THREAD_CPUTIME_ID);
    for (int left = sent; left > 0;) {
        const struct rx_message *messages;
        int count = rx_receive(rx, RX_BATCH, &messages);
        if (count <= 0)
            return count < 0 ? count : -EAGAIN;
        left -= count;
    }
    return (int64_t)(instant_read_clock(CLOCK_THREAD_CPUTIME_ID) - before_ns) / sent;
}

int rx_compare(const struct rx_backend *one, const struct rx_backend *other)
{
    const struct rx_backend *const backends[2] = {one, other};
    struct sockaddr_nl addresses[3];
    int fds[3] = {-1, -1, -1};
    struct rx *rx[2] = {NULL, NULL};
    int64_t least_ns[2] = {INT64_MAX, INT64_MAX};
    int error = 0;
    for (int i = 0; i < 3 && !error; i++) {
        fds[i] = open_socket(&addresses[i]);
        error = fds[i] < 0 ? fds[i] : 0;
    }
    for (int i = 0; i < 2 && !error; i++)
        error = backends[i]->open(&rx[i], fds[i], NULL);
    for (int i = 0; i < 2 * ROUNDS && !error; i++) {
        int64_t ns = measure(rx[i % 2], fds[2], &addresses[i % 2]);
        if (ns < least_ns[i % 2])
            least_ns[i % 2] = ns;
        error = ns < 0 ? (int)ns : 0;
    }
    for (int i = 0; i < 2; i++)
        rx_close(rx[i]);
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return error ? error : (int)(least_ns[0] * 100 / least_ns[1]);
}
