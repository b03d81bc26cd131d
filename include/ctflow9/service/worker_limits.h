/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* How much a worker does at a time. */
struct worker_limits {
    unsigned drain;      /* messages of a source, between two looks at everything else */
    unsigned flows_ring; /* of each worker that has others beside it, a power of two */
    unsigned rounds;     /* of exporting, before another worker has to do it */
};
