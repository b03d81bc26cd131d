/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctflow9/config/aggregate_keys.h"

enum { DEFAULT_PORT = 2055, MS_PER_SECOND = 1000, NUMBER_TEXT_MAX = 32 };

typedef int set_function(const struct option_row *row, struct options *options, const char *text,
                         struct option_error *why);
typedef json_t *json_function(const struct option_row *row, const struct options *options);

static void *place(const struct option_row *row, struct options *options)
{
    return (char *)options + row->offset;
}

static const void *place_const(const struct option_row *row, const struct options *options)
{
    return (const char *)options + row->offset;
}

/* ---- flags and numbers ---- */

static int set_flag(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    bool *flag = place(row, options);
    *flag = strcmp(text, "true") == 0;
    if (!*flag && strcmp(text, "false") != 0)
        return option_error(why, "'%.100s' is neither true nor false", text);
    return 0;
}

static json_t *flag_json(const struct option_row *row, const struct options *options)
{
    const bool *flag = place_const(row, options);
    return json_boolean(*flag);
}

/* 65536 as "64K": with the largest suffix that leaves nothing over. */
static void write_size(char text[NUMBER_TEXT_MAX], uint64_t octets)
{
    static const char *const suffixes[] = {"", "K", "M", "G"};
    size_t suffix = 0;
    for (; suffix < 3 && octets != 0 && octets % 1024 == 0; suffix++)
        octets /= 1024;
    snprintf(text, NUMBER_TEXT_MAX, "%" PRIu64 "%s", octets, suffixes[suffix]);
}

const char *option_value_range(const struct option_row *row, char text[OPTION_RANGE_MAX])
{
    char min[NUMBER_TEXT_MAX], max[NUMBER_TEXT_MAX];
    text[0] = '\0';
    if (row->type == OPTION_SIZE) {
        write_size(min, row->min);
        write_size(max, row->max);
    } else if (row->type == OPTION_NUMBER || row->type == OPTION_SECONDS || row->type == OPTION_AUTO) {
        unsigned divisor = row->type == OPTION_SECONDS ? MS_PER_SECOND : 1;
        snprintf(min, sizeof(min), "%" PRIu64, row->min / divisor);
        snprintf(max, sizeof(max), "%" PRIu64, row->max / divisor);
    } else {
        return text;
    }
    snprintf(text, OPTION_RANGE_MAX, "%s to %s%s%s%s", min, max, row->unit ? " " : "",
             row->unit ? row->unit : "", row->type == OPTION_AUTO ? " or auto" : "");
    return text;
}

static int refuse_number(const struct option_row *row, const char *text, const char *what,
                         struct option_error *why)
{
    char range[OPTION_RANGE_MAX];
    return option_error(why, "'%.100s' is %s: give %s", text, what, option_value_range(row, range));
}

/*
 * Reads digits of base 10 or 16; no sign, no blanks. A number too large for 64 bits becomes the largest one,
 * which is out of every range. Returns what follows, or NULL when there is no digit.
 */
static const char *read_digits(const char *text, int base, uint64_t *value)
{
    if (!isdigit((unsigned char)*text))
        return NULL;
    char *end;
    *value = strtoull(text, &end, base);
    return end;
}

static int set_number(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    uint64_t value;
    const char *end = read_digits(text, 10, &value);
    if (!end || *end != '\0')
        return refuse_number(row, text, "not a whole number", why);
    if (value < row->min || value > row->max)
        return refuse_number(row, text, "out of range", why);
    uint32_t *number = place(row, options);
    *number = (uint32_t)value;
    return 0;
}

static json_t *number_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *number = place_const(row, options);
    return json_integer(*number);
}

static int set_auto(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    if (strcmp(text, "auto") != 0)
        return set_number(row, options, text, why);
    *(uint32_t *)place(row, options) = 0;
    return 0;
}

static json_t *auto_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *number = place_const(row, options);
    return *number == 0 ? json_string("auto") : json_integer(*number);
}

static int set_seconds(const struct option_row *row, struct options *options, const char *text,
                       struct option_error *why)
{
    uint64_t seconds;
    uint64_t ms = 0;
    const char *end = read_digits(text, 10, &seconds);
    if (end && *end == '.' && isdigit((unsigned char)end[1])) {
        end++;
        for (unsigned unit = MS_PER_SECOND / 10; unit > 0 && isdigit((unsigned char)*end); unit /= 10)
            ms += (unsigned)(*end++ - '0') * unit;
    }
    if (!end || *end != '\0')
        return refuse_number(row, text, "not a number with three decimals at most", why);
    /* More seconds than milliseconds are allowed: out of range, and too many to be multiplied. */
    if (seconds > row->max)
        return refuse_number(row, text, "out of range", why);
    ms += seconds * MS_PER_SECOND;
    if (ms < row->min || ms > row->max)
        return refuse_number(row, text, "out of range", why);
    uint32_t *value_ms = place(row, options);
    *value_ms = (uint32_t)ms;
    return 0;
}

