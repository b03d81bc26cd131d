/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

#include "ctflow9/base/poll_set.h"
#include "ctflow9/config/options.h"
#include "ctflow9/service/exporter.h"
#include "ctflow9/service/notify.h"

/*
 * Reads the configuration again, the file and the command line, and changes the running program by what has
 * changed. A thread of its own reads, checks, and makes what is new; the others take it over between two
 * rounds of their work, and never wait for it (exporter_prepare()). An option whose row does not say
 * "reloads" is kept as it is, which is logged; and everything is, with the reason, when the configuration is
 * refused. The service manager is told when it begins and when it is done.
 *
 * One thread, the owner, calls all of these.
 */
struct reload;

/* What the program began with; argv and notify (which may be NULL) outlive it. 0 or -errno. */
int reload_open(struct reload **reload, const struct options *options, int argc, char **argv,
                struct notify *notify);
void reload_close(struct reload *reload); /* before the exporter is closed; NULL is fine */

/* The options as they are now: they change within reload_run() alone. */
const struct options *reload_options(const struct reload *reload);

/* Reads it again from the next run on, or once more after the reading that is under way. The exporter
 * outlives the reload. */
void reload_ask(struct reload *reload, struct exporter *exporter);

/* From the asking until what has changed is in force. */
bool reload_is_running(const struct reload *reload);

/* After each wait: what the thread has come to. Whether the options are others since the last call. */
bool reload_run(struct reload *reload);
void reload_wants(const struct reload *reload, struct poll_set *set);
