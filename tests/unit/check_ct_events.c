/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_events.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include "ctflow9/input/ct_entry.h"
#include "ctflow9/input/rx_choose.h"
#include "unit/ct_lab.h"

/*
 * What is received is made up: these take the place of rx.c. The real kernel's events are in
 * tests/kernel/check_input.c.
 */
static struct rx_message script[1000];
static unsigned script_count, script_next;
static int script_error; /* told once, after the messages */
static bool script_pending;
static bool script_entries; /* they are struct ct_entry */
static uint32_t script_drops;
static bool script_stopped;

int rx_open_choice(struct rx **rx, int fd, struct rx_choice *choice, const struct netlink_filter *filter)
{
    (void)choice;
    (void)filter;
    ck_assert_int_ge(fd, 0);
    *rx = NULL;
    return 0;
}

void rx_close(struct rx *rx)
{
    ck_assert_ptr_null(rx);
}

int rx_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    ck_assert_ptr_null(rx);
    ck_assert_uint_ge(limit, 1);
    ck_assert_uint_le(limit, RX_BATCH);
    unsigned left = script_count - script_next;
    unsigned count = left < limit ? left : limit;
    *messages = &script[script_next];
    script_next += count;
    int error = count == 0 ? script_error : 0;
    if (error)
        script_error = 0;
    return error ? error : (int)count;
}

bool rx_is_pending(const struct rx *rx)
{
    ck_assert_ptr_null(rx);
    return script_pending;
}

bool rx_tells_programs(const struct rx *rx)
{
    ck_assert_ptr_null(rx);
    return true;
}

bool rx_gives_entries(const struct rx *rx)
{
    ck_assert_ptr_null(rx);
    return script_entries;
}

int rx_drops(const struct rx *rx, uint32_t *drops)
{
    ck_assert_ptr_null(rx);
    *drops = script_drops;
    return 0;
}

int rx_stop(struct rx *rx)
{
    ck_assert_ptr_null(rx);
    script_stopped = true;
    return 0;
}

void rx_wants(const struct rx *rx, struct poll_set *set)
{
    ck_assert_ptr_null(rx);
    poll_set_add(set, -1, POLLIN);
}

/* What the handler got. */
static struct flow flows[1000];
static unsigned flow_count;

static void keep_flow(void *context, const struct flow *flow)
{
    ck_assert_ptr_eq(context, flows);
    flows[flow_count++] = *flow;
}

static struct stats stats;
static struct wall_clock wall_clock;

static struct ct_events *open_events(bool reliable)
{
    struct ct_events *events;
    const struct ct_events_config config = {
        .rcvbuf_octets = 65536, .reliable = reliable, .stats = &stats, .clock = &wall_clock};
    wall_clock_start(&wall_clock);
    lab_enter();
    ck_assert_int_eq(ct_events_open(&events, &config), 0);
    return events;
}

static unsigned drain(struct ct_events *events)
{
    return ct_events_drain(events, 10000, keep_flow, flows);
}

static void put_tuple(struct nlmsghdr *message, uint16_t type, uint32_t from, uint32_t to, uint16_t from_port,
                      uint16_t to_port, uint8_t protocol)
{
    struct nlattr *tuple = mnl_attr_nest_start(message, type);
    struct nlattr *nest = mnl_attr_nest_start(message, CTA_TUPLE_IP);
    mnl_attr_put_u32(message, CTA_IP_V4_SRC, htonl(from));
    mnl_attr_put_u32(message, CTA_IP_V4_DST, htonl(to));
    mnl_attr_nest_end(message, nest);
    nest = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(message, CTA_PROTO_NUM, protocol);
    mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(from_port));
    mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(to_port));
    mnl_attr_nest_end(message, nest);
    mnl_attr_nest_end(message, tuple);
}

struct event {
    uint8_t protocol; /* 0 = UDP */
    uint32_t port_id; /* of the message, not of its source */
    uint64_t start_ns, stop_ns;
    uint8_t tcp_state;  /* 0 = none */
    uint32_t timeout_s; /* 0 = none */
};

