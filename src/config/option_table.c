/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_table.h"

#include <errno.h>
#include <string.h>

#include "ctflow9/base/local_socket.h"
#include "ctflow9/config/option_host.h"
#include "ctflow9/config/option_interfaces.h"
#include "ctflow9/config/option_list.h"
#include "ctflow9/config/option_number.h"
#include "ctflow9/config/option_text.h"
#include "ctflow9/flow/flow_cache.h"
#include "ctflow9/flow/table_size.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/netflow/packet_header.h"

static const char output[] = "Output";
static const char netflow[] = "NetFlow v9";
static const char reading[] = "Reading";
static const char tracking[] = "Long connections";
static const char packets[] = "Packets";
static const char counters[] = "Named counters";
static const char general[] = "General";

#define MEMBER(name) offsetof(struct options, name)

/* The type of an option that goes with a source; with what is not built it goes too. */
#if CTFLOW9_NFLOG
#define NFLOG_TYPE(name) .type = &(name)
#else
#define NFLOG_TYPE(name) .lacking = "NFLOG"
#endif
#if CTFLOW9_NFQUEUE
#define NFQUEUE_TYPE(name) .type = &(name)
#else
#define NFQUEUE_TYPE(name) .lacking = "NFQUEUE"
#endif
#if CTFLOW9_NFLOG || CTFLOW9_NFQUEUE
#define PACKETS_TYPE(name) .type = &(name)
#else
#define PACKETS_TYPE(name) .lacking = "NFLOG and NFQUEUE"
#endif
#if CTFLOW9_NFACCT
#define NFACCT_TYPE(name) .type = &(name)
#else
#define NFACCT_TYPE(name) .lacking = "nfacct"
#endif
/* One that goes with any of them. */
#if CTFLOW9_NFLOG || CTFLOW9_NFQUEUE || CTFLOW9_NFACCT
#define OTHER_TYPE(name) .type = &(name)
#else
#define OTHER_TYPE(name) .lacking = "NFLOG, NFQUEUE and nfacct"
#endif

