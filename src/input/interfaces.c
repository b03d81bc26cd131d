/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/interfaces.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/base/thread.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/input/links.h"

#define TABLE_INTERVAL_NS NS_PER_S
#define RETRY_NS          NS_PER_S

#define TAKEN_INDEX_FLAG (UINT32_C(1) << 31) /* in the number of one whose index is given to another */

enum { FIRST_TURNS = 64 }; /* to read all there are at the start */

/* Places for numbers that differ from their index: at most as many again are of interfaces that are gone. */
enum { PLACES = 8 * INTERFACE_NUMBERS_MAX };

struct interfaces {
    struct interfaces_config config;
    struct links *links;
    bool changed;                 /* since the last table was made */
    struct interface_names *made; /* a copy of the last one; NULL = none yet */
    _Atomic(struct interface_names *) offered;
    struct tell_once failures;
    int wake_fd; /* wake.h: time to stop */
    unsigned renumbered_count;
    _Atomic uint64_t renumbered[PLACES]; /* index << 32 | number, from index % PLACES on; 0 = end */
    _Atomic bool stopping;
    bool is_running;
    pthread_t thread;
};

/* ---- tables ---- */

static const struct interface_number *given_to(const struct interface_numbers *numbers, const char *name)
{
    for (size_t i = 0; i < numbers->count; i++)
        if (strcmp(numbers->each[i].name, name) == 0)
            return &numbers->each[i];
    return NULL;
}

static bool is_given(const struct interface_numbers *numbers, uint32_t number)
{
    for (size_t i = 0; i < numbers->count; i++)
        if (numbers->each[i].number == number)
            return true;
    return false;
}

static struct interface_name *find_named(struct interface_names *names, uint32_t number)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->each[i].number == number)
            return &names->each[i];
    return NULL;
}

/* ---- numbers ---- */

static uint32_t number_of(const struct interface_numbers *numbers, const struct link *link)
{
    const struct interface_number *given = given_to(numbers, link->name);
    if (given)
        return given->number;
    return is_given(numbers, link->index) ? link->index | TAKEN_INDEX_FLAG : link->index;
}

/* Where the index is, or the end where it would be. */
static unsigned place_of(const struct interfaces *interfaces, uint32_t index)
{
    unsigned place = index % PLACES;
    for (;; place = (place + 1) % PLACES) {
        uint64_t there = atomic_load_explicit(&interfaces->renumbered[place], memory_order_relaxed);
        if (there == 0 || there >> 32 == index)
            return place;
    }
}

uint32_t interfaces_number(const struct interfaces *interfaces, uint32_t index)
{
    unsigned place = place_of(interfaces, index);
    uint64_t there = atomic_load_explicit(&interfaces->renumbered[place], memory_order_relaxed);
    return there != 0 ? (uint32_t)there : index;
}

static void renumber(struct interfaces *interfaces, uint32_t index, uint32_t number)
{
    unsigned place = place_of(interfaces, index);
    uint64_t there = atomic_load_explicit(&interfaces->renumbered[place], memory_order_relaxed);
    if (there == 0 && number == index)
        return;
    interfaces->renumbered_count += there == 0;
    atomic_store_explicit(&interfaces->renumbered[place], (uint64_t)index << 32 | number,
                          memory_order_relaxed);
}

/* What is gone stays, for connections that went through it are still to be reported; until there is no room.
 */
static void renumber_all(struct interfaces *interfaces)
{
    if (interfaces->config.numbers->count == 0)
        return;
    if (interfaces->renumbered_count > PLACES / 2) {
        interfaces->renumbered_count = 0;
        for (unsigned i = 0; i < PLACES; i++)
            atomic_store_explicit(&interfaces->renumbered[i], 0, memory_order_relaxed);
    }
    for (size_t i = 0; i < links_count(interfaces->links); i++) {
        const struct link *link = links_at(interfaces->links, i);
        renumber(interfaces, link->index, number_of(interfaces->config.numbers, link));
    }
}

/* ---- names ---- */

/* Those that numbers are given to are there also while no such interface is: flows may still name them. */
static void add_given(struct interface_names *names, const struct interface_numbers *numbers)
{
    for (size_t i = 0; i < numbers->count; i++) {
        struct interface_name *name = &names->each[names->count++];
        name->number = numbers->each[i].number;
        memcpy(name->name, numbers->each[i].name, sizeof(name->name));
    }
}

static void add_link(struct interface_names *names, const struct interfaces_config *config,
                     const struct link *link)
{
    const struct interface_number *given = given_to(config->numbers, link->name);
    struct interface_name *name;
    if (given) {
        name = find_named(names, given->number);
    } else if (config->given_only) {
        return;
    } else {
        name = &names->each[names->count++];
        name->number = number_of(config->numbers, link);
        memcpy(name->name, link->name, sizeof(name->name));
    }
    memcpy(name->alias, link->alias, sizeof(name->alias));
}

/* NULL when there is no memory. */
static struct interface_names *make_names(const struct interfaces *interfaces)
{
    const struct interface_numbers *numbers = interfaces->config.numbers;
    size_t links = links_count(interfaces->links);
    struct interface_names *names = interface_names_allocate(numbers->count + links);
    if (!names)
        return NULL;
    names->count = 0;
    add_given(names, numbers);
    for (size_t i = 0; i < links; i++)
        add_link(names, &interfaces->config, links_at(interfaces->links, i));
    interface_names_sort(names);
    return names;
}