/* Adds a DESTROY to the script; its source port is its number. */
static struct rx_message *add_event(const struct event *event)
{
    static _Alignas(struct nlmsghdr) char buffers[sizeof(script) / sizeof(script[0])][256];
    struct nlmsghdr *message = lab_request(buffers[script_count], IPCTNL_MSG_CT_DELETE, 0);
    uint16_t port = (uint16_t)script_count;
    uint8_t protocol = event->protocol != 0 ? event->protocol : IPPROTO_UDP;
    ((struct nfgenmsg *)mnl_nlmsg_get_payload(message))->nfgen_family = AF_INET;
    message->nlmsg_pid = event->port_id;
    put_tuple(message, CTA_TUPLE_ORIG, 0x0a000001, 0x0a000002, port, 53, protocol);
    put_tuple(message, CTA_TUPLE_REPLY, 0x0a000002, 0x0a000001, 53, port, protocol);
    if (event->start_ns != 0 || event->stop_ns != 0) {
        struct nlattr *stamps = mnl_attr_nest_start(message, CTA_TIMESTAMP);
        if (event->start_ns != 0)
            mnl_attr_put_u64(message, CTA_TIMESTAMP_START, htobe64(event->start_ns));
        if (event->stop_ns != 0)
            mnl_attr_put_u64(message, CTA_TIMESTAMP_STOP, htobe64(event->stop_ns));
        mnl_attr_nest_end(message, stamps);
    }
    if (event->tcp_state != 0) {
        struct nlattr *info = mnl_attr_nest_start(message, CTA_PROTOINFO);
        struct nlattr *tcp = mnl_attr_nest_start(message, CTA_PROTOINFO_TCP);
        mnl_attr_put_u8(message, CTA_PROTOINFO_TCP_STATE, event->tcp_state);
        mnl_attr_nest_end(message, tcp);
        mnl_attr_nest_end(message, info);
    }
    if (event->timeout_s != 0)
        mnl_attr_put_u32(message, CTA_TIMEOUT, htonl(event->timeout_s));
    script[script_count] = (struct rx_message){.data = message, .octets = message->nlmsg_len};
    return &script[script_count++];
}

static struct nlmsghdr *header_of(struct rx_message *received)
{
    return (struct nlmsghdr *)(uintptr_t)received->data;
}

/* The largest that --rcvbuf takes is more by one than what the kernel can grant: no reason for a warning. */
START_TEST(says_nothing_of_the_largest_buffer)
{
    struct ct_events *events;
    const struct ct_events_config config = {.rcvbuf_octets = 1 << 30, .stats = &stats};
    if (!lab_forces_rcvbuf())
        return;
    int captured = lab_capture_stderr();
    lab_enter();
    ck_assert_int_eq(ct_events_open(&events, &config), 0);
    ck_assert_str_eq(lab_stderr(captured), "");
    ct_events_close(events);
}
END_TEST

START_TEST(hands_on_every_flow_in_order)
{
    const struct event event = {.start_ns = 1000, .stop_ns = 3000};
    struct ct_events *events = open_events(true);
    ck_assert_uint_eq(drain(events), 0);
    for (unsigned i = 0; i < 200; i++)
        add_event(&event);
    ck_assert_uint_eq(ct_events_drain(events, 1, keep_flow, flows), 1);
    ck_assert_uint_eq(ct_events_drain(events, 129, keep_flow, flows), 129);
    ck_assert_uint_eq(flow_count, 130);
    ck_assert_uint_eq(ct_events_drain(events, 1000, keep_flow, flows), 70);
    ck_assert_uint_eq(ct_events_drain(events, 1000, keep_flow, flows), 0);
    for (unsigned i = 0; i < 200; i++) {
        ck_assert_uint_eq(ntohs(flows[i].tuple[FLOW_ORIGINAL].src_port), i);
        ck_assert_uint_eq(flows[i].start_ns, 1000);
        ck_assert_uint_eq(flows[i].stop_ns, 3000);
    }
    ck_assert_uint_eq(stats.events, 200);
    ct_events_close(events);
    ct_events_close(NULL);
}
END_TEST

