/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/udp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h> /* errqueue.h leaves it to us */
#include <unistd.h>

#include <linux/errqueue.h>
#include <linux/filter.h>

static socklen_t address_octets(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* sin_port and sin6_port lie at the same place. */
static in_port_t *port_of(struct sockaddr_storage *address)
{
    return &((struct sockaddr_in *)(void *)address)->sin_port;
}

static int set_reuse(int fd, int on)
{
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int bind_to(int fd, const struct sockaddr_storage *address)
{
    return bind(fd, (const struct sockaddr *)address, address_octets(address)) < 0 ? -errno : 0;
}

/* Both share the port only while this binds, so it is never free for another program. */
static int bind_beside(int fd, int beside, const struct sockaddr_storage *address)
{
    int error = set_reuse(beside, 1);
    if (!error)
        error = set_reuse(fd, 1);
    if (!error)
        error = bind_to(fd, address);
    set_reuse(beside, 0);
    set_reuse(fd, 0);
    return error;
}

static int local_address(int fd, struct sockaddr_storage *address)
{
    socklen_t octets = sizeof(*address);
    *address = (struct sockaddr_storage){0};
    return getsockname(fd, (struct sockaddr *)address, &octets) < 0 ? -errno : 0;
}

/* Nobody reads what arrives: it would fill the receive buffer, and ICMP errors would find no room there. */
static int keep_nothing(int fd)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &nothing};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int set_options(int fd, int family)
{
    const int on = 1;
    const int fragment = IP_PMTUDISC_DONT; /* routers may, so a smaller path MTU loses nothing */
    int error = keep_nothing(fd);
    if (error)
        return error;
    if (family == AF_INET6)
        return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on)) < 0 ? -errno : 0;
    return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) < 0 ||
                   setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &fragment, sizeof(fragment)) < 0
               ? -errno
               : 0;
}

int udp_socket_open(const struct sockaddr_storage *peer, const struct sockaddr_storage *source,
                    uint16_t *port, int beside)
{
    int fd = socket(peer->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    struct sockaddr_storage address = *source;
    address.ss_family = peer->ss_family;
    *port_of(&address) = htons(*port);
    int error = set_options(fd, peer->ss_family);
    if (!error)
        error = *port == 0 || beside < 0 ? bind_to(fd, &address) : bind_beside(fd, beside, &address);
    if (!error && connect(fd, (const struct sockaddr *)peer, address_octets(peer)) < 0)
        error = -errno;
    if (!error)
        error = local_address(fd, &address);
    if (error) {
        close(fd);
        return error;
    }
    *port = ntohs(*port_of(&address));
    return fd;
}

bool udp_socket_same_source(int fd, int other_fd)
{
    struct sockaddr_storage address, other_address;
    return local_address(fd, &address) == 0 && local_address(other_fd, &other_address) == 0 &&
           memcmp(&address, &other_address, sizeof(address)) == 0;
}

void udp_socket_source(int fd, char text[UDP_SOCKET_SOURCE_MAX])
{
    struct sockaddr_storage address;
    text[0] = '\0';
    if (local_address(fd, &address) < 0)
        return;
    const void *octets = address.ss_family == AF_INET6
                             ? (const void *)&((struct sockaddr_in6 *)(void *)&address)->sin6_addr
                             : (const void *)&((struct sockaddr_in *)(void *)&address)->sin_addr;
    inet_ntop(address.ss_family, octets, text, UDP_SOCKET_SOURCE_MAX);
}

/* The error of an ICMP message, or 0 for what the kernel queued by itself. */
static int icmp_error(struct msghdr *message)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(message); /* the only one that was asked for */
    struct sock_extended_err error;
    if (!control || control->cmsg_len < CMSG_LEN(sizeof(error)))
        return 0;
    memcpy(&error, CMSG_DATA(control), sizeof(error));
    bool icmp = error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6;
    return icmp ? (int)error.ee_errno : 0;
}

bool udp_socket_may_be_icmp(int error)
{
    switch (error) { /* icmp_err_convert and icmpv6_err_convert in the kernel */
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
    case EACCES:
    case EMSGSIZE:
        return true;
    default:
        return false;
    }
}

unsigned udp_socket_take_errors(int fd, int *error)
{
    enum { READS_MAX = 1024 }; /* more than there is room for; a flood is not read for ever */

    unsigned count = 0;
    for (int i = 0; i < READS_MAX; i++) {
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
    return count;
}

const char *udp_socket_hint(int error)
{
    switch (error) {
    case EACCES:
        return " (a broadcast address, or a route that prohibits it)";
    case EPERM:
        return " (a firewall rule here drops it)";
    case ENODEV:
        return " (the interface after the % is not there)";
    case EADDRNOTAVAIL:
        return " (the local address is not there, or it belongs to a VRF: see ip vrf exec)";
    case EINVAL:
        return " (no route leads to it from the local address, or it is link-local and lacks its interface)";
    case EMSGSIZE:
        return " (give a smaller --max-datagram)";
    case EMFILE:
        return " (raise ulimit -n, or LimitNOFILE= in the unit)";
    default:
        return "";
    }
}

const char *udp_socket_icmp_cause(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "nothing listens on its port, is it running?";
    case EMSGSIZE:
        return "datagrams are longer than the way to it takes, and go in fragments from now on; a smaller "
               "--max-datagram avoids that";
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
        return "no way leads to it, or a firewall refuses";
    case EACCES:
        return "a firewall refuses";
    default:
        return strerror(error);
    }
}
