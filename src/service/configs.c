/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/configs.h"

void configs_of_reading(struct reading_config *config, const struct options *options)
{
    config->conntrack = (struct conntrack_config){.set_sysctls = options->set_sysctls,
                                                  .mark = options->mark,
                                                  .rcvbuf_octets = options->rcvbuf_octets,
                                                  .rx = options->rx,
                                                  .reliable = !options->no_reliable,
                                                  .active_timeout_ns = options->active_timeout_s * NS_PER_S,
                                                  .adopt_full = options->adopt == ADOPT_FULL,
                                                  .table_size = options->table_size};
    config->workers = (struct workers_config){
        .count = options->workers, .netns = options->netns, .sources = {.conntrack = &config->conntrack}};
}
