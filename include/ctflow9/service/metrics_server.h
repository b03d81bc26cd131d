/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ctflow9/base/host_port.h"

struct event_base;

/*
 * Metrics over HTTP: GET of /metrics, nothing else. There are METRICS_CLIENTS_MAX clients at most:
 * when one more comes the oldest has to go. Each has one request, and METRICS_CLIENT_S seconds for all of it.
 * What cannot be accepted waits for a second. The thread whose event_base it is owns it.
 */
struct metrics_server;

enum { METRICS_CLIENTS_MAX = 16, METRICS_CLIENT_S = 10, METRICS_ANSWER_S = 3 };

/* Called when somebody asks, and metrics_server_answer() is to be called soon. */
typedef void metrics_server_ask(void *context);

/*
 * Listens at an address. The clients come when base is run, which the caller does. 0, or -errno with the
 * reason logged.
 */
int metrics_server_open(struct metrics_server **server, const struct host_port *address,
                        struct event_base *base, metrics_server_ask *ask, void *context);
void metrics_server_close(struct metrics_server *server); /* NULL is fine */

/* Gives the text, which is copied, to all who wait for it. */
void metrics_server_answer(struct metrics_server *server, const char *text, size_t octets);

/* Once a second: who waits for an answer for too long is told so, and who takes too long has to go. */
void metrics_server_tick(struct metrics_server *server, uint64_t now_ns);
