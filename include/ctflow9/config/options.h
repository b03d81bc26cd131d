/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The options, and THE option table (src/config/options.c): one row declares an option's long name (which is
 * its JSON key), letter, type, range, unit, default, argument name, help text and place in struct options.
 * The command line (getopt_long), the JSON configuration (config.c), --help, --check's JSON and the defaults
 * all derive from it.
 */

enum { OPTIONS_COLLECTORS_MAX = 64, OPTIONS_HOST_MAX = 255, OPTIONS_TEXT_MAX = 255 };

/* HOST, HOST:PORT or [HOST]:PORT, taken apart; the brackets are gone, a link-local zone (fe80::1%eth0) is
 * kept. */
struct collector_option {
    char host[OPTIONS_HOST_MAX + 1];
    uint16_t port; /* default 2055 */
};

enum options_fields {
    OPTIONS_FIELD_MARK = 1 << 0,
    OPTIONS_FIELD_ZONE = 1 << 1,
    OPTIONS_FIELD_TIMES = 1 << 2
};

struct mark_option {
    bool given;
    uint32_t value,
        mask; /* read only connections with (mark & mask) == value; without /MASK the mask is all ones */
};

enum options_adopt { ADOPT_BASELINE, ADOPT_FULL };

enum options_key {
    OPTIONS_KEY_SPORT = 1 << 0,
    OPTIONS_KEY_DPORT = 1 << 1, /* for ICMP, type and code */
    OPTIONS_KEY_PROTO = 1 << 2,
    OPTIONS_KEY_MARK = 1 << 3,
    OPTIONS_KEY_ZONE = 1 << 4,
    OPTIONS_KEY_NAT = 1 << 5 /* what each chosen end was translated to */
};

/* What makes flows one aggregate; all 0 = flows are not merged. */
struct aggregate_option {
    uint32_t keys;                              /* enum options_key */
    uint8_t source_ipv4_bits, source_ipv6_bits; /* leading bits that count: 0 to 32 and 0 to 128 */
    uint8_t destination_ipv4_bits, destination_ipv6_bits;
};

struct options {
    struct collector_option collectors[OPTIONS_COLLECTORS_MAX];
    size_t collector_count;
    bool print;
    bool json;
    uint32_t source_id;
    uint32_t max_datagram; /* octets of UDP payload, 512..8972 */
    uint32_t max_delay_ms; /* given in seconds, fractions allowed */
    uint32_t max_rate;     /* data records per second and collector; 0 = as fast as they come */
    uint32_t queue;        /* data records waiting per collector */
    uint32_t template_refresh_s;
    uint32_t template_datagrams;
    char
        source_address[OPTIONS_TEXT_MAX + 1]; /* "" = the kernel chooses; else a valid IPv4 or IPv6 address */
    struct mark_option mark;
    char netns[OPTIONS_TEXT_MAX +
               1];          /* "" = the own one; a name below /run/netns, or a path when it holds a '/' */
    uint64_t rcvbuf_octets; /* given in octets or with K, M, G (powers of 1024) */
    uint32_t rx;            /* enum rx_kind */
    bool no_reliable;
    bool set_sysctls;
    uint32_t fields; /* enum options_fields */
    struct aggregate_option aggregate;
    uint32_t aggregate_interval_s;
    bool check;
    uint32_t active_timeout_s; /* 0 = connections are reported at their end only */
    uint32_t adopt;            /* enum options_adopt */
    uint32_t table_size;       /* connections, of all workers together; 0 = auto, see table_size.h */
    uint32_t workers;          /* 0 = auto, one for each core, up to 8 */
    bool verbose;
};

enum options_outcome {
    OPTIONS_RUN,    /* go on */
    OPTIONS_DONE,   /* --help, --version or --check did its work on standard output: exit 0 */
    OPTIONS_REFUSED /* one line on standard error said what was wrong, where, and what would be right: exit 2
                     */
};

/*
 * Fills *options from the defaults, then the configuration file (-f, or /etc/ctflow9.json when it exists),
 * then the flags. A list given by flags replaces the file's. argv is permuted as getopt_long does.
 */
enum options_outcome options_parse(struct options *options, int argc, char **argv);

/* The same with another path for the file that may be missing, and other streams. */
enum options_outcome options_parse_with(struct options *options, int argc, char **argv,
                                        const char *default_path, FILE *out, FILE *err);

/* Sets every option to its default. */
void options_default(struct options *options);

/* The whole --help text. */
void options_help(FILE *out);

/*
 * Every effective option as one JSON object (keys in the table's order), as --check prints it: a
 * configuration file that says the same. 0, -ENOMEM, or -EIO when out does not take it.
 */
int options_print_json(const struct options *options, FILE *out);

/* The table's row of that long name, and the one whose name is most like it; NULL when there is none. */
struct option_row; /* option_value.h */
const struct option_row *options_find(const char *name);
const struct option_row *options_nearest(const char *name);
