/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/nfqueue.h"

#include <errno.h>
#include <stdlib.h>

#include "ctflow9/base/memory.h"
#include "ctflow9/input/packet_queue.h"

struct nfqueue {
    struct source source;
    unsigned workers;
    struct source_worker *worker; /* of each */
    unsigned count;
    struct packet_queue *queue[NFQUEUE_QUEUES_MAX];
};

static struct nfqueue *of(struct source *source)
{
    return (struct nfqueue *)(void *)source;
}

static void nfqueue_close(struct source *source)
{
    struct nfqueue *nfqueue = of(source);
    for (unsigned i = 0; i < nfqueue->count; i++)
        packet_queue_close(nfqueue->queue[i]);
    free(nfqueue->worker);
    free(nfqueue);
}

static int open_queue(struct nfqueue *nfqueue, const struct nfqueue_config *config, unsigned index)
{
    const struct packet_queue_config queue = {.number = (uint16_t)(config->queues.first + index),
                                              .repeats = config->verdict == NFQUEUE_REPEAT,
                                              .mark = config->mark,
                                              .rcvbuf_octets = config->rcvbuf_octets,
                                              .flow_cache = (config->flow_cache + config->queues.count - 1) /
                                                            config->queues.count,
                                              .inactive_timeout_ns = config->inactive_timeout_ns,
                                              .active_timeout_ns = config->active_timeout_ns,
                                              .wake_fd = nfqueue->worker[index % nfqueue->workers].wake_fd};
    return packet_queue_open(&nfqueue->queue[index], &queue);
}

static int nfqueue_open(struct source **source, const void *own, const struct source_worker *worker,
                        unsigned workers)
{
    const struct nfqueue_config *config = own;
    struct nfqueue *opened = memory_allocate(sizeof(*opened), 0, 0);
    if (!opened)
        return -ENOMEM;
    opened->source.ops = &nfqueue_source;
    opened->workers = workers;
    opened->worker = memory_allocate(0, workers, sizeof(*worker));
    int error = opened->worker ? 0 : -ENOMEM;
    for (unsigned i = 0; i < workers && !error; i++)
        opened->worker[i] = worker[i];
    while (opened->count < config->queues.count && !error) {
        error = open_queue(opened, config, opened->count);
        opened->count += error == 0;
    }
    if (error) {
        nfqueue_close(&opened->source);
        return error;
    }
    *source = &opened->source;
    return 0;
}

static int nfqueue_start(struct source *source)
{
    struct nfqueue *nfqueue = of(source);
    int error = 0;
    for (unsigned i = 0; i < nfqueue->count && !error; i++)
        error = packet_queue_start(nfqueue->queue[i]);
    return error;
}

static void nfqueue_change(struct source *source, const void *own)
{
    struct nfqueue *nfqueue = of(source);
    const struct nfqueue_config *config = own;
    for (unsigned i = 0; i < nfqueue->count; i++)
        packet_queue_set_timeouts(nfqueue->queue[i], config->inactive_timeout_ns, config->active_timeout_ns);
}

static unsigned nfqueue_drain(struct source *source, unsigned worker, unsigned limit)
{
    struct nfqueue *nfqueue = of(source);
    const struct flow_outlet *outlet = &nfqueue->worker[worker].outlet;
    unsigned taken = 0;
    for (unsigned i = worker; i < nfqueue->count; i += nfqueue->workers) {
        unsigned room = flow_outlet_room(outlet, limit - taken);
        taken += packet_queue_take(nfqueue->queue[i], room, outlet->sink, outlet->context);
    }
    return taken;
}

/* Asked when the queues have been told to end. */
static bool nfqueue_is_drained(const struct source *source, unsigned worker)
{
    const struct nfqueue *nfqueue = (const void *)source;
    bool all = true;
    for (unsigned i = worker; i < nfqueue->count; i += nfqueue->workers)
        all &= packet_queue_is_over(nfqueue->queue[i]);
    return all;
}

static void count(struct nfqueue *nfqueue, unsigned worker)
{
    for (unsigned i = worker; i < nfqueue->count; i += nfqueue->workers)
        packet_queue_count(nfqueue->queue[i], nfqueue->worker[worker].stats);
}

static bool nfqueue_run(struct source *source, unsigned worker, struct instant now)
{
    (void)now;
    count(of(source), worker);
    return false;
}

static void nfqueue_halt(struct source *source)
{
    struct nfqueue *nfqueue = of(source);
    for (unsigned i = 0; i < nfqueue->count; i++)
        packet_queue_stop(nfqueue->queue[i]);
}

static bool nfqueue_finish(struct source *source, unsigned worker)
{
    count(of(source), worker);
    return false;
}

const struct source_ops nfqueue_source = {
    .name = "nfqueue",
    .open = nfqueue_open,
    .close = nfqueue_close,
    .start = nfqueue_start,
    .change = nfqueue_change,
    .drain = nfqueue_drain,
    .is_drained = nfqueue_is_drained,
    .run = nfqueue_run,
    .halt = nfqueue_halt,
    .finish = nfqueue_finish,
};
