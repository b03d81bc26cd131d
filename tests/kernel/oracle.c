/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decodes several thousand conntrack messages with ct_decode() and with libnetfilter_conntrack's
 * nfct_nlmsg_parse(), and fails at the first field that differs. The messages are the kernel's own, about
 * real packets and about entries made by request, and ones that nfct_nlmsg_build() makes of random objects.
 * It also fails when messages of some kind were too few to prove anything.
 *
 * oracle [--seed N] [--write-corpus DIR] [SCRIPT]
 *
 * Needs root; works in a network namespace of its own. SCRIPT makes the packets; without it, the working
 * directory is the repository's top. --write-corpus writes messages of each kind: seeds for the fuzzer.
 */
#include "ctflow9/input/ct_decode.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <sched.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { KIND_NEW, KIND_UPDATE, KIND_DESTROY, KIND_DUMP, KIND_BUILT, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = {"new", "update", "destroy", "dump", "built"};

/* in: the families in which the kernel makes entries for it, as bits; built: nfct_nlmsg_build() knows it. */
enum { IN_IPV4 = 1, IN_IPV6 = 2, IN_BOTH = 3 };
static const struct protocol {
    const char *name;
    int number;
    unsigned in;
    bool built;
} protocols[] = {
    {"tcp", IPPROTO_TCP, IN_BOTH, true},
    {"udp", IPPROTO_UDP, IN_BOTH, true},
    {"udplite", IPPROTO_UDPLITE, IN_BOTH, true},
    {"sctp", IPPROTO_SCTP, IN_BOTH, true},
    {"gre", IPPROTO_GRE, IN_BOTH, true},
    {"icmp", IPPROTO_ICMP, IN_IPV4, true},
    {"icmpv6", IPPROTO_ICMPV6, IN_IPV6, true},
    {"dccp", IPPROTO_DCCP, 0, true}, /* kernels with a DCCP tracker refuse the raw packets sent here */
    {"other", 0, IN_BOTH, false},    /* last: whatever none of the others is */
};
enum { PROTOCOL_COUNT = sizeof(protocols) / sizeof(protocols[0]), PROTOCOL_OTHER = PROTOCOL_COUNT - 1 };

/* Fewer of the kernel's messages than this prove nothing. */
enum { MINIMUM_OF_KIND = 10, MINIMUM_OF_FEATURE = 50, FEATURES_MAX = 16 };

