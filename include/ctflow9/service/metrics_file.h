/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/* A file that whoever reads it finds whole, the one before or the one after: for node_exporter's textfile
 * collector. What is written is renamed from PATH.tmp. */

/* Whether one could be written now. 0 or -errno. */
int metrics_file_check(const char *path);

/* 0 or -errno; the one before is then still there. */
int metrics_file_write(const char *path, const char *text, size_t octets);
