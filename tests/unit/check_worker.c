/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workers over a source of the test's own. The source takes what any takes: a file, its line in CMake and
 * a row; the test's table stands in the place of sources_table.c, its exporter and signals in that of theirs.
 */
#include "ctflow9/service/workers.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "no_reload.h"
#include "run_suite.h"
#include "slow.h"

enum { WORKERS_MAX = 4, FLOWS = 100000, PATIENCE_S = 20, LIMIT = 512 };

/* The source: so many flows for each worker, with the worker's number as their mark. */
static struct fake {
    struct source source;
    struct source_worker worker[WORKERS_MAX];
    unsigned left[WORKERS_MAX];
} fake;

static int fake_open(struct source **source, const void *config, const struct source_worker *worker,
                     unsigned workers)
{
    for (unsigned i = 0; i < workers; i++) {
        fake.worker[i] = worker[i];
        fake.left[i] = *(const unsigned *)config;
    }
    *source = &fake.source;
    return 0;
}

static unsigned fake_drain(struct source *source, unsigned worker, unsigned limit)
{
    const struct flow_outlet *outlet = &fake.worker[worker].outlet;
    unsigned room = flow_outlet_room(outlet, limit), taken = 0;
    (void)source;
    for (; taken < room && fake.left[worker] > 0; taken++)
        outlet->sink(outlet->context, &(struct flow){.mark = worker, .id = fake.left[worker]--});
    return taken;
}

static bool fake_is_drained(const struct source *source, unsigned worker)
{
    (void)source;
    return fake.left[worker] == 0;
}

static void fake_wants(const struct source *source, unsigned worker, struct poll_set *set)
{
    if (!fake_is_drained(source, worker))
        poll_set_before(set, 0);
}

static void fake_close(struct source *source)
{
    (void)source;
}

static const struct source_ops fake_source = {.name = "fake",
                                              .open = fake_open,
                                              .drain = fake_drain,
                                              .is_drained = fake_is_drained,
                                              .wants = fake_wants,
                                              .close = fake_close};

/* Another one, that has all there is, notes what it is asked, and has something left at the end. */
enum call { START, RUN, AWAIT, HURRIED, HALT, STOP, FINISH, ENDED, CALLS };
static struct source_worker thorough_worker[WORKERS_MAX];
static _Atomic unsigned called[CALLS];
static _Atomic unsigned order[CALLS]; /* the number of the first call of each */
static _Atomic unsigned calls;
static unsigned awaited, rests[WORKERS_MAX];
static int start_error;
static _Atomic int hanging = -1; /* the worker whose next drain does not return, while this stays so */

static void note(enum call call)
{
    unsigned number = ++calls;
    if (called[call]++ == 0)
        order[call] = number;
}

static int thorough_open(struct source **source, const void *config, const struct source_worker *worker,
                         unsigned workers);

static int thorough_start(struct source *source)
{
    (void)source;
    note(START);
    return start_error;
}

static unsigned thorough_drain(struct source *source, unsigned worker, unsigned limit)
{
    (void)source;
    (void)limit;
    while (hanging == (int)worker)
        usleep(1000);
    return 0;
}

static bool thorough_is_drained(const struct source *source, unsigned worker)
{
    (void)source;
    (void)worker;
    return true;
}

static bool thorough_run(struct source *source, unsigned worker, struct instant now)
{
    (void)source;
    (void)worker;
    (void)now;
    note(RUN);
    return false;
}

static bool thorough_await(struct source *source, bool hurried)
{
    (void)source;
    note(hurried ? HURRIED : AWAIT);
    return !hurried && awaited-- > 0;
}

static void thorough_halt(struct source *source)
{
    (void)source;
    note(HALT);
}

static void thorough_stop(struct source *source, unsigned worker)
{
    (void)source;
    (void)worker;
    note(STOP);
}

static bool thorough_finish(struct source *source, unsigned worker)
{
    const struct flow_outlet *outlet = &thorough_worker[worker].outlet;
    (void)source;
    note(FINISH);
    for (unsigned room = flow_outlet_room(outlet, LIMIT); room > 0 && rests[worker] > 0; room--)
        outlet->sink(outlet->context, &(struct flow){.mark = worker, .id = rests[worker]--});
    return rests[worker] > 0;
}

static void thorough_ended(struct source *source)
{
    (void)source;
    note(ENDED);
}