static json_t *seconds_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *ms = place_const(row, options);
    return *ms % MS_PER_SECOND == 0 ? json_integer(*ms / MS_PER_SECOND)
                                    : json_real(*ms / (double)MS_PER_SECOND);
}

static int set_size(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    static const char suffixes[] = "KMG";
    uint64_t value;
    unsigned shift = 0;
    const char *end = read_digits(text, 10, &value);
    const char *suffix = end && *end != '\0' ? strchr(suffixes, *end) : NULL;
    if (suffix) {
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        end++;
    }
    if (!end || *end != '\0')
        return refuse_number(row, text, "not a whole number, with K, M or G behind it or without", why);
    if (value > row->max >> shift || value << shift < row->min)
        return refuse_number(row, text, "out of range", why);
    uint64_t *octets = place(row, options);
    *octets = value << shift;
    return 0;
}

static json_t *size_json(const struct option_row *row, const struct options *options)
{
    const uint64_t *octets = place_const(row, options);
    return json_integer((json_int_t)*octets);
}

/* ---- marks ---- */

/* Decimal, or 0x and hexadecimal digits. Returns what follows, or NULL when it is no number of 32 bits. */
static const char *read_mark(const char *text, uint32_t *mark)
{
    uint64_t value;
    const char *end = read_digits(text, strncmp(text, "0x", 2) == 0 ? 16 : 10, &value);
    if (!end || value > UINT32_MAX)
        return NULL;
    *mark = (uint32_t)value;
    return end;
}

static int set_mark(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    struct netlink_mark *given = place(row, options);
    struct netlink_mark mark = {.given = true, .mask = UINT32_MAX};
    const char *end = read_mark(text, &mark.value);
    if (end && *end == '/')
        end = read_mark(end + 1, &mark.mask);
    if (!end || *end != '\0')
        return option_error(why, "'%.100s' is not a mark: give VALUE or VALUE/MASK, each 0 to 0xffffffff",
                            text);
    if ((mark.value & ~mark.mask) != 0)
        return option_error(why, "'%.100s' matches no mark: the value has bits that the mask leaves out",
                            text);
    *given = mark;
    return 0;
}

static json_t *mark_json(const struct option_row *row, const struct options *options)
{
    const struct netlink_mark *mark = place_const(row, options);
    if (!mark->given)
        return json_null();
    if (mark->mask == UINT32_MAX)
        return json_sprintf("0x%" PRIx32, mark->value);
    return json_sprintf("0x%" PRIx32 "/0x%" PRIx32, mark->value, mark->mask);
}

/* ---- optional elements ---- */

static const struct {
    const char *name;
    uint32_t bit;
} fields[] = {{"mark", FIELDS_MARK}, {"zone", FIELDS_ZONE}, {"times", FIELDS_TIMES}};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static int set_fields(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    uint32_t *bits = place(row, options);
    for (const char *name = text;; name++) {
        size_t octets = strcspn(name, ",");
        size_t i = 0;
        while (i < FIELDS && (strlen(fields[i].name) != octets || memcmp(fields[i].name, name, octets) != 0))
            i++;
        if (i == FIELDS)
            return option_error(why, "'%.*s' is not a field: give some of mark, zone and times",
                                octets < 100 ? (int)octets : 100, name);
        *bits |= fields[i].bit;
        name += octets;
        if (*name == '\0')
            return 0;
    }
}

