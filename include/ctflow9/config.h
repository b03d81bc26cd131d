/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

#include "ctflow9/options.h"

/*
 * Reads the JSON configuration at path over *options. The keys are the long option names.
 * Returns 0, or -EINVAL (or open's -errno) with one line in error: "FILE:LINE: what is wrong, what would be
 * right". *options may then be half changed: the caller gives up.
 */
int config_read(struct options *options, const char *path, char *error, size_t error_size);
