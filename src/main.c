/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <unistd.h>

#include "ctflow9/base/descriptors.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/stats.h"
#include "ctflow9/config/command_line.h"
#include "ctflow9/input/netns.h"
#include "ctflow9/service/configs.h"
#include "ctflow9/service/exporter.h"
#include "ctflow9/service/metrics.h"
#include "ctflow9/service/notify.h"
#include "ctflow9/service/privileges.h"
#include "ctflow9/service/reload.h"
#include "ctflow9/service/signals.h"
#include "ctflow9/service/workers.h"

enum { EXIT_REFUSED = 2 };

/* Connection tracking is read where --netns says; everything else stays in the namespace we were started in.
 */
static int open_workers(struct workers **workers, const struct options *options, struct notify *notify,
                        struct metrics *metrics, struct reload *reload)
{
    struct reading_config config;
    configs_of_reading(&config, options);
    config.workers.notify = notify;
    config.workers.metrics = metrics;
    config.workers.reload = reload;
    if (options->netns[0] == '\0')
        return workers_open(workers, &config.workers);
    int left = netns_enter(options->netns);
    if (left < 0)
        return left;
    int error = workers_open(workers, &config.workers);
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

static int open_exporter(struct exporter **exporter, const struct options *options, struct stats *totals)
{
    struct exporter_config config;
    configs_of_export(&config, options);
    return exporter_open(exporter, &config, totals, instant_now());
}

static int open_metrics(struct metrics **metrics, const struct options *options)
{
    struct metrics_config config;
    configs_of_metrics(&config, options);
    return metrics_open(metrics, &config);
}

static int prepare_privileges(struct privileges *privileges, const struct options *options)
{
    struct privileges_config config;
    configs_of_privileges(&config, options);
    return privileges_prepare(privileges, &config);
}

/* What is opened but once, and then no more than that is needed. 0 or -errno with the reason logged. */
static int begin(const struct options *options, struct exporter **exporter, struct stats *totals,
                 const struct privileges *privileges)
{
    int error = explain(open_exporter(exporter, options, totals), "set up the export");
    return error ? error : privileges_drop(privileges);
}

/* Reads one network namespace. What workers_run() returns, or -errno. */
static int run(struct reload *reload, struct exporter **exporter, struct stats *totals,
               struct signals *signals, struct notify *notify, struct metrics *metrics,
               const struct privileges *privileges)
{
    const struct options *options = reload_options(reload);
    struct workers *workers = NULL;
    int outcome = explain(open_workers(&workers, options, notify, metrics, reload),
                          "set up the reading of connection tracking");
    if (!outcome && !*exporter)
        outcome = begin(options, exporter, totals, privileges);
    if (!outcome)
        outcome = explain(metrics_start(metrics), "tell metrics");
    if (!outcome)
        outcome = workers_run(workers, *exporter, totals, signals);
    if (outcome < 0)
        explain(outcome, "go on");
    workers_close(workers);
    return outcome;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct stats totals;
    static struct signals signals;
    struct privileges privileges;
    struct exporter *exporter = NULL;
    struct notify *notify = NULL;
    struct metrics *metrics = NULL;
    struct reload *reload = NULL;

    descriptors_take_standard();
    log_init(false);
    switch (command_line_parse(&options, argc, argv)) {
    case COMMAND_LINE_DONE:
        return EXIT_SUCCESS;
    case COMMAND_LINE_FAILED:
        return EXIT_FAILURE;
    case COMMAND_LINE_REFUSED:
        return EXIT_REFUSED;
    case COMMAND_LINE_RUN:
        break;
    }
    log_init(options.verbose);

    int outcome = explain(signals_open(&signals), "handle signals");
    if (!outcome)
        outcome = explain(notify_open(&notify), "talk to the service manager");
    if (!outcome)
        outcome = prepare_privileges(&privileges, &options);
    if (!outcome)
        outcome = explain(open_metrics(&metrics, &options), "tell metrics");
    if (!outcome)
        outcome = explain(reload_open(&reload, &options, argc, argv, notify), "keep the configuration");
    if (!outcome)
        outcome = run(reload, &exporter, &totals, &signals, notify, metrics, &privileges);
    while (outcome == WORKERS_MOVED)
        outcome = workers_await_netns(options.netns, exporter, &totals, &signals, notify, metrics, reload)
                      ? run(reload, &exporter, &totals, &signals, notify, metrics, &privileges)
                      : 0;
    if (exporter) {
        exporter_finish(exporter);
        stats_log(&totals);
        exporter_log_stats(exporter);
    }
    metrics_close(metrics);
    reload_close(reload);
    exporter_close(exporter);
    notify_close(notify);
    signals_close(&signals);
    return outcome ? EXIT_FAILURE : EXIT_SUCCESS;
}
