/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A collector that only counts: NetFlow v9 (RFC 3954) and IPFIX (RFC 7011) over UDP, through a receive buffer
 * large enough for a storm. Real collectors drop at that rate.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const char usage[] =
    "Usage: sink [OPTION]...\n"
    "Counts the NetFlow v9 and IPFIX datagrams that come to a UDP port.\n"
    "\n"
    "  -a, --address ADDRESS  where to listen, IPv4 or IPv6 (default 127.0.0.1)\n"
    "  -p, --port PORT        (default 2055; 0 = any free one)\n"
    "  -u, --unique           tell flows apart by addresses, ports, protocol and ICMP type\n"
    "  -q, --quiet SECONDS    end when nothing has come for so long after the first datagram\n"
    "  -h, --help             this text\n"
    "\n"
    "When it listens it says so in one line on standard error: \"sink: listening on ADDRESS PORT\".\n"
    "At SIGTERM or SIGINT it takes what has come so far and ends. Then one JSON object on standard output:\n"
    "\n"
    "  datagrams, octets   all that came, UDP payload\n"
    "  dropped             datagrams that did not fit into the receive buffer\n"
    "  exporters           sources: address, port and source id (observation domain)\n"
    "  records             data records; options data are counted apart:\n"
    "  options_records\n"
    "  templates           templates and options templates, each time they came\n"
    "  unknown_sets        data sets that came before their template\n"
    "  malformed           datagrams that are no NetFlow v9 or IPFIX, or contradict themselves\n"
    "  wrong_counts        NetFlow v9 datagrams whose header does not count their records\n"
    "  sequence_gaps       what the sequence numbers say is missing, in whatever order the others came:\n"
    "                      datagrams of NetFlow v9, data records of IPFIX\n"
    "  unique, duplicates  (with --unique) different flows, and records beyond the first of a flow\n";

enum { BATCH = 64, DATAGRAM_MAX = 65536, EXPORTERS_MAX = 64, TEMPLATES_MAX = 64, KEY_PARTS_MAX = 12 };
enum { KEY_MAX = 64 };

/* The elements that tell flows apart: protocol, ports, addresses, ICMP types. */
static const uint16_t key_elements[] = {4, 7, 8, 11, 12, 27, 28, 32, 139, 178, 179};

struct layout {
    uint16_t id;
    bool options;
    uint32_t record_octets;
    unsigned key_parts;
    struct {
        uint16_t offset, octets;
    } key[KEY_PARTS_MAX];
};

/* Templates and sequence numbers belong to one source address, port and source id (observation domain). */
struct exporter {
    struct sockaddr_storage address;
    uint32_t source_id;
    bool seen;
    uint32_t sequence;  /* the first that came; the others relative to it: */
    int32_t begin, end; /* the lowest, and the one after the highest */
    uint64_t sequenced; /* how much came of what is between these */
    unsigned template_count;
    struct layout templates[TEMPLATES_MAX];
};

/* Hashes of the flows that came; 0 = a free place. 64 bits: of a million, two collide once in 10^7 runs. */
struct flow_set {
    uint64_t *hashes;
    size_t places, used;
};

struct sink {
    uint64_t datagrams, octets, records, options_records, templates;
    uint64_t unknown_sets, malformed, wrong_counts;
    unsigned exporter_count;
    struct exporter exporters[EXPORTERS_MAX];
    bool tell_apart;
    struct flow_set flows;
};

/* What is left of a datagram. Reading past the end gives zeros and makes octets_left negative for good. */
struct reader {
    const uint8_t *at;
    int octets_left;
};

static const uint8_t *take(struct reader *reader, int octets)
{
    static const uint8_t zeros[20];
    if (reader->octets_left < octets) {
        reader->octets_left = -1;
        return zeros;
    }
    const uint8_t *taken = reader->at;
    reader->at += octets;
    reader->octets_left -= octets;
    return taken;
}

