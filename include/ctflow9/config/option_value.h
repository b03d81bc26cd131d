/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/config/option_error.h"
#include "ctflow9/config/options.h"

/*
 * The rows of the option table and their values: from text, whoever wrote it (the command line, the
 * configuration, the table's own defaults), and into JSON. Pure.
 */

enum option_type {
    OPTION_FLAG,       /* bool; "true" or "false" */
    OPTION_NUMBER,     /* uint32_t */
    OPTION_SECONDS,    /* uint32_t, milliseconds; up to three decimals */
    OPTION_SIZE,       /* uint64_t, octets; with K, M or G behind it 1024 times as many, and so on */
    OPTION_COLLECTORS, /* a list: collectors and collector_count */
    OPTION_FIELDS,     /* a list: uint32_t, enum fields_optional; several names in one text have commas */
    OPTION_AGGREGATE,  /* a list: struct aggregate_by; aggregate_keys.h */
    OPTION_MARK,       /* struct netlink_mark; VALUE or VALUE/MASK, decimal or 0x and hexadecimal digits */
    OPTION_ADDRESS,    /* char[OPTIONS_TEXT_MAX + 1]; an IPv4 or IPv6 address */
    OPTION_TEXT,       /* char[OPTIONS_TEXT_MAX + 1]; anything but nothing */
    OPTION_CHOICE,     /* uint32_t, the number of one of the row's choices */
    OPTION_AUTO,       /* uint32_t; a number that is not 0, or "auto" = 0: settled where it is used */
    /* On the command line only: what to do, not how. They have no place in struct options. */
    OPTION_CONFIG,
    OPTION_CHECK,
    OPTION_VERSION,
    OPTION_HELP,
};

struct option_row {
    const char *group; /* the heading in --help */
    const char *name;  /* long name and JSON key */
    int letter;        /* 0 = none */
    enum option_type type;
    size_t offset;        /* in struct options */
    uint64_t min, max;    /* of a number, seconds (in milliseconds) and a size */
    const char *unit;     /* of min and max, as people say it; NULL = none */
    const char *choices;  /* of a choice, in the order of their numbers, separated by blanks */
    const char *unbuilt;  /* one of them that this build was made without; NULL = none */
    const char *lacking;  /* what it would take */
    const char *fallback; /* the default; NULL = false, none or an empty list */
    const char *argument; /* its name; NULL = it takes none */
    const char *help;
};

static inline bool option_is_setting(const struct option_row *row)
{
    return row->type < OPTION_CONFIG;
}

static inline bool option_is_list(const struct option_row *row)
{
    return row->type == OPTION_COLLECTORS || row->type == OPTION_FIELDS || row->type == OPTION_AGGREGATE;
}

/* Empties a list; does nothing to others. */
void option_value_clear(const struct option_row *row, struct options *options);

/* Sets one option; a list grows by what text says. 0, or -EINVAL with *why set. */
int option_value_set(const struct option_row *row, struct options *options, const char *text,
                     struct option_error *why);

/* A new reference: what the configuration would say, null for none; NULL when there is no memory. */
json_t *option_value_json(const struct option_row *row, const struct options *options);

/* "512 to 8972 octets"; "" for a type without a range. Returns text. */
enum { OPTION_RANGE_MAX = 96 };
const char *option_value_range(const struct option_row *row, char text[OPTION_RANGE_MAX]);
