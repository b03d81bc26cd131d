/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/flow/flow.h"

/*
 * What the kernel's routing says of a packet (RTM_GETROUTE): by which interface it leaves, and from there,
 * where a connection's packets come in and go out. In the network namespace that the calling thread is in
 * when they are opened. A question takes about 2 microseconds, and the kernel answers within it: nothing
 * waits. One thread owns it.
 */
struct routes;

/* A packet as it is routed: after destination NAT, before source NAT. */
struct route_question {
    uint8_t family;
    uint8_t protocol;
    uint8_t tos; /* IPv4 */
    union flow_address source, destination;
    be16 source_port, destination_port; /* 0 = none */
    uint32_t mark;                      /* the packet's: rules may take it from the connection's */
    uint32_t in_interface;              /* 0 = made by this machine */
};

/* Where packets to an address leave by, whoever sends them. */
struct route {
    uint32_t out_interface; /* 0 = it is this machine's own */
    bool is_balanced;       /* it is one of several: the packet decides */
    bool is_to_all;         /* broadcast: what comes in from outside ends here */
};

/* 0 or -errno. */
int routes_open(struct routes **routes);
void routes_close(struct routes *routes); /* NULL is fine */

/*
 * *out_interface is where it leaves by, 0 when it is for this machine. 0, or -errno when it goes nowhere:
 * -ENETUNREACH, -EHOSTUNREACH, -EINVAL (strict rp_filter refuses the source, the interface is down), …
 */
int routes_ask(struct routes *routes, const struct route_question *question, uint32_t *out_interface);

/* By the address alone; for rules that look at nothing else. 0 or -errno. */
int routes_look_up(struct routes *routes, uint8_t family, const union flow_address *address,
                   struct route *route);

/*
 * Notes of the flow where its packets came in and went out in each direction, as they would be routed now,
 * by all that is known of them. Without an answer for one direction the other's, turned round, is what is
 * known of it.
 */
void routes_note(struct routes *routes, struct flow *flow);

/*
 * The same of the original direction by two routes of addresses, that to its source and that to its
 * (translated) destination.
 */
void routes_note_by(const struct route *to_source, const struct route *to_destination, struct flow *flow);
