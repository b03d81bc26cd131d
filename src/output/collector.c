/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/collector.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/base/tell_once.h"
#include "ctflow9/output/udp_socket.h"

#define RETRY_NS           NS_PER_S /* after a send or a connect that failed */
#define NO_BUFFER_PAUSE_NS (10 * NS_PER_MS)
#define SOURCE_CHECK_NS    NS_PER_S
#define TEMPLATES_AGAIN_NS NS_PER_S         /* between templates that errors and losses ask for */
#define COUNTERS_AGAIN_NS  (10 * NS_PER_MS) /* between those that go because counters have no names yet */
#define PACE_BURST_NS      (10 * NS_PER_MS)
#define QUIET_NS           (10 * NS_PER_S) /* without ICMP errors: the collector takes datagrams again */
#define PROBED_NS          (2 * NS_PER_S)  /* likewise, where it is probed */
#define TELL_AGAIN_NS      (60 * NS_PER_S)
#define LOOK_UP_AGAIN_NS   (60 * NS_PER_S)
#define LOOK_UP_RETRY_NS   (5 * NS_PER_S)

enum {
    TURN_BATCHES = 32 /* what one collector may send before the others and the reading have their turn */
};

enum trouble { TROUBLE_NAME, TROUBLE_SEND, TROUBLE_ICMP, TROUBLE_QUEUE, TROUBLES };

/* How far sending has got: advanced for every datagram that left, and, on a copy, to plan a batch. */
struct progress {
    uint64_t position;           /* in the ring: what goes next */
    uint32_t sequence;           /* of the next datagram */
    uint32_t data_datagrams;     /* since templates went */
    uint64_t templates_due_ns;   /* by the clock; 0 = at once */
    uint64_t templates_again_ns; /* not before, when only wanted */
    uint64_t counters_again_ns;  /* not before, when only counters have no names yet */
    uint64_t pace_ns;            /* the next data datagram may not leave before */
    uint64_t covered;            /* datagrams before this position waited when templates last went */
    struct packet_naming naming; /* of interfaces */
    bool templates_wanted;       /* before the next data: something was lost */
    bool held; /* an ICMP error came back: until templates have gone only covered datagrams may leave */
};

/* One datagram of the batch, for the time when it has left. */
struct parcel {
    uint64_t next; /* the position after it; 0 for templates */
    uint32_t octets;
    uint32_t records;
    uint64_t ended_ms;           /* as struct datagram has it */
    bool templates_done;         /* the last datagram of the templates */
    struct packet_naming naming; /* with it */
};

struct collector {
    struct host_port peer;
    const struct collector_common *common;
    char name[HOST_PORT_TEXT_MAX];
    bool numeric;
    bool looking_up;
    bool connected;
    bool blocked; /* the socket's send buffer is full */
    bool segment; /* UDP_SEGMENT works as far as known */
    bool leaving; /* what is put into the ring from leave_at on is not for it */
    uint64_t leave_at;
    int fd;            /* -1 = not open */
    uint16_t port;     /* the local port for life; 0 = none yet */
    unsigned troubles; /* 1 << enum trouble: there now */
    unsigned told;     /* those that were logged */
    uint64_t told_ns[TROUBLES];
    int told_error[TROUBLES];
    struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX];
    size_t address_count; /* 0 = not resolved yet */
    size_t address;       /* the one in use */
    uint64_t look_up_ns;  /* names: the next look-up */
    uint64_t retry_ns;    /* nothing is tried before */
    uint64_t connected_ns;
    uint64_t source_check_ns;
    uint64_t icmp_ns;        /* the last ICMP error */
    uint64_t unreachable_ns; /* since when, where it is probed; 0 = it is not */
    uint64_t unanswered_ns;  /* since when sends have had no error; 0 = the last one had */
    int suspect; /* the errno of the last send, perhaps an ICMP error's: the next one tells; 0 = none */
    struct tell_once moves;
    struct progress progress;
    struct collector_stats stats;
    struct parcel parcels[DATAGRAM_BATCH_MAX];
};

/*
 * Whether a trouble that is there now is to be told, with its errno or 0. One that comes and goes, or whose
 * cause changes, is told once in a while.
 */
