/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ctflow9/input/bpf_filter.h"
#include "ctflow9/input/rx.h"

/* Everything is linked up once. The kernel overwrites what it answers with (msg_len, msg_flags, the source,
 * whose length is always the same) and leaves the rest, so a call needs no preparation. */
struct recvmmsg_rx {
    struct rx rx;
    bool filter_tells; /* which messages programs sent, so that their sources are not asked for */
    struct mmsghdr headers[RX_BATCH];
    struct iovec vectors[RX_BATCH];
    struct sockaddr_nl sources[RX_BATCH];
    struct rx_message messages[RX_BATCH];
    _Alignas(struct nlmsghdr) uint8_t buffers[RX_BATCH][RX_MESSAGE_OCTETS];
};

static int recvmmsg_open(struct rx **rx, int fd, const struct netlink_filter *filter)
{
    struct recvmmsg_rx *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return -ENOMEM;
    int error = rx_filter_socket(fd, filter, &opened->filter_tells);
    if (error) {
        free(opened);
        return error;
    }
    opened->rx = (struct rx){.backend = &rx_recvmmsg, .fd = fd, .ring_fd = -1, .tells_programs = true};
    for (int i = 0; i < RX_BATCH; i++) {
        opened->vectors[i] =
            (struct iovec){.iov_base = opened->buffers[i], .iov_len = sizeof(opened->buffers[i])};
        struct msghdr *header = &opened->headers[i].msg_hdr;
        *header = (struct msghdr){.msg_iov = &opened->vectors[i], .msg_iovlen = 1};
        if (!opened->filter_tells) {
            header->msg_name = &opened->sources[i];
            header->msg_namelen = sizeof(opened->sources[i]);
        }
        opened->messages[i].data = opened->buffers[i];
    }
    *rx = &opened->rx;
    return 0;
}

static void recvmmsg_close(struct rx *rx)
{
    free(rx);
}

static int recvmmsg_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    struct recvmmsg_rx *own = (struct recvmmsg_rx *)rx;
    int count = recvmmsg(own->rx.fd, own->headers, limit, MSG_DONTWAIT, NULL);
    if (count < 0)
        return errno == EAGAIN ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        own->messages[i].octets = own->headers[i].msg_len;
        own->messages[i].truncated = (own->headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        own->messages[i].from_program = own->filter_tells ? own->headers[i].msg_len == BPF_FILTER_CUT_OCTETS
                                                          : own->sources[i].nl_pid != 0;
    }
    *messages = own->messages;
    return count;
}

const struct rx_backend rx_recvmmsg = {
    .reason = rx_lack, .open = recvmmsg_open, .close = recvmmsg_close, .receive = recvmmsg_receive};