static uint16_t take16(struct reader *reader)
{
    const uint8_t *octets = take(reader, 2);
    return (uint16_t)(octets[0] << 8 | octets[1]);
}

static uint32_t take32(struct reader *reader)
{
    uint32_t high = take16(reader);
    return high << 16 | take16(reader);
}

static void *need(void *memory)
{
    if (!memory) {
        fputs("sink: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static size_t flow_set_place(const struct flow_set *set, uint64_t hash)
{
    size_t place = (size_t)hash & (set->places - 1);
    while (set->hashes[place] && set->hashes[place] != hash)
        place = (place + 1) & (set->places - 1);
    return place;
}

static void flow_set_add(struct flow_set *set, uint64_t hash)
{
    if (set->used * 2 >= set->places) {
        struct flow_set larger = {.places = set->places ? set->places * 4 : 1 << 20, .used = set->used};
        larger.hashes = need(calloc(larger.places, sizeof(*larger.hashes)));
        for (size_t i = 0; i < set->places; i++) {
            if (set->hashes[i])
                larger.hashes[flow_set_place(&larger, set->hashes[i])] = set->hashes[i];
        }
        free(set->hashes);
        *set = larger;
    }
    size_t place = flow_set_place(set, hash);
    set->used += set->hashes[place] == 0;
    set->hashes[place] = hash;
}

/* FNV-1a, 64 bits, then mixed so that the low bits depend on all (the finisher of MurmurHash3). */
static uint64_t hash_key(const struct layout *layout, const uint8_t *record)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (unsigned part = 0; part < layout->key_parts; part++) {
        const uint8_t *octet = record + layout->key[part].offset;
        for (unsigned i = 0; i < layout->key[part].octets; i++)
            hash = (hash ^ octet[i]) * UINT64_C(0x100000001b3);
    }
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    return hash ? hash : 1;
}

static struct exporter *find_exporter(struct sink *sink, const struct sockaddr_storage *address,
                                      uint32_t source_id)
{
    for (unsigned i = 0; i < sink->exporter_count; i++) {
        struct exporter *known = &sink->exporters[i];
        if (known->source_id == source_id && memcmp(&known->address, address, sizeof(*address)) == 0)
            return known;
    }
    if (sink->exporter_count == EXPORTERS_MAX)
        return NULL;
    struct exporter *added = &sink->exporters[sink->exporter_count++];
    *added = (struct exporter){.address = *address, .source_id = source_id};
    return added;
}

static struct layout *find_template(struct exporter *exporter, uint16_t id)
{
    for (unsigned i = 0; i < exporter->template_count; i++) {
        if (exporter->templates[i].id == id)
            return &exporter->templates[i];
    }
    return NULL;
}

static bool is_key_element(uint16_t element)
{
    for (size_t i = 0; i < sizeof(key_elements) / sizeof(*key_elements); i++) {
        if (key_elements[i] == element)
            return true;
    }
    return false;
}

static void add_field(struct layout *layout, uint16_t element, uint16_t octets)
{
    if (is_key_element(element) && layout->key_parts < KEY_PARTS_MAX) {
        layout->key[layout->key_parts].offset = (uint16_t)layout->record_octets;
        layout->key[layout->key_parts++].octets = octets;
    }
    layout->record_octets += octets;
}

static int keep_template(struct sink *sink, struct exporter *exporter, const struct layout *layout)
{
    struct layout *place = find_template(exporter, layout->id);
    if (layout->record_octets == 0 || layout->id < 256)
        return -EBADMSG;
    if (!place) {
        if (exporter->template_count == TEMPLATES_MAX)
            return -ENOSPC;
        place = &exporter->templates[exporter->template_count++];
    }
    *place = *layout;
    sink->templates++;
    return 0;
}

/* In IPFIX the high bit of an element's number says that an enterprise's number follows (RFC 7011 3.2). */
static void take_fields(struct reader *set, unsigned fields, bool ipfix, struct layout *layout)
{
    for (; fields > 0 && set->octets_left >= 0; fields--) {
        uint16_t element = take16(set), octets = take16(set);
        bool enterprise = ipfix && element & 0x8000;
        if (enterprise)
            take32(set);
        add_field(layout, enterprise ? 0 : element, octets);
    }
}

/* Returns how many templates the set holds, or -errno. */
static int take_templates(struct sink *sink, struct exporter *exporter, struct reader *set, bool ipfix)
{
    int templates = 0;

    for (; set->octets_left >= 4; templates++) {
        struct layout layout = {.id = take16(set)};
        take_fields(set, take16(set), ipfix, &layout);
        int error = set->octets_left < 0 ? -EBADMSG : keep_template(sink, exporter, &layout);
        if (error)
            return error;
    }
    return templates;
}

/* NetFlow v9 tells octets, 4 for each field (RFC 3954 6.1), IPFIX numbers of fields (RFC 7011 3.4.2.2). */
static int take_options_templates(struct sink *sink, struct exporter *exporter, struct reader *set,
                                  bool ipfix)
{
    int templates = 0;

    for (; set->octets_left >= 6; templates++) {
        struct layout layout = {.id = take16(set), .options = true};
        unsigned first = take16(set), second = take16(set);
        take_fields(set, ipfix ? first : (first + second) / 4, ipfix, &layout);
        int error = set->octets_left < 0 ? -EBADMSG : keep_template(sink, exporter, &layout);
        if (error)
            return error;
    }
    return templates;
}

/* What is left behind the last whole record is padding. Returns the number of records; 0 without layout. */
static int take_data(struct sink *sink, struct exporter *exporter, struct reader *set, uint16_t id)
{
    const struct layout *layout = find_template(exporter, id);
    if (!layout) {
        sink->unknown_sets++;
        return 0;
    }
    int records = set->octets_left / (int)layout->record_octets;
    if (layout->options) {
        sink->options_records += (unsigned)records;
        return records;
    }
    sink->records += (unsigned)records;
    for (int i = 0; sink->tell_apart && i < records; i++)
        flow_set_add(&sink->flows, hash_key(layout, take(set, (int)layout->record_octets)));
    return records;
}

struct contents {
    int templates, records;
};

static int take_sets(struct sink *sink, struct exporter *exporter, struct reader *datagram, bool ipfix,
                     struct contents *contents)
{
    while (datagram->octets_left >= 4) {
        uint16_t id = take16(datagram), octets = take16(datagram);
        struct reader set = {.at = datagram->at, .octets_left = octets - 4};
        int n;
        if (octets < 4 || set.octets_left > datagram->octets_left)
            return -EBADMSG;
        take(datagram, set.octets_left);
        if (id >= 256) {
            contents->records += take_data(sink, exporter, &set, id);
            continue;
        }
        if (id == (ipfix ? 2 : 0))
            n = take_templates(sink, exporter, &set, ipfix);
        else if (id == (ipfix ? 3 : 1))
            n = take_options_templates(sink, exporter, &set, ipfix);
        else
            n = -EBADMSG;
        if (n < 0)
            return n;
        contents->templates += n;
    }
    return datagram->octets_left == 0 ? 0 : -EBADMSG;
}

/* counted begin with that sequence number. */
static void take_sequence(struct exporter *exporter, uint32_t sequence, unsigned counted)
{
    if (!exporter->seen)
        exporter->sequence = sequence;
    exporter->seen = true;
    const int32_t begin = (int32_t)(sequence - exporter->sequence);
    const int32_t end = (int32_t)(sequence + counted - exporter->sequence);
    if (begin < exporter->begin)
        exporter->begin = begin;
    if (end > exporter->end)
        exporter->end = end;
    exporter->sequenced += counted;
}

static uint64_t sequence_gaps(const struct sink *sink)
{
    uint64_t gaps = 0;
    for (unsigned i = 0; i < sink->exporter_count; i++) {
        const struct exporter *exporter = &sink->exporters[i];
        const uint64_t sent = (uint64_t)((int64_t)exporter->end - exporter->begin);
        gaps += sent > exporter->sequenced ? sent - exporter->sequenced : 0;
    }
    return gaps;
}

/*
 * The headers (RFC 3954 5.1, RFC 7011 3.1). NetFlow's sequence counts datagrams, IPFIX's the data records
 * before this one.
 */
static int take_datagram(struct sink *sink, const struct sockaddr_storage *address, struct reader *datagram)
{
    struct contents contents = {0};
    uint16_t version = take16(datagram), count = take16(datagram);
    bool ipfix = version == 10;

    if (version != 9 && !ipfix)
        return -EBADMSG;
    take(datagram, ipfix ? 4 : 8);
    uint32_t sequence = take32(datagram), source_id = take32(datagram);
    struct exporter *exporter = find_exporter(sink, address, source_id);
    if (datagram->octets_left < 0 || !exporter)
        return -EBADMSG;

    uint64_t unknown_before = sink->unknown_sets;
    int error = take_sets(sink, exporter, datagram, ipfix, &contents);
    bool whole = !error && sink->unknown_sets == unknown_before;
    sink->wrong_counts += !ipfix && whole && count != contents.templates + contents.records;
    take_sequence(exporter, sequence, ipfix ? (unsigned)contents.records : 1);
    return error;
}

/* What one system call receives. The kernel may hand over a run of datagrams of one size as one (UDP_GRO). */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_storage sources[BATCH];
    union {
        struct cmsghdr header;
        uint8_t octets[CMSG_SPACE(sizeof(int))];
    } controls[BATCH];
    uint8_t octets[BATCH][DATAGRAM_MAX];
};

static void prepare(struct batch *batch)
{
    memset(batch->sources, 0, sizeof(batch->sources));
    for (unsigned i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){batch->octets[i], DATAGRAM_MAX};
        batch->messages[i].msg_hdr = (struct msghdr){.msg_name = &batch->sources[i],
                                                     .msg_namelen = sizeof(batch->sources[i]),
                                                     .msg_iov = &batch->vectors[i],
                                                     .msg_iovlen = 1,
                                                     .msg_control = &batch->controls[i],
                                                     .msg_controllen = sizeof(batch->controls[i])};
    }
}