/* In the order of --help and of --check. */
const struct option_row option_table[] = {
    {.group = output,
     .name = "collector",
     .letter = 'c',
     .type = &option_collectors,
     .offset = MEMBER(collectors),
     .argument = "HOST[:PORT]",
     .help = "send NetFlow v9 to this collector, to UDP port 2055 unless given; repeat it "
             "for more collectors: each gets every flow; several with commas share the flows",
     .reloads = true},
    {.group = output,
     .name = "balance",
     .type = &option_choice,
     .offset = MEMBER(balance),
     .choices = "hash roundrobin",
     .fallback = "hash",
     .argument = "HOW",
     .help = "how they share: by the hash of the source address, or each in turn"},
    {.group = output,
     .name = "print",
     .letter = 'p',
     .type = &option_flag,
     .offset = MEMBER(print),
     .help = "print a line for every flow; without another output this is what is done anyway"},
    {.group = output,
     .name = "json",
     .letter = 'j',
     .type = &option_flag,
     .offset = MEMBER(json),
     .help = "print a JSON object for every flow instead, each on one line"},
    {.group = output,
     .name = "json-socket",
     .type = &option_text,
     .offset = MEMBER(json_socket),
     .max = LOCAL_SOCKET_PATH_MAX,
     .argument = "PATH",
     .help = "write the same to whoever connects to a Unix stream socket of this name"},

    {.group = netflow,
     .name = "source-id",
     .letter = 'i',
     .type = &option_number,
     .offset = MEMBER(source_id),
     .max = UINT32_MAX,
     .fallback = "0",
     .argument = "N",
     .help = "the exporter's source id (observation domain)"},
    {.group = netflow,
     .name = "max-datagram",
     .type = &option_number,
     .offset = MEMBER(max_datagram),
     .min = PACKET_OCTETS_MIN,
     .max = PACKET_OCTETS_MAX,
     .unit = "octets",
     .fallback = "1400",
     .argument = "OCTETS",
     .help = "largest UDP payload"},
    {.group = netflow,
     .name = "max-delay",
     .type = &option_seconds,
     .offset = MEMBER(max_delay_ms),
     .max = 3600000,
     .unit = "seconds",
     .fallback = "1",
     .argument = "SECONDS",
     .help = "longest time that a record waits for its datagram to fill up; 0.25 is possible too",
     .reloads = true},
    {.group = netflow,
     .name = "max-rate",
     .type = &option_number,
     .offset = MEMBER(max_rate),
     .max = 100000000,
     .unit = "records per second",
     .fallback = "0",
     .argument = "RECORDS",
     .help = "pace each collector; 0 sends as fast as flows come",
     .reloads = true},
    {.group = netflow,
     .name = "queue",
     .type = &option_number,
     .offset = MEMBER(queue),
     .min = 1,
     .max = 16777216,
     .unit = "records",
     .fallback = "65536",
     .argument = "RECORDS",
     .help = "how many may wait for each collector; the oldest ones beyond are dropped and counted"},
    {.group = netflow,
     .name = "template-refresh",
     .type = &option_number,
     .offset = MEMBER(template_refresh_s),
     .min = 1,
     .max = 86400,
     .unit = "seconds",
     .fallback = "60",
     .argument = "SECONDS",
     .help = "send the templates again after this time",
     .reloads = true},
    {.group = netflow,
     .name = "template-datagrams",
     .type = &option_number,
     .offset = MEMBER(template_datagrams),
     .min = 1,
     .max = 1000000,
     .unit = "datagrams",
     .fallback = "20",
     .argument = "N",
     .help = "send the templates again after as many datagrams",
     .reloads = true},
    {.group = netflow,
     .name = "fields",
     .type = &option_fields,
     .offset = MEMBER(fields),
     .argument = "LIST",
     .help =
         "further elements in the records, separated by commas: mark, zone (of connections), mac, vlan, ttl "
         "(of packets), times",
     .reloads = true},
    {.group = netflow,
     .name = "aggregate",
     .type = &option_aggregate,
     .offset = MEMBER(aggregate),
     .argument = "KEYS",
     .help = "merge flows that are equal in these into one record, separated by commas: src, dst, sport, "
             "dport, proto, mark, zone, nat, in, out, or prefixes like src4/24,src6/64",
     .reloads = true},
    {.group = netflow,
     .name = "aggregate-interval",
     .type = &option_number,
     .offset = MEMBER(aggregate_interval_s),
     .min = 1,
     .max = 3600,
     .unit = "seconds",
     .fallback = "60",
     .argument = "SECONDS",
     .help = "send what was merged after this time",
     .reloads = true},
    {.group = netflow,
     .name = "source-address",
     .type = &option_address,
     .offset = MEMBER(source_address),
     .argument = "ADDRESS",
     .help = "local address to send from",
     .reloads = true},

    {.group = reading,
     .name = "netns",
     .type = &option_text,
     .offset = MEMBER(netns),
     .argument = "NAME|PATH",
     .help = "read this network namespace; collectors are still reached from the present one"},
    {.group = reading,
     .name = "no-conntrack",
     OTHER_TYPE(option_flag),
     .offset = MEMBER(no_conntrack),
     .help = "report packets and named counters alone, and do without connection tracking"},
    {.group = reading,
     .name = "mark",
     .type = &option_mark,
     .offset = MEMBER(mark),
     .argument = "VALUE[/MASK]",
     .help = "read only connections with this conntrack mark"},
    {.group = reading,
     .name = "interfaces",
     .type = &option_choice,
     .offset = MEMBER(interfaces),
     .choices = "auto bpf route none",
     .unbuilt = CTFLOW9_BPF ? NULL : "bpf",
     .lacking = "the BPF program",
     .fallback = "auto",
     .argument = "HOW",
     .help = "where connections come in and go out: bpf has a BPF program note it of their first packets, "
             "route asks the kernel's routing, none does not look for it, auto is route, but none with "
             "--mark-interface"},
    {.group = reading,
     .name = "mark-interface",
     .type = &option_mask_pair,
     .offset = MEMBER(interface_marks.masks),
     .argument = "IN,OUT",
     .help = "where connections come in and go out: the bits of the conntrack mark that each of these masks "
             "has, moved down, are an interface's number"},
    {.group = reading,
     .name = "mark-direction",
     .type = &option_mask,
     .offset = MEMBER(interface_marks.egress_mask),
     .argument = "MASK",
     .help = "connections with one of these bits in the conntrack mark are egress, their replies ingress; "
             "others the other way round"},
    {.group = reading,
     .name = "interface-index",
     .type = &option_interface_numbers,
     .offset = MEMBER(interface_numbers),
     .argument = "NAME=N",
     .help = "the interface of this name has this number, whatever the kernel gives it; repeat it for more"},
    {.group = reading,
     .name = "rcvbuf",
     .type = &option_size,
     .offset = MEMBER(rcvbuf_octets),
     .min = 4096,
     .max = 1 << 30,
     .unit = "octets",
     .fallback = "64M",
     .argument = "SIZE",
     .help = "receive buffer for the kernel's events, of each worker"},
    {.group = reading,
     .name = "rx",
     .type = &option_choice,
     .offset = MEMBER(rx),
     .choices = "auto bpf uring recvmmsg fentry",
     .unbuilt = CTFLOW9_URING ? NULL : "uring",
     .lacking = "io_uring",
     .fallback = "auto",
     .argument = "HOW",
     .help =
         "how events are received: bpf through a ring that a BPF program fills, uring through io_uring's, "
         "recvmmsg with that system call, fentry by a BPF program in the kernel that takes what the table "
         "has, "
         "without any event, auto the one of the first three that costs least here"},
    {.group = reading,
     .name = "no-reliable",
     .type = &option_flag,
     .offset = MEMBER(no_reliable),
     .help = "let the kernel drop events that do not fit into the receive buffer, instead of keeping them to "
             "send "
             "them again"},
    {.group = reading,
     .name = "set-sysctls",
     .type = &option_flag,
     .offset = MEMBER(set_sysctls),
     .help = "switch on what connection tracking needs: nf_conntrack_acct, nf_conntrack_timestamp and "
             "nf_conntrack_events"},

    {.group = tracking,
     .name = "active-timeout",
     .type = &option_number,
     .offset = MEMBER(active_timeout_s),
     .max = 86400,
     .unit = "seconds",
     .fallback = "60",
     .argument = "SECONDS",
     .help = "report a connection that lasts after this time, and again; 0 reports it at its end only, "
             "whole, whatever --adopt says",
     .reloads = true,
     .stays_on_or_off = true},
    {.group = tracking,
     .name = "adopt",
     .type = &option_choice,
     .offset = MEMBER(adopt),
     .choices = "baseline full",
     .fallback = "baseline",
     .argument = "HOW",
     .help = "what connections older than ctflow9 carried before it started: baseline takes it as reported "
             "already, full reports it"},
    {.group = tracking,
     .name = "table-size",
     .type = &option_auto,
     .offset = MEMBER(table_size),
     .min = 1,
     .max = TABLE_SIZE_MAX,
     .unit = "flows",
     .fallback = "auto",
     .argument = "FLOWS",
     .help = "how many long connections can be reported before their end; auto is as many as the kernel's "
             "table holds"},
    {.group = tracking,
     .name = "workers",
     .type = &option_auto,
     .offset = MEMBER(workers),
     .min = 1,
     .max = CT_DUMP_WORKERS_MAX,
     .unit = "threads",
     .fallback = "1",
     .argument = "N",
     .help = "how many threads share the events; auto is one for each core, up to 8"},

    {.group = packets,
     .name = "nflog",
     NFLOG_TYPE(option_groups),
     .offset = MEMBER(nflog),
     .argument = "GROUP[,GROUP...]",
     .help =
         "report the packets that firewall rules log to these NFLOG groups, put together to one-way flows"},
    {.group = packets,
     .name = "nflog-size",
     NFLOG_TYPE(option_number),
     .offset = MEMBER(nflog_size),
     .min = NFLOG_SIZE_MIN,
     .max = NFLOG_SIZE_MAX,
     .unit = "octets",
     .fallback = "128",
     .argument = "OCTETS",
     .help = "how much of each packet the kernel copies"},
    {.group = packets,
     .name = "nfqueue",
     NFQUEUE_TYPE(option_queues),
     .offset = MEMBER(nfqueue),
     .argument = "NUM[-NUM]",
     .help =
         "report the packets that firewall rules give to these NFQUEUE queues, as the same flows, and let "
         "them go on at once"},
    {.group = packets,
     .name = "nfqueue-verdict",
     NFQUEUE_TYPE(option_choice),
     .offset = MEMBER(nfqueue_verdict),
     .choices = "accept repeat",
     .fallback = "accept",
     .argument = "HOW",
     .help =
         "how they go on: accept past the other rules of the hook, repeat through all of them again, which "
         "takes --nfqueue-mark"},
    {.group = packets,
     .name = "nfqueue-mark",
     NFQUEUE_TYPE(option_mark),
     .offset = MEMBER(nfqueue_mark),
     .argument = "VALUE[/MASK]",
     .help = "put this into their packet mark, into the bits of MASK"},
    {.group = packets,
     .name = "flow-cache",
     PACKETS_TYPE(option_number),
     .offset = MEMBER(flow_cache),
     .min = 1,
     .max = FLOW_CACHE_CAPACITY_MAX,
     .unit = "flows",
     .fallback = "262144",
     .argument = "FLOWS",
     .help = "how many flows of packets there may be at a time, of NFLOG and of NFQUEUE"},
    {.group = packets,
     .name = "inactive-timeout",
     PACKETS_TYPE(option_number),
     .offset = MEMBER(inactive_timeout_s),
     .min = 1,
     .max = 86400,
     .unit = "seconds",
     .fallback = "15",
     .argument = "SECONDS",
     .help = "a flow of packets ends when there was none for this time",
     .reloads = true},

    {.group = counters,
     .name = "nfacct",
     NFACCT_TYPE(option_number),
     .offset = MEMBER(nfacct_s),
     .max = 86400,
     .unit = "seconds",
     .fallback = "0",
     .argument = "SECONDS",
     .help = "read the kernel's nfacct counters this often, and report what each has counted; 0 reads none"},

    {.group = general,
     .name = "config",
     .letter = 'f',
     .command = OPTION_CONFIG,
     .argument = "FILE",
     .help = "read options from this JSON file, not from /etc/ctflow9.json; options given here win"},
    {.group = general,
     .name = "check",
     .command = OPTION_CHECK,
     .help = "check options and configuration, print them as JSON and exit"},
    {.group = general,
     .name = "metrics",
     .type = &option_listen,
     .offset = MEMBER(metrics),
     .argument = "[ADDRESS:]PORT",
     .help = "tell Prometheus over HTTP how it goes, at /metrics, on 127.0.0.1 unless an address is given"},
    {.group = general,
     .name = "metrics-file",
     .type = &option_text,
     .offset = MEMBER(metrics_file),
     .argument = "FILE",
     .help = "write the same into this file every 15 seconds, for node_exporter's textfile collector: "
             "NAME.prom"},
    {.group = general,
     .name = "user",
     .type = &option_text,
     .offset = MEMBER(user),
     .fallback = "nobody",
     .argument = "NAME",
     .help = "started as root, go on as this user, by name or number, once everything is open"},
    {.group = general,
     .name = "no-drop",
     .type = &option_flag,
     .offset = MEMBER(no_drop),
     .help = "give up no privileges: stay root if started so, with all capabilities and system calls"},
    {.group = general,
     .name = "verbose",
     .letter = 'v',
     .type = &option_flag,
     .offset = MEMBER(verbose),
     .help = "tell more about what is done",
     .reloads = true},
    {.group = general,
     .name = "version",
     .letter = 'V',
     .command = OPTION_VERSION,
     .help = "print the version and exit"},
    {.group = general,
     .name = "help",
     .letter = 'h',
     .command = OPTION_HELP,
     .help = "print this text and exit"},
};
const size_t option_table_count = sizeof(option_table) / sizeof(option_table[0]);
_Static_assert(sizeof(option_table) / sizeof(option_table[0]) <= OPTION_TABLE_MAX, "raise it");