struct oracle {
    const char *corpus; /* directory, or NULL */
    struct mnl_socket *events;
    struct nfct_handle *nfct;
    struct ct_decoder *decoder;
    uint64_t random;
    unsigned counted[PROTOCOL_COUNT][2][KIND_COUNT]; /* [][0] IPv4, [][1] IPv6 */
    unsigned expired;                                /* entries that ended by themselves */
    struct feature {
        const char *name;
        unsigned counted; /* of the kernel's messages */
    } features[FEATURES_MAX];
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("oracle: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

/* splitmix64 */
static uint64_t random_number(struct oracle *oracle)
{
    uint64_t x = oracle->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool chance(struct oracle *oracle)
{
    return random_number(oracle) & 1;
}

/* One message, as each of the two sees it. */
struct comparison {
    const struct nlmsghdr *message;
    struct flow flow;
    struct nf_conntrack *ct;
};

static void __attribute__((noreturn))
die_different(const struct comparison *comparison, const char *field, uint64_t ours, uint64_t theirs)
{
    const uint8_t *octets = (const uint8_t *)comparison->message;

    for (size_t i = 0; i < comparison->message->nlmsg_len; i++)
        fprintf(stderr, "%02x%s", octets[i], i % 32 == 31 ? "\n" : i % 4 == 3 ? " " : "");
    fputc('\n', stderr);
    die("%s, IPv%d, protocol %u: %s is %" PRIu64 " (0x%" PRIx64 ") to ct_decode(), %" PRIu64 " (0x%" PRIx64
        ") to libnetfilter_conntrack; the message is above",
        NFNL_MSG_TYPE(comparison->message->nlmsg_type) == IPCTNL_MSG_CT_DELETE ? "DELETE" : "NEW",
        comparison->flow.family == AF_INET ? 4 : 6, comparison->flow.protocol, field, ours, ours, theirs,
        theirs);
}

static void same(const struct comparison *comparison, const char *field, uint64_t ours, uint64_t theirs)
{
    if (ours != theirs)
        die_different(comparison, field, ours, theirs);
}

static uint64_t number_of(const struct nf_conntrack *ct, enum nf_conntrack_attr attribute, unsigned octets)
{
    if (nfct_attr_is_set(ct, attribute) <= 0)
        return 0;
    switch (octets) {
    case 1:
        return nfct_get_attr_u8(ct, attribute);
    case 2:
        return nfct_get_attr_u16(ct, attribute);
    case 4:
        return nfct_get_attr_u32(ct, attribute);
    default:
        return nfct_get_attr_u64(ct, attribute);
    }
}

static void compare_numbers(const struct comparison *comparison)
{
    const struct flow *flow = &comparison->flow;
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL], *reply = &flow->tuple[FLOW_REPLY];
    const struct {
        const char *name;
        enum nf_conntrack_attr attribute;
        unsigned octets;
        uint64_t ours;
        unsigned has; /* the bit of struct flow that says whether it is known; 0 = there is none */
    } numbers[] = {
        {"family", ATTR_ORIG_L3PROTO, 1, flow->family, 0},
        {"family of the reply", ATTR_REPL_L3PROTO, 1, flow->family, 0},
        {"protocol", ATTR_ORIG_L4PROTO, 1, flow->protocol, 0},
        {"protocol of the reply", ATTR_REPL_L4PROTO, 1, flow->protocol, 0},
        {"source port", ATTR_ORIG_PORT_SRC, 2, original->src_port, 0},
        {"destination port", ATTR_ORIG_PORT_DST, 2, original->dst_port, 0},
        {"reply's source port", ATTR_REPL_PORT_SRC, 2, reply->src_port, 0},
        {"reply's destination port", ATTR_REPL_PORT_DST, 2, reply->dst_port, 0},
        {"ICMP id", ATTR_ICMP_ID, 2, original->icmp_id, 0},
        {"ICMP type", ATTR_ICMP_TYPE, 1, original->icmp_type, 0},
        {"ICMP code", ATTR_ICMP_CODE, 1, original->icmp_code, 0},
        {"zone", ATTR_ZONE, 2, flow_zone_of_both(flow), 0},
        {"original zone", ATTR_ORIG_ZONE, 2, flow_zone_of(flow, FLOW_ORIGINAL),
         FLOW_ZONE_OF_ONE << FLOW_ORIGINAL},
        {"reply zone", ATTR_REPL_ZONE, 2, flow_zone_of(flow, FLOW_REPLY), FLOW_ZONE_OF_ONE << FLOW_REPLY},
        {"original packets", ATTR_ORIG_COUNTER_PACKETS, 8, flow->packets[FLOW_ORIGINAL], FLOW_HAS_COUNTERS},
        {"reply packets", ATTR_REPL_COUNTER_PACKETS, 8, flow->packets[FLOW_REPLY], FLOW_HAS_COUNTERS},
        {"original octets", ATTR_ORIG_COUNTER_BYTES, 8, flow->octets[FLOW_ORIGINAL], FLOW_HAS_COUNTERS},
        {"reply octets", ATTR_REPL_COUNTER_BYTES, 8, flow->octets[FLOW_REPLY], FLOW_HAS_COUNTERS},
        {"start", ATTR_TIMESTAMP_START, 8, flow->start_ns, FLOW_HAS_START},
        {"stop", ATTR_TIMESTAMP_STOP, 8, flow->stop_ns, FLOW_HAS_STOP},
        {"status", ATTR_STATUS, 4, flow->status, FLOW_HAS_STATUS},
        {"mark", ATTR_MARK, 4, flow->mark, 0},
        {"id", ATTR_ID, 4, flow->id, 0},
        {"timeout", ATTR_TIMEOUT, 4, flow->timeout_s, FLOW_HAS_TIMEOUT},
        {"TCP state", ATTR_TCP_STATE, 1, flow->tcp_state, FLOW_HAS_TCP_STATE},
    };
    const struct nlmsghdr *message = comparison->message;
    unsigned has = NFNL_MSG_TYPE(message->nlmsg_type) == IPCTNL_MSG_CT_DELETE && message->nlmsg_pid != 0
                       ? FLOW_REQUESTED
                       : 0;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        same(comparison, numbers[i].name, numbers[i].ours,
             number_of(comparison->ct, numbers[i].attribute, numbers[i].octets));
        if (nfct_attr_is_set(comparison->ct, numbers[i].attribute) > 0)
            has |= numbers[i].has;
    }
    same(comparison, "what is known", flow->has, has);
}

static void compare_addresses(const struct comparison *comparison)
{
    static const struct {
        const char *name;
        enum nf_conntrack_attr ipv4, ipv6;
    } addresses[] = {
        {"source address", ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC},
        {"destination address", ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST},
        {"reply's source address", ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC},
        {"reply's destination address", ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST},
    };
    const struct flow *flow = &comparison->flow;
    const union flow_address *ours[] = {&flow->tuple[FLOW_ORIGINAL].src, &flow->tuple[FLOW_ORIGINAL].dst,
                                        &flow->tuple[FLOW_REPLY].src, &flow->tuple[FLOW_REPLY].dst};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        const bool ipv4 = flow->family == AF_INET;
        const void *theirs = nfct_get_attr(comparison->ct, ipv4 ? addresses[i].ipv4 : addresses[i].ipv6);
        union flow_address expected = {.v6 = {0}};
        if (theirs == NULL)
            die_different(comparison, addresses[i].name, 1, 0);
        memcpy(&expected, theirs, ipv4 ? sizeof(expected.v4) : sizeof(expected.v6));
        for (size_t octet = 0; octet < sizeof(expected.v6); octet++)
            same(comparison, addresses[i].name, ours[i]->v6[octet], expected.v6[octet]);
    }
}

