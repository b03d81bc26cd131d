/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* A signal that is blocked comes even if it is ignored. */
static bool is_ignored(int number)
{
    struct sigaction present;
    return sigaction(number, NULL, &present) == 0 && present.sa_handler == SIG_IGN;
}

int signals_open(void)
{
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
    int fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

unsigned signals_take(int fd)
{
    struct signalfd_siginfo info;
    unsigned wishes = 0;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        wishes |= info.ssi_signo == SIGUSR1 ? SIGNALS_TOTALS : SIGNALS_END;
    return wishes;
}
