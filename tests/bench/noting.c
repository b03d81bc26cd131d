/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What it costs to note interfaces (--interfaces=bpf): two routers, each between two pairs of veth, all in
 * namespaces of this process's, forward UDP packets in the time of who sends them, the one with the program,
 * the other without. Runs take turns, and the fastest of each count: whatever else the machine does makes
 * runs slower only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"
#include "ctflow9/flow/flow.h"
#include "ctflow9/input/ct_events.h"
#include "ctflow9/input/first_packets.h"
#include "ctflow9/input/netns.h"

enum { ROUNDS = 12, RUNS = 150, PACKETS = 250, CONNECTIONS = 100000 };

/* nf_conntrack_max that the table is made for. */
#define CONNECTIONS_MAX 262144

/* The program notes in one of them at a time, and packets go through both in turn. */
static struct net {
    char router[32], client[32], server[32];
} nets[2];

static void __attribute__((format(printf, 1, 2))) command(const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (system(line) == 0)
        return;
    fprintf(stderr, "failed: %s\n", line);
    exit(EXIT_FAILURE);
}

static void remove_namespaces(void)
{
    for (int i = 0; i < 2; i++) {
        const char *const names[] = {nets[i].router, nets[i].client, nets[i].server};
        for (int end = 0; end < 3; end++) {
            char line[128];
            snprintf(line, sizeof(line), "ip netns del %s 2>/dev/null", names[end]);
            (void)!system(line);
        }
    }
}

static void link_up(const char *router, const char *name, const char *end, const char *network)
{
    command("ip link add name %s netns %s type veth peer name e netns %s", name, router, end);
    command("ip -n %s addr add %s.1/16 dev %s && ip -n %s link set %s up", router, network, name, router,
            name);
    command(
        "ip -n %s addr add %s.2/16 dev e && ip -n %s link set e up && ip -n %s route add default via %s.1",
        end, network, end, end, network);
}

static void make_net(struct net *net, int number)
{
    snprintf(net->router, sizeof(net->router), "bn%d-%dr", (int)getpid(), number);
    snprintf(net->client, sizeof(net->client), "bn%d-%dc", (int)getpid(), number);
    snprintf(net->server, sizeof(net->server), "bn%d-%ds", (int)getpid(), number);
    command("ip netns add %s && ip netns add %s && ip netns add %s", net->router, net->client, net->server);
    link_up(net->router, "lan", net->client, "10.77.0");
    link_up(net->router, "wan", net->server, "10.78.0");
    command("ip netns exec %s nft 'table ip t { chain f { type filter hook forward priority 0; ct state "
            "established accept; }; }' && ip netns exec %s sysctl -qw net.ipv4.ip_forward=1 "
            "net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1 "
            "net.netfilter.nf_conntrack_events=1",
            net->router, net->router);
}

static int udp_socket(const char *namespace, const char *address, uint16_t port)
{
    const int octets = 1 << 20;
    const struct sockaddr_in own = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address)};
    int left = netns_enter(namespace);
    int fd = left < 0 ? -1 : socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&own, sizeof(own)) != 0 || netns_leave(left) != 0) {
        perror("a socket");
        exit(EXIT_FAILURE);
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &octets, sizeof(octets));
    return fd;
}

static void send_packet(int fd, const char *address, unsigned port)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = inet_addr(address)};
    if (sendto(fd, "", 1, 0, (const struct sockaddr *)&to, sizeof(to)) != 1 && errno != ECONNREFUSED)
        perror("sendto");
}

/* CPU time of this thread a packet: what is sent goes its whole way in it. */
static double send_packets(int fd, const char *address, unsigned first_port, bool ports)
{
    struct timespec began, ended;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
    for (unsigned i = 0; i < PACKETS; i++)
        send_packet(fd, address, ports ? first_port + i : first_port);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    return ((double)(ended.tv_sec - began.tv_sec) * 1e9 + (double)(ended.tv_nsec - began.tv_nsec)) / PACKETS;
}

enum kind { ORIGINAL_PACKETS, REPLIES, CONNECTIONS_BEGUN, KINDS };
static const char *const names[KINDS] = {"a packet of a known connection", "a reply, not assured yet",
                                         "the first packet of a connection"};

/* One run, with connections of its own. */
static double run(const struct net *net, enum kind kind, uint16_t port)
{
    int from = udp_socket(net->client, "10.77.0.2", port), to = udp_socket(net->server, "10.78.0.2", port);
    double ns;
    send_packet(from, "10.78.0.2", port);
    switch (kind) {
    case ORIGINAL_PACKETS:
        ns = send_packets(from, "10.78.0.2", port, false);
        break;
    case REPLIES:
        ns = send_packets(to, "10.77.0.2", port, false);
        break;
    default:
        ns = send_packets(from, "10.78.0.2", 20000, true);
        break;
    }
    close(from);
    close(to);
    return ns;
}

