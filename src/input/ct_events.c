/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_events.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/input/ct_decode.h"
#include "ctflow9/input/ct_entry.h"
#include "ctflow9/input/ct_guard.h"
#include "ctflow9/input/ct_request.h"
#include "ctflow9/input/netlink_socket.h"
#include "ctflow9/input/rx_choose.h"

#define LOOK_INTERVAL_NS (100 * NS_PER_MS)

enum { TYPE_DESTROY = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE };

struct ct_events {
    int fd;
    int request_fd; /* our own requests: no filter, no group */
    struct rx *rx;
    struct ct_decoder *decoder;
    struct stats *stats;
    struct wall_clock *clock;
    struct ct_guard guard;
    uint32_t table_limit; /* 0 = what the kernel says */
    bool ends_are_told;   /* the kernel's events carry time left and TCP's state */
    bool is_drained;      /* by the last drain */
    bool unlooked;        /* something was read since the last look at the drop counter */
    int failure;          /* the last -errno of a call that should not fail */
    struct tell_once failures;
    uint64_t next_look_ns; /* monotonic */
};

/*
 * Since 5.12 a DESTROY carries CTA_TIMEOUT, unless no time is left, and CTA_PROTOINFO; a distribution's
 * kernel may have got that earlier. The events themselves tell: see_end().
 */