static bool begins(struct collector *collector, enum trouble trouble, int error)
{
    if ((collector->troubles & (1U << trouble)) != 0 && collector->told_error[trouble] == error)
        return false;
    collector->troubles |= 1U << trouble;
    uint64_t now_ns = collector->common->now_ns;
    if (collector->told_ns[trouble] > 0 && now_ns < collector->told_ns[trouble] + TELL_AGAIN_NS)
        return false;
    collector->told_ns[trouble] = now_ns;
    collector->told_error[trouble] = error;
    collector->told |= 1U << trouble;
    return true;
}

/* Whether the end of a trouble is to be told, because its begin was. */
static bool ends(struct collector *collector, enum trouble trouble)
{
    bool told = (collector->told & (1U << trouble)) != 0;
    collector->troubles &= ~(1U << trouble);
    collector->told &= ~(1U << trouble);
    return told;
}

static void becomes_unreachable(struct collector *collector)
{
    collector->unanswered_ns = 0;
    if (collector->common->probe && collector->unreachable_ns == 0)
        collector->unreachable_ns = collector->common->now_ns;
}

/* Something has left. An error would have come back with what followed. */
static void may_be_reachable(struct collector *collector)
{
    uint64_t now_ns = collector->common->now_ns;
    if (collector->unanswered_ns == 0)
        collector->unanswered_ns = now_ns;
    if (now_ns >= collector->unanswered_ns + PROBED_NS)
        collector->unreachable_ns = 0;
}

int collector_open(struct collector **collector, const struct host_port *peer,
                   const struct collector_common *common)
{
    struct collector *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    host_port_write(peer, opened->name);
    opened->peer = *peer;
    opened->common = common;
    opened->fd = -1;
    opened->numeric = host_port_numeric(peer->host, peer->port, &opened->addresses[0]) != -EINVAL;
    opened->address_count = opened->numeric ? 1 : 0;

    *collector = opened;
    return 0;
}

void collector_begin(struct collector *collector)
{
    collector->progress.position = datagram_ring_end(collector->common->ring);
}

void collector_close(struct collector *collector)
{
    if (!collector)
        return;
    if (collector->looking_up)
        resolver_forget(collector->common->resolver, collector);
    if (collector->fd >= 0)
        close(collector->fd);
    free(collector);
}

/* A resolver_done. */
static void resolved(void *context, const struct sockaddr_storage *addresses, size_t count, const char *why)
{
    struct collector *collector = context;
    collector->looking_up = false;
    if (count == 0) {
        collector->look_up_ns = collector->common->now_ns + LOOK_UP_RETRY_NS;
        stats_count(&collector->stats.lookups_failed, 1);
        if (collector->address_count == 0)
            becomes_unreachable(collector);
        if (begins(collector, TROUBLE_NAME, 0))
            log_warnx("collector %s: the name does not resolve, trying again every 5 seconds: %s",
                      collector->name, why);
        return;
    }
    collector->look_up_ns = collector->common->now_ns + LOOK_UP_AGAIN_NS;
    if (ends(collector, TROUBLE_NAME))
        log_info("collector %s: the name resolves now", collector->name);

    size_t kept = count; /* where the address in use is among the answers */
    for (size_t i = 0; i < count && collector->address_count > 0; i++)
        if (memcmp(&addresses[i], &collector->addresses[collector->address], sizeof(*addresses)) == 0)
            kept = i;
    bool moved = kept == count;
    if (moved && collector->address_count > 0)
        log_info("collector %s: the name has moved to another address", collector->name);
    memcpy(collector->addresses, addresses, count * sizeof(*addresses));
    collector->address_count = count;
    collector->address = moved ? 0 : kept;
    if (moved) {
        collector->connected = false;
        collector->retry_ns = 0;
    }
}

/* Connects anew from retry_ns on, to the next address if there are several. */
static void leave_address(struct collector *collector, uint64_t retry_ns)
{
    collector->connected = false;
    collector->retry_ns = retry_ns;
    collector->address = (collector->address + 1) % collector->address_count;
}

static void cannot_send(struct collector *collector, int error)
{
    becomes_unreachable(collector);
    if (begins(collector, TROUBLE_SEND, error))
        log_warnx("collector %s: cannot send, trying again every second: %s%s", collector->name,
                  strerror(error), udp_socket_hint(error));
}

