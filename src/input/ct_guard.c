/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/ct_guard.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "ctflow9/input/netlink_socket.h"

void ct_guard_init(struct ct_guard *guard, bool reliable, struct stats *stats)
{
    *guard = (struct ct_guard){.wanted = reliable, .stats = stats};
}

uint32_t ct_guard_book(struct ct_guard *guard, uint32_t drops)
{
    uint32_t dropped = drops - guard->drops_seen;
    guard->drops_seen = drops;
    if (guard->wanted && !guard->released) {
        stats_count(&guard->stats->deferred, dropped);
    } else {
        stats_count(&guard->stats->lost, dropped);
        tell_once_count(&guard->losses, dropped);
    }
    return dropped;
}

bool ct_guard_is_concerned(const struct ct_guard *guard, uint32_t dropped)
{
    return guard->wanted && (guard->released || dropped > 0);
}

enum ct_guard_verdict ct_guard_judge(const struct ct_guard *guard, const struct ct_guard_table *table)
{
    uint64_t used = (uint64_t)table->entries * 100;
    if (!guard->released)
        return table->limit > 0 && used > (uint64_t)table->limit * CT_GUARD_RELEASE_PERCENT ? CT_GUARD_RELEASE
                                                                                            : CT_GUARD_STAY;
    return used < (uint64_t)table->limit * CT_GUARD_RETURN_PERCENT || table->limit == 0 ? CT_GUARD_RETURN
                                                                                        : CT_GUARD_STAY;
}

void ct_guard_changed(struct ct_guard *guard, enum ct_guard_verdict verdict)
{
    guard->released = verdict == CT_GUARD_RELEASE;
    stats_count(&guard->stats->guard_releases, guard->released);
}

uint64_t ct_guard_losses_to_tell(struct ct_guard *guard, uint64_t now_ns)
{
    return tell_once_due(&guard->losses, now_ns);
}

static int read_table_attribute(const struct nlattr *attribute, void *context)
{
    struct ct_guard_table *table = context;
    if (mnl_attr_validate(attribute, MNL_TYPE_U32) < 0)
        return MNL_CB_OK;
    if (mnl_attr_get_type(attribute) == CTA_STATS_GLOBAL_ENTRIES)
        table->entries = be32toh(mnl_attr_get_u32(attribute));
    else if (mnl_attr_get_type(attribute) == CTA_STATS_GLOBAL_MAX_ENTRIES)
        table->limit = be32toh(mnl_attr_get_u32(attribute));
    return MNL_CB_OK;
}

static bool read_table(void *context, const struct nlmsghdr *message)
{
    mnl_attr_parse(message, sizeof(struct nfgenmsg), read_table_attribute, context);
    return true;
}

int ct_guard_ask(int request_fd, struct ct_guard_table *table)
{
    _Alignas(struct nlmsghdr) char buffer[64];
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS;
    mnl_nlmsg_put_extra_header(request, sizeof(struct nfgenmsg));
    *table = (struct ct_guard_table){0};
    return netlink_socket_request(request_fd, request, read_table, table);
}
