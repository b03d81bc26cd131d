/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/netns.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include "unit/ct_lab.h"

static ino_t present(void)
{
    struct stat status;
    ck_assert_int_eq(stat("/proc/thread-self/ns/net", &status), 0);
    return status.st_ino;
}

/* A new namespace is left behind under the name "check", in a /run that only this process sees. */
static ino_t make_named(void)
{
    ck_assert_msg(unshare(CLONE_NEWNS) == 0, "this needs root: %s", strerror(errno));
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", "/run", "tmpfs", 0, NULL), 0);
    ck_assert_int_eq(mkdir("/run/netns", 0755), 0);
    FILE *file = fopen("/run/netns/check", "w");
    ck_assert(file != NULL && fclose(file) == 0);
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    ck_assert_int_eq(mount("/proc/thread-self/ns/net", "/run/netns/check", NULL, MS_BIND, NULL), 0);
    ino_t named = present();
    ck_assert_int_eq(setns(own, CLONE_NEWNET), 0);
    close(own);
    return named;
}

START_TEST(enters_and_comes_back)
{
    static const char *const ways[] = {"check", "/run/netns/check", "../run/netns/check"};
    ino_t named = make_named(), own = present();
    ck_assert_int_eq(chdir("/tmp"), 0);
    ck_assert_uint_ne(named, own);
    int left = netns_enter(ways[_i]);
    ck_assert_int_ge(left, 0);
    ck_assert_uint_eq(present(), named);
    ck_assert(fcntl(left, F_GETFD) & FD_CLOEXEC);
    ck_assert_int_eq(netns_leave(left), 0);
    ck_assert_uint_eq(present(), own);
    ck_assert_int_eq(fcntl(left, F_GETFD), -1);
}
END_TEST

static void refused(const char *name_or_path, int error, const char *part)
{
    ino_t own = present();
    int captured = lab_capture_stderr();
    ck_assert_int_eq(netns_enter(name_or_path), error);
    const char *text = lab_stderr(captured);
    ck_assert_msg(lab_count_lines(text) == 1 && strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
    ck_assert_uint_eq(present(), own);
    close(captured);
}

START_TEST(says_why_it_cannot_enter)
{
    char endless[8192] = "";
    memset(endless, 'a', sizeof(endless) - 1);
    make_named();
    refused("nowhere", -ENOENT, "/run/netns/nowhere");
    refused("/nowhere/at/all", -ENOENT, "ip netns list");
    refused("/dev/null", -EINVAL, "not a network namespace");
    refused("/proc/self/ns/uts", -EINVAL, "not a network namespace");
    ck_assert_int_eq(mkfifo("/run/fifo", 0600), 0); /* nobody is waited for */
    refused("/run/fifo", -EINVAL, "not a network namespace");
    refused(endless, -ENAMETOOLONG, "/run/netns/aaa");
    lab_drop_capabilities();
    refused("check", -EPERM, "CAP_SYS_ADMIN");
}
END_TEST

static void identified(const char *name_or_path, struct netns_id *id)
{
    ck_assert_int_eq(netns_identify(name_or_path, id), 0);
}

/* ip-netns(8) mounts a namespace over a file, and takes both away. */
START_TEST(another_one_of_the_same_name_is_told_apart)
{
    struct netns_id first, entered, own, second;
    make_named();
    identified("check", &first);
    identified("/proc/thread-self/ns/net", &own);
    ck_assert(!netns_is_same(&first, &own));
    int left = netns_enter("check");
    ck_assert_int_ge(left, 0);
    identified("/proc/thread-self/ns/net", &entered);
    ck_assert(netns_is_same(&first, &entered));

    ck_assert_int_eq(umount2("/run/netns/check", MNT_DETACH), 0);
    ck_assert_int_eq(netns_identify("check", &second), -EINVAL);
    ck_assert_int_eq(unlink("/run/netns/check"), 0);
    ck_assert_int_eq(netns_identify("check", &second), -ENOENT);
    ck_assert_int_eq(rmdir("/run/netns"), 0);
    make_named();
    identified("check", &second);
    ck_assert(!netns_is_same(&first, &second));
    ck_assert_int_eq(netns_leave(left), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("netns");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, enters_and_comes_back, 0, 3);
    tcase_add_test(tcase, says_why_it_cannot_enter);
    tcase_add_test(tcase, another_one_of_the_same_name_is_told_apart);
    Suite *suite = suite_create("netns");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