/* The size of each datagram of a run, but perhaps the last. */
static int datagram_octets(struct mmsghdr *message)
{
    int octets = (int)message->msg_len;
    struct cmsghdr *control = CMSG_FIRSTHDR(&message->msg_hdr);
    if (control && control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO)
        memcpy(&octets, CMSG_DATA(control), sizeof(octets));
    return octets;
}

static void take_run(struct sink *sink, struct batch *batch, unsigned index)
{
    const int octets = datagram_octets(&batch->messages[index]);
    struct reader run = {batch->octets[index], (int)batch->messages[index].msg_len};

    do {
        struct reader datagram = {run.at, run.octets_left < octets ? run.octets_left : octets};
        take(&run, datagram.octets_left);
        sink->datagrams++;
        sink->octets += (unsigned)datagram.octets_left;
        sink->malformed += take_datagram(sink, &batch->sources[index], &datagram) != 0;
    } while (run.octets_left > 0);
}

/* Takes all that waits on the socket. */
static void drain(struct sink *sink, int fd)
{
    static struct batch batch;

    for (;;) {
        prepare(&batch);
        int n = recvmmsg(fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return;
        for (unsigned i = 0; i < (unsigned)n; i++)
            take_run(sink, &batch, i);
    }
}

/*
 * Until a signal, or until quiet_ms after the last datagram (-1 = for ever). It sleeps after each drain, so
 * that whoever sends need not wake it for every datagram, and so that it takes little of the processor.
 */
static void receive(struct sink *sink, int fd, int quiet_ms)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);

    for (bool ended = false; !ended;) {
        struct pollfd waiting[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
        int n = poll(waiting, 2, sink->datagrams ? quiet_ms : -1);
        ended = n == 0 || waiting[1].revents;
        drain(sink, fd);
        if (!ended)
            usleep(20000);
    }
    close(signal_fd);
}

