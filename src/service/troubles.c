/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/troubles.h"

#include <inttypes.h>
#include <stddef.h>

#include "ctflow9/base/log.h"

#define COUNTER(member) #member, offsetof(struct stats, member)
static const struct {
    const char *counter;
    size_t offset;
    const char *text;
} table[] = {
    {COUNTER(table_full),
     "the table of connections that last is full, and those that found no place in it are "
     "reported at their end only; raise --table-size"},
    {COUNTER(counters_reset),
     "another program sets the counters of connections to 0 (conntrack -z, nlbwmon): "
     "packets are missing from what is reported; have it read them only"},
    {COUNTER(uncounted),
     "a flowtable does not count the packets of its connections: they are missing from what "
     "is reported; add 'counter' to the flowtable in the nftables rules"},
    {COUNTER(malformed),
     "the kernel sends events that ctflow9 does not understand: their connections are not "
     "reported; a newer ctflow9 may"},
    {COUNTER(truncated),
     "the kernel sends events that are too long: their connections are not reported; a newer "
     "ctflow9 may take them"},
    {COUNTER(aggregates_early),
     "aggregates leave before their time, because there are too many; use fewer keys, "
     "a shorter --aggregate-interval or a larger --table-size"},
    {COUNTER(cache_full),
     "packets make more flows than there are places for, and those that are due soonest are reported early; "
     "raise --flow-cache"},
    {COUNTER(named_counters_full),
     "there are more named counters than are followed (262,144): the others are not reported; remove those "
     "that nobody needs"},
    {COUNTER(foreign),
     "a program with CAP_NET_ADMIN sends messages to those who hear of ended connections, as only the kernel "
     "should: they are not believed"},
};
#undef COUNTER

_Static_assert(sizeof(table) / sizeof(table[0]) == TROUBLES, "a trouble is missing");

void troubles_see(struct troubles *troubles, const struct stats *total, uint64_t now_ns)
{
    for (unsigned i = 0; i < TROUBLES; i++) {
        const _Atomic uint64_t *counter = (const void *)((const char *)total + table[i].offset);
        uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
        tell_once_count(&troubles->told[i], value - troubles->seen[i]);
        troubles->seen[i] = value;
        uint64_t count = tell_once_due(&troubles->told[i], now_ns);
        if (count != 0)
            log_warnx("%s (%s: %" PRIu64 ")", table[i].text, table[i].counter, count);
    }
}
