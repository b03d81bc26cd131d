/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/first_packets_queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    HELD = 16,       /* a power of two: flows in the queue; 4 KiB, which stay in the cache */
    STEP = HELD / 2, /* so many flows after it, a flow's tags have come, and its note is fetched */
    BUSY_RETRIES = 64,
    CLOCK_SLACK_NS = 10000 /* the clock of the program may be ahead of the kernel's other one for a moment */
};

_Static_assert((int)FIRST_PACKETS_INTERFACES == (int)FLOW_HAS_INTERFACES &&
                   (int)FIRST_PACKETS_TOS == (int)FLOW_HAS_TOS &&
                   (int)FIRST_PACKETS_LINK_SOURCE == (int)FLOW_HAS_LINK_SOURCE,
               "the program writes the flow's bits");

struct held {
    struct flow flow;
    uint64_t hash;
    struct first_packets_set *set;
    unsigned ways; /* bits of the places with the flow's tag, as seen by fetch_note() */
    bool ends, is_told;
};

struct first_packets_queue {
    const struct first_packets_table *table;
    flow_sink *sink;
    void *context;
    unsigned put, taken; /* only grow */
    struct held held[HELD];
};

int first_packets_queue_open(struct first_packets_queue **queue, const struct first_packets_table *table,
                             flow_sink *sink, void *context)
{
    struct first_packets_queue *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->table = table;
    opened->sink = sink;
    opened->context = context;
    *queue = opened;
    return 0;
}

void first_packets_queue_close(struct first_packets_queue *queue)
{
    free(queue);
}

static uint64_t hash_of(const struct first_packets_table *table, const struct flow *flow)
{
    const struct flow_tuple *tuple = &flow->tuple[FLOW_ORIGINAL];
    struct first_packets_key key = {.src_id = tuple->src_port,
                                    .dst_id = tuple->dst_port,
                                    .zone = flow->zone != 0 ? flow_zone(flow) : 0,
                                    .family = flow->family,
                                    .protocol = flow->protocol};
    memcpy(key.src, &tuple->src, sizeof(key.src));
    memcpy(key.dst, &tuple->dst, sizeof(key.dst));
    if (flow_is_icmp(flow)) {
        key.src_id = tuple->icmp_id;
        memcpy(&key.dst_id, (const uint8_t[]){tuple->icmp_type, tuple->icmp_code}, sizeof(key.dst_id));
    }
    return first_packets_hash(table->secret, &key);
}

/* When the connection was there at the latest, by the clock of the notes. */
static uint64_t latest_ns(const struct first_packets_table *table, const struct flow *flow)
{
    const uint64_t began_ns = flow_has(flow, FLOW_HAS_START) ? flow->start_ns : flow->stop_ns;
    return began_ns + CLOCK_SLACK_NS +
           (uint64_t)atomic_load_explicit(&table->tai_offset_ns, memory_order_relaxed);
}

static _Atomic uint32_t *tag_at(struct first_packets_set *set, unsigned way)
{
    return (_Atomic uint32_t *)&set->tags[way];
}

/* The bits of the places that have the tag. Each is looked at once more, so that these are no atomic loads.
 */
__attribute__((no_sanitize("thread"))) static unsigned ways_of(const struct first_packets_set *set,
                                                               uint32_t tag)
{
    typedef uint32_t four __attribute__((vector_size(16)));

    const four *tags = (const void *)set->tags;
    const four is = (four)(tags[0] == tag) & 0x0001U, is_1 = (four)(tags[1] == tag) & 0x0010U,
               is_2 = (four)(tags[2] == tag) & 0x0100U, is_3 = (four)(tags[3] == tag) & 0x1000U;
    const four ways = is | is_1 | is_2 | is_3;
    return ways[0] | ways[1] << 1 | ways[2] << 2 | ways[3] << 3;
}

/* Word by word as they are loaded: what was written in one size and is read in another has to wait. */
static void fill(struct flow *flow, const uint64_t words[FIRST_PACKETS_NOTE_WORDS])
{
    struct {
        uint8_t link_source[2][6];
        uint32_t has;
    } middle;
    memcpy(&middle, &words[4], sizeof(middle));
    memcpy(flow->in_interface, &words[2], sizeof(flow->in_interface));
    memcpy(flow->out_interface, &words[3], sizeof(flow->out_interface));
    memcpy(flow->link_source, middle.link_source, sizeof(flow->link_source));
    memcpy(flow->tos, &words[6], sizeof(flow->tos));
    flow->has |= middle.has;
}

