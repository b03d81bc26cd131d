/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Binding an NFLOG group or an NFQUEUE queue: one program has it at a time. What the kernel calls a missing
 * privilege (EPERM) may be just that, or another program that has it.
 */
struct packet_binding {
    const char *what;     /* "NFLOG group" */
    uint16_t config_type; /* of a netlink message that configures it */
    uint16_t probe;       /* an attribute of 4 octets that changes nothing where nothing is bound */
};

/* Enough for a message. */
enum { PACKET_BINDING_OCTETS = 256 };

/* Begins a message about one of them. */
struct nlmsghdr *packet_binding_put(const struct packet_binding *binding, char *buffer, uint16_t number);

/* Sends it, and leaves the answer to be drained: when this returns the kernel has done it. 0 or -errno. */
int packet_binding_send(int fd, struct nlmsghdr *message);

/*
 * What came of a request to bind. 0, -EBUSY when another program has it, to be tried again; or another
 * -errno. is_first: all that is told in one line; else no more than that it is bound now.
 */
int packet_binding_outcome(const struct packet_binding *binding, uint16_t number, int error, bool is_first);