static const struct source_ops thorough_source = {.name = "thorough",
                                                  .open = thorough_open,
                                                  .close = fake_close,
                                                  .start = thorough_start,
                                                  .drain = thorough_drain,
                                                  .is_drained = thorough_is_drained,
                                                  .run = thorough_run,
                                                  .await = thorough_await,
                                                  .halt = thorough_halt,
                                                  .stop = thorough_stop,
                                                  .finish = thorough_finish,
                                                  .ended = thorough_ended};

static int thorough_open(struct source **source, const void *config, const struct source_worker *worker,
                         unsigned workers)
{
    static struct source opened = {.ops = &thorough_source};
    (void)config;
    for (unsigned i = 0; i < workers; i++)
        thorough_worker[i] = worker[i];
    *source = &opened;
    return 0;
}

const struct source_row sources_table[] = {{&fake_source, offsetof(struct sources_config, conntrack)},
                                           {&thorough_source, offsetof(struct sources_config, conntrack)}};
const size_t sources_table_count = 2;

/* The exporter: every flow once. It may be any thread's that has the role. */
struct exporter {
    unsigned count[WORKERS_MAX];
    bool seen[WORKERS_MAX][FLOWS + 1];
    int error;
};

static struct exporter exporter;
static _Atomic unsigned exported, wanted_flows;
static _Atomic bool hurried;
static _Atomic size_t named; /* interfaces that the exporter was given the names of */
static int signal_fd;

static void tell_signal(void)
{
    if (eventfd_write(signal_fd, 1) != 0)
        abort();
}

void exporter_name_interfaces(struct exporter *own, struct interface_names *names)
{
    (void)own;
    named += names->count;
    free(names);
}

void exporter_begin(struct exporter *own, struct instant now)
{
    (void)own;
    (void)now;
}

void exporter_add(void *context, const struct flow *flow)
{
    struct exporter *own = context;
    if (own->seen[flow->mark][flow->id])
        abort();
    own->seen[flow->mark][flow->id] = true;
    own->count[flow->mark]++;
    if (++exported == wanted_flows)
        tell_signal();
}

int exporter_run(struct exporter *own, struct instant now)
{
    (void)now;
    return own->error;
}

void exporter_wants(const struct exporter *own, struct poll_set *set)
{
    (void)own;
    (void)set;
}

uint64_t exporter_records_dropped(struct exporter *own)
{
    (void)own;
    return 0;
}

void exporter_sample(struct exporter *own, struct metrics_sample *sample)
{
    (void)own;
    sample->collector_count = 0;
}

void exporter_log_stats(const struct exporter *own)
{
    (void)own;
}

bool signals_take(struct signals *signals, uint64_t now_ns)
{
    if (exported >= wanted_flows && signals->end_ns == 0)
        signals->end_ns = now_ns;
    signals->hurried = hurried;
    return false;
}

/* Is told how the workers get on, and says when they are to end; NULL: when all flows have come. */
static struct notify *notify;
static pthread_t watch;

static struct interfaces_config interfaces;

