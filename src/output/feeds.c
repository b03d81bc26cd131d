/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/feeds.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/memory.h"
#include "ctflow9/output/collectors.h"
#include "ctflow9/output/feed.h"

#define PASS_OVER_NS (3 * NS_PER_S) /* so long may a member be unreachable */

struct member {
    struct feed *feed;
    bool is_passed_over;
};

struct group {
    struct balance *balance;
    size_t first, count; /* of the members */
};

struct feeds {
    struct feed *all; /* to those that get every flow */
    size_t group_count, member_count;
    struct group *group;
    struct member *member; /* of all groups, one after the other */
};

/* Of each feed, as feed_at() counts them. */
struct feeds_change {
    size_t count;
    struct feed_change *change[];
};

/* The feed to all, then the members'; NULL after the last one. */
static struct feed *feed_at(const struct feeds *feeds, size_t index)
{
    if (index == 0)
        return feeds->all;
    return index <= feeds->member_count ? feeds->member[index - 1].feed : NULL;
}

static size_t group_of(const struct feeds_config *config, size_t peer)
{
    return config->groups ? config->groups[peer] : 0;
}

/* The configuration of the feed at an index; peers has room for config->count. */
static struct feed_config config_at(const struct feeds_config *config, size_t index, struct host_port *peers)
{
    struct feed_config feed = {
        .peers = peers, .each = config->each, .packet = config->packet, .probe = index > 0};
    size_t member = 0;
    for (size_t i = 0; i < config->count; i++)
        if (index == (group_of(config, i) == 0 ? 0 : ++member))
            peers[feed.count++] = config->peers[i];
    return feed;
}

/* ---- opening ---- */

static void count_groups(struct feeds *feeds, const struct feeds_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        feeds->member_count += group_of(config, i) > 0;
        if (group_of(config, i) > feeds->group_count)
            feeds->group_count = group_of(config, i);
    }
}

static int open_feeds(struct feeds *feeds, const struct feeds_config *config, struct host_port *peers,
                      struct instant now)
{
    struct feed_config feed = config_at(config, 0, peers);
    int error = feed_open(&feeds->all, &feed, now);
    for (size_t i = 0; i < feeds->member_count && !error; i++) {
        feed = config_at(config, i + 1, peers);
        error = feed_open(&feeds->member[i].feed, &feed, now);
    }
    return error;
}

static const char *member_name(const struct feeds *feeds, size_t member)
{
    return collectors_name(feed_collectors(feeds->member[member].feed), 0);
}

static int open_balance(struct feeds *feeds, const struct feeds_config *config, const char **names)
{
    size_t first = 0;
    int error = 0;
    for (size_t i = 0; i < feeds->group_count && !error; i++) {
        struct group *group = &feeds->group[i];
        group->first = first;
        for (size_t j = 0; j < config->count; j++)
            group->count += group_of(config, j) == i + 1;
        for (size_t j = 0; j < group->count; j++)
            names[j] = member_name(feeds, first + j);
        first += group->count;
        error = balance_open(&group->balance, config->balance, names, group->count);
    }
    return error;
}

int feeds_open(struct feeds **feeds, const struct feeds_config *config, struct instant now)
{
    struct feeds *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    count_groups(opened, config);
    opened->group = calloc(opened->group_count + 1, sizeof(*opened->group));
    opened->member = calloc(opened->member_count + 1, sizeof(*opened->member));
    struct host_port *peers = calloc(config->count + 1, sizeof(*peers));
    const char **names = calloc(config->count + 1, sizeof(*names));
    int error = opened->group && opened->member && peers && names ? 0 : -ENOMEM;
    if (!error)
        error = open_feeds(opened, config, peers, now);
    if (!error)
        error = open_balance(opened, config, names);
    free(names);
    free(peers);
    if (error) {
        feeds_close(opened);
        return error;
    }
    *feeds = opened;
    return 0;
}

void feeds_close(struct feeds *feeds)
{
    if (!feeds)
        return;
    feed_close(feeds->all);
    for (size_t i = 0; feeds->member && i < feeds->member_count; i++)
        feed_close(feeds->member[i].feed);
    for (size_t i = 0; feeds->group && i < feeds->group_count; i++)
        balance_close(feeds->group[i].balance);
    free(feeds->member);
    free(feeds->group);
    free(feeds);
}

/* ---- flows ---- */

void feeds_name_interfaces(struct feeds *feeds, const struct interface_names *names)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        feed_name_interfaces(feed, names);
}

void feeds_begin(struct feeds *feeds, struct instant now)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        feed_begin(feed, now);
}

static void add_to_group(struct feeds *feeds, const struct group *group, const struct flow *flow)
{
    struct balance_choice choice = balance_choose(group->balance, flow);
    if (choice.taker != choice.owner)
        collectors_count_passed_over(feed_collectors(feeds->member[group->first + choice.owner].feed));
    feed_add(feeds->member[group->first + choice.taker].feed, flow);
}

