/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/input/interface_marks.h"
#include "ctflow9/input/interfaces.h"
#include "ctflow9/input/sources.h"
#include "ctflow9/service/worker_limits.h"

struct metrics;
struct notify;
struct reload;

/* What the workers are opened with. Apart from them, so that a reload, which they run, can make another. */
struct workers_config {
    unsigned count;        /* 0 = one for each core, up to 8 */
    const char *netns;     /* --netns, "" = the own one; outlives the workers */
    struct notify *notify; /* is told that they read, and then how they get on; outlives them; may be NULL */
    struct metrics *metrics; /* likewise is given what there is to tell */
    struct reload *reload;   /* is asked by SIGHUP; outlives them; may be NULL */
    struct sources_config sources;
    struct interface_marks marks;
    struct interfaces_config interfaces; /* numbers is NULL: they have no names */
    struct worker_limits limits;         /* for tests; all 0 = as is good */
};