void option_table_default(struct options *options)
{
    struct option_error why;
    memset(options, 0, sizeof(*options));
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        if (row->fallback && option_is_setting(row))
            option_value_set(row, options, row->fallback, &why);
    }
}

/* ---- names ---- */

const struct option_row *option_table_find(const char *name)
{
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

/* Levenshtein's distance: letters to insert, delete or replace. Both names are shorter than OPTION_NAME_MAX.
 */
static size_t distance(const char *from, const char *to)
{
    size_t to_octets = strlen(to);
    size_t costs[OPTION_NAME_MAX]; /* from what is read of `from` to each start of `to` */
    for (size_t j = 0; j <= to_octets; j++)
        costs[j] = j;
    for (size_t i = 1; *from != '\0'; i++, from++) {
        size_t diagonal = costs[0];
        costs[0] = i;
        for (size_t j = 1; j <= to_octets; j++) {
            size_t cost = diagonal + (*from != to[j - 1]);
            diagonal = costs[j];
            if (cost > costs[j] + 1)
                cost = costs[j] + 1;
            if (cost > costs[j - 1] + 1)
                cost = costs[j - 1] + 1;
            costs[j] = cost;
        }
    }
    return costs[to_octets];
}

const struct option_row *option_table_nearest(const char *name)
{
    const struct option_row *nearest = NULL;
    size_t octets = strlen(name);
    size_t limit = octets < 4 ? octets : 4; /* that many mistakes make another word of it */
    if (octets >= OPTION_NAME_MAX)
        return NULL;
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        size_t mistakes = distance(name, row->name);
        if (mistakes < limit) {
            nearest = row;
            limit = mistakes;
        }
    }
    return nearest;
}

