/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/*
 * What the kernel must have switched on, looked at a single time, at the start, in the thread's present
 * network namespace. Everything that is not as it should be gives one line: what it means and what to type.
 */

/*
 * With set_sysctls, sets net.netfilter.nf_conntrack_acct, nf_conntrack_timestamp and nf_conntrack_events to
 * 1; then warns of each that is not 1, and of a namespace in which no rule makes the kernel track connections
 * (the table is empty and a datagram sent over the namespace's own loopback is not tracked). Returns 0
 * (warnings do not stop anything), -ENOTSUP when the kernel has no conntrack, or -EPERM without
 * CAP_NET_ADMIN, each with its line logged. Without events, nf_conntrack_events is left alone: nobody is to
 * hear any.
 */
int ct_setup_check(bool set_sysctls, bool events);
