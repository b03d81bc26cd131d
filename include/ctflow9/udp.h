/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ctflow9/instant.h"
#include "ctflow9/options.h"
#include "ctflow9/packet.h"
#include "ctflow9/poll_set.h"
#include "ctflow9/stats.h"

/*
 * All collectors. Datagrams are put once into one bounded ring that all share; each collector has its own
 * place in it, its own bound socket (one source port for life), sequence numbers, template clock, pace and
 * recovery. One that is slow, closed, unresolved or gone loses its own oldest records and holds up nobody.
 * Sockets never block. One thread owns it.
 *
 *  - A collector more than `queue` data records behind loses its oldest datagrams, counted for it alone. Its
 * sequence numbers count the lost ones too: the gap that the collector sees is the loss.
 *  - Templates go first, again after template_refresh_s (also when idle) or template_datagrams datagrams,
 * after an ICMP error, a new address and a loss.
 *  - Runs of datagrams of one size (but the last) leave in one sendmsg with UDP_SEGMENT, at most 64 and
 * 65,507 octets; several runs in one sendmmsg. EMSGSIZE, EINVAL or EIO: plain sendmmsg from then on for that
 * collector.
 *  - A pending ICMP error uses up the send that reports it: the datagram is sent once more.
 *  - ENETUNREACH, EADDRNOTAVAIL and the like: the datagram waits, the socket is disconnected (AF_UNSPEC),
 * bound to the same port, connected again once a second, and templates go first.
 *  - Host names are resolved by c-ares in the background, again every minute, and every few seconds while
 * unresolved. Numeric addresses never are looked up.
 */
struct udp;

struct udp_config {
    const struct options
        *options; /* collectors, source_address, max_datagram, max_rate, queue, template_* ; outlives udp */
    struct packet *packet; /* for templates */
};

/* Opens every socket. Returns 0, or -errno with the reason logged; an unresolved name or an unreachable
 * network is no error. */
int udp_open(struct udp **udp, const struct udp_config *config, struct instant now);
void udp_close(struct udp *udp); /* NULL is fine; what still waits is thrown away */

/* A packet_sink; context is the struct udp. Puts one datagram behind the others; sends nothing yet. */
void udp_queue(void *udp, const uint8_t *datagram, size_t octets, unsigned records);

/* Sends whatever may leave now; templates when they are due; works on names and sockets. To be called after
 * every drain and wait. */
void udp_run(struct udp *udp, struct instant now);
void udp_wants(const struct udp *udp, struct poll_set *set);

/* Some collector still has datagrams to come and could take them: worth a little waiting at the end. */
int udp_pending(const struct udp *udp);

/* Counts what still waits as dropped (at the end). */
void udp_abandon(struct udp *udp);

size_t udp_collector_count(const struct udp *udp);
const char *udp_collector_name(const struct udp *udp, size_t index); /* HOST:PORT as given, [v6]:PORT */
const struct collector_stats *udp_collector_stats(const struct udp *udp, size_t index);