/* libnetfilter_conntrack tells the reply's ICMP type, code and id in its text alone. */
static void compare_icmp_reply(const struct comparison *comparison)
{
    const struct flow_tuple *reply = &comparison->flow.tuple[FLOW_REPLY];
    unsigned type = 0, code = 0, id = 0;

    if (nfct_attr_is_set(comparison->ct, ATTR_ICMP_TYPE) > 0) {
        char text[2048];
        nfct_snprintf(text, sizeof(text), comparison->ct, NFCT_T_UNKNOWN, NFCT_O_DEFAULT, 0);
        const char *at = strstr(text, "type=");
        at = at != NULL ? strstr(at + 1, "type=") : NULL;
        if (at == NULL || sscanf(at, "type=%u code=%u id=%u", &type, &code, &id) != 3)
            die("no type, code and id of the reply in \"%s\"", text);
    }
    same(comparison, "reply's ICMP type", reply->icmp_type, type);
    same(comparison, "reply's ICMP code", reply->icmp_code, code);
    same(comparison, "reply's ICMP id", be16toh(reply->icmp_id), id);
}

static unsigned protocol_index(unsigned number)
{
    unsigned index = 0;
    while (index < PROTOCOL_OTHER && protocols[index].number != (int)number)
        index++;
    return index;
}

