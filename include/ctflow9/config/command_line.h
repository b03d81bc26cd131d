/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdio.h>

#include "ctflow9/config/option_error.h"
#include "ctflow9/config/options.h"

enum command_line_outcome {
    COMMAND_LINE_RUN,    /* go on */
    COMMAND_LINE_DONE,   /* --help, --version or --check did its work on standard output: exit 0 */
    COMMAND_LINE_FAILED, /* there was no memory or descriptor to read them with, one line says so: exit 1 */
    COMMAND_LINE_REFUSED /* one line on standard error said what was wrong, where, and what would be right:
                          * exit 2
                          */
};

/*
 * Fills *options from the defaults, then the configuration file (-f, or /etc/ctflow9.json when it exists),
 * then the flags. A list given by flags replaces the file's. argv is permuted as getopt_long does.
 */
enum command_line_outcome command_line_parse(struct options *options, int argc, char **argv);

/* The same once more for a program that runs, with what the file says by now: one thread at a time. 0, or
 * -errno with *why set. Nothing is printed. */
int command_line_read(struct options *options, int argc, char **argv, struct option_error *why);

/* The same with another path for the file that may be missing, and other streams. */
enum command_line_outcome command_line_parse_with(struct options *options, int argc, char **argv,
                                                  const char *default_path, FILE *out, FILE *err);
