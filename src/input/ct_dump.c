/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/ct_dump.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctflow9/ct_decode.h"
#include "ctflow9/ct_request.h"
#include "ctflow9/instant.h"
#include "ctflow9/log.h"
#include "ctflow9/tracker.h"

#define WORKER_PATIENCE_NS NS_PER_MS

enum {
    WAKE_EVERY = 256, /* notes; a worker is woken this often while a dump goes on */
    ASKED_MAX = 1024  /* connections whose absence is checked against the dying list at once */
};

struct ct_dump {
    struct ct_dump_config config;
    int fd;      /* requests only: no filter, no group */
    int wake_fd; /* eventfd: stop or hurry */
    pthread_t thread;
    _Atomic bool stopping;
    uint32_t number;
    uint64_t begin_ns; /* wall clock; no row is older */
    bool broken;
    unsigned put[CT_DUMP_WORKERS_MAX]; /* notes since the worker was woken */
    unsigned asked_count;
    struct flow asked[ASKED_MAX]; /* not in the table; the dying list has to be seen */
};

int ct_dump_open(struct ct_dump **dump, const struct ct_dump_config *config)
{
    struct ct_dump *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->config = *config;
    new->wake_fd = -1;
    new->fd = netlink_socket_open();
    int error = new->fd < 0 ? new->fd : 0;
    if (!error) {
        new->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        error = new->wake_fd < 0 ? -errno : 0;
    }
    if (error) {
        log_error("cannot open what it takes to read the conntrack table: %s", strerror(-error));
        ct_dump_close(new);
        return error;
    }
    *dump = new;
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
    free(dump);
}

static void wake(int fd)
{
    uint64_t one = 1;
    /* Fails only when the count is so high that the other side is awake for sure. */
    if (write(fd, &one, sizeof(one)) < 0)
        return;
}

static bool is_stopping(struct ct_dump *dump)
{
    return atomic_load_explicit(&dump->stopping, memory_order_relaxed);
}

/* Until somebody wakes us or the time is over. */
static void wait_for(struct ct_dump *dump, uint64_t ns)
{
    struct pollfd fd = {.fd = dump->wake_fd, .events = POLLIN};
    const struct timespec timeout = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    uint64_t count;
    if (ppoll(&fd, 1, &timeout, NULL) > 0 && read(dump->wake_fd, &count, sizeof(count)) < 0)
        return;
}

static void wake_worker(struct ct_dump *dump, unsigned index)
{
    dump->put[index] = 0;
    wake(dump->config.worker[index].wake_fd);
}

/* Waits for a worker that is busy; gives up only when it is time to stop. */
static void tell(struct ct_dump *dump, unsigned index, const struct flow_note *note)
{
    const struct ct_dump_worker *worker = &dump->config.worker[index];
    while (flow_ring_room(worker->notes) == 0) {
        if (is_stopping(dump))
            return;
        wake_worker(dump, index);
        nanosleep(&(struct timespec){.tv_nsec = WORKER_PATIENCE_NS}, NULL);
    }
    flow_ring_put(worker->notes, note);
    if (++dump->put[index] >= WAKE_EVERY)
        wake_worker(dump, index);
}

static void tell_all(struct ct_dump *dump, enum flow_note_kind kind)
{
    const struct flow_note note = {.kind = kind, .dump = dump->number};
    for (unsigned i = 0; i < dump->config.workers; i++) {
        tell(dump, i, &note);
        wake_worker(dump, i);
    }
}

/* A row of the table. Its time is that of the dump's beginning, which is not later than the kernel's look at
 * it. */
static void take_row(void *context, const struct nlmsghdr *message)
{
    struct ct_dump *dump = context;
    struct flow_note note = {.kind = FLOW_NOTE_ROW, .dump = dump->number};
    if (message->nlmsg_flags & NLM_F_DUMP_INTR)
        dump->broken = true;
    if (is_stopping(dump) || ct_decode(message, &note.flow) != 0)
        return;
    note.flow.stop_ns = dump->begin_ns;
    if (tracker_wants_row(dump->config.active_timeout_ns, dump->config.began_ns, &note.flow))
        tell(dump, note.flow.id % dump->config.workers, &note);
}

