/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/conntrack.h"
#include "ctflow9/input/nfacct.h"
#include "ctflow9/input/nflog.h"
#include "ctflow9/input/nfqueue.h"
#include "ctflow9/input/sources.h"

const struct source_row sources_table[] = {
    {&conntrack_source, offsetof(struct sources_config, conntrack)},
#if CTFLOW9_NFLOG
    {&nflog_source, offsetof(struct sources_config, nflog)},
#endif
#if CTFLOW9_NFQUEUE
    {&nfqueue_source, offsetof(struct sources_config, nfqueue)},
#endif
#if CTFLOW9_NFACCT
    {&nfacct_source, offsetof(struct sources_config, nfacct)},
#endif
};

const size_t sources_table_count = sizeof(sources_table) / sizeof(sources_table[0]);