static json_t *fields_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *bits = place_const(row, options);
    json_t *array = json_array();
    for (size_t i = 0; i < FIELDS; i++) {
        if ((*bits & fields[i].bit) != 0 && json_array_append_new(array, json_string(fields[i].name)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static int set_aggregate(const struct option_row *row, struct options *options, const char *text,
                         struct option_error *why)
{
    return aggregate_keys_set(place(row, options), text, why);
}

static json_t *aggregate_json(const struct option_row *row, const struct options *options)
{
    return aggregate_keys_json(place_const(row, options));
}

/* ---- addresses and other text ---- */

static bool is_printable(const char *text)
{
    while (isprint((unsigned char)*text))
        text++;
    return *text == '\0';
}

/* An IPv6 address, a link-local one with its zone, in its one usual spelling into host; IPv4 in IPv6's
 * notation as IPv4. */
static int set_ipv6(char *host, size_t host_size, const char *text, struct option_error *why)
{
    char digits[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t octets = strcspn(text, "%");
    const char *zone = text + octets;
    snprintf(digits, sizeof(digits), "%.*s", (int)octets, text);
    if (octets >= sizeof(digits) || inet_pton(AF_INET6, digits, &address) != 1)
        return option_error(why, "'%.100s' is not an IPv6 address", text);
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
        if (*zone != '\0')
            return option_error(why, "'%.100s' is IPv4, which has no interface behind it", text);
        inet_ntop(AF_INET, &address.s6_addr[12], host, (socklen_t)host_size);
        return 0;
    }
    if (strcmp(zone, "%") == 0 || strlen(zone) > IF_NAMESIZE || !is_printable(zone))
        return option_error(why, "'%.100s': what follows the %% is not the name of an interface", text);
    if (IN6_IS_ADDR_LINKLOCAL(&address) && *zone == '\0')
        return option_error(why, "'%.100s' is link-local: give its interface too, as in %.100s%%eth0", text,
                            text);
    inet_ntop(AF_INET6, &address, digits, sizeof(digits));
    snprintf(host, host_size, "%s%s", digits, zone);
    return 0;
}

static bool is_ipv4(const char *text)
{
    struct in_addr address;
    return inet_pton(AF_INET, text, &address) == 1;
}

/* RFC 1123 2.1, and underscores, which some networks use. */
static bool is_host_name(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    enum { NAME_OCTETS = 253, LABEL_OCTETS = 63 };
    if (*text == '\0' || strlen(text) > NAME_OCTETS)
        return false;
    for (const char *label = text; *label != '\0';) {
        size_t octets = strspn(label, allowed);
        if (octets == 0 || octets > LABEL_OCTETS || label[0] == '-' || label[octets - 1] == '-')
            return false;
        label += octets;
        if (*label == '.')
            label++;
        else if (*label != '\0')
            return false;
    }
    return true;
}

static int set_address(const struct option_row *row, struct options *options, const char *text,
                       struct option_error *why)
{
    char *address = place(row, options);
    if (strchr(text, ':'))
        return set_ipv6(address, OPTIONS_TEXT_MAX + 1, text, why);
    if (!is_ipv4(text))
        return option_error(why, "'%.100s' is neither an IPv4 nor an IPv6 address", text);
    snprintf(address, OPTIONS_TEXT_MAX + 1, "%s", text);
    return 0;
}

static int set_text(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    size_t octets = strlen(text);
    if (octets == 0 || octets > OPTIONS_TEXT_MAX || !is_printable(text))
        return option_error(why, "'%.100s' is not possible: give 1 to %d printable ASCII characters", text,
                            OPTIONS_TEXT_MAX);
    memcpy(place(row, options), text, octets + 1);
    return 0;
}

static json_t *text_json(const struct option_row *row, const struct options *options)
{
    const char *text = place_const(row, options);
    return *text != '\0' ? json_string(text) : json_null();
}

/* ---- choices ---- */

/* The number of a word among words separated by blanks; -1 when it is not there. */
static int find_word(const char *words, const char *word)
{
    size_t octets = strlen(word);
    for (int number = 0; *words != '\0'; number++) {
        size_t span = strcspn(words, " ");
        if (span == octets && memcmp(words, word, span) == 0)
            return number;
        words += span + strspn(words + span, " ");
    }
    return -1;
}

static int set_choice(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    int number = *text != '\0' ? find_word(row->choices, text) : -1;
    if (number < 0)
        return option_error(why, "'%.100s' is not possible: give one of: %s", text, row->choices);
    if (row->unbuilt && strcmp(text, row->unbuilt) == 0)
        return option_error(why, "'%s' is not possible: ctflow9 was built without %s", text, row->lacking);
    *(uint32_t *)place(row, options) = (uint32_t)number;
    return 0;
}

static json_t *choice_json(const struct option_row *row, const struct options *options)
{
    const char *word = row->choices;
    for (uint32_t number = *(const uint32_t *)place_const(row, options); number > 0; number--)
        word = strchr(word, ' ') + 1;
    return json_stringn(word, strcspn(word, " "));
}

/* ---- collectors ---- */

/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT or IPV6 into the host and the port's text, NULL without one. */
static int split_collector(const char *text, char host[HOST_PORT_HOST_MAX + 1], const char **port, bool *ipv6,
                           struct option_error *why)
{
    const char *colon = strchr(text, ':');
    const char *start = text;
    const char *end = text + strlen(text);
    const char *rest = end;
    *ipv6 = true;
    *port = NULL;
    if (text[0] == '[') {
        start = text + 1;
        end = strchr(text, ']');
        rest = end ? end + 1 : NULL;
    } else if (!colon || !strchr(colon + 1, ':')) {
        *ipv6 = false;
        end = rest = colon ? colon : end;
    }
    if (!end || (*rest != '\0' && *rest != ':'))
        return option_error(
            why, "'%.300s' is not a collector: give an IPv6 address with a port as [ADDRESS]:PORT", text);
    if (end - start > HOST_PORT_HOST_MAX)
        return option_error(why, "'%.100s…' is too long for a host", text);
    snprintf(host, HOST_PORT_HOST_MAX + 1, "%.*s", (int)(end - start), start);
    if (*rest == ':')
        *port = rest + 1;
    return 0;
}

static int set_name(struct host_port *collector, const char *host, struct option_error *why)
{
    bool numeric = strspn(host, "0123456789.") == strlen(host);
    if (numeric ? !is_ipv4(host) : !is_host_name(host))
        return option_error(why, "'%s' is neither an address nor a host name", host);
    snprintf(collector->host, sizeof(collector->host), "%s", host);
    return 0;
}

static int set_host(struct host_port *collector, const char *host, bool ipv6, struct option_error *why)
{
    int error =
        ipv6 ? set_ipv6(collector->host, sizeof(collector->host), host, why) : set_name(collector, host, why);
    if (!error && strcmp(collector->host, "255.255.255.255") == 0)
        return option_error(why, "'%s' is a broadcast address: give a collector's own", host);
    return error;
}

static int set_port(struct host_port *collector, const char *port, struct option_error *why)
{
    uint64_t number = DEFAULT_PORT;
    const char *end = port ? read_digits(port, 10, &number) : "";
    if (!end || *end != '\0' || number < 1 || number > UINT16_MAX)
        return option_error(why, "'%.100s' is not a port: give 1 to 65535", port);
    collector->port = (uint16_t)number;
    return 0;
}

static int set_collector(const struct option_row *row, struct options *options, const char *text,
                         struct option_error *why)
{
    (void)row;
    struct host_port collector = {0};
    char host[HOST_PORT_HOST_MAX + 1];
    const char *port;
    bool ipv6;
    int error = split_collector(text, host, &port, &ipv6, why);
    error = error ? error : set_host(&collector, host, ipv6, why);
    error = error ? error : set_port(&collector, port, why);
    if (error)
        return error;
    for (size_t i = 0; i < options->collector_count; i++) {
        const struct host_port *other = &options->collectors[i];
        if (strcasecmp(other->host, collector.host) == 0 && other->port == collector.port)
            return option_error(why, "'%.300s' is given twice", text);
    }
    if (options->collector_count == OPTIONS_COLLECTORS_MAX)
        return option_error(why, "'%.300s' is one too many: give %d at most", text, OPTIONS_COLLECTORS_MAX);
    options->collectors[options->collector_count++] = collector;
    return 0;
}

static json_t *collectors_json(const struct option_row *row, const struct options *options)
{
    (void)row;
    json_t *array = json_array();
    for (size_t i = 0; i < options->collector_count; i++) {
        char text[HOST_PORT_TEXT_MAX];
        host_port_write(&options->collectors[i], text);
        if (json_array_append_new(array, json_string(text)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* ---- all of them ---- */

static const struct {
    set_function *set;
    json_function *json;
} types[] = {
    [OPTION_FLAG] = {set_flag, flag_json},
    [OPTION_NUMBER] = {set_number, number_json},
    [OPTION_SECONDS] = {set_seconds, seconds_json},
    [OPTION_SIZE] = {set_size, size_json},
    [OPTION_COLLECTORS] = {set_collector, collectors_json},
    [OPTION_FIELDS] = {set_fields, fields_json},
    [OPTION_AGGREGATE] = {set_aggregate, aggregate_json},
    [OPTION_MARK] = {set_mark, mark_json},
    [OPTION_ADDRESS] = {set_address, text_json},
    [OPTION_TEXT] = {set_text, text_json},
    [OPTION_CHOICE] = {set_choice, choice_json},
    [OPTION_AUTO] = {set_auto, auto_json},
};

void option_value_clear(const struct option_row *row, struct options *options)
{
    if (row->type == OPTION_COLLECTORS)
        options->collector_count = 0;
    else if (row->type == OPTION_FIELDS)
        *(uint32_t *)place(row, options) = 0;
    else if (row->type == OPTION_AGGREGATE)
        *(struct aggregate_by *)place(row, options) = (struct aggregate_by){0};
}

int option_value_set(const struct option_row *row, struct options *options, const char *text,
                     struct option_error *why)
{
    return types[row->type].set(row, options, text, why);
}

json_t *option_value_json(const struct option_row *row, const struct options *options)
{
    return types[row->type].json(row, options);
}
