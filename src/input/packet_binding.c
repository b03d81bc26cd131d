/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/packet_binding.h"

#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/input/netlink_socket.h"

enum { UNUSED_NUMBER = 65535 };

struct nlmsghdr *packet_binding_put(const struct packet_binding *binding, char *buffer, uint16_t number)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = binding->config_type;
    struct nfgenmsg *general = mnl_nlmsg_put_extra_header(message, sizeof(*general));
    *general = (struct nfgenmsg){.version = NFNETLINK_V0, .res_id = htobe16(number)};
    return message;
}

int packet_binding_send(int fd, struct nlmsghdr *message)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    message->nlmsg_flags |= NLM_F_REQUEST;
    ssize_t sent =
        sendto(fd, message, message->nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
    return sent < 0 ? -errno : 0;
}

/* Changes nothing, for nobody has bound that one: the kernel looks at privileges first. */
static bool is_privileged(const struct packet_binding *binding)
{
    _Alignas(struct nlmsghdr) char buffer[PACKET_BINDING_OCTETS];
    int fd = netlink_socket_open();
    if (fd < 0)
        return false;
    struct nlmsghdr *message = packet_binding_put(binding, buffer, UNUSED_NUMBER);
    mnl_attr_put_u32(message, binding->probe, htobe32(1));
    int error = netlink_socket_request(fd, message, NULL, NULL);
    close(fd);
    return error != -EPERM;
}

int packet_binding_outcome(const struct packet_binding *binding, uint16_t number, int error, bool is_first)
{
    if (error == -EPERM && is_privileged(binding)) {
        if (is_first)
            log_warnx("%s %u is held by another program: trying again each second", binding->what, number);
        return -EBUSY;
    }
    if (error && !is_first)
        return error;
    if (error == -EPERM)
        log_error("reading %s %u needs CAP_NET_ADMIN in the network namespace that is read: run "
                  "ctflow9 as root, or with that capability",
                  binding->what, number);
    else if (error)
        log_cannot(error, "bind %s %u", binding->what, number);
    else if (!is_first)
        log_info("%s %u is read now", binding->what, number);
    return error;
}
