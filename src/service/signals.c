/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"

#define IMPATIENCE_NS NS_PER_S

/* A signal that is blocked comes even if it is ignored. */
static bool is_ignored(int number)
{
    struct sigaction present;
    return sigaction(number, NULL, &present) == 0 && present.sa_handler == SIG_IGN;
}

/* 0, or -errno: -ENXIO when there is no terminal that controls us, or none any more. */
static int find_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

int signals_open(struct signals *signals)
{
    *signals = (struct signals){.fd = -1, .has_terminal = find_terminal() == 0};
    sigset_t handled;
    sigemptyset(&handled);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGUSR1);
    if (!is_ignored(SIGHUP))
        sigaddset(&handled, SIGHUP);
    /* What they tell is an errno of write(): EPIPE, and EFBIG beyond RLIMIT_FSIZE. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
        sigprocmask(SIG_BLOCK, &handled, NULL) < 0)
        return -errno;
    signals->fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
    return signals->fd < 0 ? -errno : 0;
}

void signals_close(struct signals *signals)
{
    if (signals->fd >= 0)
        close(signals->fd);
}

static void note_end(struct signals *signals, uint64_t now_ns)
{
    if (signals->end_ns == 0)
        signals->end_ns = now_ns;
    else if (now_ns - signals->end_ns >= IMPATIENCE_NS)
        signals->hurried = true;
}

bool signals_take(struct signals *signals, uint64_t now_ns)
{
    struct signalfd_siginfo info;
    bool totals = false;
    while (read(signals->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGUSR1)
            totals = true;
        else if (info.ssi_signo == SIGHUP && !(signals->has_terminal && find_terminal() == -ENXIO))
            signals->reload = true;
        else
            note_end(signals, now_ns);
    }
    return totals;
}
