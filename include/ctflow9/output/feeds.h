/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/host_port.h"
#include "ctflow9/base/instant.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"
#include "ctflow9/netflow/packet.h"
#include "ctflow9/output/balance.h"
#include "ctflow9/output/collector.h"

/*
 * NetFlow to all collectors: one feed for those that get every flow, and one for each member of a group,
 * whose members share the flows (balance.h). Templates and options data go to each of them. A member that has
 * been unreachable for three seconds is passed over until it is reachable again, which is logged; the flows
 * that others got in its place are counted for it. What was made for it before waits in its queue, and is
 * sent then.
 *
 * One thread owns it.
 */
struct feeds;

struct feeds_config {
    const struct host_port *peers; /* addresses or names */
    const uint8_t
        *groups; /* of each: 0 = it gets every flow; else its group, from 1 on; NULL = all get all */
    size_t count;
    enum balance_kind balance;
    struct collector_config each;
    struct packet_config packet;
};

/* The members of a group stand one after the other. Copies of config what it keeps; its stats outlive the
 * feeds. 0, or -errno with the reason logged. */
int feeds_open(struct feeds **feeds, const struct feeds_config *config, struct instant now);
void feeds_close(struct feeds *feeds); /* NULL is fine */

/* The interfaces' names from now on, which outlive the feeds or the next call; NULL = none. */
void feeds_name_interfaces(struct feeds *feeds, const struct interface_names *names);

/* As packet_begin() and packet_add(). */
void feeds_begin(struct feeds *feeds, struct instant now);
void feeds_add(struct feeds *feeds, const struct flow *flow);

/* Makes and sends what may leave. */
void feeds_run(struct feeds *feeds, struct instant now);
void feeds_wants(const struct feeds *feeds, struct poll_set *set);

/* Some collector could take what waits for it. */
bool feeds_pending(const struct feeds *feeds);

/* At the end: makes everything that is held; and counts as dropped what did not leave. */
void feeds_flush(struct feeds *feeds, struct instant now);
void feeds_abandon(struct feeds *feeds);

/* The collectors, those that get every flow first. What their stats tell of the present is what
 * feeds_note_present() has set. */
size_t feeds_count(const struct feeds *feeds);
const char *feeds_name(const struct feeds *feeds, size_t index);
const struct collector_stats *feeds_stats(const struct feeds *feeds, size_t index);
void feeds_note_present(struct feeds *feeds);

/* Any thread: data records that were dropped so far, for all together. */
uint64_t feeds_records_dropped(struct feeds *feeds);

/* Another configuration, with the same groups; as feed_prepare() and feed_take(). */
struct feeds_change;
int feeds_prepare(struct feeds_change **change, struct feeds *feeds, const struct feeds_config *present,
                  const struct feeds_config *wanted);
void feeds_change_close(struct feeds_change *change); /* NULL is fine */
bool feeds_take(struct feeds *feeds, struct feeds_change *change, struct instant now);
