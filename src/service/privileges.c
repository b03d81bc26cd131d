/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/privileges.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/input/netns.h"
#include "ctflow9/service/syscall_filter.h"

enum { KEPT_MAX = 4 };

static int failed(const char *what, const char *hint)
{
    int error = -errno;
    log_error("cannot %s: %s (%s--no-drop gives up nothing)", what, strerror(-error), hint);
    return error;
}

int privileges_prepare(struct privileges *privileges, const struct privileges_config *config)
{
    *privileges = (struct privileges){.config = *config};
    if (config->keep || geteuid() != 0)
        return 0;
    int error = account_find(&privileges->account, config->user, ACCOUNT_FILE);
    if (error == -ENOENT)
        log_error("there is no user %s in " ACCOUNT_FILE ": give --user one that is there, or a number",
                  config->user);
    else if (error)
        log_cannot(error, "read " ACCOUNT_FILE " to find user %s", config->user);
    privileges->is_root = privileges->account.uid != 0;
    return error;
}

static bool is_below_proc(const char *path)
{
    return strncmp(path, "/proc/", strlen("/proc/")) == 0;
}

static int list_kept(const struct privileges *privileges, cap_value_t kept[KEPT_MAX])
{
    const char *netns = privileges->config.netns;
    int count = 0;
    kept[count++] = CAP_NET_ADMIN;
    kept[count++] = CAP_SYS_NICE;
    if (netns[0] != '\0')
        kept[count++] = CAP_SYS_ADMIN;
    if (is_below_proc(netns))
        kept[count++] = CAP_SYS_PTRACE;
    return count;
}

/* Of those listed, the ones that are there. */
static int limit_capabilities(const cap_value_t *kept, int count)
{
    int error = -1;
    cap_t present = cap_get_proc();
    cap_t limited = cap_init();
    if (!present || !limited)
        goto out;
    for (int i = 0; i < count; i++) {
        cap_flag_value_t is_there = CAP_CLEAR;
        cap_get_flag(present, kept[i], CAP_PERMITTED, &is_there);
        cap_set_flag(limited, CAP_PERMITTED, 1, &kept[i], is_there);
        cap_set_flag(limited, CAP_EFFECTIVE, 1, &kept[i], is_there);
    }
    error = cap_set_proc(limited); /* and with what is not inheritable, what is ambient */
out:
    cap_free(present);
    cap_free(limited);
    return error;
}

/* Without CAP_SETPCAP it stays as it is, see no_new_privs. */
static void empty_bounding_set(void)
{
    for (cap_value_t capability = 0; cap_get_bound(capability) >= 0; capability++)
        cap_drop_bound(capability);
}

static int become(const struct account *account)
{
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 ||
                   setresgid(account->gid, account->gid, account->gid) != 0 ||
                   setresuid(account->uid, account->uid, account->uid) != 0
               ? -1
               : 0;
}

/* What the kernel forgets of a process that becomes another user: the signal that it gets when its parent
 * ends, and that a core may be written when it crashes. */
struct forgotten {
    int parent_ends;
    int dumpable;
};

static struct forgotten remember(void)
{
    struct forgotten forgotten = {.dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)};
    prctl(PR_GET_PDEATHSIG, &forgotten.parent_ends, 0, 0, 0);
    return forgotten;
}

/* Only 0 and 1 can be set; what is not 1 is what the kernel has set itself. */
static bool restore(struct forgotten forgotten)
{
    return prctl(PR_SET_PDEATHSIG, forgotten.parent_ends, 0, 0, 0) == 0 &&
           (forgotten.dumpable != 1 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
}

/* 0 or -errno with the reason logged. */
static int change_who_we_are(const struct privileges *privileges)
{
    cap_value_t kept[KEPT_MAX];
    struct forgotten forgotten = remember();
    empty_bounding_set();
    if (privileges->is_root && become(&privileges->account) != 0)
        return failed("become another user", "--user root stays root, without most capabilities; ");
    if (limit_capabilities(kept, list_kept(privileges, kept)) != 0)
        return failed("give up capabilities", "");
    if (!restore(forgotten) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed("set no_new_privs", "");
    return 0;
}

/* The name is looked at while we run. */
static int see_netns(const struct privileges *privileges)
{
    const char *netns = privileges->config.netns;
    struct netns_id id;
    if (netns[0] == '\0' || netns_identify(netns, &id) != -EACCES)
        return 0;
    log_error("user %s has no access to network namespace %s, and would not see when it is another one: give "
              "another --user, or --no-drop",
              privileges->config.user, netns);
    return -EACCES;
}

/* It may be read again, while we run; a pipe cannot be. */
static void see_file(const struct privileges *privileges)
{
    const char *file = privileges->config.file;
    struct stat status;
    if (!file || access(file, R_OK) == 0 || errno != EACCES ||
        (stat(file, &status) == 0 && !S_ISREG(status.st_mode)))
        return;
    log_warnx("user %s may not read %s, so SIGHUP will change nothing: let that user read it (chmod, chgrp), "
              "or give "
              "another --user",
              privileges->config.user, file);
}

int privileges_drop(const struct privileges *privileges)
{
    if (privileges->config.keep)
        return 0;
    int error = change_who_we_are(privileges);
    if (!error)
        error = see_netns(privileges);
    if (!error && privileges->is_root)
        see_file(privileges);
    if (error || !CTFLOW9_SECCOMP)
        return error;
    errno = -syscall_filter_install(privileges->config.netns[0] != '\0');
    if (errno == 0)
        return 0;
    return failed("limit system calls",
                  errno == ENOMEM ? "" : "a kernel without CONFIG_SECCOMP_FILTER cannot; ");
}
