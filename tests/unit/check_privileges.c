/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/privileges.h"

#include "unit/ct_lab.h"

#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BIT(capability) (UINT64_C(1) << (capability))
#define NEEDED          (BIT(CAP_NET_ADMIN) | BIT(CAP_SYS_NICE))

/* A child that has dropped, and waits: check's way of ending a test makes calls that are then refused. */
struct child {
    pid_t pid;
    int outcome; /* of privileges_drop() */
};

static struct privileges prepared(struct privileges_config config)
{
    struct privileges privileges;
    if (!config.netns)
        config.netns = "";
    if (!config.user)
        config.user = "nobody";
    ck_assert_int_eq(privileges_prepare(&privileges, &config), 0);
    return privileges;
}

static struct child drop(struct privileges_config config)
{
    struct privileges privileges = prepared(config);
    struct child child;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    child.pid = fork();
    if (child.pid == 0) {
        int outcome = privileges_drop(&privileges);
        if (write(ends[1], &outcome, sizeof(outcome)) == sizeof(outcome))
            for (;;)
                ppoll(NULL, 0, NULL, NULL);
        _exit(1);
    }
    ck_assert_int_eq(read(ends[0], &child.outcome, sizeof(child.outcome)), sizeof(child.outcome));
    close(ends[0]);
    close(ends[1]);
    return child;
}

static void end(struct child child)
{
    kill(child.pid, SIGKILL);
    ck_assert_int_eq(waitpid(child.pid, NULL, 0), child.pid);
}

/* What the kernel says of it after this name. */
static const char *status(struct child child, const char *name)
{
    static char line[256];
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", child.pid);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size_t octets = strlen(name);
    bool found = false;
    while (!found && fgets(line, sizeof(line), file))
        found = strncmp(line, name, octets) == 0 && line[octets] == ':';
    fclose(file);
    ck_assert_msg(found, "%s", name);
    line[strcspn(line, "\n")] = '\0';
    return line + octets + 1 + strspn(line + octets + 1, " \t");
}

/* The kernel has root own what it shows of a process that must not write a core. */
static uid_t owner_of_core(struct child child)
{
    struct stat status;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", child.pid);
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_uid;
}

static uint64_t capabilities(struct child child, const char *name)
{
    return strtoull(status(child, name), NULL, 16);
}

static void has_capabilities(struct child child, uint64_t wanted)
{
    ck_assert_uint_eq(capabilities(child, "CapPrm"), wanted);
    ck_assert_uint_eq(capabilities(child, "CapEff"), wanted);
    ck_assert_uint_eq(capabilities(child, "CapInh"), 0);
    ck_assert_uint_eq(capabilities(child, "CapAmb"), 0);
}

static void is_confined(struct child child)
{
    ck_assert_str_eq(status(child, "NoNewPrivs"), "1");
    if (CTFLOW9_SECCOMP)
        ck_assert_str_eq(status(child, "Seccomp"), "2");
}

static void make_ambient(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, words), 0);
    words[capability / 32].inheritable |= 1U << capability % 32;
    ck_assert_int_eq(syscall(SYS_capset, &header, words), 0);
    ck_assert_int_eq(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), 0);
}

START_TEST(becomes_the_user)
{
    make_ambient(CAP_NET_ADMIN);
    struct child child = drop((struct privileges_config){.user = "4711"});
    ck_assert_int_eq(child.outcome, 0);
    ck_assert_str_eq(status(child, "Uid"), "4711\t4711\t4711\t4711");
    ck_assert_str_eq(status(child, "Gid"), "4711\t4711\t4711\t4711");
    ck_assert_str_eq(status(child, "Groups"), "");
    ck_assert_uint_eq(owner_of_core(child), 4711);
    ck_assert_uint_eq(capabilities(child, "CapBnd"), 0);
    has_capabilities(child, NEEDED);
    is_confined(child);
    end(child);
}
END_TEST

/* The kernel forgets it when a process becomes another user. */
START_TEST(still_ends_with_its_parent)
{
    struct privileges privileges = prepared((struct privileges_config){0});
    int ends[2];
    char octet;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t parent = fork();
    if (parent == 0) {
        if (fork() != 0) {
            _exit(read(ends[0], &octet, 1) == 1 ? 0 : 1);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (privileges_drop(&privileges) == 0 && write(ends[1], "", 1) == 1)
            for (;;)
                ppoll(NULL, 0, NULL, NULL);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &octet, 1), 0);
}
END_TEST

START_TEST(stays_root_when_told)
{
    struct child child = drop((struct privileges_config){.user = "root"});
    ck_assert_int_eq(child.outcome, 0);
    ck_assert_str_eq(status(child, "Uid"), "0\t0\t0\t0");
    has_capabilities(child, NEEDED);
    is_confined(child);
    end(child);
}
END_TEST

