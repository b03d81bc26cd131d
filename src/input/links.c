/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/links.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/utf8.h"

enum {
    DATAGRAM_OCTETS = 65536, /* a link with many virtual functions has a long message */
    DATAGRAMS_A_TURN = 64
};

struct entry {
    struct link link; /* first: what links_at() gives */
    uint32_t round;   /* in which the kernel told of it */
};

struct links {
    int fd;
    bool is_asking; /* a dump is on its way */
    bool ask_again; /* something was lost since it began */
    bool complete;
    uint32_t round; /* the number of dumps so far */
    size_t count, room;
    struct entry *entries; /* by index */
    _Alignas(struct nlmsghdr) char datagram[DATAGRAM_OCTETS];
};

/* ---- messages ---- */

static void copy_text(char *text, size_t size, const struct nlattr *attribute)
{
    utf8_copy(text, size, mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
}

/* A mnl_attr_cb_t, of a link. */
static int see_attribute(const struct nlattr *attribute, void *context)
{
    struct link *link = context;
    switch (mnl_attr_get_type(attribute)) {
    case IFLA_IFNAME:
        copy_text(link->name, sizeof(link->name), attribute);
        break;
    case IFLA_IFALIAS:
        copy_text(link->alias, sizeof(link->alias), attribute);
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

/* Padding is 0, so that links are compared as memory. */
static void decode(struct link *link, const struct nlmsghdr *message)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    memset(link, 0, sizeof(*link));
    link->index = (uint32_t)info->ifi_index;
    mnl_attr_parse(message, sizeof(*info), see_attribute, link);
}

/* ---- the table ---- */

/* The place of the first link whose index is not lower. */
static size_t place_of(const struct links *links, uint32_t index)
{
    size_t from = 0, to = links->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (links->entries[middle].link.index < index)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_at(const struct links *links, size_t place, uint32_t index)
{
    return place < links->count && links->entries[place].link.index == index;
}

static int make_room(struct links *links)
{
    if (links->count < links->room)
        return 0;
    size_t room = links->room != 0 ? links->room * 2 : 16;
    struct entry *entries = reallocarray(links->entries, room, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    links->entries = entries;
    links->room = room;
    return 0;
}

static int put(struct links *links, const struct link *link, bool *changed)
{
    size_t place = place_of(links, link->index);
    struct entry *entry = links->entries + place;
    if (!is_at(links, place, link->index)) {
        int error = make_room(links);
        if (error)
            return error;
        entry = links->entries + place;
        memmove(entry + 1, entry, (links->count - place) * sizeof(*entry));
        links->count++;
        *changed = true;
    } else if (memcmp(&entry->link, link, sizeof(*link)) != 0) {
        *changed = true;
    }
    memcpy(&entry->link, link, sizeof(*link));
    entry->round = links->round;
    return 0;
}

static void take_out(struct links *links, size_t place)
{
    struct entry *entry = links->entries + place;
    links->count--;
    memmove(entry, entry + 1, (links->count - place) * sizeof(*entry));
}

/* What a whole dump did not name is gone: its notice was lost. */
static void take_out_unnamed(struct links *links, bool *changed)
{
    for (size_t place = links->count; place > 0; place--) {
        if (links->entries[place - 1].round == links->round)
            continue;
        take_out(links, place - 1);
        *changed = true;
    }
}

/* ---- the conversation ---- */

static int ask(struct links *links)
{
    _Alignas(struct nlmsghdr) char buffer[NLMSG_SPACE(sizeof(struct ifinfomsg))];
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = RTM_GETLINK;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = ++links->round;
    mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
    if (send(links->fd, request, request->nlmsg_len, 0) < 0)
        return -errno;
    links->is_asking = true;
    links->ask_again = false;
    return 0;
}

static void see_end(struct links *links, bool *changed)
{
    links->is_asking = false;
    if (links->ask_again)
        return;
    take_out_unnamed(links, changed);
    links->complete = true;
}

/* The errno that the kernel gives up with, or 0. */
static int told_error(const struct nlmsghdr *message)
{
    const int *error = mnl_nlmsg_get_payload(message); /* first in struct nlmsgerr too */
    return mnl_nlmsg_get_payload_len(message) >= sizeof(*error) && *error < 0 ? *error : 0;
}

/* Bridges tell of their ports by the same messages, of another family: a port that leaves is no link that
 * goes.
 */
static int see_link(struct links *links, const struct nlmsghdr *message, bool *changed)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    struct link link;
    if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
        return 0;
    if (message->nlmsg_type == RTM_NEWLINK) {
        decode(&link, message);
        return put(links, &link, changed);
    }
    size_t place = place_of(links, (uint32_t)info->ifi_index);
    if (is_at(links, place, (uint32_t)info->ifi_index)) {
        take_out(links, place);
        *changed = true;
    }
    return 0;
}

static int see(struct links *links, const struct nlmsghdr *message, bool *changed)
{
    int error;
    if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
        links->ask_again = true;
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return see_link(links, message, changed);
    case NLMSG_ERROR: /* nothing else is asked for */
    case NLMSG_DONE:
        error = told_error(message);
        links->ask_again |= error != 0;
        see_end(links, changed);
        return error;
    default:
        return 0;
    }
}

/* 1, 0 when nothing has come, or -errno. */
static int take_datagram(struct links *links, bool *changed)
{
    struct sockaddr_nl from;
    socklen_t size = sizeof(from);
    ssize_t octets = recvfrom(links->fd, links->datagram, sizeof(links->datagram), MSG_TRUNC,
                              (struct sockaddr *)&from, &size);
    if (octets < 0 && errno == EAGAIN)
        return 0;
    if (octets < 0 && errno != ENOBUFS && errno != EINTR)
        return -errno;
    if (octets < 0 && errno == ENOBUFS) {
        links->ask_again = true;
        return 1;
    }
    if (octets < 0 || size != sizeof(from) || from.nl_pid != 0)
        return 1; /* no program tells of links */
    if (octets > (ssize_t)sizeof(links->datagram))
        return -EMSGSIZE;
    int left = (int)octets, error = 0;
    for (const struct nlmsghdr *message = (const void *)links->datagram;
         mnl_nlmsg_ok(message, left) && !error; message = mnl_nlmsg_next(message, &left))
        error = see(links, message, changed);
    return error ? error : 1;
}

int links_run(struct links *links, bool *changed)
{
    int taken = 1;
    for (unsigned i = 0; i < DATAGRAMS_A_TURN && taken > 0; i++)
        taken = take_datagram(links, changed);
    if (taken < 0) {
        links->ask_again = true;
        return taken;
    }
    return links->ask_again && !links->is_asking ? ask(links) : 0;
}

int links_open(struct links **links)
{
    const struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    struct links *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    int error = opened->fd < 0 ? -errno : 0;
    if (!error && bind(opened->fd, (const struct sockaddr *)&groups, sizeof(groups)) != 0)
        error = -errno;
    if (!error)
        error = ask(opened);
    if (error) {
        links_close(opened);
        return error;
    }
    *links = opened;
    return 0;
}

void links_close(struct links *links)
{
    if (!links)
        return;
    if (links->fd >= 0)
        close(links->fd);
    free(links->entries);
    free(links);
}

void links_wants(const struct links *links, struct poll_set *set)
{
    poll_set_add(set, links->fd, POLLIN);
}

bool links_are_complete(const struct links *links)
{
    return links->complete;
}

size_t links_count(const struct links *links)
{
    return links->count;
}

const struct link *links_at(const struct links *links, size_t place)
{
    return &links->entries[place].link;
}
