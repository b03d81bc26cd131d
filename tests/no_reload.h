/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/service/reload.h"

/* In the place of src/service/reload.c, for tests of those that run it: nothing is ever read again. For one
 * source of a program. */

void reload_ask(struct reload *own, struct exporter *with)
{
    (void)own;
    (void)with;
}

bool reload_run(struct reload *own)
{
    (void)own;
    return false;
}

const struct options *reload_options(const struct reload *own)
{
    (void)own;
    return NULL;
}

void reload_wants(const struct reload *own, struct poll_set *set)
{
    (void)own;
    (void)set;
}

bool reload_is_running(const struct reload *own)
{
    (void)own;
    return false;
}
