/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/ct_events.h"
#include "ctflow9/ct_setup.h"
#include "ctflow9/exporter.h"
#include "ctflow9/log.h"
#include "ctflow9/loop.h"
#include "ctflow9/netns.h"
#include "ctflow9/options.h"
#include "ctflow9/stats.h"

enum { EXIT_REFUSED = 2 };

static int open_events(struct ct_events **events, const struct options *options, struct stats *stats)
{
    const struct ct_events_config config = {.rcvbuf_octets = options->rcvbuf_octets,
                                            .reliable = !options->no_reliable,
                                            .mark = options->mark,
                                            .stats = stats};
    int error = ct_setup_check(options->set_sysctls);
    return error ? error : ct_events_open(events, &config);
}

/* Connection tracking is read where --netns says; everything else stays in the namespace we were started in.
 */
static int open_events_in_netns(struct ct_events **events, const struct options *options, struct stats *stats)
{
    if (options->netns[0] == '\0')
        return open_events(events, options, stats);
    int left = netns_enter(options->netns);
    if (left < 0)
        return left;
    int error = open_events(events, options, stats);
    int leave_error = netns_leave(left);
    return error ? error : leave_error;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct stats stats;
    struct ct_events *events = NULL;
    struct exporter *exporter = NULL;

    switch (options_parse(&options, argc, argv)) {
    case OPTIONS_DONE:
        return EXIT_SUCCESS;
    case OPTIONS_REFUSED:
        return EXIT_REFUSED;
    case OPTIONS_RUN:
        break;
    }
    log_init(options.verbose);

    int signals = loop_open_signals();
    int error = signals < 0 ? signals : open_events_in_netns(&events, &options, &stats);
    if (!error)
        error = exporter_open(&exporter, &options, &stats, instant_now());
    if (!error)
        error = loop_run(events, exporter, &stats, signals);

    exporter_close(exporter);
    ct_events_close(events);
    if (signals >= 0)
        close(signals);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
