/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/input/source.h"

/* All sources that are wanted, as one; what each function does is said of its namesake in source.h. */

struct conntrack_config;
struct nflog_config;
struct nfqueue_config;
struct nfacct_config;

/* What each source is to do; NULL = nothing. */
struct sources_config {
    const struct conntrack_config *conntrack;
    const struct nflog_config *nflog;
    const struct nfqueue_config *nfqueue;
    const struct nfacct_config *nfacct;
};

/* THE table: every source that is built in, in sources_table.c. */
extern const struct source_row sources_table[];
extern const size_t sources_table_count;

enum { SOURCES_MAX = 8 };

struct sources {
    unsigned count;
    struct source *source[SOURCES_MAX];
};

/* 0, or -errno when one of them does not open; sources_close() closes those that did. */
int sources_open(struct sources *sources, const struct sources_config *config,
                 const struct source_worker *worker, unsigned workers);
void sources_close(struct sources *sources);
int sources_start(struct sources *sources);
/* Those that were opened, which config has as well. */
void sources_change(struct sources *sources, const struct sources_config *config);

/* limit: of each source. Returns the most that one of them has taken. */
unsigned sources_drain(struct sources *sources, unsigned worker, unsigned limit);
bool sources_are_drained(const struct sources *sources, unsigned worker);
bool sources_run(struct sources *sources, unsigned worker, struct instant now);
void sources_want(const struct sources *sources, unsigned worker, struct poll_set *set);
void sources_want_events(const struct sources *sources, unsigned worker, struct poll_set *set);
bool sources_await(struct sources *sources, bool hurried);
void sources_halt(struct sources *sources);
void sources_stop(struct sources *sources, unsigned worker);
bool sources_finish(struct sources *sources, unsigned worker);
void sources_ended(struct sources *sources);
