/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/sources.h"

#include <assert.h>
#include <string.h>

static const void *config_of(const struct source_row *row, const struct sources_config *config)
{
    const void *own;
    memcpy(&own, (const char *)config + row->config, sizeof(own));
    return own;
}

int sources_open(struct sources *sources, const struct sources_config *config,
                 const struct source_worker *worker, unsigned workers)
{
    sources->count = 0;
    for (size_t i = 0; i < sources_table_count; i++) {
        const struct source_ops *ops = sources_table[i].ops;
        const void *own = config_of(&sources_table[i], config);
        if (!own)
            continue;
        assert(sources->count < SOURCES_MAX);
        int error = ops->open(&sources->source[sources->count], own, worker, workers);
        if (error)
            return error;
        sources->count++;
    }
    return 0;
}

void sources_close(struct sources *sources)
{
    while (sources->count > 0) {
        struct source *source = sources->source[--sources->count];
        source->ops->close(source);
    }
}

int sources_start(struct sources *sources)
{
    int error = 0;
    for (unsigned i = 0; i < sources->count && !error; i++) {
        struct source *source = sources->source[i];
        error = source->ops->start ? source->ops->start(source) : 0;
    }
    return error;
}

static const struct source_row *row_of(const struct source *source)
{
    const struct source_row *row = sources_table;
    while (row->ops != source->ops)
        row++;
    return row;
}

void sources_change(struct sources *sources, const struct sources_config *config)
{
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->change)
            source->ops->change(source, config_of(row_of(source), config));
    }
}

unsigned sources_drain(struct sources *sources, unsigned worker, unsigned limit)
{
    unsigned most = 0;
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        unsigned taken = source->ops->drain(source, worker, limit);
        most = taken > most ? taken : most;
    }
    return most;
}

bool sources_are_drained(const struct sources *sources, unsigned worker)
{
    bool all = true;
    for (unsigned i = 0; i < sources->count; i++)
        all &= sources->source[i]->ops->is_drained(sources->source[i], worker);
    return all;
}

bool sources_run(struct sources *sources, unsigned worker, struct instant now)
{
    bool more = false;
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->run)
            more |= source->ops->run(source, worker, now);
    }
    return more;
}

void sources_want(const struct sources *sources, unsigned worker, struct poll_set *set)
{
    for (unsigned i = 0; i < sources->count; i++) {
        const struct source *source = sources->source[i];
        if (source->ops->wants)
            source->ops->wants(source, worker, set);
    }
}

void sources_want_events(const struct sources *sources, unsigned worker, struct poll_set *set)
{
    for (unsigned i = 0; i < sources->count; i++) {
        const struct source *source = sources->source[i];
        if (source->ops->wants_event)
            source->ops->wants_event(source, worker, set);
    }
}

bool sources_await(struct sources *sources, bool hurried)
{
    bool wait = false;
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->await)
            wait |= source->ops->await(source, hurried);
    }
    return wait;
}

void sources_halt(struct sources *sources)
{
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->halt)
            source->ops->halt(source);
    }
}

void sources_stop(struct sources *sources, unsigned worker)
{
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->stop)
            source->ops->stop(source, worker);
    }
}

bool sources_finish(struct sources *sources, unsigned worker)
{
    bool more = false;
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->finish)
            more |= source->ops->finish(source, worker);
    }
    return more;
}

void sources_ended(struct sources *sources)
{
    for (unsigned i = 0; i < sources->count; i++) {
        struct source *source = sources->source[i];
        if (source->ops->ended)
            source->ops->ended(source);
    }
}