/* A socket that sends as a first one would now, beside the one that there is. fd or -errno. */
static int open_socket(struct collector *collector)
{
    const struct host_port *peer = &collector->peer;
    const char *source_address = collector->common->config.source_address;
    struct sockaddr_storage source = {.ss_family = AF_UNSPEC};
    int error = 0; /* the number of a link-local address's interface may have changed */
    if (collector->numeric)
        error = host_port_numeric(peer->host, peer->port, &collector->addresses[0]);
    if (!error && source_address[0] != '\0')
        error = host_port_numeric(source_address, 0, &source);
    return error ? error
                 : udp_socket_open(&collector->addresses[collector->address], &source, &collector->port,
                                   collector->fd);
}

/* Sends from fd from now on, templates first. */
static void use_socket(struct collector *collector, int fd)
{
    if (collector->fd >= 0)
        close(collector->fd);
    collector->fd = fd;
    if (collector->stats.datagrams > 0)
        stats_count(&collector->stats.reconnects, 1);
    collector->connected = true;
    collector->segment = true;
    collector->suspect = 0;
    collector->unanswered_ns = 0;
    collector->connected_ns = collector->common->now_ns;
    collector->source_check_ns = collector->connected_ns + SOURCE_CHECK_NS;
    collector->progress.templates_due_ns = 0;
    collector->progress.naming = (struct packet_naming){0};
    char source[UDP_SOCKET_SOURCE_MAX];
    udp_socket_source(fd, source);
    log_debug("collector %s: sending from %s, port %u", collector->name, source, collector->port);
}

static void cannot_connect(struct collector *collector, int error)
{
    leave_address(collector, collector->common->now_ns + RETRY_NS);
    cannot_send(collector, error);
}

/* The old socket stays until there is a new one: it has the port. */
static void connect_aopened(struct collector *collector)
{
    int fd = open_socket(collector);
    if (fd == -EADDRINUSE)
        collector->port = 0; /* another program's in this family: any other the next time */
    if (fd < 0)
        cannot_connect(collector, -fd);
    else
        use_socket(collector, fd);
}

/*
 * Once a second, before something is sent: whether a new socket would send from the same local address. A
 * connected one keeps the address that it got first, though another route, a tunnel that came up or a
 * renumbered network has made it the wrong one; over IPv6 even when it is not the machine's any more. What
 * works is kept when no new one can be had.
 */
static void check_source(struct collector *collector)
{
    if (collector->common->now_ns < collector->source_check_ns)
        return;
    collector->source_check_ns = collector->common->now_ns + SOURCE_CHECK_NS;
    int fd = open_socket(collector);
    if (fd == -EADDRNOTAVAIL)
        cannot_connect(collector, -fd);
    if (fd < 0)
        return;
    if (udp_socket_same_source(fd, collector->fd)) {
        close(fd);
        return;
    }
    use_socket(collector, fd);
    tell_once_count(&collector->moves, 1);
    if (tell_once_due(&collector->moves, collector->common->now_ns) > 0) {
        char source[UDP_SOCKET_SOURCE_MAX];
        udp_socket_source(fd, source);
        log_info("collector %s: its route has another local address now, sending from %s", collector->name,
                 source);
    }
}

static bool is_waiting(const struct collector *collector, const struct progress *progress)
{
    uint64_t end = collector->leaving ? collector->leave_at : datagram_ring_end(collector->common->ring);
    return progress->position < end;
}

/* When templates are to go. */
static uint64_t templates_at_ns(const struct collector *collector, const struct progress *progress)
{
    if (progress->data_datagrams >= collector->common->config.template_datagrams)
        return 0;
    bool wanted = progress->templates_wanted || collector->unreachable_ns > 0 ||
                  !packet_has_named(collector->common->packet, &progress->naming);
    uint64_t at_ns = progress->templates_due_ns;
    if (wanted && progress->templates_again_ns < at_ns)
        at_ns = progress->templates_again_ns;
    /* Names go before the first data that they are for, but not after each error of one that is away. */
    bool unnamed = !packet_has_named_counters(collector->common->packet, &progress->naming);
    if (unnamed && !progress->templates_wanted && collector->unreachable_ns == 0 &&
        progress->counters_again_ns < at_ns)
        at_ns = progress->counters_again_ns;
    return at_ns;
}

/* When the next data datagram may go. */
static uint64_t data_at_ns(const struct collector *collector, const struct progress *progress)
{
    if (!is_waiting(collector, progress) || collector->unreachable_ns > 0 ||
        (progress->held && progress->position >= progress->covered))
        return POLL_SET_NEVER;
    return progress->pace_ns;
}

