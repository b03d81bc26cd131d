/* SPDX-License-Identifier: GPL-2.0-or-later */
#define CARES_NO_DEPRECATED /* 1.34 has successors of what is used here, 1.18 has not */
#include "ctflow9/output/name_servers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ctflow9/base/host_port.h"

static void mind_error(struct name_servers *servers, int error)
{
    if (servers->error == 0)
        servers->error = error;
}

/* ---- c-ares' sockets, see ares_set_socket_functions(3) ---- */

static ares_socket_t open_socket(int family, int type, int protocol, void *data)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        mind_error(data, errno);
    return fd;
}

static int close_socket(ares_socket_t fd, void *data)
{
    (void)data;
    return close(fd);
}

static void set_scope(const struct name_servers *servers, struct sockaddr_in6 *address)
{
    for (size_t i = 0; i < servers->link_local_count && address->sin6_scope_id == 0; i++)
        if (IN6_ARE_ADDR_EQUAL(&servers->link_local[i].sin6_addr, &address->sin6_addr))
            address->sin6_scope_id = servers->link_local[i].sin6_scope_id;
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t octets, void *data)
{
    struct sockaddr_storage to = {0};
    memcpy(&to, address, octets < sizeof(to) ? octets : sizeof(to));
    if (to.ss_family == AF_INET6)
        set_scope(data, (struct sockaddr_in6 *)(void *)&to);
    if (connect(fd, (const struct sockaddr *)&to, octets) == 0)
        return 0;
    if (errno != EINPROGRESS)
        mind_error(data, errno);
    return -1;
}

static ares_ssize_t receive(ares_socket_t fd, void *octets, size_t size, int flags, struct sockaddr *from,
                            ares_socklen_t *from_octets, void *data)
{
    ssize_t received = recvfrom(fd, octets, size, flags, from, from_octets);
    if (received < 0 && errno != EAGAIN)
        mind_error(data, errno);
    return received;
}

static ares_ssize_t send_all(ares_socket_t fd, const struct iovec *parts, int count, void *data)
{
    ssize_t sent = writev(fd, parts, count);
    if (sent < 0 && errno != EAGAIN)
        mind_error(data, errno);
    return sent;
}

/* ---- /etc/resolv.conf ---- */

struct list {
    struct ares_addr_port_node nodes[NAME_SERVERS_MAX];
    size_t count;
};

static void add(struct list *list, const struct sockaddr_storage *address)
{
    struct ares_addr_port_node *node = &list->nodes[list->count];
    *node = (struct ares_addr_port_node){.family = address->ss_family};
    if (address->ss_family == AF_INET6)
        memcpy(&node->addr, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
               sizeof(struct in6_addr));
    else
        node->addr.addr4 = ((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (list->count > 0)
        node[-1].next = node;
    list->count++;
}

/* All name servers in their order, and in servers those that have an interface after them. */
static void read_file(struct name_servers *servers, struct list *list)
{
    char line[256], host[128];
    FILE *file = fopen("/etc/resolv.conf", "re");
    while (file && list->count < NAME_SERVERS_MAX && fgets(line, sizeof(line), file)) {
        struct sockaddr_storage address;
        if (sscanf(line, " nameserver %127s", host) != 1)
            continue;
        int error = host_port_numeric(host, 0, &address);
        if (error == -ENODEV)
            mind_error(servers, ENODEV);
        if (error)
            continue;
        if (strchr(host, '%'))
            memcpy(&servers->link_local[servers->link_local_count++], &address, sizeof(struct sockaddr_in6));
        add(list, &address);
    }
    if (file)
        fclose(file);
}

/* Newer c-ares reads the interface itself. */
static bool is_known(ares_channel channel, const struct in6_addr *address)
{
    struct ares_addr_port_node *first = NULL;
    bool found = false;
    if (ares_get_servers_ports(channel, &first) != ARES_SUCCESS)
        return false;
    for (const struct ares_addr_port_node *node = first; node && !found; node = node->next)
        found = node->family == AF_INET6 && memcmp(&node->addr, address, sizeof(*address)) == 0;
    ares_free_data(first);
    return found;
}

int name_servers_use(struct name_servers *servers, ares_channel channel)
{
    static const struct ares_socket_functions functions = {open_socket, close_socket, connect_socket, receive,
                                                           send_all};
    struct list list = {.count = 0};
    *servers = (struct name_servers){.link_local_count = 0};
    ares_set_socket_functions(channel, &functions, servers);
    read_file(servers, &list);
    if (servers->link_local_count == 0 || is_known(channel, &servers->link_local[0].sin6_addr))
        return ARES_SUCCESS;
    return ares_set_servers_ports(channel, list.nodes);
}
