/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_host.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ctflow9/config/option_type.h"

enum { DEFAULT_PORT = 2055 };

/* Why text, in which host and port stand as they were given, is refused. */
static int refuse(enum host_port_fault fault, const char *text, const char *host, const char *port,
                  struct option_error *why)
{
    switch (fault) {
    case HOST_PORT_BAD_BRACKETS:
        return option_error(
            why, "'%.300s' is not a collector: give an IPv6 address with a port as [ADDRESS]:PORT", text);
    case HOST_PORT_TOO_LONG:
        return option_error(why, "'%.100s…' is too long for a host", text);
    case HOST_PORT_BAD_NAME:
        return option_error(why, "'%s' is neither an address nor a host name", host);
    case HOST_PORT_BAD_ADDRESS:
        return option_error(why, "'%.100s' is neither an IPv4 nor an IPv6 address", host);
    case HOST_PORT_BAD_IPV6:
        return option_error(why, "'%.100s' is not an IPv6 address", host);
    case HOST_PORT_IPV4_WITH_ZONE:
        return option_error(why, "'%.100s' is IPv4, which has no interface after it", host);
    case HOST_PORT_BAD_ZONE:
        return option_error(why, "'%.100s': what follows the %% is not the name of an interface", host);
    case HOST_PORT_NO_ZONE:
        return option_error(why, "'%.100s' is link-local: give its interface too, as in %.100s%%eth0", host,
                            host);
    case HOST_PORT_BAD_PORT:
        return option_error(why, "'%.100s' is not a port: give 1 to 65535", port);
    default:
        return 0;
    }
}

/* ---- addresses ---- */

_Static_assert((int)OPTIONS_TEXT_MAX == (int)HOST_PORT_HOST_MAX, "an address is a text, and a host");

/* The kernel takes the others too, and then sends from an address of its own choice. Of an interface that is
 * not there, or a text that is none, nothing is known. */
static bool is_of_one_machine(const char *text)
{
    struct sockaddr_storage address;
    if (host_port_numeric(text, 0, &address) != 0)
        return true;
    if (address.ss_family == AF_INET6) {
        const struct in6_addr *ipv6 = &((struct sockaddr_in6 *)(void *)&address)->sin6_addr;
        return !IN6_IS_ADDR_UNSPECIFIED(ipv6) && !IN6_IS_ADDR_MULTICAST(ipv6);
    }
    uint32_t ipv4 = ntohl(((struct sockaddr_in *)(void *)&address)->sin_addr.s_addr);
    return ipv4 != INADDR_ANY && ipv4 != INADDR_BROADCAST && !IN_MULTICAST(ipv4);
}

static int set_address(const struct option_row *row, struct options *options, const char *text,
                       struct option_error *why)
{
    char *address = option_place(row, options);
    enum host_port_fault fault = host_port_read_address(address, text);
    if (!is_of_one_machine(text))
        return option_error(why, "'%.100s' is no address to send from: give one of this machine's", text);
    return refuse(fault, text, text, "", why);
}

static json_t *address_json(const struct option_row *row, const struct options *options)
{
    const char *address = option_place_const(row, options);
    return *address != '\0' ? json_string(address) : json_null();
}

const struct option_type option_address = {
    .set = set_address,
    .json = address_json,
    .octets = OPTIONS_TEXT_MAX + 1,
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string",
};

/* ---- where to listen ---- */

static int set_listen(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    char with_host[HOST_PORT_TEXT_MAX];
    struct host_port read;
    struct host_port_parts parts;
    struct sockaddr_storage address;
    bool is_port = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    if (is_port && strlen(text) < 10) {
        snprintf(with_host, sizeof(with_host), "127.0.0.1:%s", text);
        text = with_host;
    }
    enum host_port_fault fault = host_port_read(&read, &parts, text, 0);
    if (fault == HOST_PORT_BAD_BRACKETS)
        return option_error(why, "'%.300s' is no place to listen at: give PORT, ADDRESS:PORT or [IPV6]:PORT",
                            text);
    if (fault != HOST_PORT_FINE)
        return refuse(fault, text, parts.host, parts.port, why);
    if (read.port == 0)
        return option_error(why, "'%.300s' has no port: give [ADDRESS:]PORT", text);
    if (host_port_numeric(read.host, read.port, &address) == -EINVAL)
        return option_error(why, "'%.300s' is not an address to listen at: give one of this machine's",
                            parts.host);
    *(struct host_port *)option_place(row, options) = read;
    return 0;
}

