/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/service/worker.h"

/* The end of reading. For the first worker; the others go on meanwhile. */

/*
 * Waits for events that the kernel keeps, has the table looked through for the last time, which ends the
 * dump's thread, and waits for events that were kept meanwhile: connections that last go on while events are
 * awaited, so the look comes after that. *settled becomes the number of deliveries that had not fit when the
 * kernel kept none. false: it took too long, and what was left was counted and said.
 */
bool shutdown_await(struct workers *workers, uint32_t *settled);

/* When nobody listens any more: counts and says what the kernel has kept since. */
void shutdown_see_left_behind(struct workers *workers, uint32_t settled);
