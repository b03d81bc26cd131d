/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>

#include "ctflow9/config/option_error.h"
#include "ctflow9/config/option_row.h"
#include "ctflow9/config/options.h"

/*
 * What a type of option is made of: for the files that have types in them, and for option_value.c, by which
 * everybody else works with values. A new type is one of these. Pure.
 */

struct option_type {
    /* As option_value_set() and option_value_json(). */
    int (*set)(const struct option_row *row, struct options *options, const char *text,
               struct option_error *why);
    json_t *(*json)(const struct option_row *row, const struct options *options);
    /* Empties a list; NULL = there is one value. */
    void (*clear)(const struct option_row *row, struct options *options);
    /* Writes the range; NULL = there is none. */
    void (*range)(const struct option_row *row, char text[OPTION_RANGE_MAX]);
    size_t octets; /* of the value, at its place in struct options */
    /* What the configuration may give, a bit for each; a list may be an array of them as well. Of an object
     * each member is set by the text NAME=VALUE. */
    unsigned json_types;
    const char *wanted; /* how people say that */
};

/* The bit of json_types for JSON_TRUE, JSON_STRING and so on. */
#define OPTION_JSON(type) (1u << JSON_##type)

/* Where the value is. */
static inline void *option_place(const struct option_row *row, struct options *options)
{
    return (char *)options + row->offset;
}

static inline const void *option_place_const(const struct option_row *row, const struct options *options)
{
    return (const char *)options + row->offset;
}
