/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/ct_setup.h"
#include "ctflow9/descriptors.h"
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

/* Nothing ends without a line that says why: who met the error says it best, and else it is said here.
 * Returns the error. */
static int explain(int error, const char *what)
{
    if (error && !log_error_was_called())
        log_cannot(error, "%s", what);
    return error;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct stats stats;
    struct workers *workers = NULL;
    struct exporter *exporter = NULL;

    descriptors_take_standard();
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
    int error = explain(signals < 0 ? signals : 0, "handle signals");
    if (!error)
        error =
            explain(open_workers_in_netns(&workers, &options), "set up the reading of connection tracking");
    if (!error && privileges_drop() != 0)
        log_debug("CAP_BPF and CAP_PERFMON were not given up");
    if (!error)
        error = explain(exporter_open(&exporter, &options, &stats, instant_now()), "set up the export");
    if (!error)
        error = explain(workers_run(workers, exporter, &stats, signals), "go on");

    exporter_close(exporter);
    workers_close(workers);
    if (signals >= 0)
        close(signals);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
