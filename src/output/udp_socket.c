/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/udp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include <linux/errqueue.h>

static socklen_t address_octets(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* sin_port and sin6_port lie at the same place. */
static in_port_t *port_of(struct sockaddr_storage *address)
{
    return &((struct sockaddr_in *)(void *)address)->sin_port;
}

static int local_address(int fd, struct sockaddr_storage *address)
{
    socklen_t octets = sizeof(*address);
    return getsockname(fd, (struct sockaddr *)address, &octets) < 0 ? -errno : 0;
}

static int bind_to(int fd, const struct sockaddr_storage *address)
{
    return bind(fd, (const struct sockaddr *)address, address_octets(address)) < 0 ? -errno : 0;
}

static int disconnect(int fd)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    return connect(fd, &nowhere, sizeof(nowhere)) < 0 ? -errno : 0;
}

/* The kernel takes a port that it chose back when the socket is disconnected; one that was asked for stays
 * (SOCK_BINDPORT_LOCK). */
static int bind_for_life(int fd, struct sockaddr_storage *address)
{
    int error = bind_to(fd, address);
    if (error || *port_of(address) != 0)
        return error;
    error = local_address(fd, address);
    if (!error)
        error = disconnect(fd);
    return error ? error : bind_to(fd, address);
}

static int set_options(int fd, int family)
{
    const int on = 1;
    const int fragment = IP_PMTUDISC_DONT; /* routers may, so a smaller path MTU loses nothing */
    if (family == AF_INET6)
        return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on)) < 0 ? -errno : 0;
    return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) < 0 ||
                   setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &fragment, sizeof(fragment)) < 0
               ? -errno
               : 0;
}

int udp_socket_open(int family, const struct sockaddr_storage *source, uint16_t *port)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    struct sockaddr_storage address = *source;
    address.ss_family = (sa_family_t)family;
    *port_of(&address) = htons(*port);
    int error = set_options(fd, family);
    if (!error)
        error = bind_for_life(fd, &address);
    if (error) {
        close(fd);
        return error;
    }
    *port = ntohs(*port_of(&address));
    return fd;
}

int udp_socket_connect(int fd, const struct sockaddr_storage *address)
{
    int error = disconnect(fd);
    if (error)
        return error;
    if (connect(fd, (const struct sockaddr *)address, address_octets(address)) < 0)
        return -errno;
    return udp_socket_has_source(fd) ? 0 : -EADDRNOTAVAIL;
}

bool udp_socket_has_source(int fd)
{
    struct sockaddr_storage address;
    if (local_address(fd, &address) < 0)
        return true;
    *port_of(&address) = 0;
    int probe = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return true;
    int error = bind_to(probe, &address);
    close(probe);
    return error != -EADDRNOTAVAIL;
}

/* The error of an ICMP message, or 0 for what the kernel queued by itself. */
static int icmp_error(struct msghdr *message)
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
        bool ipv4 = control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_RECVERR;
        bool ipv6 = control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_RECVERR;
        if (!ipv4 && !ipv6)
            continue;
        struct sock_extended_err error;
        memcpy(&error, CMSG_DATA(control), sizeof(error));
        if (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6)
            return (int)error.ee_errno;
    }
    return 0;
}

unsigned udp_socket_take_errors(int fd, int *error)
{
    unsigned count = 0;
    for (;;) {
        union {
            struct cmsghdr header;
            uint8_t octets[256];
        } control;
        struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof(control)};
        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return count;
        int this_error = icmp_error(&message);
        if (this_error != 0) {
            *error = this_error;
            count++;
        }
    }
}
