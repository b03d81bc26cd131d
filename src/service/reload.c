/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/reload.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/config/command_line.h"
#include "ctflow9/config/option_host.h"
#include "ctflow9/config/option_table.h"
#include "ctflow9/service/configs.h"

struct reload {
    struct options present; /* the owner's; the thread reads them */
    struct options wanted;  /* the thread's, while it runs */
    bool prints;            /* flows have somewhere to go without collectors */
    int argc;
    char **argv;
    struct notify *notify;
    struct exporter *exporter;
    pthread_t thread;
    bool is_running;  /* the thread */
    bool is_asked;    /* once more, when it has ended */
    bool has_changed; /* by the thread: the wanted options are in force */
    _Atomic bool is_done;
    _Atomic bool is_ending;
    int owner_fd;  /* wake.h: the thread has something for the owner */
    int thread_fd; /* the owner for the thread */
};

int reload_open(struct reload **reload, const struct options *options, int argc, char **argv,
                struct notify *notify)
{
    struct reload *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->present = *options;
    opened->prints =
        options->print || options->json || options->json_socket[0] != '\0' || options->collector_count == 0;
    opened->argc = argc;
    opened->argv = argv;
    opened->notify = notify;
    opened->owner_fd = wake_open();
    opened->thread_fd = wake_open();
    if (opened->owner_fd < 0 || opened->thread_fd < 0) {
        int error = opened->owner_fd < 0 ? opened->owner_fd : opened->thread_fd;
        reload_close(opened);
        return error;
    }
    *reload = opened;
    return 0;
}

static void end_thread(struct reload *reload)
{
    if (!reload->is_running)
        return;
    atomic_store_explicit(&reload->is_ending, true, memory_order_relaxed);
    wake(reload->thread_fd);
    pthread_join(reload->thread, NULL);
    reload->is_running = false;
}

void reload_close(struct reload *reload)
{
    if (!reload)
        return;
    end_thread(reload);
    if (reload->owner_fd >= 0)
        close(reload->owner_fd);
    if (reload->thread_fd >= 0)
        close(reload->thread_fd);
    free(reload);
}

const struct options *reload_options(const struct reload *reload)
{
    return &reload->present;
}

/* ---- the thread: what is wanted ---- */

static char *text_of(const struct option_row *row, const struct options *options)
{
    json_t *value = option_value_json(row, options);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    json_decref(value);
    return text;
}

/* The collector in a group that comes next from *index on; NULL = there is none. */
static const struct host_port *next_in_group(const struct options *options, size_t *index)
{
    while (*index < options->collector_count && options->collector_groups[*index] == 0)
        ++*index;
    return *index < options->collector_count ? &options->collectors[*index] : NULL;
}

/* Collectors that get every flow may come and go; groups stay. */
static bool has_same_groups(const struct options *one, const struct options *other)
{
    size_t i = 0, j = 0;
    for (;; i++, j++) {
        const struct host_port *mine = next_in_group(one, &i);
        const struct host_port *its = next_in_group(other, &j);
        if (!mine || !its)
            return mine == its;
        if (!host_port_is_same(mine, its) || one->collector_groups[i] != other->collector_groups[j])
            return false;
    }
}

static void tell_kept(const struct option_row *row, const struct reload *reload)
{
    char *present = text_of(row, &reload->present);
    char *wanted = text_of(row, &reload->wanted);
    log_warnx("--%s takes a restart to change: %s goes on, not %s", row->name, present ? present : "it",
              wanted ? wanted : "what is given now");
    free(present);
    free(wanted);
}

static bool is_0(const struct option_row *row, const struct options *options)
{
    json_t *value = option_value_json(row, options);
    bool is_0 = json_is_integer(value) && json_integer_value(value) == 0;
    json_decref(value);
    return is_0;
}

static bool can_change(const struct option_row *row, const struct reload *reload)
{
    return row->reloads &&
           (row->type != &option_collectors || has_same_groups(&reload->present, &reload->wanted)) &&
           !(row->stays_on_or_off && (is_0(row, &reload->present) || is_0(row, &reload->wanted)));
}

/* Takes back what cannot change. How many options are others then, and the names of as many as there is room
 * for. */
static unsigned sort_out(struct reload *reload, char *names, size_t size)
{
    unsigned changed = 0;
    size_t octets = 0;
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!option_is_setting(row) || option_value_is_same(row, &reload->present, &reload->wanted))
            continue;
        if (!can_change(row, reload)) {
            tell_kept(row, reload);
            option_value_copy(row, &reload->wanted, &reload->present);
            continue;
        }
        if (octets < size)
            octets +=
                (size_t)snprintf(names + octets, size - octets, "%s--%s", changed > 0 ? ", " : "", row->name);
        changed++;
    }
    return changed;
}

