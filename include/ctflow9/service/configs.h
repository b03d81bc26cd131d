/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/options.h"
#include "ctflow9/input/conntrack.h"
#include "ctflow9/input/nfacct.h"
#include "ctflow9/input/nflog.h"
#include "ctflow9/input/nfqueue.h"
#include "ctflow9/service/exporter.h"
#include "ctflow9/service/metrics.h"
#include "ctflow9/service/privileges.h"
#include "ctflow9/service/workers_config.h"

/*
 * What the options come to for each part: the only place that knows both. Parts get a config of their own,
 * copy what they keep, and never see the options.
 */

struct reading_config {
    struct workers_config workers;
    struct conntrack_config conntrack;
    struct nflog_config nflog;
    struct nfqueue_config nfqueue;
    struct nfacct_config nfacct;
};

/* config->workers points into config and options; its notify and metrics are left to the caller. */
void configs_of_reading(struct reading_config *config, const struct options *options);

/* config->file points into options. */
void configs_of_metrics(struct metrics_config *config, const struct options *options);

/* config->collectors and json_socket point into options. */
void configs_of_export(struct exporter_config *config, const struct options *options);

/* config points into options. */
void configs_of_privileges(struct privileges_config *config, const struct options *options);
