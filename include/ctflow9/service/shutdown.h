/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/service/worker.h"

/*
 * The end of reading, for the first worker; the others go on meanwhile. Turns as ever, as long as a source
 * has something to wait for: await() in source.h. Another signal, or nobody left to export to, cuts it short.
 */
void shutdown_await(struct workers *workers);