static int open_socket(const char *address, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    const int rcvbuf_octets = 512 << 20;

    if (!is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
        return -EINVAL;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf_octets, sizeof(rcvbuf_octets)) < 0)
        fputs("sink: not allowed a large receive buffer (run it as root): a storm will not fit\n", stderr);
    /* Over the loopback device the sender would cut its runs up and queue each piece here on its own time. */
    (void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &(int){1}, sizeof(int));
    const struct sockaddr *local = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    if (bind(fd, local, is_v4 ? sizeof(v4) : sizeof(v6)) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    struct sockaddr_in6 bound;
    getsockname(fd, (struct sockaddr *)&bound, &(socklen_t){sizeof(bound)});
    /* The port stands at the same place in both families' addresses. */
    fprintf(stderr, "sink: listening on %s %u\n", address, ntohs(bound.sin6_port));
    return fd;
}

static uint32_t drops(int fd)
{
    uint32_t information[SK_MEMINFO_VARS] = {0};
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, information, &(socklen_t){sizeof(information)});
    return information[SK_MEMINFO_DROPS];
}

static void print_counts(const struct sink *sink, uint32_t dropped)
{
    printf("{\"datagrams\": %" PRIu64 ", \"octets\": %" PRIu64 ", \"dropped\": %" PRIu32
           ", \"exporters\": %u, \"records\": %" PRIu64 ", \"options_records\": %" PRIu64
           ", \"templates\": %" PRIu64 ", \"unknown_sets\": %" PRIu64 ", \"malformed\": %" PRIu64
           ", \"wrong_counts\": %" PRIu64 ", \"sequence_gaps\": %" PRIu64,
           sink->datagrams, sink->octets, dropped, sink->exporter_count, sink->records, sink->options_records,
           sink->templates, sink->unknown_sets, sink->malformed, sink->wrong_counts, sequence_gaps(sink));
    if (sink->tell_apart)
        printf(", \"unique\": %zu, \"duplicates\": %" PRIu64, sink->flows.used,
               sink->records - sink->flows.used);
    puts("}");
}