static struct first_packets *note(const char *namespace)
{
    struct first_packets *packets = NULL;
    int left = netns_enter(namespace);
    int error = first_packets_open(&packets, CONNECTIONS_MAX);
    if (left < 0 || netns_leave(left) != 0 || error) {
        fprintf(stderr, "%s\n", first_packets_reason(error));
        exit(EXIT_FAILURE);
    }
    return packets;
}

static void keep_least(double *least, double ns)
{
    if (*least == 0 || ns < *least)
        *least = ns;
}

static void print_row(const char *name, const double least[2])
{
    printf("%-34s %7.0f %7.0f %6.1f\n", name, least[0], least[1], least[1] - least[0]);
}

static void measure_packets(void)
{
    double least[KINDS][2] = {{0}};
    uint16_t port = 1000;
    for (int noting = 0; noting < 2; noting++) {
        struct first_packets *packets = note(nets[noting].router);
        for (int i = 0; i < 2 * RUNS; i++)
            for (enum kind kind = 0; kind < KINDS; kind++)
                keep_least(&least[kind][i % 2 == noting], run(&nets[i % 2], kind, ++port));
        first_packets_close(packets);
    }
    for (enum kind kind = 0; kind < KINDS; kind++)
        print_row(names[kind], least[kind]);
}

static struct flow flows[CONNECTIONS];
static unsigned count, found;

/* A flow_sink. */
static void keep(void *context, const struct flow *flow)
{
    (void)context;
    if (count < CONNECTIONS && flow->protocol == IPPROTO_UDP)
        flows[count++] = *flow;
}

/* A flow_sink. */
static void see(void *context, const struct flow *flow)
{
    (void)context;
    found += flow_has(flow, FLOW_HAS_INTERFACES);
}

/* Connections that are noted, and their flows in the order in which they ended. */
static void make_flows(void)
{
    enum { PORTS = 50000 };

    static struct stats stats;
    static struct wall_clock clock;
    struct rx_choice rx = {.asked = RX_AUTO};
    const struct ct_events_config config = {.rcvbuf_octets = 64 << 20,
                                            .reliable = true,
                                            .rx = &rx,
                                            .filter = {.share = {.count = 1}},
                                            .stats = &stats,
                                            .clock = &clock};
    struct ct_events *events;
    wall_clock_start(&clock);
    int left = netns_enter(nets[0].router);
    if (ct_events_open(&events, &config) != 0 || netns_leave(left) != 0)
        exit(EXIT_FAILURE);
    for (unsigned i = 0; i < CONNECTIONS / PORTS; i++) {
        int from = udp_socket(nets[0].client, "10.77.0.2", (uint16_t)(900 + i));
        for (unsigned port = 1; port <= PORTS; port++)
            send_packet(from, "10.78.0.2", port);
        close(from);
    }
    command("ip netns exec %s conntrack -F 2>/dev/null", nets[0].router);
    while (ct_events_drain(events, 8192, keep, NULL) > 0)
        ;
    ct_events_close(events);
}

/* A flow is copied and looked at without the queue, too. */
static double hand_on(struct first_packets_queue *queue)
{
    const uint64_t began_ns = instant_read_clock(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < count; i++) {
        if (queue) {
            first_packets_queue_put(queue, &flows[i], true);
        } else {
            struct flow flow = flows[i];
            see(NULL, &flow);
        }
    }
    if (queue)
        first_packets_queue_flush(queue);
    return (double)(instant_read_clock(CLOCK_THREAD_CPUTIME_ID) - began_ns) / count;
}

/* What a record takes; the notes come from memory. */
static void measure_records(void)
{
    double least[2] = {0};
    struct first_packets *packets = note(nets[0].router);
    const struct first_packets_table *table = first_packets_table(packets);
    const size_t octets = ((size_t)table->set_mask + 1) * sizeof(*table->sets);
    struct first_packets_set *as_noted = malloc(octets);
    struct first_packets_queue *queue;
    if (!as_noted || first_packets_queue_open(&queue, table, see, NULL) != 0)
        exit(EXIT_FAILURE);
    make_flows();
    first_packets_see_clock(packets);
    memcpy(as_noted, table->sets, octets);
    for (int i = 0; i < 2 * ROUNDS; i++) {
        memcpy(table->sets, as_noted, octets);
        found = 0;
        keep_least(&least[i % 2], hand_on(i % 2 ? queue : NULL));
    }
    print_row("a record", least);
    printf("%u of %u records had been noted, %" PRIu64 " were given up\n", found, count,
           first_packets_evicted(packets));
    first_packets_queue_close(queue);
    free(as_noted);
    first_packets_close(packets);
}

int main(void)
{
    atexit(remove_namespaces);
    for (int i = 0; i < 2; i++)
        make_net(&nets[i], i);
    printf("%-34s %7s %7s %6s  ns\n", "", "without", "with", "more");
    measure_records();
    measure_packets();
    return EXIT_SUCCESS;
}