static int run(unsigned count, unsigned flows)
{
    struct signals signals = {.fd = signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct stats totals = {0};
    struct workers *workers;
    const struct workers_config config = {.count = count,
                                          .netns = "",
                                          .notify = notify,
                                          .interfaces = interfaces,
                                          .sources = {.conntrack = (const void *)&flows},
                                          .limits = {.drain = LIMIT, .flows_ring = 1024, .rounds = 2}};
    fake.source.ops = &fake_source;
    wanted_flows = notify ? UINT32_MAX : count * flows;
    if (wanted_flows == 0)
        tell_signal();
    ck_assert_int_eq(workers_open(&workers, &config), 0);
    int outcome = workers_run(workers, &exporter, &totals, &signals);
    workers_close(workers);
    if (notify)
        pthread_join(watch, NULL);
    close(signals.fd);
    return outcome;
}

START_TEST(every_flow_comes_once)
{
    const unsigned counts[] = {1, 2, 4};
    ck_assert_int_eq(run(counts[_i], FLOWS), 0);
    for (unsigned i = 0; i < counts[_i]; i++)
        ck_assert_uint_eq(exporter.count[i], FLOWS);
}
END_TEST

/* Each worker has more at the end than its ring holds. */
START_TEST(the_end_has_its_order)
{
    enum { RESTS = 5000 };
    const unsigned counts[] = {1, 3};
    awaited = 7;
    for (unsigned i = 0; i < counts[_i]; i++)
        rests[i] = RESTS;
    ck_assert_int_eq(run(counts[_i], 0), 0);
    for (unsigned i = 0; i < counts[_i]; i++)
        ck_assert_uint_eq(exporter.count[i], RESTS);
    ck_assert_uint_eq(called[AWAIT], 8);
    ck_assert_uint_eq(called[HURRIED], 0);
    ck_assert_uint_eq(called[STOP], counts[_i]);
    ck_assert_uint_eq(called[ENDED], 1);
    ck_assert_uint_lt(order[START], order[AWAIT]);
    ck_assert_uint_lt(order[AWAIT], order[HALT]);
    ck_assert_uint_lt(order[HALT], order[STOP]);
    ck_assert_uint_lt(order[STOP], order[FINISH]);
    ck_assert_uint_lt(order[FINISH], order[ENDED]);
    ck_assert_uint_eq(order[ENDED], calls);
}
END_TEST

START_TEST(a_second_signal_hurries)
{
    awaited = UINT32_MAX;
    hurried = true;
    ck_assert_int_eq(run(1, 0), 0);
    ck_assert_uint_eq(called[HURRIED], 1);
    ck_assert_uint_eq(called[AWAIT], 0);
    ck_assert_uint_eq(called[HALT], 1);
}
END_TEST

/* What nobody takes is not waited for; the sources' threads end all the same. */
START_TEST(ends_when_nobody_is_left_to_export_to)
{
    exporter.error = -EPIPE;
    awaited = UINT32_MAX;
    ck_assert_int_eq(run(2, 0), -EPIPE);
    ck_assert_uint_eq(called[AWAIT] + called[HURRIED], 0);
    ck_assert_uint_eq(called[HALT], 1);
    ck_assert_uint_eq(called[ENDED], 1);
}
END_TEST

START_TEST(a_source_that_does_not_start_ends_all)
{
    start_error = -EAGAIN;
    ck_assert_int_eq(run(2, 0), -EAGAIN);
    ck_assert_uint_eq(called[HALT], 1);
}
END_TEST

START_TEST(the_exporter_gets_the_interfaces_names)
{
    const struct interface_numbers numbers = {.count = 2, .each = {{"one", 7}, {"two", 8}}};
    interfaces = (struct interfaces_config){.numbers = &numbers, .given_only = true};
    ck_assert_int_eq(run((unsigned)_i, 0), 0);
    ck_assert_uint_eq(named, 2);
}
END_TEST

static int manager;

static const char *told(void)
{
    static char text[512];
    ssize_t octets = recv(manager, text, sizeof(text) - 1, 0);
    text[octets > 0 ? octets : 0] = '\0';
    return text;
}

/* One worker after the other hangs: no pulse says that all is well but for the first, before which it had its
 * last turns. (The first worker makes the pulses: when it hangs there are none.) */
static void *watch_workers(void *context)
{
    enum { ENOUGH = 5 };
    ck_assert_str_eq(told(), "READY=1\n");
    for (int i = *(int *)context - 1; i > 0; i--) {
        for (int well = 0; well < ENOUGH;)
            well += strstr(told(), "WATCHDOG=1\n") != NULL;
        hanging = i;
        for (int unwell = 0; unwell < ENOUGH;)
            unwell = strstr(told(), "WATCHDOG=1\n") ? 0 : unwell + 1;
        hanging = -1;
    }
    while (!strstr(told(), "WATCHDOG=1\n"))
        ;
    wanted_flows = 0;
    tell_signal();
    while (!strstr(told(), "STOPPING=1\n"))
        ;
    return NULL;
}

START_TEST(a_worker_that_hangs_is_told)
{
    int workers[] = {1, 2, 4};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "check_worker-%d", getpid());
    manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    ck_assert_int_eq(
        bind(manager, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1))),
        0);
    address.sun_path[0] = '@';
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    setenv("WATCHDOG_USEC", "80000", 1);
    ck_assert_int_eq(notify_open(&notify), 0);
    ck_assert_int_eq(pthread_create(&watch, NULL, watch_workers, &workers[_i]), 0);
    ck_assert_int_eq(run((unsigned)workers[_i], 0), 0);
    notify_close(notify);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("worker");
    tcase_set_timeout(tcase, PATIENCE_S * slow_factor());
    tcase_add_loop_test(tcase, every_flow_comes_once, 0, 3);
    tcase_add_loop_test(tcase, the_end_has_its_order, 0, 2);
    tcase_add_test(tcase, a_second_signal_hurries);
    tcase_add_test(tcase, ends_when_nobody_is_left_to_export_to);
    tcase_add_loop_test(tcase, a_worker_that_hangs_is_told, 0, 3);
    tcase_add_loop_test(tcase, the_exporter_gets_the_interfaces_names, 1, 3);
    tcase_add_test(tcase, a_source_that_does_not_start_ends_all);
    Suite *suite = suite_create("worker");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
