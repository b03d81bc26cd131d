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

static json_t *options(void)
{
    char range[OPTION_RANGE_MAX];
    json_t *all = json_array();
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        json_array_append_new(all, json_pack("{s:s, s:s?, s:b, s:s, s:s?}", "name", row->name, "argument",
                                             row->argument, "is_key", row->type != NULL, "range",
                                             option_value_range(row, range), "default", row->fallback));
    }
    return all;
}

static json_t *names(const char *(*name)(size_t number))
{
    json_t *all = json_array();
    for (size_t i = 0; name(i); i++)
        json_array_append_new(all, json_string(name(i)));
    return all;
}

int main(void)
{
    json_t *tables = json_pack("{s:o, s:o, s:o, s:o}", "options", options(), "counters", names(stats_name),
                               "collector_counters", names(stats_collector_name), "json", names(json_key));
    int error = json_dumpf(tables, stdout, JSON_INDENT(1));
    json_decref(tables);
    return error == 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