static void run_dump(struct ct_dump *dump)
{
    dump->number++;
    dump->broken = false;
    dump->begin_ns = instant_read_clock(CLOCK_REALTIME);
    tell_all(dump, FLOW_NOTE_DUMP_BEGIN);
    int error = ct_request_dump(dump->fd, IPCTNL_MSG_CT_GET, &dump->config.mark, take_row, dump);
    if (error) {
        errno = -error;
        log_warn("reading the conntrack table was not finished, trying again");
    }
    tell_all(dump, error || dump->broken ? FLOW_NOTE_DUMP_BROKEN : FLOW_NOTE_DUMP_END);
}

/* The entry that the kernel has for a tuple. */
struct found {
    const struct flow *wanted;
    bool same;
};

static void compare(void *context, const struct nlmsghdr *message)
{
    struct found *found = context;
    struct flow flow;
    if (ct_decode(message, &flow) == 0 && flow_is_same(&flow, found->wanted))
        found->same = true;
}

/* Whether the table has the connection no more. Trouble proves nothing. */
static bool is_absent(struct ct_dump *dump, const struct flow *flow)
{
    struct found found = {.wanted = flow};
    int error = ct_request_entry(dump->fd, IPCTNL_MSG_CT_GET, flow, compare, &found);
    return error == -ENOENT || (error == 0 && !found.same);
}

/* Its DESTROY is still to come. */
static void strike_dying(void *context, const struct nlmsghdr *message)
{
    struct ct_dump *dump = context;
    struct flow flow;
    if (ct_decode(message, &flow) != 0)
        return;
    for (unsigned i = 0; i < dump->asked_count; i++)
        if (flow_is_same(&dump->asked[i], &flow))
            dump->asked[i] = dump->asked[--dump->asked_count];
}

/* Tells the owners which of those that were asked for are gone. */
static void answer_asked(struct ct_dump *dump)
{
    if (dump->asked_count == 0)
        return;
    if (ct_request_dump(dump->fd, IPCTNL_MSG_CT_GET_DYING, NULL, strike_dying, dump) == 0)
        for (unsigned i = 0; i < dump->asked_count; i++) {
            const struct flow_note note = {
                .flow = dump->asked[i], .kind = FLOW_NOTE_GONE, .dump = dump->number};
            tell(dump, note.flow.id % dump->config.workers, &note);
        }
    dump->asked_count = 0;
    for (unsigned i = 0; i < dump->config.workers; i++)
        wake_worker(dump, i);
}

static void take_question(struct ct_dump *dump, const struct flow *flow)
{
    if (!is_absent(dump, flow))
        return;
    dump->asked[dump->asked_count++] = *flow;
    if (dump->asked_count == ASKED_MAX)
        answer_asked(dump);
}

/* Until every worker has said that it has no more. */
static void answer_questions(struct ct_dump *dump)
{
    for (unsigned i = 0; i < dump->config.workers; i++) {
        struct flow_ring *questions = dump->config.worker[i].questions;
        bool ended = false;
        while (!ended && !is_stopping(dump)) {
            const struct flow_note *note = flow_ring_peek(questions);
            if (!note) {
                nanosleep(&(struct timespec){.tv_nsec = WORKER_PATIENCE_NS}, NULL);
                continue;
            }
            ended = note->kind == FLOW_NOTE_DUMP_END;
            if (!ended)
                take_question(dump, &note->flow);
            flow_ring_take(questions);
        }
    }
    answer_asked(dump);
}

static void *run(void *context)
{
    struct ct_dump *dump = context;
    while (!is_stopping(dump)) {
        run_dump(dump);
        answer_questions(dump);
        wait_for(dump, dump->config.interval_ns);
    }
    return NULL;
}

int ct_dump_start(struct ct_dump *dump)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = -pthread_create(&dump->thread, NULL, run, dump);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

void ct_dump_stop(struct ct_dump *dump)
{
    atomic_store_explicit(&dump->stopping, true, memory_order_relaxed);
    wake(dump->wake_fd);
    pthread_join(dump->thread, NULL);
}

void ct_dump_hurry(struct ct_dump *dump)
{
    wake(dump->wake_fd);
}
