/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes connections for the benchmark: UDP datagrams over the loopback device of the network namespace it is
 * run in, each from another source port or to another address of 127.0.0.0/8, answered or not. Something
 * there must make the kernel track (a rule with ct state).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Flow i goes from port FIRST_PORT + i / BATCH % PORTS, so that one system call sends BATCH flows. */
enum { BATCH = 64, PORTS = 256, FIRST_PORT = 20000, SERVER_PORT = 9, PAYLOAD_OCTETS = 32 };
enum { FLOWS_MAX = BATCH * PORTS * 1000 };
static const uint32_t first_address = 0x7f010000; /* 127.1.0.0 */

static const char usage[] = "Usage: make_flows [OPTION]...\n"
                            "Makes UDP connections over the loopback device of this network namespace.\n"
                            "\n"
                            "  -n, --flows N    how many (default 1000)\n"
                            "  -s, --skip N     leave out the first N of them, so that rounds do not repeat\n"
                            "                   each other's addresses and ports\n"
                            "  -a, --addresses N  from as many, 127.0.0.1 and those after it (default 1)\n"
                            "  -r, --replies    answer each datagram, so that both directions count\n"
                            "  -h, --help       this text\n";

/* Datagrams of one system call, with the address and the ancillary data of each. */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in peers[BATCH];
    char payloads[BATCH][PAYLOAD_OCTETS];
    _Alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void batch_init(struct batch *batch, bool with_control)
{
    memset(batch, 0, sizeof(*batch));
    for (unsigned i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){batch->payloads[i], PAYLOAD_OCTETS};
        batch->messages[i].msg_hdr =
            (struct msghdr){.msg_name = &batch->peers[i],
                            .msg_namelen = sizeof(batch->peers[i]),
                            .msg_iov = &batch->vectors[i],
                            .msg_iovlen = 1,
                            .msg_control = with_control ? batch->control[i] : NULL,
                            .msg_controllen = with_control ? sizeof(batch->control[i]) : 0};
    }
}

static int open_socket(uint32_t address, uint16_t port)
{
    const struct sockaddr_in local = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&local, sizeof(local)) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* The server tells which address a datagram came to (IP_PKTINFO), to answer from it. */
static int open_server(void)
{
    int fd = open_socket(INADDR_ANY, SERVER_PORT);
    if (fd >= 0)
        (void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &(int){1}, sizeof(int));
    return fd;
}

static int send_all(int fd, struct batch *batch, unsigned count)
{
    for (unsigned sent = 0; sent < count;) {
        int n = sendmmsg(fd, batch->messages + sent, count - sent, 0);
        if (n < 0)
            return -errno;
        sent += (unsigned)n;
    }
    return 0;
}

/* Takes the count datagrams that are on their way; with replies, each goes back as it came. */
static int serve(int server, unsigned count, bool replies)
{
    struct batch batch;

    for (unsigned served = 0; served < count;) {
        struct pollfd waiting = {.fd = server, .events = POLLIN};
        if (poll(&waiting, 1, 5000) == 0)
            return -ETIMEDOUT;
        batch_init(&batch, true);
        int n = recvmmsg(server, batch.messages, count - served, MSG_DONTWAIT, NULL);
        if (n < 0)
            return -errno;
        if (replies) {
            int error = send_all(server, &batch, (unsigned)n);
            if (error)
                return error;
        }
        served += (unsigned)n;
    }
    return 0;
}

/* Nobody reads the replies: they have been tracked when they reach the client. */
static int make_flows(int server, uint32_t skip, uint32_t flows, uint32_t addresses, bool replies)
{
    struct batch batch;
    int error = 0;

    batch_init(&batch, false);
    for (uint32_t flow = skip, end = skip + flows, count; flow < end && !error; flow += count) {
        uint32_t block = flow / BATCH, first = flow % BATCH;
        count = end - flow < BATCH - first ? end - flow : BATCH - first;
        int client = open_socket(INADDR_LOOPBACK + block % addresses, (uint16_t)(FIRST_PORT + block % PORTS));
        if (client < 0)
            return client;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t address = first_address + block / PORTS * BATCH + first + i;
            batch.peers[i] = (struct sockaddr_in){
                .sin_family = AF_INET, .sin_port = htons(SERVER_PORT), .sin_addr.s_addr = htonl(address)};
        }
        error = send_all(client, &batch, count);
        if (!error)
            error = serve(server, count, replies);
        close(client);
    }
    return error;
}

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > FLOWS_MAX) {
        fprintf(stderr, "make_flows: '%s' is not a number from 0 to %d\n", text, FLOWS_MAX);
        exit(2);
    }
    return (uint32_t)value;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"flows", required_argument, NULL, 'n'},
                                                 {"skip", required_argument, NULL, 's'},
                                                 {"addresses", required_argument, NULL, 'a'},
                                                 {"replies", no_argument, NULL, 'r'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {0}};
    uint32_t flows = 1000, skip = 0, addresses = 1;
    bool replies = false;

    for (int letter; (letter = getopt_long(argc, argv, "n:s:a:rh", long_options, NULL)) != -1;) {
        switch (letter) {
        case 'n':
            flows = number(optarg);
            break;
        case 's':
            skip = number(optarg);
            break;
        case 'a':
            addresses = number(optarg);
            break;
        case 'r':
            replies = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }

    int server = open_server();
    int error = server < 0 ? server : make_flows(server, skip, flows, addresses, replies);
    if (error) {
        fprintf(stderr, "make_flows: datagrams did not go over the loopback device: %s\n", strerror(-error));
        return 1;
    }
    close(server);
    return 0;
}