/* ---- --help and --check ---- */

enum { HELP_COLUMN = 34, HELP_WIDTH = 79 };

/* Each word after a blank, from the column that the line has come to. */
static void print_words(FILE *out, const char *text, int column)
{
    while (*text != '\0') {
        int octets = (int)strcspn(text, " ");
        if (column + 1 + octets > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        fprintf(out, " %.*s", octets, text);
        column += 1 + octets;
        text += octets;
        text += *text == ' ';
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const struct option_row *row)
{
    char range[OPTION_RANGE_MAX];
    int column = row->letter != 0 ? fprintf(out, "  -%c, --%s", row->letter, row->name)
                                  : fprintf(out, "      --%s", row->name);
    if (row->argument)
        column += fprintf(out, " %s", row->argument);
    fprintf(out, "%*s", HELP_COLUMN - column, "");
    print_words(out, row->help, HELP_COLUMN);
    const char *comma = option_value_range(row, range)[0] != '\0' ? ", " : "";
    if (row->fallback)
        fprintf(out, "%*s %s%sdefault %s\n", HELP_COLUMN, "", range, comma, row->fallback);
}

void option_table_help(FILE *out)
{
    fputs("ctflow9 sends Linux connection tracking as NetFlow v9: a record for each\n"
          "direction of every connection that ends.\n\n"
          "Usage: ctflow9 [OPTION]...\n",
          out);
    const char *group = NULL;
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        if (option_is_unbuilt(row))
            continue;
        if (row->group != group)
            fprintf(out, "\n%s:\n", row->group);
        group = row->group;
        print_row(out, row);
    }
    fputs("\nWhat the configuration file switches on is switched off with =false, as in\n"
          "--print=false. Manual pages: ctflow9(8) and, for the file, ctflow9.json(5).\n\n"
          "Print this router's connections as they end, everything switched on first:\n"
          "  ctflow9 --set-sysctls\n"
          "Send them to two collectors:\n"
          "  ctflow9 -c 192.0.2.10 -c [2001:db8::10]:9995\n",
          out);
}

int option_table_print_json(const struct options *options, FILE *out)
{
    int error = -ENOMEM;
    json_t *object = json_object();
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        if (option_is_setting(row) &&
            json_object_set_new(object, row->name, option_value_json(row, options)) != 0)
            goto cleanup;
    }
    bool dumped = json_dumpf(object, out, JSON_INDENT(4) | JSON_REAL_PRECISION(10)) == 0;
    error = dumped && fputc('\n', out) != EOF && fflush(out) == 0 ? 0 : -EIO;
cleanup:
    json_decref(object);
    return error;
}
