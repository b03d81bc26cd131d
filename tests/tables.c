/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints the tables that the man pages describe, as one JSON object: for check_man, which compares them.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctflow9/base/stats.h"
#include "ctflow9/config/option_table.h"
#include "ctflow9/config/option_value.h"
#include "ctflow9/output/json.h"
#include "ctflow9/service/metrics_write.h"

static json_t *options(void)
{
    char range[OPTION_RANGE_MAX];
    json_t *all = json_array();
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        json_array_append_new(all, json_pack("{s:s, s:s?, s:b, s:s, s:s?, s:b}", "name", row->name,
                                             "argument", row->argument, "is_key", row->type != NULL, "range",
                                             option_value_range(row, range), "default", row->fallback,
                                             "reloads", row->reloads));
    }
    return all;
}

typedef const struct stats_row *row_at(size_t number);

static json_t *counters(row_at *row)
{
    json_t *all = json_array();
    for (size_t i = 0; row(i); i++)
        if (row(i)->name)
            json_array_append_new(all, json_string(row(i)->name));
    return all;
}

static json_t *keys(void)
{
    json_t *all = json_array();
    for (size_t i = 0; json_key(i); i++)
        json_array_append_new(all, json_string(json_key(i)));
    return all;
}

/* Every metric that there can be. */
static json_t *metrics(void)
{
    static struct metrics_sample sample = {.collector_count = 1, .collector = {{.name = "192.0.2.10:2055"}}};
    return metrics_json(&sample);
}

int main(void)
{
    json_t *tables =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "options", options(), "counters", counters(stats_row),
                  "collector_counters", counters(stats_collector_row), "json", keys(), "metrics", metrics());
    int error = json_dumpf(tables, stdout, JSON_INDENT(1));
    json_decref(tables);
    return error == 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
