/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/input/ct_guard.h"
#include "ctflow9/input/ct_request.h"
#include "ctflow9/input/netlink_socket.h"

/* Follows the network namespace of the thread that opens a file in it. */
#define SYSCTL_FOLDER "/proc/sys/net/netfilter"

/* What each sysctl costs while it is not 1; see nf_conntrack-sysctl in the kernel's documentation. */
static const struct sysctl {
    const char *name;
    const char *when_0;
    const char *when_2; /* nf_conntrack_events alone, the last one, knows 2 */
} sysctls[] = {
    {"nf_conntrack_acct", "connections are reported without packets and octets", NULL},
    {"nf_conntrack_timestamp",
     "a connection's end is when its event is read, and its start the same; and the parts of one that lasts "
     "(--active-timeout) may not add up",
     NULL},
    {"nf_conntrack_events", "the kernel tells of no connection, so nothing is reported",
     "the end of connections that began before anybody listened is not told, and only noticed of those that "
     "last"},
};
enum { SYSCTLS = sizeof(sysctls) / sizeof(sysctls[0]) };

/* Starts connection tracking in a network namespace and changes nothing else. */
#define TRACK_COMMAND                                                            \
    "nft 'add table inet ctflow9; "                                              \
    "add chain inet ctflow9 track { type filter hook prerouting priority 0; }; " \
    "add rule inet ctflow9 track ct state new'"

static int write_sysctl(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = write(fd, "1\n", 2) < 0 ? -errno : 0;
    close(fd);
    return error;
}

/* The value, one digit, or -errno. */
static int read_sysctl(const char *path)
{
    char digit;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t octets = read(fd, &digit, 1);
    int value = octets == 1 ? digit - '0' : octets < 0 ? -errno : -ENODATA;
    close(fd);
    return value;
}

static void check_sysctl(const struct sysctl *sysctl, bool set)
{
    char path[128];
    snprintf(path, sizeof(path), SYSCTL_FOLDER "/%s", sysctl->name);
    int error = set ? write_sysctl(path) : 0;
    int value = read_sysctl(path);
    if (value == 1)
        return;
    if (value < 0) {
        log_warnx("cannot read net.netfilter.%s (%s); if this kernel is built without it, %s", sysctl->name,
                  strerror(-value), sysctl->when_0);
        return;
    }
    const char *meaning = value == 2 && sysctl->when_2 != NULL ? sysctl->when_2 : sysctl->when_0;
    if (error)
        log_warnx(
            "net.netfilter.%s is %d and cannot be set from here (%s): %s; where /proc/sys can be written, "
            "type: sysctl -w net.netfilter.%s=1",
            sysctl->name, value, strerror(-error), meaning, sysctl->name);
    else
        log_warnx(
            "net.netfilter.%s is %d: %s; type: sysctl -w net.netfilter.%s=1 (or start with --set-sysctls), "
            "it works for new connections",
            sysctl->name, value, meaning, sysctl->name);
}

static void check_sysctls(bool set, bool events)
{
    if (access(SYSCTL_FOLDER, X_OK) != 0) {
        const char *why = strerror(errno);
        log_warnx("cannot see " SYSCTL_FOLDER
                  " (%s; systemd: ProcSubset=all), so whether counters and time stamps are "
                  "on is unknown; where it can be seen, type: sysctl -w net.netfilter.nf_conntrack_acct=1 "
                  "net.netfilter.nf_conntrack_timestamp=1 net.netfilter.nf_conntrack_events=1",
                  why);
        return;
    }
    for (int i = 0; i < SYSCTLS - !events; i++)
        check_sysctl(&sysctls[i], set);
}

/* A UDP datagram's way from a socket to itself. */
union endpoint {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Sends one datagram from a socket on the loopback address to itself. 0 or -errno. */
static int send_to_self(union endpoint *self)
{
    const int no_interface = 0; /* "ip vrf exec" binds sockets to a VRF, which may have no loopback address */
    int fd = socket(self->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = 0;
    socklen_t size = sizeof(*self);
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &no_interface, sizeof(no_interface));
    if (bind(fd, &self->any, size) != 0 || getsockname(fd, &self->any, &size) != 0 ||
        sendto(fd, "", 1, 0, &self->any, size) < 0)
        error = -errno;
    close(fd);
    return error;
}

static bool loopback_is_down(void)
{
    struct ifreq loopback = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool down = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &loopback) == 0 && !(loopback.ifr_flags & IFF_UP);
    if (fd >= 0)
        close(fd);
    return down;
}

