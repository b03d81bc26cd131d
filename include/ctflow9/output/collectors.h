/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/netflow/packet.h"
#include "ctflow9/output/collector.h"

/*
 * All collectors. Datagrams are put once into one bounded ring that all share; each collector has its own
 * place in it, its own bound socket (one source port for life), sequence numbers, template clock, pace and
 * recovery. One that is slow, closed, unresolved or gone loses its own oldest records and holds up nobody.
 * Sockets never block. Nothing is allocated after collectors_open() but for look-ups, and by
 * collectors_prepare(). One thread owns it; what any thread may call says so.
 *
 *  - A collector that is more than `queue` data records behind after its turn loses its oldest datagrams
 *    (never the newest), counted for it alone. Its sequence numbers count the lost ones too: the gap that the
 *    collector sees is the loss.
 *  - Templates go first, again after template_refresh_s (also when idle) and template_datagrams datagrams
 *    (both at least 1), after connecting anew, and before the next data after an ICMP error or a loss. Errors
 *    and losses ask for them once a second at most, and so do interfaces' names that the collector has not
 *    been told, a few of which come with them (packet.h). After an ICMP error data waits for them, but for
 * what was waiting already when they last went: a port that stays closed is sent to all the same.
 *  - Names of counters that the collector has not been told go before their first data, some of them each 10
 * ms.
 *  - max_rate paces data records, smoothly, with bursts of 10 ms worth or one datagram. Templates are not
 *    paced.
 *  - Runs of datagrams of one size (but the last) leave as one message with UDP_SEGMENT, at most 64 and
 *    65,507 octets; several runs in one sendmmsg. EMSGSIZE, EINVAL or EIO: plain sendmmsg from then on,
 *    until the collector is connected anew. IPv4 datagrams may be fragmented on their way.
 *  - A pending ICMP error uses up the send that reports it: that is done once more, and tells it from a
 *    failure of its own where the error queue had no room. A name with several addresses goes on to the next
 *    one. Whatever else arrives is thrown away by the kernel.
 *  - Every other failure: data waits, and once a second a new socket is tried, with the port of the old one.
 *  - Once a second, before something is sent, the kernel is asked which local address it would choose now, by
 *    a new socket. When that is another one (a tunnel came up, the route has moved, an IPv6 address is
 *    deprecated) the new socket takes the old one's place. When the machine has none (any more), or not
 *    source_address, that counts as failure, for sends may go on without (IPv6).
 *  - Host names are looked up in the background, again every minute, and every five seconds while that fails.
 *    When the address in use is no longer among the answers the socket is connected anew. Numeric addresses
 *    are never looked up.
 *  - Where they are to be probed, data waits for one that is unreachable (ICMP errors come back, or every
 * send or look-up fails), and templates go once a second: it is reachable again when some have gone for two
 * seconds and nothing came back.
 *  - Troubles are logged when they begin and when they end, for each collector and kind.
 */
struct collectors;

struct collectors_config {
    const struct host_port *peers; /* the collectors' addresses or names; copied */
    size_t count;
    struct collector_config each;
    uint32_t max_datagram; /* octets of UDP payload */
    struct packet *packet; /* for templates; outlives the collectors; NULL when there is no collector */
    bool probe;            /* the same in every change */
};

/*
 * Takes all memory. Returns 0, or -errno with the reason logged: memory is short. Sockets are opened and
 * names looked up by collectors_run(), which never gives up.
 */
int collectors_open(struct collectors **collectors, const struct collectors_config *config,
                    struct instant now);
void collectors_close(struct collectors *collectors); /* NULL is fine; what still waits is thrown away */

/* A packet_sink; context is the struct collectors. Puts one datagram after the others; sends nothing yet. */
void collectors_queue(void *collectors, const uint8_t *datagram, size_t octets, unsigned records,
                      uint64_t ended_ms);

/*
 * Sends whatever may leave now; templates when they are due; works on names and sockets. To be called after
 * every drain and wait, and once in at most 16,384 data records.
 */
void collectors_run(struct collectors *collectors, struct instant now);
void collectors_wants(const struct collectors *collectors, struct poll_set *set);

/* Some collector still has datagrams to come. */
bool collectors_are_waiting(const struct collectors *collectors);

/* And some collector could take them: worth a little waiting at the end. */
bool collectors_pending(const struct collectors *collectors);

/* Counts what still waits as dropped (at the end). */
void collectors_abandon(struct collectors *collectors);

/* Sets what collectors_stats() tells of the present. */
void collectors_note_present(struct collectors *collectors);

/*
 * Others, and another configuration of each. Any thread: opens what config has and the collectors have not
 * yet. config's queue and max_datagram are those that there are; its packet is not looked at. Until the
 * change is taken or closed there is no other one. 0 or -ENOMEM.
 */
struct collectors_change;
int collectors_prepare(struct collectors_change **change, struct collectors *collectors,
                       const struct collectors_config *config);
void collectors_change_close(struct collectors_change *change); /* any thread; NULL is fine */

/*
 * The owner: those that config has go on as they are, or begin with what is queued from now on; the others
 * get what is queued now, for two seconds at most, and are then removed. false: not yet, because some leave
 * still or a thread looks at the list. The change is then only to be closed.
 */
bool collectors_take(struct collectors *collectors, struct collectors_change *change, struct instant now);

/* The owner: templates come from here from now on. packet outlives the collectors, or the next call. */
void collectors_use_packet(struct collectors *collectors, struct packet *packet);

/* Any thread: data records that were dropped so far, of all that there ever were. */
uint64_t collectors_records_dropped(struct collectors *collectors);

/* Since when none is reachable, monotonic; 0 = one is, as far as known. Only where they are probed. */
uint64_t collectors_unreachable_ns(const struct collectors *collectors);

/* A flow went past the first one, which was unreachable. */
void collectors_count_passed_over(struct collectors *collectors);

size_t collectors_count(const struct collectors *collectors);
const char *collectors_name(const struct collectors *collectors,
                            size_t index); /* HOST:PORT as given, [v6]:PORT */
const struct collector_stats *collectors_stats(const struct collectors *collectors, size_t index);
