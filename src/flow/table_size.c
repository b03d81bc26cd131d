/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/flow/table_size.h"

#include "ctflow9/base/log.h"
#include "ctflow9/flow/flow_table.h"

enum {
    SLACK_MIN = 1024, /* of a worker; the places beyond its even share are this and */
    SLACK_PART = 8,   /* one in so many */
    MARGIN = 4        /* so many times the address space has to be there: others need some, too */
};

static uint64_t share_of(uint32_t connections, unsigned workers)
{
    uint64_t share = (connections + (uint64_t)workers - 1) / workers;
    return share + share / SLACK_PART + SLACK_MIN;
}

static uint32_t auto_of_worker(uint32_t table_limit, unsigned workers)
{
    uint32_t wanted = table_limit == 0 ? TABLE_SIZE_DEFAULT : table_limit;
    if (wanted > TABLE_SIZE_MAX)
        wanted = TABLE_SIZE_MAX;
    uint32_t connections = wanted;
    while (connections > 1 && !flow_table_would_fit(MARGIN * workers * share_of(connections, workers)))
        connections = connections > TABLE_SIZE_DEFAULT ? TABLE_SIZE_DEFAULT : connections / 2;
    if (connections < wanted)
        log_warnx("there is too little address space for a table of the kernel's %u connections (ulimit -v, "
                  "vm.overcommit_memory): there is room for %u",
                  wanted, connections);
    return (uint32_t)share_of(connections, workers);
}

struct table_size table_size_of_worker(uint32_t given, uint32_t table_limit, unsigned workers)
{
    uint32_t all = auto_of_worker(table_limit, workers);
    if (given == 0)
        return (struct table_size){.capacity = all};
    uint32_t capacity = (uint32_t)((given + (uint64_t)workers - 1) / workers);
    return (struct table_size){.capacity = capacity, .reserve = all > capacity ? all - capacity : 0};
}
