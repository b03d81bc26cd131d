/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/host_port.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctflow9/base/zone.h"

const char *host_port_write(const struct host_port *host_port, char text[HOST_PORT_TEXT_MAX])
{
    bool is_ipv6 = strchr(host_port->host, ':') != NULL;
    snprintf(text, HOST_PORT_TEXT_MAX, "%s%s%s:%u", is_ipv6 ? "[" : "", host_port->host, is_ipv6 ? "]" : "",
             (unsigned)host_port->port);
    return text;
}

bool host_port_is_same(const struct host_port *one, const struct host_port *other)
{
    return one->port == other->port && strcasecmp(one->host, other->host) == 0;
}

/* ---- from text ---- */

/* What could be the name of an interface: the kernel takes none with a blank, a slash or a colon. One with a
 * bracket could not be written between brackets. */
static bool is_zone(const char *zone)
{
    size_t octets = 0;
    while (isgraph((unsigned char)zone[octets]) && strchr("/:]", zone[octets]) == NULL)
        octets++;
    return octets > 0 && octets < IF_NAMESIZE && zone[octets] == '\0';
}

bool host_port_needs_zone(const struct in6_addr *address)
{
    return IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_MC_LINKLOCAL(address) ||
           IN6_IS_ADDR_MC_NODELOCAL(address);
}

static enum host_port_fault read_ipv6(char host[HOST_PORT_HOST_MAX + 1], const char *text)
{
    char digits[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t octets = strcspn(text, "%");
    const char *zone = text + octets;
    snprintf(digits, sizeof(digits), "%.*s", (int)octets, text);
    if (octets >= sizeof(digits) || inet_pton(AF_INET6, digits, &address) != 1)
        return HOST_PORT_BAD_IPV6;
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
        if (*zone != '\0')
            return HOST_PORT_IPV4_WITH_ZONE;
        inet_ntop(AF_INET, &address.s6_addr[12], host, INET_ADDRSTRLEN);
        return HOST_PORT_FINE;
    }
    if (*zone != '\0' && !is_zone(zone + 1))
        return HOST_PORT_BAD_ZONE;
    if (host_port_needs_zone(&address) && *zone == '\0')
        return HOST_PORT_NO_ZONE;
    inet_ntop(AF_INET6, &address, digits, sizeof(digits));
    snprintf(host, HOST_PORT_HOST_MAX + 1, "%s%s", digits, zone);
    return HOST_PORT_FINE;
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

enum host_port_fault host_port_read_address(char host[HOST_PORT_HOST_MAX + 1], const char *text)
{
    if (strchr(text, ':'))
        return read_ipv6(host, text);
    if (!is_ipv4(text))
        return HOST_PORT_BAD_ADDRESS;
    snprintf(host, HOST_PORT_HOST_MAX + 1, "%s", text);
    return HOST_PORT_FINE;
}

static enum host_port_fault split(struct host_port_parts *parts, const char *text)
{
    const char *colon = strchr(text, ':');
    const char *start = text;
    const char *end = text + strlen(text);
    const char *rest = end;
    parts->is_ipv6 = true;
    if (text[0] == '[') {
        start = text + 1;
        end = strchr(text, ']');
        rest = end ? end + 1 : NULL;
    } else if (!colon || !strchr(colon + 1, ':')) {
        parts->is_ipv6 = false;
        end = rest = colon ? colon : end;
    }
    if (!end || (*rest != '\0' && *rest != ':'))
        return HOST_PORT_BAD_BRACKETS;
    if (end - start > HOST_PORT_HOST_MAX)
        return HOST_PORT_TOO_LONG;
    snprintf(parts->host, sizeof(parts->host), "%.*s", (int)(end - start), start);
    parts->port = *rest == ':' ? rest + 1 : NULL;
    return HOST_PORT_FINE;
}

static enum host_port_fault read_name(char host[HOST_PORT_HOST_MAX + 1], const char *text)
{
    bool numeric = strspn(text, "0123456789.") == strlen(text);
    if (numeric ? !is_ipv4(text) : !is_host_name(text))
        return HOST_PORT_BAD_NAME;
    snprintf(host, HOST_PORT_HOST_MAX + 1, "%s", text);
    return HOST_PORT_FINE;
}

static enum host_port_fault read_port(uint16_t *port, const char *text)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long number =
        digits > 0 ? strtoul(text, NULL, 10) : 0; /* the largest one when it is too large */
    if (text[digits] != '\0' || number < 1 || number > UINT16_MAX)
        return HOST_PORT_BAD_PORT;
    *port = (uint16_t)number;
    return HOST_PORT_FINE;
}

enum host_port_fault host_port_read(struct host_port *host_port, struct host_port_parts *parts,
                                    const char *text, uint16_t default_port)
{
    *host_port = (struct host_port){.port = default_port};
    *parts = (struct host_port_parts){0};
    enum host_port_fault fault = split(parts, text);
    if (fault == HOST_PORT_FINE)
        fault = (parts->is_ipv6 ? read_ipv6 : read_name)(host_port->host, parts->host);
    if (fault == HOST_PORT_FINE && parts->port)
        fault = read_port(&host_port->port, parts->port);
    return fault;
}

/* ---- as socket addresses ---- */

void host_port_unmap(struct sockaddr_storage *address)
{
    struct sockaddr_in6 ipv6;
    memcpy(&ipv6, address, sizeof(ipv6));
    if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr))
        return;
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = ipv6.sin6_port};
    memcpy(&ipv4.sin_addr, &ipv6.sin6_addr.s6_addr[12], sizeof(ipv4.sin_addr));
    *address = (struct sockaddr_storage){0};
    memcpy(address, &ipv4, sizeof(ipv4));
}

static int numeric_ipv6(const char *host, uint16_t port, struct sockaddr_storage *address)
{
    char text[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    if (length >= sizeof(text))
        return -EINVAL;
    memcpy(text, host, length);
    text[length] = '\0';

    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) != 1)
        return -EINVAL;
    if (host[length] == '%') {
        ipv6.sin6_scope_id = zone_scope_id(host + length + 1);
        if (ipv6.sin6_scope_id == 0)
            return -ENODEV;
    }
    memcpy(address, &ipv6, sizeof(ipv6));
    host_port_unmap(address);
    return 0;
}

int host_port_numeric(const char *host, uint16_t port, struct sockaddr_storage *address)
{
    *address = (struct sockaddr_storage){0};
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &ipv4.sin_addr) != 1)
        return numeric_ipv6(host, port, address);
    memcpy(address, &ipv4, sizeof(ipv4));
    return 0;
}
