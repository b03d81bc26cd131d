/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What reading conntrack's DESTROY events costs at least: waits for the first, then drains every millisecond
 * with recvmmsg, from a socket like ctflow9's, and throws everything away unread.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/input/netlink_socket.h"

enum { BATCH = 128, MESSAGE_OCTETS = 1024, RCVBUF_OCTETS = 64 << 20 };

static const char usage[] =
    "Usage: floor\n"
    "Reads this network namespace's conntrack DESTROY events until SIGTERM or SIGINT, then prints\n"
    "{\"events\": N, \"drops\": N}; drops = events that did not fit and that the kernel sent again.\n";

static int open_events(void)
{
    int fd = netlink_socket_open();
    if (fd < 0)
        return fd;
    int64_t granted = netlink_socket_set_rcvbuf(fd, RCVBUF_OCTETS);
    int error = granted < 0 ? (int)granted : netlink_socket_set_reliable(fd, true);
    if (!error)
        error = netlink_socket_join(fd, NFNLGRP_CONNTRACK_DESTROY);
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

/* Returns how many events there were. */
static uint64_t drain(int fd)
{
    static uint8_t buffers[BATCH][MESSAGE_OCTETS];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];
    uint64_t events = 0;
    int n;

    for (unsigned i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){buffers[i], MESSAGE_OCTETS};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}};
    }
    while ((n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL)) > 0)
        events += (unsigned)n;
    return events;
}

static uint64_t drain_until_signal(int fd, int signal_fd)
{
    const struct timespec interval = {.tv_nsec = NS_PER_MS};
    uint64_t events = 0;

    for (bool ended = false; !ended;) {
        struct pollfd waiting[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
        poll(waiting, 2, -1);
        ended = waiting[1].revents;
        for (uint64_t n; (n = drain(fd)) > 0; nanosleep(&interval, NULL))
            events += n;
    }
    return events;
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fputs(usage, stdout);
        return 0;
    }

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    int fd = open_events();
    if (fd < 0) {
        fprintf(stderr, "floor: cannot listen to conntrack's events: %s\n", strerror(-fd));
        return 1;
    }

    uint64_t events = drain_until_signal(fd, signal_fd);
    uint32_t drops = 0;
    netlink_socket_drops(fd, &drops);
    printf("{\"events\": %" PRIu64 ", \"drops\": %" PRIu32 "}\n", events, drops);
    close(fd);
    close(signal_fd);
    return 0;
}