static json_t *listen_json(const struct option_row *row, const struct options *options)
{
    char text[HOST_PORT_TEXT_MAX];
    const struct host_port *place = option_place_const(row, options);
    return place->port != 0 ? json_string(host_port_write(place, text)) : json_null();
}

const struct option_type option_listen = {
    .set = set_listen,
    .json = listen_json,
    .octets = sizeof(struct host_port),
    .json_types = OPTION_JSON(STRING) | OPTION_JSON(INTEGER),
    .wanted = "a port or a string",
};

/* ---- collectors ---- */

static int add_collector(struct options *options, const char *text, unsigned group, struct option_error *why)
{
    struct host_port collector;
    struct host_port_parts parts;
    enum host_port_fault fault = host_port_read(&collector, &parts, text, DEFAULT_PORT);
    if (fault != HOST_PORT_FINE)
        return refuse(fault, text, parts.host, parts.port, why);
    if (strcmp(collector.host, "255.255.255.255") == 0)
        return option_error(why, "'%s' is a broadcast address: give a collector's own", parts.host);
    for (size_t i = 0; i < options->collector_count; i++) {
        if (host_port_is_same(&options->collectors[i], &collector))
            return option_error(why, "'%.300s' is given twice", text);
    }
    if (options->collector_count == OPTIONS_COLLECTORS_MAX)
        return option_error(why, "'%.300s' is one too many: give %d at most", text, OPTIONS_COLLECTORS_MAX);
    options->collector_groups[options->collector_count] = (uint8_t)group;
    options->collectors[options->collector_count++] = collector;
    return 0;
}

static unsigned next_group(const struct options *options)
{
    unsigned last = 0;
    for (size_t i = 0; i < options->collector_count; i++)
        if (options->collector_groups[i] > last)
            last = options->collector_groups[i];
    return last + 1;
}

/* One that gets every flow, or several with commas, which share the flows. */
static int set_collector(const struct option_row *row, struct options *options, const char *text,
                         struct option_error *why)
{
    (void)row;
    if (!strchr(text, ','))
        return add_collector(options, text, 0, why);
    unsigned group = next_group(options);
    int error = 0;
    for (const char *at = text; at && !error; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char member[2 * HOST_PORT_TEXT_MAX];
        size_t octets = strcspn(at, ",");
        if (octets == 0)
            return option_error(why, "'%.300s' lacks a collector beside a comma", text);
        if (octets >= sizeof(member))
            return refuse(HOST_PORT_TOO_LONG, at, "", "", why);
        snprintf(member, sizeof(member), "%.*s", (int)octets, at);
        error = add_collector(options, member, group, why);
    }
    return error;
}

/* Whether a collector is in the group of the one before it. */
static bool shares_with_last(const struct options *options, size_t index)
{
    return index > 0 && options->collector_groups[index] > 0 &&
           options->collector_groups[index] == options->collector_groups[index - 1];
}

/* Of the group that begins at *index, as it was given; *index is moved after it. */
static json_t *group_json(const struct options *options, size_t *index)
{
    json_t *members = json_string("");
    do {
        char text[HOST_PORT_TEXT_MAX];
        json_t *more =
            json_sprintf("%s%s%s", json_string_value(members), json_string_length(members) > 0 ? "," : "",
                         host_port_write(&options->collectors[*index], text));
        json_decref(members);
        members = more;
        ++*index;
    } while (members && *index < options->collector_count && shares_with_last(options, *index));
    return members;
}

static json_t *collectors_json(const struct option_row *row, const struct options *options)
{
    (void)row;
    json_t *array = json_array();
    for (size_t i = 0; i < options->collector_count;) {
        if (json_array_append_new(array, group_json(options, &i)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static void clear_collectors(const struct option_row *row, struct options *options)
{
    (void)row;
    options->collector_count = 0;
}

const struct option_type option_collectors = {
    .set = set_collector,
    .json = collectors_json,
    .octets = offsetof(struct options, collector_count) + sizeof(size_t),
    .clear = clear_collectors,
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string or an array of strings",
};
