/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "ctflow9/config/option_error.h"
#include "ctflow9/config/option_row.h"
#include "ctflow9/config/options.h"

/*
 * The values of settings: from text, whoever wrote it (the command line, the configuration, the table's own
 * defaults), and into JSON. Pure.
 */

/* It has a value in struct options, and a key in the configuration. */
bool option_is_setting(const struct option_row *row);

/* This build was made without it: it has a name, but can be given no value. */
bool option_is_unbuilt(const struct option_row *row);

/* It has any number of values, and its key may have an array of them. */
bool option_is_list(const struct option_row *row);

/* Empties a list; does nothing to others. */
void option_value_clear(const struct option_row *row, struct options *options);

/* Sets one option; a list grows by what text says. 0, or -EINVAL with *why set. */
int option_value_set(const struct option_row *row, struct options *options, const char *text,
                     struct option_error *why);

/* The same with one value of the configuration: of a list, one element or the only one. */
int option_value_set_json(const struct option_row *row, struct options *options, const json_t *value,
                          struct option_error *why);

/* Its key may have an object, of which each member is set by itself. */
bool option_has_members(const struct option_row *row);
int option_value_set_member(const struct option_row *row, struct options *options, const char *name,
                            const json_t *value, struct option_error *why);

/* A new reference: what the configuration would say, null for none; NULL when there is no memory. */
json_t *option_value_json(const struct option_row *row, const struct options *options);

/* Whether both have the same value, and the value of one for the other. */
bool option_value_is_same(const struct option_row *row, const struct options *one,
                          const struct options *other);
void option_value_copy(const struct option_row *row, struct options *to, const struct options *from);

/* "512 to 8972 octets"; "" without a range, as a command is. Returns text. */
const char *option_value_range(const struct option_row *row, char text[OPTION_RANGE_MAX]);
