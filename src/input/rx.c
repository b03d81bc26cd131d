/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/rx.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "ctflow9/input/bpf_filter.h"

void rx_close(struct rx *rx)
{
    if (rx != NULL)
        rx->backend->close(rx);
}

int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    return rx->backend->receive(rx, limit < RX_BATCH ? limit : RX_BATCH, messages);
}

bool rx_is_pending(const struct rx *rx)
{
    return rx->is_pending;
}

bool rx_tells_programs(const struct rx *rx)
{
    return rx->tells_programs;
}

bool rx_gives_entries(const struct rx *rx)
{
    return rx->backend->gives_entries;
}

int rx_drops(const struct rx *rx, uint32_t *drops)
{
    return rx->backend->drops ? rx->backend->drops(rx, drops) : netlink_socket_drops(rx->fd, drops);
}

int rx_stop(struct rx *rx)
{
    return rx->backend->stop ? rx->backend->stop(rx)
                             : netlink_socket_leave(rx->fd, NFNLGRP_CONNTRACK_DESTROY);
}

void rx_wants(const struct rx *rx, struct poll_set *set)
{
    poll_set_add(set, rx->fd, POLLIN);
    if (rx->ring_fd >= 0)
        poll_set_add(set, rx->ring_fd, POLLIN);
}

int rx_filter_socket(int fd, const struct netlink_filter *filter, bool *tells_programs)
{
    int source;
    *tells_programs = filter && bpf_filter_find_source(&source) == 0 && source != BPF_FILTER_NO_SOURCE &&
                      bpf_filter_attach_cutting(fd, filter, source) == 0;
    return *tells_programs || !filter ? 0 : netlink_socket_filter(fd, filter);
}

const char *rx_lack(int error)
{
    switch (error) {
    case -ENOMEM:
        return "there is not enough memory, or the limit of the control group is too low (systemd's "
               "MemoryMax=)";
    case -EMFILE:
        return "too many open files (ulimit -n, systemd's LimitNOFILE=)";
    default:
        return strerror(-error);
    }
}
