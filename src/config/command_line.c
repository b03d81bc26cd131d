/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/command_line.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>

#include "ctflow9/base/zone.h"
#include "ctflow9/config/config.h"
#include "ctflow9/config/option_table.h"
#include "ctflow9/config/option_text.h"

static const char default_config[] = "/etc/ctflow9.json";

struct command_line {
    int argc;
    char **argv;
    const char *config;            /* -f, or NULL */
    const struct option_row *stop; /* --help or --version, or NULL; what comes after is not looked at */
};

/* getopt_long's value of a long option is its row's index after all letters. */
enum { FIRST_ROW = UCHAR_MAX + 1 };

static const struct option_row *row_of(int value)
{
    if (value >= FIRST_ROW)
        return &option_table[value - FIRST_ROW];
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        if (value != 0 && row->letter == value)
            return row;
    }
    return NULL;
}

static void describe(struct option longs[OPTION_TABLE_MAX + 1], char letters[2 * OPTION_TABLE_MAX + 2])
{
    memset(longs, 0, (OPTION_TABLE_MAX + 1) * sizeof(*longs));
    *letters++ = ':'; /* tells a missing argument from an unknown option, and keeps getopt quiet */
    for (int i = 0; i < (int)option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        longs[i].name = row->name;
        longs[i].has_arg = row->argument               ? required_argument
                           : row->type == &option_flag ? optional_argument
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
    char name[OPTION_NAME_MAX * 2];
    snprintf(name, sizeof(name), "%.*s", octets - 2, flag + 2);
    for (const struct option_row *row = option_table; row < option_table + option_table_count; row++) {
        if (strncmp(row->name, name, strlen(name)) == 0)
            return option_error(why, "%.*s is short for more than one option: see ctflow9 --help", octets,
                                flag);
    }
    const struct option_row *nearest = option_table_nearest(name);
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
    if (option_is_unbuilt(row))
        return option_error(why, "--%s is not possible: ctflow9 was built without %s", row->name,
                            row->lacking);
    switch (row->command) {
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
    struct option longs[OPTION_TABLE_MAX + 1];
    char letters[2 * OPTION_TABLE_MAX + 2];
    bool given[OPTION_TABLE_MAX] = {false};
    int found;

    describe(longs, letters);
    optind = 0; /* from the start, whatever was read before: getopt(3), NOTES */
    while ((found = getopt_long(line->argc, line->argv, letters, longs, NULL)) != -1) {
        const struct option_row *row = row_of(found); /* '?' and ':' are nobody's letters */
        int error = row ? take_flag(row, line, options, &given[row - option_table], why)
                        : refuse_flag(line, found, why);
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

/* The interface that alone leads to an address, as its number; 0: others do as well, or it is not there now.
 */
static uint32_t only_interface(const char *host)
{
    enum { LOOPBACK = 1 }; /* in every network namespace */
    struct sockaddr_storage address;
    if (host_port_numeric(host, 0, &address) != 0 || address.ss_family != AF_INET6)
        return 0;
    const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)(const void *)&address;
    if (IN6_IS_ADDR_LOOPBACK(&ipv6->sin6_addr))
        return LOOPBACK;
    return host_port_needs_zone(&ipv6->sin6_addr) ? ipv6->sin6_scope_id : 0;
}

/* A source address of one interface sends by that alone; ::1 is no such address, the kernel sends from it by
 * any. */
static bool sends_elsewhere(const char *source, const char *host)
{
    uint32_t by = strchr(source, '%') ? only_interface(source) : 0;
    uint32_t to = only_interface(host);
    return by != 0 && to != 0 && by != to;
}

static int check_together(const struct options *options, struct option_error *why)
{
    if (options->no_conntrack && options->nflog.count == 0 && options->nfqueue.count == 0 &&
        options->nfacct_s == 0)
        return option_error(why, "--no-conntrack leaves nothing to read: give --nflog GROUP, --nfqueue NUM "
                                 "or --nfacct SECONDS as well");
    if (options->nfqueue_verdict == NFQUEUE_REPEAT && !options->nfqueue_mark.given)
        return option_error(why, "--nfqueue-verdict repeat sends packets to the queue again and again: give "
                                 "--nfqueue-mark as well, and queue only packets without that mark");
    const char *source = options->source_address;
    for (size_t i = 0; i < options->collector_count && source[0] != '\0'; i++) {
        char text[HOST_PORT_TEXT_MAX];
        const char *host = options->collectors[i].host;
        int family = family_of(host);
        host_port_write(&options->collectors[i], text);
        if (family != AF_UNSPEC && family != family_of(source))
            return option_error(
                why,
                "--collector %s cannot be reached from --source-address %s: give both as IPv4 "
                "or both as IPv6",
                text, source);
        if (sends_elsewhere(source, host))
            return option_error(why,
                                "--collector %s cannot be reached from --source-address %s: that is an "
                                "address of %s alone",
                                text, source, strchr(source, '%') + 1);
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
    char text[HOST_PORT_TEXT_MAX];
    for (size_t i = 0; i < options->collector_count; i++)
        warn_of_zone(err, "collector", host_port_write(&options->collectors[i], text),
                     options->collectors[i].host);
    warn_of_zone(err, "source-address", options->source_address, options->source_address);
}

/* Flags win over the file, but they name it: they are read before it, and once more after it. */
static int read_all(struct command_line *line, struct options *options, const char *default_path,
                    struct option_error *why)
{
    option_table_default(options);
    int error = read_flags(line, options, why);
    if (error || line->stop)
        return error;
    error = config_read(options, line->config ? line->config : default_path, why);
    if (error == -ENOENT && !line->config)
        return check_together(options, why);
    options->config = line->config ? line->config : default_path;
    if (!error)
        error = read_flags(line, options, why);
    return error ? error : check_together(options, why);
}

/* The options may be right: what it took to read them was not available. */
static bool is_shortage(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

/* One line, whatever the file or the flags had in them. */
static void make_printable(struct option_error *why)
{
    for (char *octet = why->text; *octet != '\0'; octet++) {
        if (iscntrl((unsigned char)*octet))
            *octet = '?';
    }
}

static void print_error(FILE *err, const char *what, struct option_error *why)
{
    make_printable(why);
    fprintf(err, "ctflow9: %s%s\n", what, why->text);
}

/* What can be left out when it is built. */
static void print_version(FILE *out)
{
    static const struct {
        const char *name;
        bool is_built;
    } parts[] = {{"io_uring", CTFLOW9_URING}, {"NFLOG", CTFLOW9_NFLOG},     {"NFQUEUE", CTFLOW9_NFQUEUE},
                 {"nfacct", CTFLOW9_NFACCT},  {"seccomp", CTFLOW9_SECCOMP}, {"fentry", CTFLOW9_FENTRY},
                 {"libbpf", CTFLOW9_BPF}};
    fprintf(out, "ctflow9 %s", CTFLOW9_VERSION);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        fprintf(out, " %c%s", parts[i].is_built ? '+' : '-', parts[i].name);
    fputc('\n', out);
}

/* Does what --help, --version or --check asked for. 0 or -errno. */
static int print(const struct command_line *line, const struct options *options, FILE *out, FILE *err)
{
    if (!line->stop) {
        warn_of_zones(options, err);
        return option_table_print_json(options, out);
    }
    if (line->stop->command == OPTION_HELP)
        option_table_help(out);
    else
        print_version(out);
    return fflush(out) == 0 ? 0 : -errno;
}

enum command_line_outcome command_line_parse_with(struct options *options, int argc, char **argv,
                                                  const char *default_path, FILE *out, FILE *err)
{
    struct command_line line = {.argc = argc, .argv = argv};
    struct option_error why;
    int error = read_all(&line, options, default_path, &why);
    if (!error && !line.stop && !options->check)
        return COMMAND_LINE_RUN;
    if (!error) {
        error = print(&line, options, out, err);
        if (!error)
            return COMMAND_LINE_DONE;
        option_error(&why, "standard output: %s", strerror(-error));
    }
    print_error(err, is_shortage(error) ? "error: " : "", &why);
    return is_shortage(error) ? COMMAND_LINE_FAILED : COMMAND_LINE_REFUSED;
}

enum command_line_outcome command_line_parse(struct options *options, int argc, char **argv)
{
    return command_line_parse_with(options, argc, argv, default_config, stdout, stderr);
}

int command_line_read(struct options *options, int argc, char **argv, struct option_error *why)
{
    struct command_line line = {.argc = argc, .argv = argv};
    int error = read_all(&line, options, default_config, why);
    if (error)
        make_printable(why);
    return error;
}