static uint64_t next_at_ns(const struct collector *collector)
{
    uint64_t templates_ns = templates_at_ns(collector, &collector->progress);
    uint64_t data_ns = data_at_ns(collector, &collector->progress);
    return templates_ns < data_ns ? templates_ns : data_ns;
}

static void advance(struct progress *progress, const struct parcel *parcel,
                    const struct collector_common *common)
{
    progress->sequence++;
    if (parcel->next > 0) {
        progress->position = parcel->next;
        progress->data_datagrams++;
        if (common->config.max_rate > 0)
            progress->pace_ns += parcel->records * NS_PER_S / common->config.max_rate;
    } else if (parcel->templates_done) {
        progress->data_datagrams = 0;
        progress->templates_due_ns = common->now_ns + common->config.template_refresh_s * NS_PER_S;
        progress->templates_again_ns = common->now_ns + TEMPLATES_AGAIN_NS;
        progress->counters_again_ns = common->now_ns + COUNTERS_AGAIN_NS;
        progress->covered = datagram_ring_end(common->ring);
        progress->naming = parcel->naming;
        progress->templates_wanted = false;
        progress->held = false;
    }
}

/* Templates on their way into the batch. */
struct templates_in_batch {
    struct collector *collector;
    uint32_t sequence;
    bool fits;
};

/* A packet_sink. */
static void add_template_datagram(void *context, const uint8_t *datagram, size_t octets, unsigned records,
                                  uint64_t ended_ms)
{
    struct templates_in_batch *templates = context;
    (void)ended_ms;
    struct datagram_batch *batch = templates->collector->common->batch;
    struct parcel *parcel = &templates->collector->parcels[datagram_batch_count(batch)];
    if (!templates->fits || !datagram_batch_add_copy(batch, datagram, octets, templates->sequence)) {
        templates->fits = false;
        return;
    }
    *parcel = (struct parcel){.octets = (uint32_t)octets, .records = records};
    templates->sequence++;
}

/* false when the batch is full. */
static bool add_templates(struct collector *collector, struct progress *plan, struct instant now)
{
    const struct collector_common *common = collector->common;
    const struct packet_totals totals = {.octets = collector->stats.octets,
                                         .datagrams = collector->stats.datagrams,
                                         .records = collector->stats.records,
                                         .records_dropped = collector->stats.records_dropped};
    struct templates_in_batch templates = {collector, plan->sequence, true};
    struct packet_naming naming = plan->naming;
    unsigned first = datagram_batch_count(common->batch);
    packet_templates(common->packet, &totals, &naming, now, add_template_datagram, &templates);
    if (!templates.fits) {
        datagram_batch_cut(common->batch, first);
        return false;
    }
    unsigned end = datagram_batch_count(common->batch);
    collector->parcels[end - 1].templates_done = true;
    collector->parcels[end - 1].naming = naming;
    for (unsigned i = first; i < end; i++)
        advance(plan, &collector->parcels[i], common);
    return true;
}

/* false when the batch is full. */
static bool add_data(struct collector *collector, struct progress *plan)
{
    const struct collector_common *common = collector->common;
    const struct datagram *datagram = datagram_ring_at(common->ring, plan->position);
    unsigned index = datagram_batch_count(common->batch);
    if (!datagram_batch_add(common->batch, datagram->data, datagram->octets, plan->sequence))
        return false;
    collector->parcels[index] = (struct parcel){.next = datagram->next,
                                                .octets = datagram->octets,
                                                .records = datagram->records,
                                                .ended_ms = datagram->ended_ms};
    advance(plan, &collector->parcels[index], common);
    return true;
}

/* Everything that may leave now, in its order, as far as one batch goes. */
static void plan_batch(struct collector *collector, struct instant now)
{
    struct progress plan = collector->progress;
    bool added = true;
    datagram_batch_cut(collector->common->batch, 0);
    while (added) {
        if (now.monotonic_ns >= templates_at_ns(collector, &plan))
            added = add_templates(collector, &plan, now);
        else if (now.monotonic_ns >= data_at_ns(collector, &plan))
            added = add_data(collector, &plan);
        else
            added = false;
    }
}