static void count(struct oracle *oracle, const struct flow *flow, enum kind kind)
{
    const struct flow_tuple *original = &flow->tuple[FLOW_ORIGINAL];
    const bool expired = kind == KIND_DESTROY && !flow_has(flow, FLOW_HAS_TIMEOUT);
    const struct {
        const char *name;
        bool there;
    } features[] = {
        {"source NAT", flow->status & IPS_SRC_NAT},
        {"destination NAT", flow->status & IPS_DST_NAT},
        {"mark", flow->mark != 0},
        {"no mark", flow->mark == 0},
        {"zone", flow_zone_of_both(flow) != 0},
        {"original zone", flow_zone_of(flow, FLOW_ORIGINAL) != 0},
        {"reply zone", flow_zone_of(flow, FLOW_REPLY) != 0},
        {"counters", flow_has(flow, FLOW_HAS_COUNTERS)},
        {"no counters", kind == KIND_DESTROY && !flow_has(flow, FLOW_HAS_COUNTERS)},
        {"start and stop", flow_has(flow, FLOW_HAS_START | FLOW_HAS_STOP)},
        {"no start", !flow_has(flow, FLOW_HAS_START)},
        {"TCP state", flow_has(flow, FLOW_HAS_TCP_STATE)},
        {"requested", flow_has(flow, FLOW_REQUESTED)},
        {"expired", expired},
        {"GRE key", flow->protocol == IPPROTO_GRE && original->dst_port != 0},
    };

    oracle->counted[protocol_index(flow->protocol)][flow->family == AF_INET6][kind]++;
    oracle->expired += expired;
    for (unsigned i = 0; kind != KIND_BUILT && i < sizeof(features) / sizeof(features[0]); i++) {
        oracle->features[i].name = features[i].name;
        oracle->features[i].counted += features[i].there;
    }
}

/* One seed for each protocol and each kind of zone, of either family, with and without counters. */
static void write_seed(const struct oracle *oracle, const struct comparison *comparison)
{
    const struct flow *flow = &comparison->flow;
    const char *what = protocols[protocol_index(flow->protocol)].name;
    char path[1024];

    if (flow_zone_of_both(flow) != 0)
        what = "zone";
    else if (flow_zone_of(flow, FLOW_ORIGINAL) != 0)
        what = "original-zone";
    else if (flow_zone_of(flow, FLOW_REPLY) != 0)
        what = "reply-zone";
    snprintf(path, sizeof(path), "%s/%s-%s%s", oracle->corpus, what,
             flow->family == AF_INET ? "ipv4" : "ipv6", flow_has(flow, FLOW_HAS_COUNTERS) ? "-counters" : "");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST)
        return;
    if (fd < 0 || write(fd, comparison->message, comparison->message->nlmsg_len) < 0)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

/* Both get a copy that ends where the message ends, so that AddressSanitizer sees who reads on. */
static void compare(struct oracle *oracle, const struct nlmsghdr *message, enum kind kind)
{
    struct nlmsghdr *copy = malloc(message->nlmsg_len);
    struct comparison comparison = {.message = copy, .ct = nfct_new()};

    if (copy == NULL || comparison.ct == NULL)
        die("out of memory");
    memcpy(copy, message, message->nlmsg_len);
    memset(&comparison.flow, 0xff, sizeof(comparison.flow));
    int error = ct_decode(oracle->decoder, copy, &comparison.flow);
    int their_error = nfct_nlmsg_parse(copy, comparison.ct) < 0;
    if (error != 0 || their_error != 0)
        die_different(&comparison, "the verdict", (uint64_t)-error, (uint64_t)their_error);

    compare_numbers(&comparison);
    compare_addresses(&comparison);
    compare_icmp_reply(&comparison);
    same(&comparison, "end reason", comparison.flow.end_reason, 0);

    count(oracle, &comparison.flow, kind);
    if (oracle->corpus != NULL && kind == KIND_DESTROY)
        write_seed(oracle, &comparison);
    nfct_destroy(comparison.ct);
    free(copy);
}

