/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "ctflow9/flow/flow.h"

/*
 * The words that the lines on standard output are made of. Like stpcpy(3), each writer puts its text at `at`,
 * where the caller has room for it, and returns the place after it; none terminates it. Pure.
 */

/* Decimal, at most 20 octets. */
char *text_number(char *at, uint64_t number);

/* The last width decimal digits, leading zeros included. */
char *text_digits(char *at, uint64_t number, unsigned width);

/* An address of the flow's family without brackets (RFC 5952), at most 45 octets. */
char *text_address(char *at, const struct flow *flow, const union flow_address *address);

/* YYYY-MM-DD, the separator, HH:MM:SS: 19 octets. */
char *text_date_time(char *at, const struct tm *time, char separator);

/* The usual short name ("tcp", "icmp6"), or NULL when the protocol has none here. */
const char *text_protocol(uint8_t protocol);

/* Where a named counter is kept: of enum flow_counter_source. */
const char *text_source(uint8_t source);

/* The flow's ends have ports (or GRE keys): those of a protocol without are all 0. */
bool text_has_ports(const struct flow *flow);
