/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/rx.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>

/*
 * Everything is linked up once. The kernel overwrites what it answers with (msg_len, msg_flags, msg_namelen,
 * which stays the size of a struct sockaddr_nl) and leaves the rest, so a call needs no preparation.
 */
struct rx {
    int fd;
    struct mmsghdr headers[RX_BATCH];
    struct iovec vectors[RX_BATCH];
    struct sockaddr_nl sources[RX_BATCH];
    struct rx_message messages[RX_BATCH];
    _Alignas(struct nlmsghdr) uint8_t buffers[RX_BATCH][RX_MESSAGE_OCTETS];
};

int rx_open(struct rx **rx, int fd)
{
    struct rx *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return -ENOMEM;
    opened->fd = fd;
    for (int i = 0; i < RX_BATCH; i++) {
        opened->vectors[i] =
            (struct iovec){.iov_base = opened->buffers[i], .iov_len = sizeof(opened->buffers[i])};
        opened->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &opened->sources[i],
            .msg_namelen = sizeof(opened->sources[i]),
            .msg_iov = &opened->vectors[i],
            .msg_iovlen = 1,
        };
        opened->messages[i].data = opened->buffers[i];
    }
    *rx = opened;
    return 0;
}

void rx_close(struct rx *rx)
{
    free(rx);
}

int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    int count = recvmmsg(rx->fd, rx->headers, limit < RX_BATCH ? limit : RX_BATCH, MSG_DONTWAIT, NULL);
    if (count < 0)
        return errno == EAGAIN ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        rx->messages[i].octets = rx->headers[i].msg_len;
        rx->messages[i].port_id = rx->sources[i].nl_pid;
        rx->messages[i].truncated = (rx->headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
    }
    *messages = rx->messages;
    return count;
}
