/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"
#include "ctflow9/base/poll_set.h"

#define STATUS_INTERVAL_NS (10 * NS_PER_S)

struct notify {
    int fd;
    struct sockaddr_un manager;
    socklen_t manager_octets;
    enum notify_state state;
    bool is_watched;
    uint64_t interval_ns;
    uint64_t next_ns; /* monotonic */
    uint64_t last_ns; /* monotonic; the last pulse, and what flows were then */
    uint64_t last_flows;
};

static const char *const state_lines[] = {[NOTIFY_STARTING] = "",
                                          [NOTIFY_READY] = "READY=1\n",
                                          [NOTIFY_RELOADING] = "RELOADING=1\n",
                                          [NOTIFY_STOPPING] = "STOPPING=1\n"};

/* A path, or after "@" an abstract name. */
static int set_manager(struct notify *notify, const char *name)
{
    size_t octets = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || octets >= sizeof(notify->manager.sun_path))
        return -EINVAL;
    notify->manager.sun_family = AF_UNIX;
    memcpy(notify->manager.sun_path, name, octets);
    if (name[0] == '@')
        notify->manager.sun_path[0] = '\0';
    notify->manager_octets = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + octets);
    return 0;
}

/* WATCHDOG_USEC in nanoseconds, 0 = none; WATCHDOG_PID says whose it is. */
static uint64_t read_watchdog_ns(void)
{
    const char *limit_us = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (!limit_us || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    uint64_t value_us = strtoull(limit_us, NULL, 10);
    return value_us < UINT64_MAX / 1000 ? value_us * 1000 : 0;
}

int notify_open(struct notify **notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *notify = NULL;
    if (!name)
        return 0;
    struct notify *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    int error = set_manager(opened, name);
    opened->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (opened->fd < 0)
        error = -errno;
    if (error) {
        log_cannot(error, "tell the service manager at NOTIFY_SOCKET=%s how it goes", name);
        notify_close(opened);
        return error;
    }
    uint64_t watchdog_ns = read_watchdog_ns();
    opened->is_watched = watchdog_ns != 0;
    opened->interval_ns =
        opened->is_watched && watchdog_ns / 4 < STATUS_INTERVAL_NS ? watchdog_ns / 4 : STATUS_INTERVAL_NS;
    opened->last_ns = instant_read_clock(CLOCK_MONOTONIC);
    opened->next_ns = opened->last_ns + opened->interval_ns;
    *notify = opened;
    return 0;
}

void notify_close(struct notify *notify)
{
    if (!notify)
        return;
    if (notify->fd >= 0)
        close(notify->fd);
    free(notify);
}

static void send_lines(const struct notify *notify, const char *lines, size_t octets)
{
    sendto(notify->fd, lines, octets, MSG_NOSIGNAL, (const struct sockaddr *)&notify->manager,
           notify->manager_octets);
}

void notify_tell(struct notify *notify, enum notify_state state)
{
    if (!notify)
        return;
    char lines[64];
    notify->state = state;
    int octets = snprintf(lines, sizeof(lines), "%s", state_lines[state]);
    if (state == NOTIFY_RELOADING) /* READY=1 that was told before it is none of this reload's */
        octets += snprintf(lines + octets, sizeof(lines) - (size_t)octets, "MONOTONIC_USEC=%" PRIu64 "\n",
                           instant_read_clock(CLOCK_MONOTONIC) / 1000);
    send_lines(notify, lines, (size_t)octets);
}

uint64_t notify_interval_ns(const struct notify *notify)
{
    return notify ? notify->interval_ns : POLL_SET_NEVER;
}

uint64_t notify_next_ns(const struct notify *notify)
{
    return notify ? notify->next_ns : POLL_SET_NEVER;
}

void notify_pulse(struct notify *notify, uint64_t now_ns, const struct stats *total, uint64_t records_dropped,
                  bool well)
{
    char lines[512];
    if (!notify)
        return;
    uint64_t flows = total->flows;
    double seconds = (double)(now_ns - notify->last_ns) / (double)NS_PER_S;
    int octets = snprintf(
        lines, sizeof(lines),
        "%s%sSTATUS=%.0f flows/s, events lost: %" PRIu64 ", left behind: %" PRIu64 ", packets lost: %" PRIu64
        ", records dropped: %" PRIu64 ", lines lost: %" PRIu64 ", readers' lines lost: %" PRIu64 "\n",
        state_lines[notify->state], well && notify->is_watched ? "WATCHDOG=1\n" : "",
        seconds > 0 ? (double)(flows - notify->last_flows) / seconds : 0, total->lost, total->left_behind,
        total->packets_lost, records_dropped, total->lines_lost, total->reader_lines_lost);
    send_lines(notify, lines, (size_t)octets);
    notify->last_ns = now_ns;
    notify->last_flows = flows;
    notify->next_ns = now_ns + notify->interval_ns;
}