static void write_sysctl(const char *name, const char *value)
{
    char path[256];
    snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

/* The script of packets, in this namespace. */
static void run_script(const char *script, const char *what)
{
    char command[1024];
    snprintf(command, sizeof(command), "'%s' %s", script, what);
    if (system(command) != 0)
        die("%s failed", command);
}

static int compare_row(const struct nlmsghdr *message, enum nf_conntrack_msg_type type,
                       struct nf_conntrack *ct, void *oracle)
{
    (void)type;
    (void)ct;
    compare(oracle, message, KIND_DUMP);
    return NFCT_CB_CONTINUE;
}

static void open_sockets(struct oracle *oracle)
{
    const int groups[] = {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY};
    const int rcvbuf_octets = 64 << 20;

    oracle->events = mnl_socket_open(NETLINK_NETFILTER);
    oracle->nfct = nfct_open(CONNTRACK, 0);
    if (oracle->events == NULL || mnl_socket_bind(oracle->events, 0, MNL_SOCKET_AUTOPID) < 0 ||
        oracle->nfct == NULL)
        die("no conntrack socket: %s", strerror(errno));
    const int fd = mnl_socket_get_fd(oracle->events);
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
            die("cannot join the conntrack events: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf_octets, sizeof(rcvbuf_octets)) < 0)
        die("no large receive buffer: %s", strerror(errno));
    nfct_callback_register2(oracle->nfct, NFCT_T_ALL, compare_row, oracle);
}

static void compare_event(struct oracle *oracle, const struct nlmsghdr *message)
{
    enum kind kind = KIND_UPDATE;
    if (NFNL_MSG_TYPE(message->nlmsg_type) == IPCTNL_MSG_CT_DELETE)
        kind = KIND_DESTROY;
    else if (message->nlmsg_flags & NLM_F_CREATE)
        kind = KIND_NEW;
    compare(oracle, message, kind);
}

/* All events that have come: the kernel queues each before the call that caused it returns. */
static void drain(struct oracle *oracle)
{
    alignas(struct nlmsghdr) uint8_t buffer[65536];
    ssize_t octets;

    while ((octets = recv(mnl_socket_get_fd(oracle->events), buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
        int left = (int)octets;
        for (const struct nlmsghdr *message = (const void *)buffer; mnl_nlmsg_ok(message, left);
             message = mnl_nlmsg_next(message, &left))
            compare_event(oracle, message);
    }
    if (octets < 0 && errno != EAGAIN)
        die("reading events: %s", strerror(errno));
}

static void request(struct oracle *oracle, enum nf_conntrack_query query, const void *data)
{
    if (nfct_query(oracle->nfct, query, data) < 0)
        die("conntrack request %d refused: %s", query, strerror(errno));
}

/* An object with both tuples random. */
static struct nf_conntrack *random_object(struct oracle *oracle, const struct protocol *protocol, int family)
{
    static const uint8_t icmp_requests[] = {8, 13}, icmpv6_requests[] = {128, 139};
    struct nf_conntrack *ct = nfct_new();

    if (ct == NULL)
        die("out of memory");
    nfct_set_attr_u8(ct, ATTR_ORIG_L3PROTO, (uint8_t)family);
    nfct_set_attr_u8(ct, ATTR_REPL_L3PROTO, (uint8_t)family);
    nfct_set_attr_u8(ct, ATTR_ORIG_L4PROTO, (uint8_t)protocol->number);
    nfct_set_attr_u8(ct, ATTR_REPL_L4PROTO, (uint8_t)protocol->number);
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t address[2] = {random_number(oracle), random_number(oracle)};
        nfct_set_attr(ct, (family == AF_INET ? ATTR_ORIG_IPV4_SRC : ATTR_ORIG_IPV6_SRC) + i, address);
    }
    if (protocol->number == IPPROTO_ICMP || protocol->number == IPPROTO_ICMPV6) {
        const uint8_t *requests = protocol->number == IPPROTO_ICMP ? icmp_requests : icmpv6_requests;
        nfct_set_attr_u8(ct, ATTR_ICMP_TYPE, requests[random_number(oracle) % 2]);
        nfct_set_attr_u8(ct, ATTR_ICMP_CODE, (uint8_t)random_number(oracle));
        nfct_set_attr_u16(ct, ATTR_ICMP_ID, (uint16_t)random_number(oracle));
    } else {
        for (unsigned i = 0; i < 4; i++)
            nfct_set_attr_u16(ct, ATTR_ORIG_PORT_SRC + i, (uint16_t)random_number(oracle));
    }
    return ct;
}

/* Entries made and changed by request; every second one soon expires. */
static void create_entries(struct oracle *oracle, const struct protocol *protocol, int family)
{
    for (int i = 0; i < 40; i++) {
        struct nf_conntrack *ct = random_object(oracle, protocol, family);

        nfct_set_attr_u32(ct, ATTR_TIMEOUT, i % 2 == 0 ? 1 : 1000);
        if (i % 4 >= 2)
            nfct_set_attr_u32(ct, ATTR_MARK, (uint32_t)random_number(oracle));
        if (i % 5 == 1)
            nfct_set_attr_u16(ct, ATTR_ZONE, (uint16_t)random_number(oracle));
        if (protocol->number == IPPROTO_TCP)
            nfct_set_attr_u8(ct, ATTR_TCP_STATE, (uint8_t)(1 + random_number(oracle) % 8));
        request(oracle, NFCT_Q_CREATE, ct);
        nfct_set_attr_u32(ct, ATTR_MARK, (uint32_t)random_number(oracle));
        request(oracle, NFCT_Q_UPDATE, ct);
        nfct_destroy(ct);
    }
}

static void compare_kernel(struct oracle *oracle, const char *script)
{
    const uint32_t all = AF_UNSPEC;

    for (int accounting = 1; accounting >= 0; accounting--) {
        write_sysctl("netfilter/nf_conntrack_acct", accounting ? "1" : "0");
        write_sysctl("netfilter/nf_conntrack_timestamp", accounting ? "1" : "0");
        run_script(script, "traffic");
        drain(oracle);
        request(oracle, NFCT_Q_DUMP, &all);

        for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
            if (protocols[i].built && protocols[i].in & IN_IPV4)
                create_entries(oracle, &protocols[i], AF_INET);
            if (protocols[i].built && protocols[i].in & IN_IPV6)
                create_entries(oracle, &protocols[i], AF_INET6);
        }
        /* A dump removes what has expired. */
        const unsigned expired = oracle->expired;
        for (int tries = 0; tries < 50 && oracle->expired < expired + 200; tries++) {
            usleep(500000);
            request(oracle, NFCT_Q_DUMP, &all);
            drain(oracle);
        }
        request(oracle, NFCT_Q_FLUSH, &all);
        drain(oracle);
    }
}

/* The numbers that nfct_nlmsg_build() knows, each in one of two objects. */
static void set_random_numbers(struct oracle *oracle, struct nf_conntrack *ct)
{
    static const enum nf_conntrack_attr of_32_bits[] = {ATTR_STATUS, ATTR_TIMEOUT, ATTR_MARK, ATTR_SECMARK},
                                        zones[] = {ATTR_ZONE, ATTR_ORIG_ZONE, ATTR_REPL_ZONE},
                                        of_8_bits[] = {ATTR_TCP_STATE, ATTR_SCTP_STATE, ATTR_DCCP_STATE,
                                                       ATTR_TCP_WSCALE_ORIG};

    for (size_t i = 0; i < sizeof(of_32_bits) / sizeof(of_32_bits[0]); i++)
        if (chance(oracle))
            nfct_set_attr_u32(ct, of_32_bits[i], (uint32_t)random_number(oracle));
    if (chance(oracle)) /* the kernel has one zone for a connection, of one direction or of both */
        nfct_set_attr_u16(ct, zones[random_number(oracle) % 3], (uint16_t)random_number(oracle));
    for (size_t i = 0; i < sizeof(of_8_bits) / sizeof(of_8_bits[0]); i++)
        if (chance(oracle))
            nfct_set_attr_u8(ct, of_8_bits[i], (uint8_t)random_number(oracle));
}

/* What the kernel sends and nfct_nlmsg_build() does not know. */
static void add_attributes(struct oracle *oracle, struct nlmsghdr *message)
{
    for (uint16_t type = CTA_COUNTERS_ORIG; type <= CTA_COUNTERS_REPLY; type++) {
        const bool old = chance(oracle);
        struct nlattr *nest = mnl_attr_nest_start(message, type);
        for (uint16_t i = 0; i < 2; i++) {
            if (old)
                mnl_attr_put_u32(message, CTA_COUNTERS32_PACKETS + i, (uint32_t)random_number(oracle));
            else
                mnl_attr_put_u64(message, CTA_COUNTERS_PACKETS + i, random_number(oracle));
        }
        mnl_attr_nest_end(message, nest);
        if (chance(oracle))
            mnl_attr_nest_cancel(message, nest);
    }
    struct nlattr *stamps = mnl_attr_nest_start(message, CTA_TIMESTAMP);
    if (chance(oracle))
        mnl_attr_put_u64(message, CTA_TIMESTAMP_START, random_number(oracle));
    if (chance(oracle))
        mnl_attr_put_u64(message, CTA_TIMESTAMP_STOP | NLA_F_NET_BYTEORDER, random_number(oracle));
    mnl_attr_nest_end(message, stamps);
    if (chance(oracle))
        mnl_attr_put_u32(message, CTA_ID, (uint32_t)random_number(oracle));
    if (chance(oracle))
        mnl_attr_put_u32(message, 1000, (uint32_t)random_number(oracle));
}

static void compare_built(struct oracle *oracle, const struct protocol *protocol, int family)
{
    for (int i = 0; i < 200; i++) {
        alignas(struct nlmsghdr) uint8_t buffer[4096];
        struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
        struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
        struct nf_conntrack *ct = random_object(oracle, protocol, family);

        message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | (chance(oracle) ? IPCTNL_MSG_CT_DELETE : 0);
        message->nlmsg_pid = chance(oracle) ? 0 : (uint32_t)random_number(oracle);
        header->nfgen_family = (uint8_t)family;
        set_random_numbers(oracle, ct);
        if (nfct_nlmsg_build(message, ct) < 0)
            die("nfct_nlmsg_build() refused %s: %s", protocol->name, strerror(errno));
        add_attributes(oracle, message);
        compare(oracle, message, KIND_BUILT);
        nfct_destroy(ct);
    }
}

/* Prints what was compared; the number of things that were compared too rarely. */
static int report(const struct oracle *oracle)
{
    int missing = 0;

    printf("%-18s", "messages compared");
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        printf("%9s", kind_names[kind]);
    putchar('\n');
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
        for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
            printf("%-13s%-5s", protocols[i].name, ipv6 ? "IPv6" : "IPv4");
            for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
                const unsigned counted = oracle->counted[i][ipv6][kind];
                const bool tracked = protocols[i].in & (ipv6 ? IN_IPV6 : IN_IPV4);
                const unsigned minimum = tracked && kind != KIND_BUILT ? MINIMUM_OF_KIND : 0;
                printf("%8u%c", counted, counted < minimum ? '!' : ' ');
                missing += counted < minimum;
            }
            putchar('\n');
        }
    }
    for (const struct feature *feature = oracle->features; feature->name != NULL; feature++) {
        printf("%-18s%8u%c\n", feature->name, feature->counted,
               feature->counted < MINIMUM_OF_FEATURE ? '!' : ' ');
        missing += feature->counted < MINIMUM_OF_FEATURE;
    }
    return missing;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"write-corpus", required_argument, NULL, 'w'}, {0}};
    const char *script = "tests/kernel/oracle_traffic.py";
    struct oracle oracle = {.random = 1};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            oracle.random = strtoull(optarg, NULL, 0);
        else if (option == 'w')
            oracle.corpus = optarg;
        else
            return EXIT_FAILURE;
    }
    if (optind < argc)
        script = argv[optind];
    printf("seed %" PRIu64 "\n", oracle.random);
    if (ct_decoder_open(&oracle.decoder) < 0)
        die("out of memory");

    for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
        if (protocols[i].built && protocols[i].number != IPPROTO_ICMPV6)
            compare_built(&oracle, &protocols[i], AF_INET);
        if (protocols[i].built && protocols[i].number != IPPROTO_ICMP)
            compare_built(&oracle, &protocols[i], AF_INET6);
    }
    if (unshare(CLONE_NEWNET) < 0)
        die("no network namespace of its own (root is needed): %s", strerror(errno));
    run_script(script, "rules");
    write_sysctl("netfilter/nf_conntrack_events", "1");
    write_sysctl("netfilter/nf_conntrack_checksum", "0");
    open_sockets(&oracle);
    compare_kernel(&oracle, script);
    ct_decoder_close(oracle.decoder);
    nfct_close(oracle.nfct);
    mnl_socket_close(oracle.events);

    if (report(&oracle) > 0)
        die("too few messages where there is a '!' above");
    return EXIT_SUCCESS;
}