void feeds_add(struct feeds *feeds, const struct flow *flow)
{
    feed_add(feeds->all, flow);
    for (size_t i = 0; i < feeds->group_count; i++)
        add_to_group(feeds, &feeds->group[i], flow);
}

/* ---- what leaves ---- */

static void mind_member(struct feeds *feeds, const struct group *group, size_t index, struct instant now)
{
    struct member *member = &feeds->member[group->first + index];
    uint64_t since_ns = collectors_unreachable_ns(feed_collectors(member->feed));
    bool is_passed_over = since_ns != 0 && now.monotonic_ns >= since_ns + PASS_OVER_NS;
    if (is_passed_over == member->is_passed_over)
        return;
    member->is_passed_over = is_passed_over;
    balance_pass_over(group->balance, index, is_passed_over);
    const char *name = member_name(feeds, group->first + index);
    if (is_passed_over)
        log_warnx("collector %s: unreachable for 3 seconds, the others of its group get its flows", name);
    else
        log_info("collector %s: reachable again, it gets its flows", name);
}

void feeds_run(struct feeds *feeds, struct instant now)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        feed_run(feed, now);
    for (size_t i = 0; i < feeds->group_count; i++)
        for (size_t j = 0; j < feeds->group[i].count; j++)
            mind_member(feeds, &feeds->group[i], j, now);
}

void feeds_wants(const struct feeds *feeds, struct poll_set *set)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        feed_wants(feed, set);
}

bool feeds_pending(const struct feeds *feeds)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        if (collectors_pending(feed_collectors(feed)))
            return true;
    return false;
}

void feeds_flush(struct feeds *feeds, struct instant now)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        feed_flush(feed, now);
}

void feeds_abandon(struct feeds *feeds)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        collectors_abandon(feed_collectors(feed));
}

/* ---- what they have counted ---- */

size_t feeds_count(const struct feeds *feeds)
{
    struct feed *feed;
    size_t count = 0;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        count += collectors_count(feed_collectors(feed));
    return count;
}

/* Those of which *index is one, as its index among them. */
static const struct collectors *collectors_of(const struct feeds *feeds, size_t *index)
{
    size_t i = 0;
    const struct collectors *collectors = feed_collectors(feed_at(feeds, i));
    while (*index >= collectors_count(collectors)) {
        *index -= collectors_count(collectors);
        collectors = feed_collectors(feed_at(feeds, ++i));
    }
    return collectors;
}

const char *feeds_name(const struct feeds *feeds, size_t index)
{
    const struct collectors *collectors = collectors_of(feeds, &index);
    return collectors_name(collectors, index);
}

const struct collector_stats *feeds_stats(const struct feeds *feeds, size_t index)
{
    const struct collectors *collectors = collectors_of(feeds, &index);
    return collectors_stats(collectors, index);
}

void feeds_note_present(struct feeds *feeds)
{
    struct feed *feed;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        collectors_note_present(feed_collectors(feed));
}

uint64_t feeds_records_dropped(struct feeds *feeds)
{
    struct feed *feed;
    uint64_t dropped = 0;
    for (size_t i = 0; (feed = feed_at(feeds, i)); i++)
        dropped += collectors_records_dropped(feed_collectors(feed));
    return dropped;
}

/* ---- another configuration ---- */

static int prepare_each(struct feeds_change *change, struct feeds *feeds, const struct feeds_config *present,
                        const struct feeds_config *wanted)
{
    struct host_port *peers = calloc(present->count + wanted->count + 1, sizeof(*peers));
    int error = peers ? 0 : -ENOMEM;
    for (size_t i = 0; i < change->count && !error; i++) {
        struct feed_config before = config_at(present, i, peers);
        struct feed_config after = config_at(wanted, i, peers + present->count);
        error = feed_prepare(&change->change[i], feed_at(feeds, i), &before, &after);
    }
    free(peers);
    return error;
}

int feeds_prepare(struct feeds_change **change, struct feeds *feeds, const struct feeds_config *present,
                  const struct feeds_config *wanted)
{
    size_t count = 1 + feeds->member_count;
    struct feeds_change *opened = memory_allocate(sizeof(*opened), count, sizeof(struct feed_change *));
    if (!opened)
        return -ENOMEM;
    opened->count = count;
    int error = prepare_each(opened, feeds, present, wanted);
    if (error) {
        feeds_change_close(opened);
        return error;
    }
    *change = opened;
    return 0;
}

void feeds_change_close(struct feeds_change *change)
{
    if (!change)
        return;
    for (size_t i = 0; i < change->count; i++)
        feed_change_close(change->change[i]);
    free(change);
}

bool feeds_take(struct feeds *feeds, struct feeds_change *change, struct instant now)
{
    bool is_taken = true;
    for (size_t i = 0; i < change->count; i++)
        is_taken &= feed_take(feed_at(feeds, i), change->change[i], now);
    return is_taken;
}
