/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ctflow9/base/stats.h"

/*
 * Tells systemd how the service is, as sd_notify(3) does: datagrams of lines NAME=VALUE to the socket that
 * NOTIFY_SOCKET names. Once in an interval, a pulse: the state, flows per second and losses for systemctl
 * status, and that all is well, which the unit's WatchdogSec= waits for. Nothing here blocks: what the socket
 * does not take is told by the next pulse. One thread owns it. NULL, for every function: nobody wants to
 * know.
 */
struct notify;

/* What the environment asks for; *notify is NULL when it asks for nothing. 0, or -errno with the reason
 * logged. */
int notify_open(struct notify **notify);
void notify_close(struct notify *notify);

/* The service has come to this. */
enum notify_state { NOTIFY_STARTING, NOTIFY_READY, NOTIFY_RELOADING, NOTIFY_STOPPING };
void notify_tell(struct notify *notify, enum notify_state state);

/* Any thread: the time between two pulses, which the watchdog outlasts four times. POLL_SET_NEVER = none. */
uint64_t notify_interval_ns(const struct notify *notify);

/* When the next pulse is due, monotonic. POLL_SET_NEVER = never. */
uint64_t notify_next_ns(const struct notify *notify);

/* The pulse that is due: total is of all workers, records_dropped of all collectors; well = every worker gets
 * on with its work. */
void notify_pulse(struct notify *notify, uint64_t now_ns, const struct stats *total, uint64_t records_dropped,
                  bool well);
