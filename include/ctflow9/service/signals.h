/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The signals that ctflow9 handles, through a descriptor: SIGTERM and SIGINT end it, SIGUSR1 asks for the
 * totals. SIGHUP asks to read the configuration again; but it ends ctflow9 when the terminal that it was
 * started on is gone, for then it is that what the signal tells. SIGPIPE and SIGXFSZ are ignored. A SIGHUP
 * that was ignored when ctflow9 was started (nohup) stays so. One thread owns it.
 */
struct signals {
    int fd;            /* becomes readable when one comes */
    uint64_t end_ns;   /* monotonic; when the first one said to end, 0 = none did yet */
    bool reload;       /* asked for; whoever sees to it clears this */
    bool has_terminal; /* had one when it was started */
    bool hurried;      /* and another one, a second later at least, said to end sooner */
};

/* Blocks the signals for the calling thread and those that it makes. 0 or -errno; fd is then -1. */
int signals_open(struct signals *signals);
void signals_close(struct signals *signals);

/*
 * Takes all that have come. Returns whether the totals are asked for. now_ns is monotonic. Ctrl-C on a
 * terminal may reach a script as well, which passes it on: what says to end within a second of the first is
 * the same wish.
 */
bool signals_take(struct signals *signals, uint64_t now_ns);
