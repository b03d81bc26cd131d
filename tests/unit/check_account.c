/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/account.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "run_suite.h"

static const char entries[] = "root:x:0:0:root:/root:/bin/bash\n"
                              "+netuser::::::\n"
                              "\n"
                              "broken line\n"
                              "nobody:x:65533:65532:nobody:/:/usr/sbin/nologin\n"
                              "flows:x:990:991::/nonexistent:/usr/sbin/nologin\n"
                              "2001:x:992:993::/:\n"
                              "-flow2:x:994:994::/:\n"
                              "last:x:995:996::/:";

static char path[] = "/tmp/ctflow9-account.XXXXXX";

static void write_file(void)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, entries, sizeof(entries) - 1), sizeof(entries) - 1);
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
}

static const struct {
    const char *user;
    int error;
    uid_t uid;
    gid_t gid;
} users[] = {
    {"root", 0, 0, 0},
    {"nobody", 0, 65533, 65532},
    {"flows", 0, 990, 991},
    {"last", 0, 995, 996},
    {"0", 0, 0, 0},
    {"990", 0, 990, 991},    /* its group is in the file */
    {"4711", 0, 4711, 4711}, /* and else has the same number */
    {"2001", 0, 2001, 2001}, /* a number is one, whatever names there are */
    {"4294967294", 0, 4294967294, 4294967294},
    {"4294967295", -ENOENT, 0, 0}, /* (uid_t)-1 leaves the user as it is */
    {"99999999999999999999", -ENOENT, 0, 0},
    {"-1", -ENOENT, 0, 0},
    {" 1", -ENOENT, 0, 0},
    {"1x", -ENOENT, 0, 0},
    {"0x1", -ENOENT, 0, 0},
    {"flow", -ENOENT, 0, 0},
    {"flows2", -ENOENT, 0, 0},
    {"+netuser", -ENOENT, 0, 0},
    {"netuser", -ENOENT, 0, 0},
    {"-flow2", -ENOENT, 0, 0},
    {"", -ENOENT, 0, 0},
};

START_TEST(finds)
{
    struct account account = {0};
    ck_assert_int_eq(account_find(&account, users[_i].user, path), users[_i].error);
    ck_assert_uint_eq(account.uid, users[_i].uid);
    ck_assert_uint_eq(account.gid, users[_i].gid);
}
END_TEST

/* As in a container that has but this program. */
START_TEST(without_a_file)
{
    struct account account;
    ck_assert_int_eq(account_find(&account, "nobody", "/nonexistent/passwd"), 0);
    ck_assert_uint_eq(account.uid, 65534);
    ck_assert_uint_eq(account.gid, 65534);
    ck_assert_int_eq(account_find(&account, "100", "/nonexistent/passwd"), 0);
    ck_assert_uint_eq(account.uid, 100);
    ck_assert_int_eq(account_find(&account, "flows", "/nonexistent/passwd"), -ENOENT);
}
END_TEST

START_TEST(cannot_read)
{
    struct account account;
    struct rlimit before, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    ck_assert_int_eq(account_find(&account, "nobody", "/etc/passwd/passwd"), -ENOTDIR);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(account_find(&account, "nobody", path), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("account");
    tcase_add_unchecked_fixture(tcase, write_file, remove_file);
    tcase_add_loop_test(tcase, finds, 0, sizeof(users) / sizeof(users[0]));
    tcase_add_test(tcase, without_a_file);
    tcase_add_test(tcase, cannot_read);
    Suite *suite = suite_create("account");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