START_TEST(takes_only_destroy_events)
{
    const struct event event = {.stop_ns = 1}, requested = {.stop_ns = 1, .port_id = 4711};
    struct ct_events *events = open_events(true);
    add_event(&event);
    add_event(&requested); /* asked for by a program */
    header_of(add_event(&event))->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
    header_of(add_event(&event))->nlmsg_type = NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_DELETE;
    header_of(add_event(&event))->nlmsg_type = NLMSG_DONE;
    ck_assert_uint_eq(drain(events), 5);
    ck_assert_uint_eq(stats.events, 2);
    ck_assert_uint_eq(stats.ignored, 3);
    ck_assert_uint_eq(stats.malformed + stats.truncated, 0);
    ck_assert_uint_eq(flow_count, 2);
    ck_assert(!flow_has(&flows[0], FLOW_REQUESTED));
    ck_assert(flow_has(&flows[1], FLOW_REQUESTED));
    ct_events_close(events);
}
END_TEST

/* That is, whether all that had been sent was read: no limit and no message in the making stopped it. */
START_TEST(tells_whether_it_is_drained)
{
    const struct event event = {.stop_ns = 1};
    struct ct_events *events = open_events(true);
    for (unsigned i = 0; i < 2 * RX_BATCH; i++)
        add_event(&event);
    ct_events_drain(events, RX_BATCH, keep_flow, flows);
    ck_assert(!ct_events_is_drained(events));
    ct_events_drain(events, RX_BATCH, keep_flow, flows);
    ck_assert(!ct_events_is_drained(events));
    ct_events_drain(events, 0, keep_flow, flows);
    ck_assert(!ct_events_is_drained(events));
    script_pending = true;
    ck_assert_uint_eq(drain(events), 0);
    ck_assert(!ct_events_is_drained(events));
    script_pending = false;
    add_event(&event);
    ck_assert_uint_eq(drain(events), 1);
    ck_assert(ct_events_is_drained(events));
    ct_events_close(events);
}
END_TEST

START_TEST(counts_what_it_cannot_read)
{
    const struct event event = {.stop_ns = 1};
    struct ct_events *events = open_events(true);
    struct rx_message *received = add_event(&event);
    received->truncated = true;
    received->octets -= 100;
    add_event(&event)->octets = sizeof(struct nlmsghdr) - 1;
    add_event(&event)->octets = 0;
    add_event(&event)->octets -= 4; /* shorter than its header says */
    header_of(add_event(&event))->nlmsg_len = sizeof(struct nlmsghdr);
    header_of(add_event(&event))->nlmsg_len = 3;
    header_of(add_event(&event))->nlmsg_len -= 20; /* cuts an attribute */
    add_event(&event);
    ck_assert_uint_eq(drain(events), 8);
    ck_assert_uint_eq(stats.truncated, 1);
    ck_assert_uint_eq(stats.malformed, 6);
    ck_assert_uint_eq(stats.events, 4); /* the DESTROYs whose length is right as such, decodable or not */
    ck_assert_uint_eq(flow_count, 1);
    ck_assert_uint_eq(ntohs(flows[0].tuple[FLOW_ORIGINAL].src_port), 7);
    ct_events_close(events);
}
END_TEST

START_TEST(believes_the_kernel_alone)
{
    const struct event event = {.stop_ns = 1};
    struct ct_events *events = open_events(true);
    add_event(&event)->from_program = true;
    add_event(&event);
    struct rx_message *odd = add_event(&event); /* and whatever it looks like */
    odd->from_program = odd->truncated = true;
    ck_assert_uint_eq(drain(events), 3);
    ck_assert_uint_eq(stats.foreign, 2);
    ck_assert_uint_eq(stats.events, 1);
    ck_assert_uint_eq(stats.truncated, 0);
    ck_assert_uint_eq(flow_count, 1);
    ck_assert_uint_eq(ntohs(flows[0].tuple[FLOW_ORIGINAL].src_port), 1);
    ct_events_close(events);
}
END_TEST

START_TEST(sets_the_stamps_that_the_kernel_did_not_tell)
{
    const struct event told[] = {
        {.start_ns = 0, .stop_ns = 0}, {.start_ns = 5, .stop_ns = 0}, {.start_ns = 0, .stop_ns = 7},
        {.start_ns = 5, .stop_ns = 7}, {.start_ns = 7, .stop_ns = 5}, {.start_ns = UINT64_MAX, .stop_ns = 0},
    };
    struct ct_events *events = open_events(true);
    for (unsigned i = 0; i < 6; i++)
        add_event(&told[i]);
    uint64_t before_ns = instant_now().wall_ns;
    ck_assert_uint_eq(drain(events), 6);
    uint64_t after_ns = instant_now().wall_ns;
    uint64_t read_ns = flows[0].stop_ns;
    ck_assert_uint_ge(read_ns, before_ns);
    ck_assert_uint_le(read_ns, after_ns);

    const uint64_t start_ns[] = {read_ns, 5, 7, 5, 7, UINT64_MAX},
                   stop_ns[] = {read_ns, read_ns, 7, 7, 5, read_ns};
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(flows[i].start_ns, start_ns[i]);
        ck_assert_uint_eq(flows[i].stop_ns, stop_ns[i]);
        ck_assert_int_eq(flow_has(&flows[i], FLOW_HAS_START), told[i].start_ns != 0);
        ck_assert_int_eq(flow_has(&flows[i], FLOW_HAS_STOP), told[i].stop_ns != 0);
    }
    ct_events_close(events);
}
END_TEST

