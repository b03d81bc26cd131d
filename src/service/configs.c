/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/configs.h"

#include <stdio.h>

#include "ctflow9/flow/table_size.h"

static bool are_packets_read(const struct options *options)
{
    return options->nflog.count > 0 || options->nfqueue.count > 0;
}

/* Numbers that rules have put into marks are a system of their own: others come beside them on request only.
 */
static enum ways_kind ways_of(const struct options *options)
{
    bool is_marked = options->interface_marks.masks[0] != 0;
    return options->interfaces == WAYS_AUTO && is_marked ? WAYS_NONE : (enum ways_kind)options->interfaces;
}

void configs_of_reading(struct reading_config *config, const struct options *options)
{
    config->conntrack = (struct conntrack_config){.set_sysctls = options->set_sysctls,
                                                  .mark = options->mark,
                                                  .rcvbuf_octets = options->rcvbuf_octets,
                                                  .rx = options->rx,
                                                  .reliable = !options->no_reliable,
                                                  .active_timeout_ns = options->active_timeout_s * NS_PER_S,
                                                  .adopt_full = options->adopt == ADOPT_FULL,
                                                  .ways = ways_of(options),
                                                  .table_size = options->table_size};
    config->nflog = (struct nflog_config){.groups = options->nflog,
                                          .size_octets = options->nflog_size,
                                          .rcvbuf_octets = options->rcvbuf_octets,
                                          .flow_cache = options->flow_cache,
                                          .inactive_timeout_ns = options->inactive_timeout_s * NS_PER_S,
                                          .active_timeout_ns = options->active_timeout_s * NS_PER_S};
    config->nfqueue = (struct nfqueue_config){.queues = options->nfqueue,
                                              .verdict = options->nfqueue_verdict,
                                              .mark = options->nfqueue_mark,
                                              .rcvbuf_octets = options->rcvbuf_octets,
                                              .flow_cache = options->flow_cache,
                                              .inactive_timeout_ns = options->inactive_timeout_s * NS_PER_S,
                                              .active_timeout_ns = options->active_timeout_s * NS_PER_S};
    config->nfacct = (struct nfacct_config){.interval_ns = options->nfacct_s * NS_PER_S};
    config->workers =
        (struct workers_config){.count = options->workers,
                                .netns = options->netns,
                                .sources = {.conntrack = options->no_conntrack ? NULL : &config->conntrack,
                                            .nflog = options->nflog.count > 0 ? &config->nflog : NULL,
                                            .nfqueue = options->nfqueue.count > 0 ? &config->nfqueue : NULL,
                                            .nfacct = options->nfacct_s > 0 ? &config->nfacct : NULL},
                                .marks = options->interface_marks};
    /* Of what rules have put into marks nothing is known but the numbers that are given. */
    bool given_only = options->interface_marks.masks[0] != 0 && ways_of(options) == WAYS_NONE;
    if (options->interface_numbers.count > 0 || ways_of(options) != WAYS_NONE)
        config->workers.interfaces =
            (struct interfaces_config){.numbers = &options->interface_numbers, .given_only = given_only};
}

void configs_of_metrics(struct metrics_config *config, const struct options *options)
{
    *config = (struct metrics_config){.address = options->metrics, .file = options->metrics_file};
}

void configs_of_privileges(struct privileges_config *config, const struct options *options)
{
    *config = (struct privileges_config){
        .user = options->user, .netns = options->netns, .file = options->config, .keep = options->no_drop};
}

void configs_of_export(struct exporter_config *config, const struct options *options)
{
    *config = (struct exporter_config){
        .collectors = options->collectors,
        .collector_groups = options->collector_groups,
        .collector_count = options->collector_count,
        .balance = (enum balance_kind)options->balance,
        .each = {.max_rate = options->max_rate,
                 .queue = options->queue,
                 .template_refresh_s = options->template_refresh_s,
                 .template_datagrams = options->template_datagrams},
        .source_id = options->source_id,
        .max_datagram = options->max_datagram,
        .max_delay_ns = options->max_delay_ms * NS_PER_MS,
        .fields = options->fields,
        .aggregate = options->aggregate,
        .aggregate_interval_s = options->aggregate_interval_s,
        .aggregate_capacity = options->table_size != 0 ? options->table_size : TABLE_SIZE_DEFAULT,
        .active_timeout_s = options->active_timeout_s,
        .idle_timeout_s = are_packets_read(options) ? options->inactive_timeout_s : 0,
        .has_counters = options->nfacct_s > 0,
        .print = options->print,
        .json = options->json,
        .json_socket = options->json_socket[0] != '\0' ? options->json_socket : NULL};
    snprintf(config->each.source_address, sizeof(config->each.source_address), "%s", options->source_address);
}
