/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/input/route_cache.h"
#include "ctflow9/input/route_rules.h"
#include "ctflow9/input/routes.h"

/*
 * Asks the kernel's routing for the ways of flows, no more often than needed, and keeps what it answers in a
 * cache that others may read (route_cache.h). Sees when routing changes. In the network namespace that the
 * calling thread is in when it is opened. One thread owns it, but for what says otherwise.
 */
struct route_asker;

/* 0 or -errno. */
int route_asker_open(struct route_asker **asker);
void route_asker_close(struct route_asker *asker); /* NULL is fine */

/* Notes of the flow what is known of it now. */
void route_asker_note(struct route_asker *asker, struct flow *flow);

/* Now and then: takes notice of changes. wants: when it has to be called. */
void route_asker_run(struct route_asker *asker, struct instant now);
void route_asker_wants(const struct route_asker *asker, struct poll_set *set);

/* Any thread: for route_cache_find(). */
const struct route_cache *route_asker_cache(const struct route_asker *asker);
struct route_state route_asker_state(const struct route_asker *asker);
