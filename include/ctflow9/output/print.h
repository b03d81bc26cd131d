/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

#include "ctflow9/flow/flow.h"
#include "ctflow9/flow/interface_names.h"

enum { PRINT_LINE_MAX = 512 };

/*
 * One flow as one aligned line for people, newline included, not terminated. line has PRINT_LINE_MAX octets.
 * Returns the octets written. Pure but for the time zone. The columns:
 *
 *  ENDED     when the connection ended, local time
 *  LASTED    how long it lasted; - when its start is unknown
 *  PROTO     the protocol's name or number
 *  FROM, TO  both ends as the one that began saw them; ICMP: its request, "echo" or TYPE/CODE
 *  ->        packets and octets from FROM to TO, exact up to 99999, then in powers of 1000; - when unknown
 *  <-        the same for the way back
 *  END       idle (timed out), active (a long one's report), closed (TCP end seen), forced (entry removed),
 *            lack (of resources)
 *  then      via IN>OUT    the interfaces that packets from FROM came in and went out by: by name where that
 *                          is known (names may be NULL), else by number
 *            back IN>OUT   those of packets from TO, where they are others
 *            snat ADDRESS  what the other side saw as FROM
 *            dnat ADDRESS  where TO really was
 *            mark, zone    when there are some
 *
 * A named counter has ENDED, LASTED, where it is kept for PROTO, its name for FROM and TO, and what it
 * counted in that time.
 */
size_t print_flow(char *line, const struct flow *flow, const struct interface_names *names);

/* The heading that names the columns, same shape. */
size_t print_heading(char *line);