/*
 * Fills the flow in from a note of its connection, if it is whole: its tag is then the same before and after.
 * The loads are acquires so that the second look at the tag comes last. When it was noted, 0 when it is
 * another one's.
 */
static uint64_t fill_from_way(struct held *held, unsigned way, uint64_t after_ns, uint64_t until_ns)
{
    const uint32_t tag = first_packets_tag(held->hash);
    const _Atomic uint64_t *from = (const void *)&held->set->notes[way];
    uint64_t words[FIRST_PACKETS_NOTE_WORDS];

    /* Pairs with the exchange that ends note_original() and note_reply() in first_packets.bpf.c. */
    if (atomic_load_explicit(tag_at(held->set, way), memory_order_acquire) != tag)
        return 0;
    for (unsigned i = 0; i < FIRST_PACKETS_NOTE_WORDS; i++)
        words[i] = atomic_load_explicit(&from[i], memory_order_acquire);
    if (atomic_load_explicit(tag_at(held->set, way), memory_order_relaxed) != tag || words[0] != held->hash ||
        words[1] > until_ns)
        return 0;
    if (words[1] > after_ns)
        fill(&held->flow, words);
    return words[1];
}

/*
 * Of those ways, the newest note of the flow's connection fills it in; those of earlier connections of the
 * same tuple, whose end nobody told, are given free with it.
 */
static bool fill_from(struct held *held, unsigned ways, uint64_t until_ns)
{
    uint64_t newest_ns = 0;
    for (; ways != 0; ways &= ways - 1) {
        const unsigned way = (unsigned)__builtin_ctz(ways);
        const uint64_t noted_ns = fill_from_way(held, way, newest_ns, until_ns);
        uint32_t tag = first_packets_tag(held->hash);
        if (noted_ns > newest_ns)
            newest_ns = noted_ns;
        if (noted_ns != 0 && held->ends)
            atomic_compare_exchange_strong_explicit(tag_at(held->set, way), &tag, FIRST_PACKETS_FREE,
                                                    memory_order_release, memory_order_relaxed);
    }
    return newest_ns != 0;
}

/* The note may be written to just now, with the first reply, or have come a moment ago. */
static void look_again(struct held *held, uint64_t until_ns)
{
    const uint32_t tag = first_packets_tag(held->hash);
    for (int retries = BUSY_RETRIES; retries > 0; retries--) {
        const unsigned busy = ways_of(held->set, FIRST_PACKETS_BUSY);
        if (fill_from(held, ways_of(held->set, tag), until_ns) || busy == 0)
            break;
    }
}

static void hand_on(struct first_packets_queue *queue)
{
    struct held *held = &queue->held[queue->taken++ % HELD];
    const uint64_t until_ns = latest_ns(queue->table, &held->flow);
    if (!fill_from(held, held->ways, until_ns))
        look_again(held, until_ns);
    if (held->is_told)
        queue->sink(queue->context, &held->flow);
}

static void fetch_note(struct held *held)
{
    held->ways = ways_of(held->set, first_packets_tag(held->hash));
    if (held->ways != 0)
        __builtin_prefetch(&held->set->notes[__builtin_ctz(held->ways)]);
}

static void put(struct first_packets_queue *queue, const struct flow *flow, bool ends, bool is_told)
{
    if (queue->put - queue->taken == HELD)
        hand_on(queue);
    if (queue->put - queue->taken >= STEP)
        fetch_note(&queue->held[(queue->put - STEP) % HELD]);
    struct held *held = &queue->held[queue->put++ % HELD];
    const uint64_t hash = hash_of(queue->table, flow);
    held->set = &queue->table->sets[(uint32_t)hash & queue->table->set_mask];
    __builtin_prefetch(held->set, 1);
    held->flow = *flow;
    held->hash = hash;
    held->ways = 0;
    held->ends = ends;
    held->is_told = is_told;
}

void first_packets_queue_put(struct first_packets_queue *queue, const struct flow *flow, bool ends)
{
    put(queue, flow, ends, true);
}

void first_packets_queue_forget(struct first_packets_queue *queue, const struct flow *flow)
{
    put(queue, flow, true, false);
}

void first_packets_queue_flush(struct first_packets_queue *queue)
{
    for (unsigned i = queue->put - queue->taken < STEP ? queue->taken : queue->put - STEP; i != queue->put;
         i++)
        fetch_note(&queue->held[i % HELD]);
    while (queue->taken != queue->put)
        hand_on(queue);
}