/* What an earlier datagram ran into. It used up the send that was to be. */
static void take_icmp_errors(struct collector *collector, unsigned count, int error)
{
    stats_count(&collector->stats.send_errors, 1);
    stats_count(&collector->stats.unreachable, count);
    collector->icmp_ns = collector->common->now_ns;
    collector->suspect = 0;
    collector->progress.templates_wanted = true;
    collector->progress.naming = (struct packet_naming){0};
    collector->progress.held = true;
    if (error != EMSGSIZE) /* that one tells the path's MTU */
        becomes_unreachable(collector);
    if (begins(collector, TROUBLE_ICMP, error))
        log_warnx("collector %s: ICMP errors come back, sending on: %s", collector->name,
                  udp_socket_icmp_cause(error));
    if (collector->address_count > 1 && error != EMSGSIZE)
        leave_address(collector, collector->connected_ns + RETRY_NS);
}

/* Data has left now. A clock that was set back meanwhile makes no time less than none. */
static void observe_delay(struct collector *collector, const struct parcel *parcel, struct instant now)
{
    uint64_t ended_ns = parcel->ended_ms * NS_PER_MS;
    if (parcel->ended_ms != 0)
        stats_observe(&collector->stats.delay, now.wall_ns > ended_ns ? now.wall_ns - ended_ns : 0);
}

/* The first count datagrams of the batch have left. */
static void account(struct collector *collector, unsigned count, struct instant now)
{
    for (unsigned i = 0; i < count; i++) {
        const struct parcel *parcel = &collector->parcels[i];
        stats_count(&collector->stats.datagrams, 1);
        stats_count(&collector->stats.octets, parcel->octets);
        stats_count(&collector->stats.records, parcel->records);
        observe_delay(collector, parcel, now);
        advance(&collector->progress, parcel, collector->common);
    }
    if (collector->suspect != 0) /* only once: it came back for an earlier send */
        take_icmp_errors(collector, 1, collector->suspect);
    may_be_reachable(collector);
    if (collector->troubles == 0)
        return;
    if (ends(collector, TROUBLE_SEND))
        log_info("collector %s: sending again", collector->name);
    if (collector->common->now_ns >= collector->icmp_ns + QUIET_NS && ends(collector, TROUBLE_ICMP))
        log_info("collector %s: no ICMP errors come back any more", collector->name);
    if (!is_waiting(collector, &collector->progress) && ends(collector, TROUBLE_QUEUE))
        log_info("collector %s: the queue is empty again, %" PRIu64 " records were dropped so far",
                 collector->name, collector->stats.records_dropped);
}

/* error is 0 when it is not known. Returns whether to try again at once. */
static bool mind_failure(struct collector *collector, int error)
{
    int icmp_error;
    unsigned icmp_errors = udp_socket_take_errors(collector->fd, &icmp_error);
    if (icmp_errors == 0 && error == 0)
        return true;
    if (icmp_errors == 0 && error == EAGAIN) {
        collector->blocked = true;
        return false;
    }

    /* The queue may have had no room: once more, and it is a failure of its own. */
    if (icmp_errors == 0 && collector->suspect != error && udp_socket_may_be_icmp(error)) {
        collector->suspect = error;
        return true;
    }
    if (icmp_errors > 0) {
        take_icmp_errors(collector, icmp_errors, icmp_error);
        return collector->connected;
    }
    collector->suspect = 0;
    stats_count(&collector->stats.send_errors, 1);
    if (collector->segment && (error == EMSGSIZE || error == EINVAL || error == EIO)) {
        collector->segment = false;
        log_debug("collector %s: its path takes no segmentation offload, sending datagrams one by one",
                  collector->name);
        return true;
    }
    if (error == ENOBUFS || error == ENOMEM) { /* the link's queue is full */
        collector->retry_ns = collector->common->now_ns + NO_BUFFER_PAUSE_NS;
        return false;
    }
    leave_address(collector, collector->common->now_ns + RETRY_NS);
    cannot_send(collector, error);
    return false;
}

/* Returns whether there may be more to send now. */
static bool send_batch(struct collector *collector, struct instant now)
{
    plan_batch(collector, now);
    struct datagram_batch *batch = collector->common->batch;
    unsigned count = datagram_batch_count(batch);
    if (count == 0)
        return false;
    int sent = datagram_batch_send(batch, collector->fd, collector->segment);
    if (sent > 0)
        account(collector, (unsigned)sent, now);
    return sent == (int)count || mind_failure(collector, sent < 0 ? -sent : 0);
}

