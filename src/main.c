/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/ct_setup.h"
#include "ctflow9/exporter.h"
#include "ctflow9/log.h"
#include "ctflow9/netns.h"
#include "ctflow9/options.h"
#include "ctflow9/privileges.h"
#include "ctflow9/stats.h"
#include "ctflow9/workers.h"

enum { EXIT_REFUSED = 2 };

static int open_workers(struct workers **workers, const struct options *options)
{
    int error = ct_setup_check(options->set_sysctls);
    return error ? error : workers_open(workers, options);
}

/* Connection tracking is read where --netns says; everything else stays in the namespace we were started in.
 */
static int open_workers_in_netns(struct workers **workers, const struct options *options)
{
    if (options->netns[0] == '\0')
        return open_workers(workers, options);
    int left = netns_enter(options->netns);
    if (left < 0)
        return left;
    int error = open_workers(workers, options);
    int leave_error = netns_leave(left);
    return error ? error : leave_error;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct stats stats;
    struct workers *workers = NULL;
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

    int signals = workers_open_signals();
    int error = signals < 0 ? signals : open_workers_in_netns(&workers, &options);
    if (!error && privileges_drop() != 0)
        log_debug("CAP_BPF was not given up");
    if (!error)
        error = exporter_open(&exporter, &options, &stats, instant_now());
    if (!error)
        error = workers_run(workers, exporter, &stats, signals);

    exporter_close(exporter);
    workers_close(workers);
    if (signals >= 0)
        close(signals);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
