/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/host_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ctflow9/base/zone.h"

const char *host_port_write(const struct host_port *host_port, char text[HOST_PORT_TEXT_MAX])
{
    bool is_ipv6 = strchr(host_port->host, ':') != NULL;
    snprintf(text, HOST_PORT_TEXT_MAX, "%s%s%s:%u", is_ipv6 ? "[" : "", host_port->host, is_ipv6 ? "]" : "",
             (unsigned)host_port->port);
    return text;
}

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
