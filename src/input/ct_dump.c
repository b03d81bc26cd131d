/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_dump.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/poll_set.h"
#include "ctflow9/base/thread.h"
#include "ctflow9/base/wake.h"
#include "ctflow9/base/wall_clock.h"
#include "ctflow9/flow/row_rule.h"
#include "ctflow9/input/ct_decode.h"
#include "ctflow9/input/ct_request.h"

#define READ_OUT_NS (10 * NS_PER_S) /* a dump that was given up */

enum {
    NICENESS = 10,
    WAKE_EVERY = 256, /* notes; a worker is woken this often while a dump goes on */
    REST_PER_CPU = 4, /* hurried dumps come one after the other, but never take more than a fifth of a CPU, */
    INTERVAL_PER_CPU = 100, /* and others, as long as they may, no more than a hundredth */
    ASKED_MAX = 1024,       /* connections whose absence is checked against the dying list in one go */
    PLACES = 4 * ASKED_MAX,
    LISTS_MIN = 2,
    LISTS_MAX = 4,
    LAST_TRIES = 3, /* to finish the last dump */
    IN_ONE_GO = 8   /* dying connections that the kernel tells of in a single datagram for certain */
};

struct ct_dump {
    struct ct_dump_config config;
    int fd;      /* requests only: no filter, no group */
    int wake_fd; /* wake.h: stop or hurry */
    struct ct_decoder *decoder;
    pthread_t thread;
    bool is_running;
    _Atomic uint64_t active_timeout_ns; /* what config is to have in the next round */
    _Atomic bool stopping;
    _Atomic bool finishing; /* the next dump is the last one, */
    _Atomic bool over;      /* and the workers have taken all of it */
    uint32_t number;
    struct wall_clock clock;
    struct row_rule rule; /* of the present dump */
    uint64_t interval_ns; /* to the next one, as far as it is known what they take */
    bool broken;
    bool failing;                      /* the last dump was not finished; said so */
    unsigned put[CT_DUMP_WORKERS_MAX]; /* notes since the worker was woken */
    unsigned dying_count;              /* in the present list */
    unsigned asked_count;
    struct asked {
        struct flow flow; /* not in the table; the dying list has to be seen */
        bool is_dying;
    } asked[ASKED_MAX];
    uint16_t places[PLACES]; /* where in asked, plus 1, by the connection's hash and after; 0 = nowhere */
};

void ct_dump_config_timeout(struct ct_dump_config *config, uint64_t active_timeout_ns)
{
    enum { DUMPS_PER_TIMEOUT = 4 }; /* where they cost next to nothing */

    config->active_timeout_ns = active_timeout_ns;
    config->interval_min_ns = active_timeout_ns / DUMPS_PER_TIMEOUT;
    config->interval_max_ns = active_timeout_ns;
}

int ct_dump_open(struct ct_dump **dump, const struct ct_dump_config *config)
{
    struct ct_dump *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    atomic_init(&opened->active_timeout_ns, config->active_timeout_ns);
    opened->rule.began_ns = config->began_ns;
    opened->interval_ns = config->interval_min_ns;
    opened->wake_fd = -1;
    wall_clock_start(&opened->clock);
    opened->fd = netlink_socket_open();
    int error = opened->fd < 0 ? opened->fd : ct_decoder_open(&opened->decoder);
    if (!error) {
        opened->wake_fd = wake_open();
        error = opened->wake_fd < 0 ? opened->wake_fd : 0;
    }
    if (error) {
        log_cannot(error, "open what it takes to read the conntrack table");
        ct_dump_close(opened);
        return error;
    }
    *dump = opened;
    return 0;
}

void ct_dump_close(struct ct_dump *dump)
{
    if (!dump)
        return;
    if (dump->fd >= 0)
        close(dump->fd);
    if (dump->wake_fd >= 0)
        close(dump->wake_fd);
    ct_decoder_close(dump->decoder);
    free(dump);
}

static bool is_stopping(struct ct_dump *dump)
{
    return atomic_load_explicit(&dump->stopping, memory_order_relaxed);
}

static bool is_finishing(struct ct_dump *dump)
{
    return atomic_load_explicit(&dump->finishing, memory_order_relaxed);
}

/* Returns whether somebody woke us. */
static bool wait_for_wake(struct ct_dump *dump, uint64_t timeout_ns)
{
    struct pollfd fd = {.fd = dump->wake_fd, .events = POLLIN};
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                                     .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    return poll_fds(&fd, 1, &timeout) > 0 && wake_take(dump->wake_fd);
}

