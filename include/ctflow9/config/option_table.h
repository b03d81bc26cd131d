/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdio.h>

#include "ctflow9/config/option_value.h"

/*
 * THE option table: one row declares an option's long name (which is its JSON key), letter, type, range,
 * unit, default, argument name, help text and place in struct options. The command line (getopt_long), the
 * JSON configuration (config.c), --help, --check's JSON and the defaults all derive from it.
 */
enum { OPTION_TABLE_MAX = 128, OPTION_NAME_MAX = 32 /* longer than any option's name */ };
extern const struct option_row option_table[];
extern const size_t option_table_count;

/* Sets every option to its default. */
void option_table_default(struct options *options);

/* The whole --help text. */
void option_table_help(FILE *out);

/*
 * Every effective option as one JSON object (keys in the table's order), as --check prints it: a
 * configuration file that says the same. 0, -ENOMEM, or -EIO when out does not take it.
 */
int option_table_print_json(const struct options *options, FILE *out);

/* The table's row of that long name, and the one whose name is most like it; NULL when there is none. */
const struct option_row *option_table_find(const char *name);
const struct option_row *option_table_nearest(const char *name);