START_TEST(says_why_each_flow_ended)
{
    const struct event ends[] = {
        {.stop_ns = 1},
        {.stop_ns = 1, .timeout_s = 30},
        {.stop_ns = 1, .port_id = 4711},
        {.protocol = IPPROTO_TCP, .tcp_state = TCP_CONNTRACK_TIME_WAIT, .timeout_s = 30},
    };
    const uint8_t reasons[] = {FLOW_END_IDLE_TIMEOUT, FLOW_END_FORCED, FLOW_END_FORCED, FLOW_END_DETECTED};
    struct ct_events *events = open_events(true);
    for (unsigned i = 0; i < 4; i++)
        add_event(&ends[i]);
    ck_assert_uint_eq(drain(events), 4);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(flows[i].end_reason, reasons[i]);
    ct_events_close(events);
}
END_TEST

/* Kernels before 5.12 tell neither TCP's state nor the time that was left: absence then says nothing. */
START_TEST(infers_nothing_from_what_the_kernel_never_tells)
{
    const struct event ends[] = {
        {.stop_ns = 1, .timeout_s = 30},         /* it tells: */
        {.stop_ns = 1},                          /* nothing was left */
        {.stop_ns = 1, .protocol = IPPROTO_TCP}, /* it does not */
        {.stop_ns = 1},                          /* and who knows here? */
        {.stop_ns = 1, .port_id = 4711},
        {.stop_ns = 1, .protocol = IPPROTO_TCP, .tcp_state = TCP_CONNTRACK_ESTABLISHED},
        {.stop_ns = 1},
    };
    const uint8_t reasons[] = {FLOW_END_FORCED, FLOW_END_IDLE_TIMEOUT, FLOW_END_UNKNOWN,     FLOW_END_UNKNOWN,
                               FLOW_END_FORCED, FLOW_END_IDLE_TIMEOUT, FLOW_END_IDLE_TIMEOUT};
    struct ct_events *events = open_events(true);
    for (unsigned i = 0; i < 7; i++)
        add_event(&ends[i]);
    ck_assert_uint_eq(drain(events), 7);
    for (unsigned i = 0; i < 7; i++) {
        bool is_told = i < 2 || i > 4;
        ck_assert_uint_eq(flows[i].end_reason, reasons[i]);
        ck_assert_int_eq(flow_has(&flows[i], FLOW_END_TOLD), is_told);
    }
    ct_events_close(events);
}
END_TEST

static struct instant at_ms(uint64_t ms)
{
    return (struct instant){.monotonic_ns = ms * NS_PER_MS};
}

static uint64_t deadline_ms(const struct ct_events *events)
{
    struct poll_set set;
    poll_set_clear(&set);
    ct_events_wants(events, &set);
    ck_assert_uint_eq(set.count, 0);
    return set.deadline_ns == POLL_SET_NEVER ? POLL_SET_NEVER : set.deadline_ns / NS_PER_MS;
}

START_TEST(wakes_nobody_at_rest)
{
    const struct event event = {.stop_ns = 1};
    struct ct_events *events = open_events(true);
    ck_assert_uint_eq(deadline_ms(events), POLL_SET_NEVER);
    add_event(&event);
    drain(events);
    ct_events_run(events, at_ms(5000));
    ck_assert_uint_eq(deadline_ms(events), POLL_SET_NEVER);

    /* Soon after a look the next one waits for its time, once. */
    add_event(&event);
    drain(events);
    ct_events_run(events, at_ms(5050));
    ck_assert_uint_eq(deadline_ms(events), 5100);
    ct_events_run(events, at_ms(5100));
    ck_assert_uint_eq(deadline_ms(events), POLL_SET_NEVER);

    add_event(&event);
    drain(events);
    ct_events_run(events, at_ms(5101));
    ck_assert_uint_eq(deadline_ms(events), 5200);
    ct_events_stop(events); /* then the last look comes at once */
    ct_events_run(events, at_ms(5102));
    ck_assert_uint_eq(deadline_ms(events), POLL_SET_NEVER);
    ct_events_close(events);
}
END_TEST