static void choose_interval(struct ct_dump *dump, uint64_t used_ns)
{
    uint64_t interval_ns = INTERVAL_PER_CPU * used_ns;
    if (interval_ns < dump->config.interval_min_ns)
        interval_ns = dump->config.interval_min_ns;
    if (interval_ns > dump->config.interval_max_ns)
        interval_ns = dump->config.interval_max_ns;
    dump->interval_ns = interval_ns;
}

/* Until it is time for the next dump. begin_ns: of the last one; used_ns: CPU time that it took. */
static void rest(struct ct_dump *dump, uint64_t begin_ns, uint64_t used_ns)
{
    uint64_t now_ns = instant_read_clock(CLOCK_MONOTONIC);
    uint64_t hurried_ns = now_ns + REST_PER_CPU * used_ns;
    uint64_t due_ns = begin_ns + dump->interval_ns;
    if (due_ns < hurried_ns)
        due_ns = hurried_ns;
    while (now_ns < due_ns && !is_stopping(dump) && !is_finishing(dump)) {
        if (wait_for_wake(dump, due_ns - now_ns) && hurried_ns < due_ns)
            due_ns = hurried_ns;
        now_ns = instant_read_clock(CLOCK_MONOTONIC);
    }
}

/* Lets a worker that is busy go on. */
static void be_patient(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

static void wake_worker(struct ct_dump *dump, unsigned index)
{
    dump->put[index] = 0;
    wake(dump->config.worker[index].wake_fd);
}

/* Waits for room; gives up only when it is time to stop. */
static void tell(struct ct_dump *dump, unsigned index, const struct flow_note *note)
{
    struct flow_ring *notes = dump->config.worker[index].notes;
    while (flow_ring_room(notes) == 0) {
        if (is_stopping(dump))
            return;
        wake_worker(dump, index);
        be_patient();
    }
    flow_ring_put(notes, note);
    if (++dump->put[index] >= WAKE_EVERY)
        wake_worker(dump, index);
}

static void tell_owner(struct ct_dump *dump, const struct flow_note *note)
{
    tell(dump, note->flow.id % dump->config.workers, note);
}

static void tell_all(struct ct_dump *dump, enum flow_note_kind kind)
{
    const struct flow_note note = {.kind = kind,
                                   .dump = dump->number,
                                   .flow = {.start_ns = dump->rule.age_ns, .stop_ns = dump->rule.dump_ns}};
    for (unsigned i = 0; i < dump->config.workers; i++) {
        tell(dump, i, &note);
        wake_worker(dump, i);
    }
}

/* Until the workers have taken every note. */
static void wait_for_all(struct ct_dump *dump)
{
    for (unsigned i = 0; i < dump->config.workers; i++)
        while (!flow_ring_is_drained(dump->config.worker[i].notes) && !is_stopping(dump))
            be_patient();
}

/* Boot time; one that began after the clock was last read is not taken for one of the future. */
static uint64_t start_time(struct ct_dump *dump, const struct flow *flow)
{
    if (!flow_has(flow, FLOW_HAS_START))
        return WALL_CLOCK_UNKNOWN;
    wall_clock_watch_for(&dump->clock, flow->start_ns);
    return wall_clock_earliest(&dump->clock, flow->start_ns);
}

static bool take_row(void *context, const struct nlmsghdr *message)
{
    struct ct_dump *dump = context;
    struct flow_note note = {.kind = FLOW_NOTE_ROW, .dump = dump->number};
    struct flow *flow = &note.flow;
    if (message->nlmsg_flags & NLM_F_DUMP_INTR)
        dump->broken = true;
    if (is_stopping(dump) || ct_decode(dump->decoder, message, flow) != 0)
        return true;
    /* A dying connection's DESTROY was made before it leaves the table; it may have been read already. */
    if (flow->status & IPS_DYING)
        return true;
    flow->stop_ns = dump->rule.dump_ns; /* the kernel has looked at it no earlier */
    if (row_rule_wants(&dump->rule, flow, start_time(dump, flow)))
        tell_owner(dump, &note);
    return true;
}

/* Says so when it begins and when it ends. */
static void see_failure(struct ct_dump *dump, int error)
{
    if (error && !dump->failing) {
        errno = -error;
        log_warn("reading the conntrack table was not finished, trying again");
    } else if (!error && dump->failing) {
        log_info("reading the conntrack table works again");
    }
    dump->failing = error != 0;
}

/* A connection that is due before the middle of the next interval is nearer to its time now than then. */
static uint64_t due_age_ns(const struct ct_dump *dump)
{
    uint64_t half_ns = dump->interval_ns / 2;
    return half_ns < dump->config.active_timeout_ns ? dump->config.active_timeout_ns - half_ns : 1;
}

/* Returns whether it has shown everything. */
static bool run_dump(struct ct_dump *dump, bool is_last)
{
    dump->number++;
    dump->rule.age_ns = is_last ? 0 : due_age_ns(dump);
    dump->broken = false;
    wall_clock_watch(&dump->clock);
    dump->rule.dump_ns = dump->clock.boot_ns;
    tell_all(dump, is_last ? FLOW_NOTE_LAST_DUMP_BEGIN : FLOW_NOTE_DUMP_BEGIN);
    wait_for_all(dump);
    int error = ct_request_dump(dump->fd, IPCTNL_MSG_CT_GET, &dump->config.mark, take_row, dump);
    if (error)
        netlink_socket_read_out(dump->fd, READ_OUT_NS);
    see_failure(dump, error);
    bool complete = !error && !dump->broken && !is_stopping(dump);
    tell_all(dump, complete ? FLOW_NOTE_DUMP_END : FLOW_NOTE_DUMP_BROKEN);
    return complete;
}

/* The entry that the kernel has for a tuple. */
struct found {
    struct ct_decoder *decoder;
    const struct flow *wanted;
    bool same;
};

static bool compare(void *context, const struct nlmsghdr *message)
{
    struct found *found = context;
    struct flow flow;
    if (ct_decode(found->decoder, message, &flow) == 0 && flow_is_same(&flow, found->wanted))
        found->same = true;
    return true;
}

/* Whether the table has the connection no more. Trouble proves nothing. */
static bool is_absent(struct ct_dump *dump, const struct flow *flow)
{
    struct found found = {.decoder = dump->decoder, .wanted = flow};
    int error = ct_request_entry(dump->fd, IPCTNL_MSG_CT_GET, flow, compare, &found);
    return error == -ENOENT || (error == 0 && !found.same);
}

/* The place of a connection that was asked for, else the one that it would have. */
static uint16_t *find_place(struct ct_dump *dump, const struct flow *flow)
{
    size_t at = flow_hash(flow) % PLACES;
    while (dump->places[at] != 0 && !flow_is_same(&dump->asked[dump->places[at] - 1].flow, flow))
        at = (at + 1) % PLACES;
    return &dump->places[at];
}

static void ask(struct ct_dump *dump, const struct flow *flow)
{
    uint16_t *place = find_place(dump, flow);
    if (*place != 0)
        return;
    dump->asked[dump->asked_count] = (struct asked){.flow = *flow};
    *place = (uint16_t)++dump->asked_count;
}

/* Its DESTROY is still to come. */
static bool see_dying(void *context, const struct nlmsghdr *message)
{
    struct ct_dump *dump = context;
    struct flow flow;
    dump->dying_count++;
    if (ct_decode(dump->decoder, message, &flow) != 0)
        return true;
    uint16_t place = *find_place(dump, &flow);
    if (place != 0)
        dump->asked[place - 1].is_dying = true;
    return true;
}

/*
 * Once is not enough: a connection leaves the table a moment before it comes to the list; and between two
 * datagrams the kernel ends the list early, unsaid, when the connection that it has got to leaves it
 * (ctnetlink_dump_dying() in net/netfilter/nf_conntrack_netlink.c).
 */
static int list_dying(struct ct_dump *dump)
{
    for (int lists = 1;; lists++) {
        dump->dying_count = 0;
        int error = ct_request_dump(dump->fd, IPCTNL_MSG_CT_GET_DYING, NULL, see_dying, dump);
        if (error || lists == LISTS_MAX || (lists >= LISTS_MIN && dump->dying_count <= IN_ONE_GO))
            return error;
        be_patient();
    }
}

/* Tells the owners which of those that were asked for are gone. */
static void answer_asked(struct ct_dump *dump)
{
    if (dump->asked_count == 0)
        return;
    int error = list_dying(dump);
    if (error)
        netlink_socket_read_out(dump->fd, READ_OUT_NS);
    for (const struct asked *asked = dump->asked; asked < dump->asked + dump->asked_count && !error; asked++)
        if (!asked->is_dying)
            tell_owner(
                dump, &(struct flow_note){.flow = asked->flow, .kind = FLOW_NOTE_GONE, .dump = dump->number});
    dump->asked_count = 0;
    memset(dump->places, 0, sizeof(dump->places));
    for (unsigned i = 0; i < dump->config.workers; i++)
        wake_worker(dump, i);
}

static void take_question(struct ct_dump *dump, const struct flow *flow)
{
    if (!is_absent(dump, flow))
        return;
    ask(dump, flow);
    if (dump->asked_count == ASKED_MAX)
        answer_asked(dump);
}

/* Until the worker has said that it has no more. */
static void take_questions_of(struct ct_dump *dump, struct flow_ring *questions)
{
    bool ended = false;
    while (!ended && !is_stopping(dump)) {
        const struct flow_note *note = flow_ring_peek(questions);
        if (!note) {
            be_patient();
            continue;
        }
        ended = note->kind == FLOW_NOTE_DUMP_END;
        if (!ended)
            take_question(dump, &note->flow);
        flow_ring_take(questions);
    }
}

static void take_questions(struct ct_dump *dump)
{
    for (unsigned i = 0; i < dump->config.workers; i++)
        take_questions_of(dump, dump->config.worker[i].questions);
    answer_asked(dump);
}

/* There is none after it that would show what it did not. */
static void run_last_dump(struct ct_dump *dump)
{
    bool complete = run_dump(dump, true);
    for (int tries = 1; !complete && tries < LAST_TRIES && !is_stopping(dump); tries++) {
        take_questions(dump);
        complete = run_dump(dump, true);
    }
    if (!complete && !is_stopping(dump))
        log_warnx(
            "the last look at the conntrack table was not finished: what some connections that last have "
            "carried since the one before is not reported");
    wait_for_all(dump);
}

static void see_timeout(struct ct_dump *dump)
{
    uint64_t wanted_ns = atomic_load_explicit(&dump->active_timeout_ns, memory_order_relaxed);
    if (wanted_ns == dump->config.active_timeout_ns)
        return;
    ct_dump_config_timeout(&dump->config, wanted_ns);
    dump->interval_ns = dump->config.interval_min_ns;
}

static void *run(void *context)
{
    struct ct_dump *dump = context;
    int niceness = getpriority(PRIO_PROCESS, 0);
    setpriority(PRIO_PROCESS, 0, NICENESS); /* for this thread only: reading events comes first */
    while (!is_stopping(dump) && !is_finishing(dump)) {
        uint64_t begin_ns = instant_read_clock(CLOCK_MONOTONIC);
        uint64_t before_ns = instant_read_clock(CLOCK_THREAD_CPUTIME_ID);
        see_timeout(dump);
        run_dump(dump, false);
        take_questions(dump);
        uint64_t used_ns = instant_read_clock(CLOCK_THREAD_CPUTIME_ID) - before_ns;
        stats_count(&dump->config.stats->looks, 1);
        stats_count(&dump->config.stats->looks_cpu_us, used_ns / NS_PER_US);
        choose_interval(dump, used_ns);
        rest(dump, begin_ns, used_ns);
    }
    if (is_stopping(dump))
        return NULL;
    setpriority(PRIO_PROCESS, 0, niceness); /* there is no look after this one; it needs CAP_SYS_NICE */
    run_last_dump(dump);
    /* Pairs with the acquire in ct_dump_is_over(). */
    atomic_store_explicit(&dump->over, true, memory_order_release);
    wake_worker(dump, 0);
    return NULL;
}

int ct_dump_start(struct ct_dump *dump)
{
    int error = thread_start(&dump->thread, run, dump);
    dump->is_running = error == 0;
    return error;
}

void ct_dump_stop(struct ct_dump *dump)
{
    if (!dump || !dump->is_running)
        return;
    atomic_store_explicit(&dump->stopping, true, memory_order_relaxed);
    wake(dump->wake_fd);
    pthread_join(dump->thread, NULL);
    dump->is_running = false;
}

void ct_dump_finish(struct ct_dump *dump)
{
    atomic_store_explicit(&dump->finishing, true, memory_order_relaxed);
    wake(dump->wake_fd);
}

bool ct_dump_is_over(const struct ct_dump *dump)
{
    /* Pairs with the release in run(): every note was taken. */
    return atomic_load_explicit(&dump->over, memory_order_acquire);
}

void ct_dump_set_timeout(struct ct_dump *dump, uint64_t active_timeout_ns)
{
    atomic_store_explicit(&dump->active_timeout_ns, active_timeout_ns, memory_order_relaxed);
    wake(dump->wake_fd);
}

void ct_dump_hurry(struct ct_dump *dump)
{
    wake(dump->wake_fd);
}
