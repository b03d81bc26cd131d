/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/balance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/memory.h"

struct member {
    uint64_t seed;
    bool is_passed_over;
};

struct balance {
    enum balance_kind kind;
    size_t next; /* in turn */
    size_t passed_over;
    size_t count;
    struct member member[];
};

/* The end of MurmurHash3: every bit of a word changes half of the bits. */
static uint64_t scramble(uint64_t word)
{
    word = (word ^ word >> 33) * UINT64_C(0xff51afd7ed558ccd);
    word = (word ^ word >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return word ^ word >> 33;
}

static uint64_t seed_of(const char *name)
{
    uint64_t seed = 0;
    for (; *name != '\0'; name++)
        seed = scramble(seed + (unsigned char)*name);
    return seed;
}

static uint64_t address_hash(const union flow_address *address)
{
    uint64_t words[2];
    memcpy(words, address, sizeof(words));
    return scramble(scramble(words[0]) + words[1]);
}

static uint64_t hash_of(const struct flow *flow)
{
    return flow->kind == FLOW_COUNTER ? scramble(flow->counter.identity)
                                      : address_hash(&flow->tuple[FLOW_ORIGINAL].src);
}

int balance_open(struct balance **balance, enum balance_kind kind, const char *const *names, size_t count)
{
    struct balance *opened = memory_allocate(sizeof(*opened), count, sizeof(struct member));
    if (!opened)
        return -ENOMEM;
    opened->kind = kind;
    opened->count = count;
    for (size_t i = 0; i < count; i++)
        opened->member[i].seed = seed_of(names[i]);
    *balance = opened;
    return 0;
}

void balance_close(struct balance *balance)
{
    free(balance);
}

void balance_pass_over(struct balance *balance, size_t member, bool is_passed_over)
{
    balance->passed_over += is_passed_over;
    balance->passed_over -= balance->member[member].is_passed_over;
    balance->member[member].is_passed_over = is_passed_over;
}

static struct balance_choice choose_by_weight(const struct balance *balance, uint64_t hash)
{
    struct balance_choice heaviest = {0};
    uint64_t weight_of_all = 0, weight_of_takers = 0;
    for (size_t i = 0; i < balance->count; i++) {
        uint64_t weight = scramble(hash ^ balance->member[i].seed);
        if (weight >= weight_of_all) {
            weight_of_all = weight;
            heaviest.owner = i;
        }
        if (weight >= weight_of_takers && !balance->member[i].is_passed_over) {
            weight_of_takers = weight;
            heaviest.taker = i;
        }
    }
    return heaviest;
}

static struct balance_choice choose_in_turn(struct balance *balance)
{
    struct balance_choice next = {balance->next, balance->next};
    while (balance->member[next.taker].is_passed_over && balance->passed_over < balance->count)
        next.taker = (next.taker + 1) % balance->count;
    balance->next = (next.taker + 1) % balance->count;
    return next;
}

struct balance_choice balance_choose(struct balance *balance, const struct flow *flow)
{
    struct balance_choice choice =
        balance->kind == BALANCE_HASH ? choose_by_weight(balance, hash_of(flow)) : choose_in_turn(balance);
    if (balance->passed_over == balance->count)
        choice.taker = choice.owner;
    return choice;
}