START_TEST(waits_for_the_socket)
{
    struct ct_events *events = open_events(true);
    struct poll_set set;
    poll_set_clear(&set);
    ct_events_wants_event(events, &set);
    ck_assert_uint_eq(set.count, 1);
    ck_assert_int_eq(set.fds[0].events, POLLIN);
    ck_assert_uint_eq(set.deadline_ns, POLL_SET_NEVER);
    ct_events_close(events);
}
END_TEST

START_TEST(tells_of_a_failing_socket_once_a_minute)
{
    struct ct_events *events = open_events(true);
    int captured = lab_capture_stderr();
    for (uint64_t ms = 1000; ms < 60000; ms += 1000) {
        script_error = -EIO;
        ck_assert_uint_eq(drain(events), 0);
        ct_events_run(events, at_ms(ms));
    }
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 1);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), strerror(EIO)));
    script_error = -EIO;
    drain(events);
    ct_events_run(events, at_ms(61000));
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), 2);
    ct_events_close(events);
}
END_TEST

START_TEST(takes_entries_for_ends)
{
    static const struct ct_entry entry = {
        .tuple = {{.family = AF_INET, .protocol = IPPROTO_TCP}, {.family = AF_INET, .protocol = IPPROTO_TCP}},
        .tcp_state = TCP_CONNTRACK_TIME_WAIT,
        .id = 5,
        .has = CT_ENTRY_HAS_COUNTERS};
    script_entries = true;
    struct ct_events *events = open_events(true);
    script[script_count++] = (struct rx_message){.data = &entry, .octets = sizeof(entry)};
    ck_assert_uint_eq(drain(events), 1);
    ck_assert_uint_eq(stats.events, 1);
    ck_assert_uint_eq(flow_count, 1);
    ck_assert_uint_eq(flows[0].id, 5);
    ck_assert(flow_has(&flows[0], FLOW_END_TOLD));
    ck_assert_int_eq(flows[0].end_reason, FLOW_END_DETECTED);
    ck_assert_uint_eq(flows[0].stop_ns, wall_clock.wall_ns); /* no stamps */
    ct_events_stop(events);
    ck_assert(script_stopped);
    ct_events_close(events);
}
END_TEST

/* Though what does not fit is to be kept: of entries nothing is. */
START_TEST(books_entries_without_room_as_lost)
{
    script_entries = true;
    struct ct_events *events = open_events(true);
    int captured = lab_capture_stderr();
    script_drops = 3;
    ct_events_stop(events);
    ct_events_run(events, at_ms(1000));
    ck_assert_uint_eq(stats.lost, 3);
    ck_assert_uint_eq(stats.deferred, 0);
    ck_assert_uint_eq(ct_events_deferred(events), 0);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "3 events were lost"));
    ct_events_close(events);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ct_events");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, says_nothing_of_the_largest_buffer);
    tcase_add_test(tcase, hands_on_every_flow_in_order);
    tcase_add_test(tcase, takes_only_destroy_events);
    tcase_add_test(tcase, tells_whether_it_is_drained);
    tcase_add_test(tcase, counts_what_it_cannot_read);
    tcase_add_test(tcase, believes_the_kernel_alone);
    tcase_add_test(tcase, sets_the_stamps_that_the_kernel_did_not_tell);
    tcase_add_test(tcase, says_why_each_flow_ended);
    tcase_add_test(tcase, infers_nothing_from_what_the_kernel_never_tells);
    tcase_add_test(tcase, wakes_nobody_at_rest);
    tcase_add_test(tcase, waits_for_the_socket);
    tcase_add_test(tcase, tells_of_a_failing_socket_once_a_minute);
    tcase_add_test(tcase, takes_entries_for_ends);
    tcase_add_test(tcase, books_entries_without_room_as_lost);
    Suite *suite = suite_create("ct_events");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
