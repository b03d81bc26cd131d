/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <pthread.h>

/*
 * Starts a thread that gets no signal that is sent to the process: those are for whoever watches the
 * descriptor of signals. What a fault of its own raises it still gets. 0 or -errno.
 */
int thread_start(pthread_t *thread, void *(*run)(void *), void *context);
