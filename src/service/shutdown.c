/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/shutdown.h"

void shutdown_await(struct workers *workers)
{
    struct worker *first = &workers->worker[0];
    atomic_store_explicit(&workers->awaiting, true, memory_order_relaxed);
    while (sources_await(&workers->sources, worker_hurried(workers) || worker_has_failed(workers))) {
        worker_wait(first, ON_EVENT);
        worker_turn(first);
    }
}
