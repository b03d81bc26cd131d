/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/route_asker.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ctflow9/base/instant.h"

enum { PLACES = 1 << 16, FIRST_GENERATION = 2 };

/*
 * Changes come in bursts: what comes so soon after the first one belongs to it, and beyond some at once there
 * is one a second. Without any, answers are asked for again after a while: settings change without a notice.
 */
#define BURST_NS           (20 * NS_PER_MS)
#define CHANGE_INTERVAL_NS NS_PER_S
#define CHANGES_AT_ONCE    10
#define CHANGE_MAX_NS      (60 * NS_PER_S)

struct route_asker {
    struct routes *routes;
    struct route_rules *rules;
    struct route_cache *cache;
    struct route_state state; /* its own copy of what follows */
    uint64_t allowed_ns;      /* monotonic: no next one before; in the past, up to some intervals ago */
    uint64_t next_ns;         /* monotonic: of the next one */
    uint64_t noticed_ns;      /* wall clock: the first notice since; 0 = none */
    _Atomic uint32_t generation;
    _Atomic uint64_t changed_ns;
    _Atomic uint8_t parts[2];
};

/* ---- changes ---- */

static void publish(struct route_asker *asker)
{
    const struct route_state *state = &asker->state;
    for (int i = 0; i < 2; i++)
        atomic_store_explicit(&asker->parts[i], state->parts[i], memory_order_relaxed);
    atomic_store_explicit(&asker->changed_ns, state->changed_ns, memory_order_relaxed);
    /* Pairs with the acquire in route_asker_state(): what has changed. */
    atomic_store_explicit(&asker->generation, state->generation, memory_order_release);
}

struct route_state route_asker_state(const struct route_asker *asker)
{
    struct route_state state = {/* Pairs with the release in publish(). */
                                .generation = atomic_load_explicit(&asker->generation, memory_order_acquire)};
    state.changed_ns = atomic_load_explicit(&asker->changed_ns, memory_order_relaxed);
    for (int i = 0; i < 2; i++)
        state.parts[i] = atomic_load_explicit(&asker->parts[i], memory_order_relaxed);
    return state;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void begin_generation(struct route_asker *asker, uint64_t changed_ns, uint64_t now_ns)
{
    const uint64_t reach_ns = CHANGES_AT_ONCE * CHANGE_INTERVAL_NS;
    asker->state = (struct route_state){
        .generation = asker->state.generation + 1,
        .changed_ns = changed_ns,
        .parts = {route_rules_read(asker->rules, AF_INET), route_rules_read(asker->rules, AF_INET6)}};
    asker->allowed_ns =
        later(asker->allowed_ns, now_ns > reach_ns ? now_ns - reach_ns : 0) + CHANGE_INTERVAL_NS;
    asker->next_ns = now_ns + CHANGE_MAX_NS;
    asker->noticed_ns = 0;
    publish(asker);
}

void route_asker_run(struct route_asker *asker, struct instant now)
{
    if (route_rules_take_notices(asker->rules) && asker->noticed_ns == 0) {
        asker->noticed_ns = now.wall_ns;
        asker->next_ns = later(asker->allowed_ns, now.monotonic_ns + BURST_NS);
    }
    if (now.monotonic_ns >= asker->next_ns)
        begin_generation(asker, asker->noticed_ns != 0 ? asker->noticed_ns : now.wall_ns, now.monotonic_ns);
}

/* While a change is awaited, further notices tell nothing. */
void route_asker_wants(const struct route_asker *asker, struct poll_set *set)
{
    poll_set_before(set, asker->next_ns);
    if (asker->noticed_ns == 0)
        route_rules_wants(asker->rules, set);
}

/* ---- questions ---- */

/* Where packets to an address go, and what else decides that. */
static uint8_t look_up(struct route_asker *asker, uint8_t family, const union flow_address *address,
                       struct route *route)
{
    uint8_t parts = 0;
    if (routes_look_up(asker->routes, family, address, route) != 0) {
        *route = (struct route){0};
        parts = ROUTE_BY_BOTH; /* there may be a route for some senders */
    } else if (route->is_balanced) {
        parts = route_rules_read_balancing(asker->rules, family);
    }
    route_cache_put_address(asker->cache, asker->state.generation, family, address, route, parts);
    return parts;
}

static void ask(struct route_asker *asker, struct flow *flow)
{
    uint8_t parts = asker->state.parts[flow->family == AF_INET6];
    if (parts == 0) {
        struct route to_source, to_destination;
        parts = look_up(asker, flow->family, &flow->tuple[FLOW_ORIGINAL].src, &to_source);
        parts |= look_up(asker, flow->family, &flow->tuple[FLOW_REPLY].src, &to_destination);
        if (parts == 0) {
            routes_note_by(&to_source, &to_destination, flow);
            return;
        }
    }
    routes_note(asker->routes, flow);
    route_cache_put_flow(asker->cache, asker->state.generation, parts, flow);
}

void route_asker_note(struct route_asker *asker, struct flow *flow)
{
    if (route_cache_find(asker->cache, &asker->state, flow) == ROUTE_UNASKED)
        ask(asker, flow);
}

const struct route_cache *route_asker_cache(const struct route_asker *asker)
{
    return asker->cache;
}

/* ---- opening ---- */

int route_asker_open(struct route_asker **asker)
{
    struct route_asker *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    const struct instant now = instant_now();
    opened->state.generation = FIRST_GENERATION - 1;
    int error = routes_open(&opened->routes);
    if (!error)
        error = route_rules_open(&opened->rules);
    if (!error)
        error = route_cache_open(&opened->cache, PLACES);
    if (error) {
        route_asker_close(opened);
        return error;
    }
    begin_generation(opened, now.wall_ns, now.monotonic_ns);
    *asker = opened;
    return 0;
}

void route_asker_close(struct route_asker *asker)
{
    if (!asker)
        return;
    routes_close(asker->routes);
    route_rules_close(asker->rules);
    route_cache_close(asker->cache);
    free(asker);
}