static bool are_ends_told(void)
{
    enum { SINCE_MAJOR = 5, SINCE_MINOR = 12 };

    struct utsname system;
    unsigned major, minor;
    if (uname(&system) < 0 || sscanf(system.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > SINCE_MAJOR || (major == SINCE_MAJOR && minor >= SINCE_MINOR);
}

/* The step that failed. */
static int refuse(const char *what, int error)
{
    if (error == -EPERM)
        log_error("cannot %s: it needs CAP_NET_ADMIN: run as root", what);
    else
        log_cannot(error, "%s", what);
    return error;
}

static int set_rcvbuf(int fd, uint64_t octets)
{
    uint64_t asked = octets < NETLINK_SOCKET_RCVBUF_MAX ? octets : NETLINK_SOCKET_RCVBUF_MAX;
    int64_t granted = netlink_socket_set_rcvbuf(fd, asked);
    if (granted < 0)
        return refuse("set the receive buffer", (int)granted);
    if ((uint64_t)granted < asked) {
        log_warnx(
            "the kernel granted a receive buffer of %" PRId64 " octets instead of %" PRIu64
            "; more needs CAP_NET_ADMIN outside any container, or: sysctl -w net.core.rmem_max=%" PRIu64,
            granted, asked, asked);
    }
    int charge = netlink_socket_event_charge();
    if (charge > 0)
        log_debug("the receive buffer has %" PRId64 " octets, room for some %" PRId64 " events", granted,
                  2 * granted / charge);
    return 0;
}

/* Nothing is sent, so there is nothing that the kernel could keep. */
static int hear_entries(struct ct_events *events, const struct ct_events_config *config)
{
    events->ends_are_told = true;
    ct_guard_init(&events->guard, false, config->stats);
    if (config->reliable && config->filter.share.index == 0)
        log_info(
            "with --rx=fentry the kernel keeps nothing: what the ring has no room for is lost, and counted; "
            "--rcvbuf makes it larger");
    log_debug("copying entries of the conntrack table at their end, part %u of %u",
              config->filter.share.index + 1,
              config->filter.share.count > 1 ? config->filter.share.count : 1);
    return 0;
}

static int hear(struct ct_events *events, const struct ct_events_config *config)
{
    events->fd = netlink_socket_open();
    if (events->fd < 0)
        return refuse("open a netlink socket for events", events->fd);
    events->request_fd = netlink_socket_open();
    if (events->request_fd < 0)
        return refuse("open a netlink socket for requests", events->request_fd);
    int error = netlink_socket_connect(events->fd);
    if (error)
        return refuse("connect to the kernel's conntrack", error);
    error = set_rcvbuf(events->fd, config->rcvbuf_octets);
    if (error)
        return error;
    error = netlink_socket_set_reliable(events->fd, config->reliable);
    if (error)
        return refuse("set the way that events are delivered", error);
    error = rx_open_choice(&events->rx, events->fd, config->rx, &config->filter);
    if (error)
        return error;
    if (!rx_tells_programs(events->rx) && config->filter.share.index == 0)
        log_info(
            "what a program with CAP_NET_ADMIN sends is taken for the kernel's events: telling them apart "
            "in a BPF ring buffer needs CAP_PERFMON, and a kernel that is not locked down");
    if (rx_gives_entries(events->rx))
        return hear_entries(events, config);
    error = netlink_socket_join(events->fd, NFNLGRP_CONNTRACK_DESTROY);
    if (error)
        return refuse("hear the kernel's conntrack events", error);
    log_debug("hearing conntrack events, part %u of %u, delivery %s", config->filter.share.index + 1,
              config->filter.share.count > 1 ? config->filter.share.count : 1,
              config->reliable ? "reliable" : "not reliable");
    return 0;
}

int ct_events_open(struct ct_events **events, const struct ct_events_config *config)
{
    struct ct_events *opened = malloc(sizeof(*opened));
    if (opened == NULL)
        return refuse("take memory for conntrack events", -ENOMEM);
    *opened = (struct ct_events){.fd = -1,
                                 .request_fd = -1,
                                 .stats = config->stats,
                                 .clock = config->clock,
                                 .table_limit = config->table_limit,
                                 .ends_are_told = are_ends_told()};
    ct_guard_init(&opened->guard, config->reliable, config->stats);
    int error = ct_decoder_open(&opened->decoder);
    error = error ? refuse("take memory for conntrack events", error) : hear(opened, config);
    if (error) {
        ct_events_close(opened);
        return error;
    }
    *events = opened;
    return 0;
}

void ct_events_close(struct ct_events *events)
{
    if (events == NULL)
        return;
    rx_close(events->rx);
    ct_decoder_close(events->decoder);
    if (events->request_fd >= 0)
        close(events->request_fd);
    if (events->fd >= 0)
        close(events->fd);
    free(events);
}

static void set_stamps(struct flow *flow, uint64_t now_ns)
{
    if (!flow_has(flow, FLOW_HAS_STOP))
        flow->stop_ns = now_ns;
    if (!flow_has(flow, FLOW_HAS_START))
        flow->start_ns = flow->stop_ns;
}

/* Every TCP connection has a state: where none is told, the kernel tells nothing of ends. */
static void see_end(struct ct_events *events, struct flow *flow)
{
    if (flow->has & (FLOW_HAS_TCP_STATE | FLOW_HAS_TIMEOUT))
        events->ends_are_told = true;
    else if (flow->protocol == IPPROTO_TCP)
        events->ends_are_told = false;
    if (events->ends_are_told)
        flow->has |= FLOW_END_TOLD;
    flow->end_reason = (uint8_t)flow_end_reason(flow);
}

/* false: it tells of no end, which is counted. */
static bool read_message(struct ct_events *events, const struct rx_message *received, struct flow *flow)
{
    struct stats *stats = events->stats;
    const struct nlmsghdr *message = received->data;
    if (received->from_program) {
        stats_count(&stats->foreign, 1);
        return false;
    }
    if (received->truncated) {
        stats_count(&stats->truncated, 1);
        return false;
    }
    if (received->octets < sizeof(*message) || message->nlmsg_len > received->octets) {
        stats_count(&stats->malformed, 1);
        return false;
    }
    if (message->nlmsg_type != TYPE_DESTROY) {
        stats_count(&stats->ignored, 1);
        return false;
    }
    stats_count(&stats->events, 1);
    bool is_read = ct_decode(events->decoder, message, flow) == 0;
    stats_count(&stats->malformed, !is_read);
    return is_read;
}

static bool read_entry(struct ct_events *events, const struct rx_message *received, struct flow *flow)
{
    stats_count(&events->stats->events, 1);
    ct_entry_read(received->data, flow);
    return true;
}

static void take(struct ct_events *events, const struct rx_message *received, uint64_t now_ns,
                 flow_sink *sink, void *context)
{
    struct flow flow;
    bool is_read = rx_gives_entries(events->rx) ? read_entry(events, received, &flow)
                                                : read_message(events, received, &flow);
    if (!is_read)
        return;
    set_stamps(&flow, now_ns);
    see_end(events, &flow);
    sink(context, &flow);
}

/* Notes the trouble, to be told. */
static bool failed(struct ct_events *events, int error)
{
    if (!error)
        return false;
    events->failure = error;
    events->unlooked = true;
    tell_once_count(&events->failures, 1);
    return true;
}

unsigned ct_events_drain(struct ct_events *events, unsigned limit, flow_sink *sink, void *context)
{
    unsigned taken = 0;
    while (taken < limit) {
        unsigned asked = limit - taken < RX_BATCH ? limit - taken : RX_BATCH;
        const struct rx_message *messages;
        int count = rx_receive(events->rx, asked, &messages);
        failed(events, count < 0 ? count : 0);
        if (count <= 0)
            break;
        wall_clock_watch(events->clock);
        for (int i = 0; i < count; i++)
            take(events, &messages[i], events->clock->wall_ns, sink, context);
        taken += (unsigned)count;
        if ((unsigned)count < asked)
            break;
    }
    events->is_drained = taken < limit && !rx_is_pending(events->rx);
    events->unlooked |= taken > 0;
    return taken;
}

bool ct_events_is_drained(const struct ct_events *events)
{
    return events->is_drained;
}

void ct_events_wants_event(const struct ct_events *events, struct poll_set *set)
{
    rx_wants(events->rx, set);
}

uint32_t ct_events_deferred(const struct ct_events *events)
{
    uint32_t drops;
    return events->guard.wanted && rx_drops(events->rx, &drops) == 0 ? drops : 0;
}

/* The kernel's list of what it has not delivered, as it is read. */
struct kept {
    uint64_t count, most;
    uint64_t give_up_ns;
};

static bool count_kept(void *context, const struct nlmsghdr *message)
{
    (void)message;
    struct kept *kept = context;
    kept->count++;
    return kept->count < kept->most && instant_read_clock(CLOCK_MONOTONIC) < kept->give_up_ns;
}

int ct_events_count_kept(struct ct_events *events, uint64_t most, uint64_t limit_ns, uint64_t *count)
{
    struct kept kept = {.most = most, .give_up_ns = instant_read_clock(CLOCK_MONOTONIC) + limit_ns};
    netlink_socket_read_out(events->request_fd, limit_ns);
    int error = ct_request_dump(events->request_fd, IPCTNL_MSG_CT_GET_DYING, NULL, count_kept, &kept);
    *count = kept.count;
    return error;
}

void ct_events_stop(struct ct_events *events)
{
    failed(events, rx_stop(events->rx));
    events->unlooked = true;
    events->next_look_ns = 0;
}

static uint32_t book_drops(struct ct_events *events)
{
    uint32_t drops;
    if (failed(events, rx_drops(events->rx, &drops)))
        return 0;
    return ct_guard_book(&events->guard, drops);
}

static void change_mode(struct ct_events *events, enum ct_guard_verdict verdict)
{
    if (verdict == CT_GUARD_RELEASE)
        book_drops(events);
    if (failed(events, netlink_socket_set_reliable(events->fd, verdict == CT_GUARD_RETURN)))
        return;
    if (verdict == CT_GUARD_RETURN)
        book_drops(events);
    ct_guard_changed(&events->guard, verdict);
}

static void guard_table(struct ct_events *events)
{
    struct ct_guard_table table;
    if (failed(events, ct_guard_ask(events->request_fd, &table)))
        return;
    if (events->table_limit > 0)
        table.limit = events->table_limit;

    enum ct_guard_verdict verdict = ct_guard_judge(&events->guard, &table);
    if (verdict == CT_GUARD_STAY)
        return;
    change_mode(events, verdict);
    if (verdict == CT_GUARD_RELEASE)
        log_warnx("the conntrack table is nearly full (%" PRIu32 " of %" PRIu32
                  ") while events come faster than they are read: reliable delivery is off until it has "
                  "drained, events may be lost; raise --rcvbuf or net.netfilter.nf_conntrack_max",
                  table.entries, table.limit);
    else
        log_info("the conntrack table has drained (%" PRIu32 " of %" PRIu32 "): delivery is reliable again",
                 table.entries, table.limit);
}

static void tell_troubles(struct ct_events *events, uint64_t now_ns)
{
    uint64_t lost = ct_guard_losses_to_tell(&events->guard, now_ns);
    if (lost > 0) {
        log_warnx("%" PRIu64 " events were lost, they came faster than they were read; raise --rcvbuf", lost);
    }
    uint64_t failures = tell_once_due(&events->failures, now_ns);
    if (failures > 0) {
        errno = -events->failure;
        log_warn("trouble with the socket that hears conntrack events, %" PRIu64 " times", failures);
    }
}

void ct_events_run(struct ct_events *events, struct instant now)
{
    if ((!events->unlooked && !events->guard.released) || now.monotonic_ns < events->next_look_ns)
        return;
    events->unlooked = false;
    events->next_look_ns = now.monotonic_ns + LOOK_INTERVAL_NS;
    if (ct_guard_is_concerned(&events->guard, book_drops(events)))
        guard_table(events);
    tell_troubles(events, now.monotonic_ns);
}

void ct_events_wants(const struct ct_events *events, struct poll_set *set)
{
    if (events->unlooked || events->guard.released)
        poll_set_before(set, events->next_look_ns);
}
