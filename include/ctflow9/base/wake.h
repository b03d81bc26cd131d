/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/*
 * A descriptor by which any thread ends another one's wait: readable from wake() on, until wake_take(). One
 * that comes before the wait ends it at its beginning, so none is missed.
 */

/* fd or -errno. */
int wake_open(void);

void wake(int fd);

/* For the one that waits, when it is readable. false: nobody has called wake() since. */
bool wake_take(int fd);