void collector_run(struct collector *collector, struct instant now)
{
    const struct collector_common *common = collector->common;
    if (!collector->numeric && !collector->looking_up && now.monotonic_ns >= collector->look_up_ns) {
        collector->looking_up = true;
        resolver_look_up(common->resolver, collector->peer.host, collector->peer.port, common->source_family,
                         resolved, collector);
    }
    if (collector->address_count == 0 || now.monotonic_ns < collector->retry_ns)
        return;
    collector->blocked = false;
    if (collector->connected && now.monotonic_ns >= next_at_ns(collector))
        check_source(collector);
    else if (!collector->connected)
        connect_aopened(collector);
    if (!collector->connected)
        return;

    if (collector->progress.pace_ns + PACE_BURST_NS < now.monotonic_ns)
        collector->progress.pace_ns = now.monotonic_ns - PACE_BURST_NS;
    for (int i = 0; i < TURN_BATCHES && collector->connected && send_batch(collector, now); i++)
        ;
}

void collector_wants(const struct collector *collector, struct poll_set *set)
{
    if (!collector->numeric && !collector->looking_up)
        poll_set_before(set, collector->look_up_ns);
    if (collector->address_count == 0)
        return;
    if (collector->blocked) {
        poll_set_add(set, collector->fd, POLLOUT);
        return;
    }
    uint64_t next_ns = collector->connected ? next_at_ns(collector) : 0;
    poll_set_before(set, next_ns > collector->retry_ns ? next_ns : collector->retry_ns);
}

void collector_refresh(struct collector *collector)
{
    collector->progress.templates_due_ns = 0;
    collector->source_check_ns = 0;
    collector->look_up_ns = 0;
}

void collector_leave(struct collector *collector)
{
    collector->leaving = true;
    collector->leave_at = datagram_ring_end(collector->common->ring);
}

bool collector_has_left(const struct collector *collector)
{
    return collector->leaving && !is_waiting(collector, &collector->progress);
}

uint64_t collector_position(const struct collector *collector)
{
    return collector->progress.position;
}

void collector_move(struct collector *collector, uint64_t position)
{
    collector->progress.position = position;
}

void collector_drop(struct collector *collector)
{
    struct progress *progress = &collector->progress;
    const struct datagram *datagram = datagram_ring_at(collector->common->ring, progress->position);
    if (collector_has_left(collector)) { /* that one was not for it */
        progress->position = datagram->next;
        return;
    }
    stats_count(&collector->stats.records_dropped, datagram->records);
    stats_count(&collector->stats.datagrams_dropped, 1);
    progress->position = datagram->next;
    progress->sequence++; /* the collector sees the gap */
    progress->templates_wanted = true;
}

/* More data records wait than may, in more than one datagram. */
static bool is_too_far_behind(const struct collector *collector)
{
    const struct datagram_ring *ring = collector->common->ring;
    uint64_t position = collector->progress.position;
    return is_waiting(collector, &collector->progress) &&
           datagram_ring_records_from(ring, position) > collector->common->config.queue &&
           datagram_ring_at(ring, position)->next != datagram_ring_end(ring);
}

void collector_trim(struct collector *collector)
{
    if (!is_too_far_behind(collector))
        return;
    if (begins(collector, TROUBLE_QUEUE, 0))
        log_warnx("collector %s: more than %" PRIu32 " records wait (--queue), dropping the oldest",
                  collector->name, collector->common->config.queue);
    while (is_too_far_behind(collector))
        collector_drop(collector);
}

bool collector_pending(const struct collector *collector)
{
    unsigned obstacles = 1U << TROUBLE_SEND;
    if (collector->address_count == 0)
        obstacles |= 1U << TROUBLE_NAME;
    return is_waiting(collector, &collector->progress) && collector->unreachable_ns == 0 &&
           !(collector->troubles & obstacles);
}

const struct host_port *collector_peer(const struct collector *collector)
{
    return &collector->peer;
}

const char *collector_name(const struct collector *collector)
{
    return collector->name;
}

uint64_t collector_unreachable_ns(const struct collector *collector)
{
    return collector->unreachable_ns;
}

void collector_count_passed_over(struct collector *collector)
{
    stats_count(&collector->stats.flows_passed_over, 1);
}

void collector_note_present(struct collector *collector)
{
    const unsigned obstacles = 1U << TROUBLE_NAME | 1U << TROUBLE_SEND | 1U << TROUBLE_ICMP;
    stats_set(&collector->stats.up, collector->connected && !(collector->troubles & obstacles));
    stats_set(&collector->stats.queued_records,
              datagram_ring_records_from(collector->common->ring, collector->progress.position));
}

const struct collector_stats *collector_stats(const struct collector *collector)
{
    return &collector->stats;
}
