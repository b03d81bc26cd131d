/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/nfacct.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_acct.h>
#include <string.h>

#include "ctflow9/base/identity.h"
#include "ctflow9/base/log.h"
#include "ctflow9/input/counter_poll.h"
#include "ctflow9/input/netlink_socket.h"

static struct nlmsghdr *put_get(char *buffer, uint16_t flags)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = NFNL_SUBSYS_ACCT << 8 | NFNL_MSG_ACCT_GET;
    message->nlmsg_flags = flags;
    struct nfgenmsg *general = mnl_nlmsg_put_extra_header(message, sizeof(*general));
    *general = (struct nfgenmsg){.version = NFNETLINK_V0};
    return message;
}

/* A mnl_attr_cb_t. */
static int note_attribute(const struct nlattr *attribute, void *context)
{
    const struct nlattr **attributes = context;
    if (mnl_attr_get_type(attribute) <= NFACCT_MAX)
        attributes[mnl_attr_get_type(attribute)] = attribute;
    return MNL_CB_OK;
}

/* 0 when there is none. */
static uint64_t get_be64(const struct nlattr *attribute)
{
    be64 value = 0;
    if (attribute && mnl_attr_get_payload_len(attribute) >= sizeof(value))
        memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
    return be64toh(value);
}

/* As much as there is room for; to is all 0 before. */
static void copy_name(char to[NFACCT_NAME_MAX], const struct nlattr *attribute)
{
    const char *name = mnl_attr_get_payload(attribute);
    size_t octets = strnlen(name, mnl_attr_get_payload_len(attribute));
    memcpy(to, name, octets < NFACCT_NAME_MAX ? octets : NFACCT_NAME_MAX - 1);
}

/* A netlink_socket_on_message. Names are any octets but NUL, which ends them or not. */
static bool see_object(void *context, const struct nlmsghdr *message)
{
    const struct nlattr *attributes[NFACCT_MAX + 1] = {0};
    struct {
        uint8_t source;
        char name[NFACCT_NAME_MAX];
    } known = {.source = FLOW_COUNTER_NFACCT};

    if (message->nlmsg_type != (NFNL_SUBSYS_ACCT << 8 | NFNL_MSG_ACCT_NEW) ||
        mnl_attr_parse(message, sizeof(struct nfgenmsg), note_attribute, attributes) != MNL_CB_OK ||
        !attributes[NFACCT_NAME])
        return true;
    copy_name(known.name, attributes[NFACCT_NAME]);
    struct counter_reading reading = {.packets = get_be64(attributes[NFACCT_PKTS]),
                                      .octets = get_be64(attributes[NFACCT_BYTES])};
    reading.identity = identity_of(&known, sizeof(known));
    counter_poll_see(context, &reading, FLOW_COUNTER_NFACCT, known.name);
    return true;
}

static int read_objects(int fd, struct counter_poll *poll)
{
    _Alignas(struct nlmsghdr) char buffer[64];
    return netlink_socket_request(fd, put_get(buffer, NLM_F_DUMP), see_object, poll);
}

/* Asks for one that there is not: the kernel then says so, if it has nfacct and the caller may ask. */
static int ask(int fd)
{
    _Alignas(struct nlmsghdr) char buffer[64];
    struct nlmsghdr *message = put_get(buffer, 0);
    mnl_attr_put_strz(message, NFACCT_NAME, "");
    int error = netlink_socket_request(fd, message, NULL, NULL);
    return error == -ENOENT ? 0 : error;
}

static int refuse(int error)
{
    if (error == -EPERM)
        log_error("reading nfacct's counters needs CAP_NET_ADMIN in the network namespace that is read: run "
                  "ctflow9 as root, or with that capability");
    else if (error == -EINVAL)
        log_error("this kernel has no nfacct: load its module (modprobe nfnetlink_acct)");
    else
        log_cannot(error, "read nfacct's counters");
    return error;
}

static int nfacct_open(struct source **source, const void *config, const struct source_worker *worker,
                       unsigned workers)
{
    const struct nfacct_config *own = config;
    const struct counter_poll_config poll = {
        .what = "nfacct's counters", .interval_ns = own->interval_ns, .read = read_objects};
    (void)workers;
    int error = counter_poll_open(source, &nfacct_source, &poll, worker);
    if (error)
        return error;
    error = ask(counter_poll_fd(*source));
    if (error) {
        counter_poll_close(*source);
        return refuse(error);
    }
    return 0;
}

const struct source_ops nfacct_source = {.name = "nfacct", .open = nfacct_open, COUNTER_POLL_OPS};
