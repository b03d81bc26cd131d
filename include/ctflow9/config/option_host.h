/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/option_row.h"

/* The types of options that name hosts, and what each has in struct options. */

/* char[OPTIONS_TEXT_MAX + 1]: an IPv4 or IPv6 address. */
extern const struct option_type option_address;

/* struct host_port: PORT, at 127.0.0.1, ADDRESS:PORT or [IPV6]:PORT. */
extern const struct option_type option_listen;

/* A list, collectors and collector_count: HOST[:PORT], or [IPV6]:PORT. */
extern const struct option_type option_collectors;