static bool is_possible(const struct reload *reload)
{
    if (reload->wanted.collector_count > 0 || reload->prints)
        return true;
    log_warnx("the configuration is refused, the old one goes on: it has no collector, and nothing is "
              "printed: give a collector");
    return false;
}

/* ---- the thread: what follows from it ---- */

/* false: the program ends. */
static bool await_taken(struct reload *reload, const struct exporter_change *change)
{
    while (!exporter_has_taken(change)) {
        struct poll_set set;
        if (atomic_load_explicit(&reload->is_ending, memory_order_relaxed))
            return false;
        poll_set_clear(&set);
        poll_set_add(&set, reload->thread_fd, POLLIN);
        poll_set_wait(&set, 0);
        wake_take(reload->thread_fd);
    }
    return true;
}

/* 0 or -errno. */
static int change_export(struct reload *reload)
{
    struct exporter_config present, wanted;
    struct exporter_change *change;
    configs_of_export(&present, &reload->present);
    configs_of_export(&wanted, &reload->wanted);
    int error = exporter_prepare(&change, reload->exporter, &present, &wanted, reload->thread_fd);
    if (error)
        return error;
    exporter_offer(reload->exporter, change);
    wake(reload->owner_fd);
    if (!await_taken(reload, change)) {
        exporter_withdraw(reload->exporter);
        error = -ECANCELED;
    }
    exporter_change_close(change);
    return error;
}

static void read_again(struct reload *reload)
{
    struct option_error why;
    char names[512];
    if (command_line_read(&reload->wanted, reload->argc, reload->argv, &why) != 0) {
        log_warnx("the configuration is refused, the old one goes on: %s", why.text);
        return;
    }
    if (!is_possible(reload))
        return;
    if (sort_out(reload, names, sizeof(names)) == 0) {
        log_info("the configuration was read again: nothing has changed");
        return;
    }
    int error = change_export(reload);
    if (error == -ECANCELED)
        return;
    if (error) {
        log_warnx("the configuration cannot be changed, the old one goes on: %s", strerror(-error));
        return;
    }
    log_set_verbose(reload->wanted.verbose);
    reload->has_changed = true;
    log_info("the configuration was read again: changed is %s", names);
}

static void *run_thread(void *context)
{
    struct reload *reload = context;
    read_again(reload);
    /* Pairs with the acquire in reload_run(): the wanted options. */
    atomic_store_explicit(&reload->is_done, true, memory_order_release);
    wake(reload->owner_fd);
    return NULL;
}

/* ---- the owner ---- */

static void start(struct reload *reload)
{
    notify_tell(reload->notify, NOTIFY_RELOADING);
    atomic_store_explicit(&reload->is_done, false, memory_order_relaxed);
    int error = pthread_create(&reload->thread, NULL, run_thread, reload);
    reload->is_running = error == 0;
    if (!error)
        return;
    log_warnx("the configuration cannot be read again now, the old one goes on: %s", strerror(error));
    notify_tell(reload->notify, NOTIFY_READY);
}

/* Those that run hold on to the others, which stay as they are. Between two threads: what the owner reads of
 * the present options is not written by the next one. */
static void take_over(struct reload *reload)
{
    for (size_t i = 0; i < option_table_count; i++)
        if (option_is_setting(&option_table[i]) && option_table[i].reloads)
            option_value_copy(&option_table[i], &reload->present, &reload->wanted);
}

bool reload_is_running(const struct reload *reload)
{
    return reload->is_running;
}

void reload_ask(struct reload *reload, struct exporter *exporter)
{
    reload->exporter = exporter;
    reload->is_asked = true;
}

bool reload_run(struct reload *reload)
{
    bool has_changed = false;
    if (reload->is_running)
        wake_take(reload->owner_fd);
    /* Pairs with the release in run_thread(). */
    if (reload->is_running && atomic_load_explicit(&reload->is_done, memory_order_acquire)) {
        pthread_join(reload->thread, NULL);
        reload->is_running = false;
        has_changed = reload->has_changed;
        reload->has_changed = false;
        if (has_changed)
            take_over(reload);
        if (!reload->is_asked)
            notify_tell(reload->notify, NOTIFY_READY);
    }
    if (reload->is_asked && !reload->is_running) {
        reload->is_asked = false;
        start(reload);
    }
    return has_changed;
}

void reload_wants(const struct reload *reload, struct poll_set *set)
{
    if (reload->is_running)
        poll_set_add(set, reload->owner_fd, POLLIN);
}