/* As the service runs: there is no other user to become, and the bounding set cannot be changed. */
START_TEST(is_another_user_already)
{
    ck_assert_int_eq(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(setresuid(4711, 4711, 4711), 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2] = {
        {.permitted = 1U << CAP_NET_ADMIN, .effective = 1U << CAP_NET_ADMIN}};
    ck_assert_int_eq(syscall(SYS_capset, &header, words), 0);
    struct child child = drop((struct privileges_config){.user = "there is none of that name"});
    ck_assert_int_eq(child.outcome, 0);
    ck_assert_str_eq(status(child, "Uid"), "4711\t4711\t4711\t4711");
    ck_assert_uint_ne(capabilities(child, "CapBnd"), 0);
    has_capabilities(child, BIT(CAP_NET_ADMIN));
    is_confined(child);
    end(child);
}
END_TEST

static const struct {
    const char *netns;
    uint64_t more;
} namespaces[] = {
    {"/proc/self/ns/net", BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_PTRACE)},
    {"/run/netns/ctflow9-nonexistent", BIT(CAP_SYS_ADMIN)},
    {"ctflow9-nonexistent", BIT(CAP_SYS_ADMIN)},
};

START_TEST(keeps_what_another_namespace_takes)
{
    struct child child = drop((struct privileges_config){.netns = namespaces[_i].netns});
    ck_assert_int_eq(child.outcome, 0);
    has_capabilities(child, NEEDED | namespaces[_i].more);
    is_confined(child);
    end(child);
}
END_TEST

/* It would be taken for one that was removed. */
START_TEST(refuses_a_namespace_that_the_user_does_not_see)
{
    int captured = lab_capture_stderr();
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", "/mnt", "tmpfs", 0, NULL), 0);
    ck_assert_int_eq(mkdir("/mnt/closed", 0700), 0);
    struct child child = drop((struct privileges_config){.netns = "/mnt/closed/net"});
    ck_assert_int_eq(child.outcome, -EACCES);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "/mnt/closed/net"));
    end(child);
}
END_TEST

START_TEST(gives_up_nothing_when_told)
{
    struct child self = {.pid = getpid()};
    uint64_t before = capabilities(self, "CapPrm");
    struct child child = drop((struct privileges_config){.user = "there is none of that name", .keep = true});
    ck_assert_int_eq(child.outcome, 0);
    ck_assert_str_eq(status(child, "Uid"), "0\t0\t0\t0");
    ck_assert_uint_eq(capabilities(child, "CapPrm"), before);
    ck_assert_str_eq(status(child, "NoNewPrivs"), "0");
    ck_assert_str_eq(status(child, "Seccomp"), status(self, "Seccomp"));
    end(child);
}
END_TEST

START_TEST(knows_no_such_user)
{
    int captured = lab_capture_stderr();
    struct privileges privileges;
    const struct privileges_config config = {.user = "ctflow9-nonexistent", .netns = ""};
    ck_assert_int_eq(privileges_prepare(&privileges, &config), -ENOENT);
    ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "no user ctflow9-nonexistent"));
}
END_TEST

/* Where the first calls of that name knew users of 16 bits only, the C library makes others. */
#ifdef SYS_setgroups32
#define CALL_OF(name) SYS_##name##32
#else
#define CALL_OF(name) SYS_##name
#endif

static const struct {
    long call;
    const char *says;
} failures[] = {
    {CALL_OF(setgroups), "become another user"},
    {CALL_OF(setresgid), "become another user"},
    {CALL_OF(setresuid), "become another user"},
    {SYS_capset, "give up capabilities"},
#if CTFLOW9_SECCOMP
    {SYS_seccomp, NULL}, /* the older call does */
#endif
};

START_TEST(says_what_failed)
{
    int captured = lab_capture_stderr();
    lab_refuse(failures[_i].call, EPERM);
    struct child child = drop((struct privileges_config){0});
    ck_assert_int_eq(child.outcome, failures[_i].says ? -EPERM : 0);
    if (failures[_i].says) {
        ck_assert_ptr_nonnull(strstr(lab_stderr(captured), failures[_i].says));
        ck_assert_ptr_nonnull(strstr(lab_stderr(captured), "--no-drop"));
    }
    ck_assert_uint_eq(lab_count_lines(lab_stderr(captured)), failures[_i].says ? 1 : 0);
    end(child);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("privileges");
    tcase_add_test(tcase, becomes_the_user);
    tcase_add_test(tcase, still_ends_with_its_parent);
    tcase_add_test(tcase, stays_root_when_told);
    tcase_add_test(tcase, is_another_user_already);
    tcase_add_loop_test(tcase, keeps_what_another_namespace_takes, 0,
                        sizeof(namespaces) / sizeof(namespaces[0]));
    tcase_add_test(tcase, refuses_a_namespace_that_the_user_does_not_see);
    tcase_add_test(tcase, gives_up_nothing_when_told);
    tcase_add_test(tcase, knows_no_such_user);
    tcase_add_loop_test(tcase, says_what_failed, 0, sizeof(failures) / sizeof(failures[0]));
    Suite *suite = suite_create("privileges");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