static long number(const char *text, long maximum)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > maximum) {
        fprintf(stderr, "sink: '%s' is not a number from 0 to %ld\n", text, maximum);
        exit(2);
    }
    return value;
}

static struct sink the_sink; /* too large for the stack */

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"address", required_argument, NULL, 'a'}, {"port", required_argument, NULL, 'p'},
        {"unique", no_argument, NULL, 'u'},        {"quiet", required_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},          {0}};
    const char *address = "127.0.0.1";
    uint16_t port = 2055;
    int quiet_ms = -1;

    for (int letter; (letter = getopt_long(argc, argv, "a:p:uq:h", long_options, NULL)) != -1;) {
        switch (letter) {
        case 'a':
            address = optarg;
            break;
        case 'p':
            port = (uint16_t)number(optarg, UINT16_MAX);
            break;
        case 'u':
            the_sink.tell_apart = true;
            break;
        case 'q':
            quiet_ms = (int)number(optarg, 3600) * 1000;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }

    int fd = open_socket(address, port);
    if (fd < 0) {
        fprintf(stderr, "sink: cannot listen on %s port %u: %s\n", address, port, strerror(-fd));
        return 1;
    }
    receive(&the_sink, fd, quiet_ms);
    print_counts(&the_sink, drops(fd));
    close(fd);
    free(the_sink.flows.hashes);
    return 0;
}
