/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#include "ctflow9/base/zone.h"
#include "ctflow9/config/config.h"
#include "ctflow9/config/option_value.h"
#include "ctflow9/input/ct_dump.h"
#include "ctflow9/netflow/packet.h"
#include "ctflow9/service/table_size.h"

static const char output[] = "Output";
static const char netflow[] = "NetFlow v9";
static const char reading[] = "Reading";
static const char tracking[] = "Long connections";
static const char general[] = "General";

#define MEMBER(name) offsetof(struct options, name)

/* In the order of --help and of --check. */
static const struct option_row table[] = {
    {.group = output,
     .name = "collector",
     .letter = 'c',
     .type = OPTION_COLLECTORS,
     .offset = MEMBER(collectors),
     .argument = "HOST[:PORT]",
     .help = "send NetFlow v9 to this collector, to UDP port 2055 unless given; repeat it "
             "for more collectors: each gets every flow"},
    {.group = output,
     .name = "print",
     .letter = 'p',
     .type = OPTION_FLAG,
     .offset = MEMBER(print),
     .help = "print a line for every flow; without any collector this is what is done anyway"},
    {.group = output,
     .name = "json",
     .letter = 'j',
     .type = OPTION_FLAG,
     .offset = MEMBER(json),
     .help = "print a JSON object for every flow instead, each on one line"},

    {.group = netflow,
     .name = "source-id",
     .letter = 'i',
     .type = OPTION_NUMBER,
     .offset = MEMBER(source_id),
     .max = UINT32_MAX,
     .fallback = "0",
     .argument = "N",
     .help = "the exporter's source id (observation domain)"},
    {.group = netflow,
     .name = "max-datagram",
     .type = OPTION_NUMBER,
     .offset = MEMBER(max_datagram),
     .min = PACKET_OCTETS_MIN,
     .max = PACKET_OCTETS_MAX,
     .unit = "octets",
     .fallback = "1400",
     .argument = "OCTETS",
     .help = "largest UDP payload"},
    {.group = netflow,
     .name = "max-delay",
     .type = OPTION_SECONDS,
     .offset = MEMBER(max_delay_ms),
     .max = 3600000,
     .unit = "seconds",
     .fallback = "1",
     .argument = "SECONDS",
     .help = "longest time that a record waits for its datagram to fill up; 0.25 is possible too"},
    {.group = netflow,
     .name = "max-rate",
     .type = OPTION_NUMBER,
     .offset = MEMBER(max_rate),
     .max = 100000000,
     .unit = "records per second",
     .fallback = "0",
     .argument = "RECORDS",
     .help = "pace each collector; 0 sends as fast as flows come"},
    {.group = netflow,
     .name = "queue",
     .type = OPTION_NUMBER,
     .offset = MEMBER(queue),
     .min = 1,
     .max = 16777216,
     .unit = "records",
     .fallback = "65536",
     .argument = "RECORDS",
     .help = "how many may wait for each collector; the oldest ones beyond are dropped and counted"},
    {.group = netflow,
     .name = "template-refresh",
     .type = OPTION_NUMBER,
     .offset = MEMBER(template_refresh_s),
     .min = 1,
     .max = 86400,
     .unit = "seconds",
     .fallback = "60",
     .argument = "SECONDS",
     .help = "send the templates again after this time"},
    {.group = netflow,
     .name = "template-datagrams",
     .type = OPTION_NUMBER,
     .offset = MEMBER(template_datagrams),
     .min = 1,
     .max = 1000000,
     .unit = "datagrams",
     .fallback = "20",
     .argument = "N",
     .help = "send the templates again after as many datagrams"},
    {.group = netflow,
     .name = "fields",
     .type = OPTION_FIELDS,
     .offset = MEMBER(fields),
     .argument = "LIST",
     .help = "further elements in every record, separated by commas: mark, zone, times"},
    {.group = netflow,
     .name = "aggregate",
     .type = OPTION_AGGREGATE,
     .offset = MEMBER(aggregate),
     .argument = "KEYS",
     .help = "merge flows that are equal in these into one record, separated by commas: src, dst, sport, "
             "dport, proto, mark, zone, nat, or prefixes like src4/24,src6/64"},
    {.group = netflow,
     .name = "aggregate-interval",
     .type = OPTION_NUMBER,
     .offset = MEMBER(aggregate_interval_s),
     .min = 1,
     .max = 3600,
     .unit = "seconds",
     .fallback = "60",
     .argument = "SECONDS",
     .help = "send what was merged after this time"},
    {.group = netflow,
     .name = "source-address",
     .type = OPTION_ADDRESS,
     .offset = MEMBER(source_address),
     .argument = "ADDRESS",
     .help = "local address to send from"},

    {.group = reading,
     .name = "netns",
     .type = OPTION_TEXT,
     .offset = MEMBER(netns),
     .argument = "NAME|PATH",
     .help = "read this network namespace; collectors are still reached from the present one"},
    {.group = reading,
     .name = "mark",
     .type = OPTION_MARK,
     .offset = MEMBER(mark),
     .argument = "VALUE[/MASK]",
     .help = "read only connections with this conntrack mark"},
    {.group = reading,
     .name = "rcvbuf",
     .type = OPTION_SIZE,
     .offset = MEMBER(rcvbuf_octets),
     .min = 4096,
     .max = 1 << 30,
     .unit = "octets",
     .fallback = "64M",
     .argument = "SIZE",
     .help = "receive buffer for the kernel's events, of each worker"},
    {.group = reading,
     .name = "rx",
     .type = OPTION_CHOICE,
     .offset = MEMBER(rx),
     .choices = "auto bpf uring recvmmsg",
     .unbuilt = CTFLOW9_URING ? NULL : "uring",
     .lacking = "io_uring",
     .fallback = "auto",
     .argument = "HOW",
     .help =
         "how events are received: bpf through a ring that a BPF program fills, uring through io_uring's, "
         "recvmmsg with that system call, auto the one that costs least here"},
    {.group = reading,
     .name = "no-reliable",
     .type = OPTION_FLAG,
     .offset = MEMBER(no_reliable),
     .help = "let the kernel drop events that do not fit into the receive buffer, instead of keeping them to "
             "send "
             "them again"},
    {.group = reading,
     .name = "set-sysctls",
     .type = OPTION_FLAG,
     .offset = MEMBER(set_sysctls),
     .help = "switch on what connection tracking needs: nf_conntrack_acct, nf_conntrack_timestamp and "
             "nf_conntrack_events"},

    {.group = tracking,
     .name = "active-timeout",
     .type = OPTION_NUMBER,
     .offset = MEMBER(active_timeout_s),
     .max = 86400,
     .unit = "seconds",
     .fallback = "60",
     .argument = "SECONDS",
     .help = "report a connection that lasts after this time, and again; 0 reports it at its end only, "
             "whole, whatever --adopt says"},
    {.group = tracking,
     .name = "adopt",
     .type = OPTION_CHOICE,
     .offset = MEMBER(adopt),
     .choices = "baseline full",
     .fallback = "baseline",
     .argument = "HOW",
     .help = "what connections older than ctflow9 carried before it started: baseline takes it as reported "
             "already, full reports it"},
    {.group = tracking,
     .name = "table-size",
     .type = OPTION_AUTO,
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
     .type = OPTION_AUTO,
     .offset = MEMBER(workers),
     .min = 1,
     .max = CT_DUMP_WORKERS_MAX,
     .unit = "threads",
     .fallback = "1",
     .argument = "N",
     .help = "how many threads share the events; auto is one for each core, up to 8"},

    {.group = general,
     .name = "config",
     .letter = 'f',
     .type = OPTION_CONFIG,
     .argument = "FILE",
     .help = "read options from this JSON file, not from /etc/ctflow9.json; options given here win"},
    {.group = general,
     .name = "check",
     .type = OPTION_CHECK,
     .help = "check options and configuration, print them as JSON and exit"},
    {.group = general,
     .name = "verbose",
     .letter = 'v',
     .type = OPTION_FLAG,
     .offset = MEMBER(verbose),
     .help = "tell more about what is done"},
    {.group = general,
     .name = "version",
     .letter = 'V',
     .type = OPTION_VERSION,
     .help = "print the version and exit"},
    {.group = general,
     .name = "help",
     .letter = 'h',
     .type = OPTION_HELP,
     .help = "print this text and exit"},
};
enum { ROWS = sizeof(table) / sizeof(table[0]) };