/* NULL when there is no memory. */
static struct interface_names *copy(const struct interface_names *names)
{
    struct interface_names *copied = interface_names_allocate(names->count);
    if (copied)
        memcpy(copied->each, names->each, names->count * sizeof(names->each[0]));
    return copied;
}

static bool is_same(const struct interface_names *a, const struct interface_names *b)
{
    return a && a->count == b->count && memcmp(a->each, b->each, a->count * sizeof(a->each[0])) == 0;
}

/* 0 or -ENOMEM. */
static int offer(struct interfaces *interfaces)
{
    struct interface_names *names = make_names(interfaces);
    if (names && is_same(interfaces->made, names)) {
        free(names);
        return 0;
    }
    struct interface_names *made = names ? copy(names) : NULL;
    if (!made) {
        free(names);
        return -ENOMEM;
    }
    free(interfaces->made);
    interfaces->made = made;
    /* Release pairs with the acquire in interfaces_take(): what the table says. One that nobody has taken is
     * this thread's own again. */
    free(atomic_exchange_explicit(&interfaces->offered, names, memory_order_release));
    wake(interfaces->config.wake_fd);
    return 0;
}

struct interface_names *interfaces_take(struct interfaces *interfaces)
{
    if (!atomic_load_explicit(&interfaces->offered, memory_order_relaxed))
        return NULL;
    /* Pairs with the release in offer(). */
    return atomic_exchange_explicit(&interfaces->offered, NULL, memory_order_acquire);
}

/* ---- the thread ---- */

static void tell_failure(struct interfaces *interfaces, int error, uint64_t now_ns)
{
    tell_once_count(&interfaces->failures, error != 0);
    if (error && tell_once_due(&interfaces->failures, now_ns) != 0) {
        errno = -error;
        log_warn("reading the names of the interfaces failed, trying again");
    }
}

/* Until the kernel tells something, until a time, or until it is time to stop. */
static void wait_until(struct interfaces *interfaces, uint64_t until_ns, uint64_t now_ns, bool is_listening)
{
    struct poll_set set;
    poll_set_clear(&set);
    poll_set_add(&set, interfaces->wake_fd, POLLIN);
    if (is_listening)
        links_wants(interfaces->links, &set);
    poll_set_before(&set, until_ns);
    poll_set_wait(&set, now_ns);
}

static void *run(void *context)
{
    struct interfaces *interfaces = context;
    uint64_t table_ns = 0; /* the next table is not made before */
    while (!atomic_load_explicit(&interfaces->stopping, memory_order_relaxed)) {
        bool changed = false;
        int error = links_run(interfaces->links, &changed);
        if (changed)
            renumber_all(interfaces);
        interfaces->changed |= changed;
        uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
        bool is_due = interfaces->changed && links_are_complete(interfaces->links);
        if (!error && is_due && now_ns >= table_ns) {
            error = offer(interfaces);
            interfaces->changed = error != 0;
            is_due = false;
            table_ns = now_ns + TABLE_INTERVAL_NS;
        }
        tell_failure(interfaces, error, now_ns);
        uint64_t until_ns = is_due ? table_ns : POLL_SET_NEVER;
        wait_until(interfaces, error ? now_ns + RETRY_NS : until_ns, now_ns, !error);
    }
    return NULL;
}

int interfaces_start(struct interfaces *interfaces)
{
    int error = thread_start(&interfaces->thread, run, interfaces);
    interfaces->is_running = error == 0;
    return error;
}

void interfaces_stop(struct interfaces *interfaces)
{
    if (!interfaces || !interfaces->is_running)
        return;
    atomic_store_explicit(&interfaces->stopping, true, memory_order_relaxed);
    wake(interfaces->wake_fd);
    pthread_join(interfaces->thread, NULL);
    interfaces->is_running = false;
}

/* ---- opening ---- */

/* All that there are by now, so that the first flows have names too: the kernel answers within the call. */
static int read_first(struct interfaces *interfaces)
{
    int error = 0;
    for (unsigned i = 0; i < FIRST_TURNS && !error && !links_are_complete(interfaces->links); i++)
        error = links_run(interfaces->links, &interfaces->changed);
    renumber_all(interfaces);
    if (!error)
        error = offer(interfaces);
    return error;
}

int interfaces_open(struct interfaces **interfaces, const struct interfaces_config *config)
{
    struct interfaces *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->wake_fd = wake_open();
    int error = opened->wake_fd < 0 ? opened->wake_fd : links_open(&opened->links);
    if (!error)
        error = read_first(opened);
    if (error) {
        log_cannot(error, "read the names of the interfaces");
        interfaces_close(opened);
        return error;
    }
    *interfaces = opened;
    return 0;
}

void interfaces_close(struct interfaces *interfaces)
{
    if (!interfaces)
        return;
    links_close(interfaces->links);
    if (interfaces->wake_fd >= 0)
        close(interfaces->wake_fd);
    free(interfaces->made);
    free(atomic_load_explicit(&interfaces->offered, memory_order_relaxed));
    free(interfaces);
}
