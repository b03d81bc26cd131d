/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/option_value.h"
#include "ctflow9/config/options.h"

/*
 * Reads the JSON configuration at path, a file or a pipe, over *options. The keys are the long option names;
 * null leaves an option as it is. Returns 0, or -EINVAL (or open's or read's -errno) with *why set:
 * "FILE:LINE: what is wrong, what would be right", or "FILE:LINE:COLUMN: …" where it is not JSON. -ENOENT
 * means that there is nothing at path. *options may then be half changed: the caller gives up. A pipe that
 * nothing comes through for ten seconds is refused. A file that others than root and its owner may write is
 * warned of.
 */
int config_read(struct options *options, const char *path, struct option_error *why);

/* The same with the octets of the file, which need not end with a NUL; path is its name in *why. 0 or
 * -EINVAL. Pure. */
int config_parse(struct options *options, const char *path, const char *text, size_t octets,
                 struct option_error *why);
