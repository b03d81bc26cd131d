/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctflow9/flow/interface_names.h"

/*
 * What the interfaces of a network namespace are called: that which the calling thread is in when they are
 * opened. A thread of its own reads what the kernel tells of them (links.h), and makes a new table
 * (interface_names.h) when something has changed, once a second at most. The table changes hands by one
 * atomic pointer: nobody waits, and who has taken it owns it.
 *
 * An interface's number is the one that is given for its name, else its index; 2^31 more when that index is
 * given to another one.
 */
struct interfaces;

enum { INTERFACE_NUMBERS_MAX = 256, INTERFACE_NUMBER_MAX = INT32_MAX };

/* Numbers that are given; no name and no number is there twice. */
struct interface_numbers {
    size_t count;
    struct interface_number {
        char name[IFNAMSIZ];
        uint32_t number; /* 1..INTERFACE_NUMBER_MAX */
    } each[INTERFACE_NUMBERS_MAX];
};

struct interfaces_config {
    const struct interface_numbers *numbers; /* outlive the interfaces */
    bool given_only; /* flows have no other numbers than these: the others have no names */
    int wake_fd;     /* wake.h: of the one that takes them */
};

/* The first table is there to be taken. 0 or -errno, with the reason logged. */
int interfaces_open(struct interfaces **interfaces, const struct interfaces_config *config);
void interfaces_close(struct interfaces *interfaces); /* NULL is fine; stopped before */

/* The thread, which makes tables from then on. 0 or -errno. */
int interfaces_start(struct interfaces *interfaces);
void interfaces_stop(struct interfaces *interfaces); /* NULL is fine, and one that was not started */

/* Any thread, wait-free: the number of the interface with this index; also when that is gone since. */
uint32_t interfaces_number(const struct interfaces *interfaces, uint32_t index);

/* One thread at a time: the latest table, for free(3) when the next one comes; NULL when there is none since.
 */
struct interface_names *interfaces_take(struct interfaces *interfaces);
