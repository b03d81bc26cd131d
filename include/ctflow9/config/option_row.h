/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A row of the option table. Most are settings: they have a type and a place in struct options. The others
 * are commands, on the command line only: what to do, not how.
 */

struct option_type; /* option_type.h; there are those of option_text.h, option_number.h, option_host.h,
                       option_list.h and option_interfaces.h */

enum { OPTION_RANGE_MAX = 96 }; /* a range in words */

enum option_command {
    OPTION_SET, /* what a setting does */
    OPTION_CONFIG,
    OPTION_CHECK,
    OPTION_VERSION,
    OPTION_HELP
};

struct option_row {
    const char *group;              /* the heading in --help */
    const char *name;               /* long name and JSON key */
    int letter;                     /* 0 = none */
    const struct option_type *type; /* of a setting; NULL = a command, or not built */
    enum option_command command;
    size_t offset;        /* in struct options */
    uint64_t min, max;    /* of a number, seconds (in milliseconds) and a size; max of a text's length */
    const char *unit;     /* of min and max, as people say it; NULL = none */
    const char *choices;  /* of a choice, in the order of their numbers, separated by blanks */
    const char *unbuilt;  /* one of them that this build was made without; NULL = none */
    const char *lacking;  /* what it would take; without a type: what the whole option would */
    const char *fallback; /* the default; NULL = false, none or an empty list */
    const char *argument; /* its name; NULL = it takes none */
    const char *help;
    bool reloads;         /* takes effect when it is read again; else it takes a restart */
    bool stays_on_or_off; /* but does so where it was 0, or becomes that */
};