void options_default(struct options *options)
{
    struct option_error why;
    memset(options, 0, sizeof(*options));
    for (const struct option_row *row = table; row < table + ROWS; row++) {
        if (row->fallback)
            option_value_set(row, options, row->fallback, &why);
    }
}

/* ---- names ---- */

const struct option_row *options_find(const char *name)
{
    for (const struct option_row *row = table; row < table + ROWS; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

enum { NAME_OCTETS = 32 }; /* longer than any option's name */

/* Levenshtein's distance: letters to insert, delete or replace. Both names are shorter than NAME_OCTETS. */
static size_t distance(const char *from, const char *to)
{
    size_t to_octets = strlen(to);
    size_t costs[NAME_OCTETS]; /* from what is read of `from` to each start of `to` */
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

const struct option_row *options_nearest(const char *name)
{
    const struct option_row *nearest = NULL;
    size_t octets = strlen(name);
    size_t limit = octets < 4 ? octets : 4; /* that many mistakes make another word of it */
    if (octets >= NAME_OCTETS)
        return NULL;
    for (const struct option_row *row = table; row < table + ROWS; row++) {
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

/* Each word behind a blank, from the column that the line has come to. */
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

void options_help(FILE *out)
{
    fputs("ctflow9 sends Linux connection tracking as NetFlow v9: a record for each\n"
          "direction of every connection that ends.\n\n"
          "Usage: ctflow9 [OPTION]...\n",
          out);
    for (const struct option_row *row = table; row < table + ROWS; row++) {
        if (row == table || row->group != row[-1].group)
            fprintf(out, "\n%s:\n", row->group);
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

int options_print_json(const struct options *options, FILE *out)
{
    int error = -ENOMEM;
    json_t *object = json_object();
    for (const struct option_row *row = table; row < table + ROWS; row++) {
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

/* ---- the command line ---- */

struct command_line {
    int argc;
    char **argv;
    const char *config;            /* -f, or NULL */
    const struct option_row *stop; /* --help or --version, or NULL; what comes after is not looked at */
};

/* getopt_long's value of a long option is its row's index behind all letters. */
enum { FIRST_ROW = UCHAR_MAX + 1 };

static const struct option_row *row_of(int value)
{
    if (value >= FIRST_ROW)
        return &table[value - FIRST_ROW];
    for (const struct option_row *row = table; row < table + ROWS; row++) {
        if (value != 0 && row->letter == value)
            return row;
    }
    return NULL;
}

static void describe(struct option longs[ROWS + 1], char letters[2 * ROWS + 2])
{
    memset(longs, 0, (ROWS + 1) * sizeof(*longs));
    *letters++ = ':'; /* tells a missing argument from an unknown option, and keeps getopt quiet */
    for (int i = 0; i < ROWS; i++) {
        const struct option_row *row = &table[i];
        longs[i].name = row->name;
        longs[i].has_arg = row->argument              ? required_argument
                           : row->type == OPTION_FLAG ? optional_argument
                                                      : no_argument;
        longs[i].val = FIRST_ROW + i;
        if (row->letter != 0)
            *letters++ = (char)row->letter;
        if (row->letter != 0 && row->argument)
            *letters++ = ':';
    }
    *letters = '\0';
}

/* flag is what getopt_long could not make out: --NAME or --NAME=VALUE. */
static int refuse_long(const char *flag, struct option_error *why)
{
    int octets = (int)strcspn(flag, "=");
    char name[NAME_OCTETS * 2];
    snprintf(name, sizeof(name), "%.*s", octets - 2, flag + 2);
    for (const struct option_row *row = table; row < table + ROWS; row++) {
        if (strncmp(row->name, name, strlen(name)) == 0)
            return option_error(why, "%.*s is short for more than one option: see ctflow9 --help", octets,
                                flag);
    }
    const struct option_row *nearest = options_nearest(name);
    if (nearest)
        return option_error(why, "there is no option %.*s: did you mean --%s?", octets, flag, nearest->name);
    return option_error(why, "there is no option %.*s: see ctflow9 --help", octets, flag);
}

/* What getopt_long said ('?' or ':'), in words. */
static int refuse_flag(const struct command_line *line, int said, struct option_error *why)
{
    const struct option_row *row = row_of(optopt);
    if (said == ':')
        return option_error(why, "--%s needs a value: %s", row->name, row->argument);
    if (row)
        return option_error(why, "--%s takes no value", row->name);
    if (optopt != 0)
        return option_error(why, "there is no option -%c: see ctflow9 --help", optopt);
    return refuse_long(line->argv[optind - 1], why);
}

static int take_flag(const struct option_row *row, struct command_line *line, struct options *options,
                     bool *given, struct option_error *why)
{
    struct option_error detail;
    switch (row->type) {
    case OPTION_CONFIG:
        line->config = optarg;
        return *optarg != '\0' ? 0 : option_error(why, "--%s needs a value: %s", row->name, row->argument);
    case OPTION_CHECK:
        options->check = true;
        return 0;
    case OPTION_VERSION:
    case OPTION_HELP:
        line->stop = row;
        return 0;
    default:
        if (!*given)
            option_value_clear(row, options);
        *given = true;
        if (option_value_set(row, options, optarg ? optarg : "true", &detail) == 0)
            return 0;
        return option_error(why, "--%s: %s", row->name, detail.text);
    }
}

static int read_flags(struct command_line *line, struct options *options, struct option_error *why)
{
    struct option longs[ROWS + 1];
    char letters[2 * ROWS + 2];
    bool given[ROWS] = {false};
    int found;

    describe(longs, letters);
    optind = 0; /* from the start, whatever was read before: getopt(3), NOTES */
    while ((found = getopt_long(line->argc, line->argv, letters, longs, NULL)) != -1) {
        const struct option_row *row = row_of(found); /* '?' and ':' are nobody's letters */
        int error =
            row ? take_flag(row, line, options, &given[row - table], why) : refuse_flag(line, found, why);
        if (error || line->stop)
            return error;
    }
    if (optind < line->argc)
        return option_error(why, "'%.300s' is not an option: collectors are given with -c",
                            line->argv[optind]);
    return 0;
}

/* ---- what no option can be asked alone ---- */

/* AF_UNSPEC of a name. */
static int family_of(const char *host)
{
    struct in_addr ipv4;
    return strchr(host, ':') ? AF_INET6 : inet_pton(AF_INET, host, &ipv4) == 1 ? AF_INET : AF_UNSPEC;
}

static int check_together(const struct options *options, struct option_error *why)
{
    const char *source = options->source_address;
    for (size_t i = 0; i < options->collector_count && source[0] != '\0'; i++) {
        char text[OPTION_COLLECTOR_MAX];
        int family = family_of(options->collectors[i].host);
        if (family != AF_UNSPEC && family != family_of(source))
            return option_error(
                why,
                "--collector %s cannot be reached from --source-address %s: give both as IPv4 "
                "or both as IPv6",
                option_value_collector(&options->collectors[i], text), source);
    }
    return 0;
}

static void warn_of_zone(FILE *err, const char *name, const char *text, const char *address)
{
    const char *zone = strchr(address, '%');
    if (zone && zone_scope_id(zone + 1) == 0)
        fprintf(err, "ctflow9: warning: --%s %s: there is no interface %s here now\n", name, text, zone + 1);
}

/* Interfaces that come later (PPP, a tunnel) are waited for, so none is refused. */
static void warn_of_zones(const struct options *options, FILE *err)
{
    char text[OPTION_COLLECTOR_MAX];
    for (size_t i = 0; i < options->collector_count; i++)
        warn_of_zone(err, "collector", option_value_collector(&options->collectors[i], text),
                     options->collectors[i].host);
    warn_of_zone(err, "source-address", options->source_address, options->source_address);
}

/* Flags win over the file, but they name it: they are read before it, and once more after it. */
static int read_all(struct command_line *line, struct options *options, const char *default_path,
                    struct option_error *why)
{
    options_default(options);
    int error = read_flags(line, options, why);
    if (error || line->stop)
        return error;
    error = config_read(options, line->config ? line->config : default_path, why);
    if (error == -ENOENT && !line->config)
        error = 0;
    else if (!error)
        error = read_flags(line, options, why);
    return error ? error : check_together(options, why);
}

/* One line, whatever the file or the flags had in them. */
static void print_error(FILE *err, struct option_error *why)
{
    for (char *octet = why->text; *octet != '\0'; octet++) {
        if (iscntrl((unsigned char)*octet))
            *octet = '?';
    }
    fprintf(err, "ctflow9: %s\n", why->text);
}

/* Does what --help, --version or --check asked for. 0 or -errno. */
static int print(const struct command_line *line, const struct options *options, FILE *out, FILE *err)
{
    if (!line->stop) {
        warn_of_zones(options, err);
        return options_print_json(options, out);
    }
    if (line->stop->type == OPTION_HELP)
        options_help(out);
    else
        fprintf(out, "ctflow9 %s\n", CTFLOW9_VERSION);
    return fflush(out) == 0 ? 0 : -errno;
}

enum options_outcome options_parse_with(struct options *options, int argc, char **argv,
                                        const char *default_path, FILE *out, FILE *err)
{
    struct command_line line = {.argc = argc, .argv = argv};
    struct option_error why;
    int error = read_all(&line, options, default_path, &why);
    if (!error && !line.stop && !options->check)
        return OPTIONS_RUN;
    if (!error) {
        error = print(&line, options, out, err);
        if (!error)
            return OPTIONS_DONE;
        option_error(&why, "standard output: %s", strerror(-error));
    }
    print_error(err, &why);
    return OPTIONS_REFUSED;
}

enum options_outcome options_parse(struct options *options, int argc, char **argv)
{
    return options_parse_with(options, argc, argv, "/etc/ctflow9.json", stdout, stderr);
}
