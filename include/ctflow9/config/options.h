/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/host_port.h"
#include "ctflow9/input/interface_marks.h"
#include "ctflow9/input/interfaces.h"
#include "ctflow9/input/netlink_filter.h"
#include "ctflow9/input/nflog.h"
#include "ctflow9/input/nfqueue.h"
#include "ctflow9/netflow/aggregate.h"
#include "ctflow9/netflow/fields.h"

/* The options, as the command line and the configuration file set them; option_table.h has their table. */

enum { OPTIONS_COLLECTORS_MAX = 64, OPTIONS_TEXT_MAX = 255 };

enum options_adopt { ADOPT_BASELINE, ADOPT_FULL };

struct options {
    struct host_port collectors[OPTIONS_COLLECTORS_MAX];
    uint8_t collector_groups[OPTIONS_COLLECTORS_MAX]; /* as feeds.h has them */
    size_t collector_count;
    uint32_t balance; /* enum balance_kind */
    bool print;
    bool json;
    char json_socket[OPTIONS_TEXT_MAX + 1]; /* "" = none */
    uint32_t source_id;
    uint32_t max_datagram; /* octets of UDP payload, 512..8972 */
    uint32_t max_delay_ms; /* given in seconds, fractions allowed */
    uint32_t max_rate;     /* data records per second and collector; 0 = as fast as they come */
    uint32_t queue;        /* data records waiting per collector */
    uint32_t template_refresh_s;
    uint32_t template_datagrams;
    char
        source_address[OPTIONS_TEXT_MAX + 1]; /* "" = the kernel chooses; else a valid IPv4 or IPv6 address */
    struct netlink_mark mark;
    struct interface_marks interface_marks;
    uint32_t interfaces; /* enum ways_kind */
    struct interface_numbers interface_numbers;
    char netns[OPTIONS_TEXT_MAX +
               1];          /* "" = the own one; a name below /run/netns, or a path when it holds a '/' */
    uint64_t rcvbuf_octets; /* given in octets or with K, M, G (powers of 1024) */
    uint32_t rx;            /* enum rx_kind */
    bool no_reliable;
    bool set_sysctls;
    uint32_t fields; /* enum fields_optional */
    struct aggregate_by aggregate;
    uint32_t aggregate_interval_s;
    bool check;
    uint32_t active_timeout_s; /* 0 = connections are reported at their end only */
    uint32_t adopt;            /* enum options_adopt */
    uint32_t table_size;       /* connections, of all workers together; 0 = auto, see table_size.h */
    uint32_t workers;          /* 0 = auto, one for each core, up to 8 */
    bool no_conntrack;
    struct nflog_groups nflog;
    uint32_t nflog_size; /* octets */
    struct nfqueue_range nfqueue;
    uint32_t nfqueue_verdict; /* enum nfqueue_verdict */
    struct netlink_mark nfqueue_mark;
    uint32_t flow_cache; /* flows, of all workers together */
    uint32_t inactive_timeout_s;
    uint32_t nfacct_s;                       /* 0 = not read */
    struct host_port metrics;                /* port 0 = none */
    char metrics_file[OPTIONS_TEXT_MAX + 1]; /* "" = none */
    char user[OPTIONS_TEXT_MAX + 1];         /* a name or number */
    bool no_drop;
    const char *config; /* the file that was read, as the command line has it; NULL = none */
    bool verbose;
};