static struct flow flow_to_self(const union endpoint *self)
{
    struct flow flow = {.family = (uint8_t)self->any.sa_family, .protocol = IPPROTO_UDP};
    struct flow_tuple *tuple = &flow.tuple[FLOW_ORIGINAL];
    if (self->any.sa_family == AF_INET) {
        tuple->src.v4 = self->v4.sin_addr.s_addr;
        tuple->src_port = self->v4.sin_port;
    } else {
        memcpy(tuple->src.v6, &self->v6.sin6_addr, sizeof(tuple->src.v6));
        tuple->src_port = self->v6.sin6_port;
    }
    tuple->dst = tuple->src;
    tuple->dst_port = tuple->src_port;
    return flow;
}

/* 1 tracked, 0 not, -errno when it could not be tried. The entry that the question makes is removed again. */
static int probe(int fd, union endpoint self)
{
    int error = send_to_self(&self);
    if (error)
        return error;
    const struct flow flow = flow_to_self(&self);
    error = ct_request_entry(fd, IPCTNL_MSG_CT_GET, &flow, NULL, NULL);
    if (error)
        return error == -ENOENT ? 0 : error;
    ct_request_entry(fd, IPCTNL_MSG_CT_DELETE, &flow, NULL, NULL);
    return 1;
}

static void say_untried(int error)
{
    static const char untried[] = "the conntrack table is empty, and whether any rule makes the kernel track "
                                  "connections cannot be tried, because";
    const char *cause = error == -EPERM           ? " (a firewall rule here?)"
                        : error == -EADDRNOTAVAIL ? " (sockets are bound to a VRF: ip vrf exec?)"
                                                  : "";
    if (loopback_is_down())
        log_warnx("%s loopback is down; type: ip link set lo up", untried);
    else
        log_warnx("%s a trial over loopback fails: %s%s", untried, strerror(-error), cause);
}

/* Conntrack's hooks are there only where some rule uses it, for each family by itself. */
static void check_tracking(int fd)
{
    const union endpoint v4 = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    const union endpoint v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    int tracked_v4 = probe(fd, v4), tracked_v6 = probe(fd, v6);
    if (tracked_v4 > 0 || tracked_v6 > 0)
        return;
    if (tracked_v4 < 0 && tracked_v6 < 0)
        say_untried(tracked_v4);
    else
        log_warnx(
            "no rule here makes the kernel track connections, so there is nothing to report; any rule with "
            "'ct state' starts it, for example: " TRACK_COMMAND);
}

static int refuse(int error)
{
    switch (error) {
    case -EPERM:
        log_error(
            "reading connection tracking needs CAP_NET_ADMIN: run ctflow9 with sudo, or give it the "
            "capability (systemd: AmbientCapabilities=CAP_NET_ADMIN; else: setcap cap_net_admin+ep FILE)");
        return error;
    case -EMFILE: /* these say nothing of the kernel's connection tracking */
    case -ENFILE:
    case -ENOMEM:
    case -ENOBUFS:
    case -EINTR:
        log_cannot(error, "ask the kernel for its connection tracking");
        return error;
    default:
        log_error("this kernel has no connection tracking that can be read (%s); type: modprobe "
                  "nf_conntrack_netlink",
                  strerror(-error));
        return -ENOTSUP;
    }
}

int ct_setup_check(bool set_sysctls, bool events)
{
    int fd = netlink_socket_open();
    if (fd < 0)
        return refuse(fd);
    struct ct_guard_table table;
    int error = ct_guard_ask(fd, &table);
    if (error) {
        error = refuse(error);
        goto out;
    }
    check_sysctls(set_sysctls, events);
    if (table.entries == 0)
        check_tracking(fd);
out:
    close(fd);
    return error;
}
