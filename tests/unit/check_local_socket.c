/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/local_socket.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run_suite.h"

static char directory[] = "/tmp/check_local_socket.XXXXXX";
static char path[64];
static struct local_socket opened;

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
}

static void teardown(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(directory), 0);
}

/* A socket of this kind that is bound to the path. */
static int bind_one(int kind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, kind, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int connect_to_it(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

START_TEST(listens_until_it_is_closed)
{
    ck_assert_int_eq(local_socket_open(&opened, path), 0);
    int client = connect_to_it();
    int server = accept(opened.fd, NULL, NULL);
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(accept(opened.fd, NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    local_socket_close(&opened);
    ck_assert_int_eq(access(path, F_OK), -1);
    local_socket_close(&opened);
    close(client);
    close(server);
}
END_TEST

/* What is left by a program that has ended: of both kinds. */
START_TEST(what_was_left_behind_is_replaced)
{
    close(bind_one(_i == 0 ? SOCK_STREAM : SOCK_DGRAM));
    ck_assert_int_eq(local_socket_open(&opened, path), 0);
    close(connect_to_it());
    local_socket_close(&opened);
}
END_TEST

START_TEST(what_is_in_use_stays)
{
    int other = bind_one(_i < 2 ? SOCK_STREAM : SOCK_DGRAM);
    if (_i < 2)
        listen(other, _i);
    int clients[] = {_i == 0 ? connect_to_it() : -1, -1};
    ck_assert_int_eq(local_socket_open(&opened, path), -EADDRINUSE);
    ck_assert_int_eq(opened.fd, -1);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(clients[0]);
    close(other);
}
END_TEST

START_TEST(what_is_no_socket_stays)
{
    struct stat before, after;
    if (_i == 0)
        close(open(path, O_CREAT | O_WRONLY, 0600));
    else
        ck_assert_int_eq(symlink("/nowhere", path), 0);
    ck_assert_int_eq(lstat(path, &before), 0);
    ck_assert_int_eq(local_socket_open(&opened, path), -ENOTSOCK);
    ck_assert_int_eq(lstat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

/* The file of another one that has taken the path is not ours to take away. */
START_TEST(the_file_of_another_stays)
{
    ck_assert_int_eq(local_socket_open(&opened, path), 0);
    ck_assert_int_eq(unlink(path), 0);
    int keep = open(directory, O_TMPFILE | O_RDWR, 0600); /* its inode number is not given to another */
    int other = bind_one(SOCK_STREAM);
    local_socket_close(&opened);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(other);
    close(keep);
}
END_TEST

START_TEST(the_mode_is_that_of_the_umask)
{
    static const mode_t masks[] = {0022, 0007, 0077};
    struct stat status;
    umask(masks[_i]);
    ck_assert_int_eq(local_socket_open(&opened, path), 0);
    ck_assert_int_eq(lstat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0777 & ~masks[_i]);
    local_socket_close(&opened);
}
END_TEST

START_TEST(bad_paths_are_refused)
{
    char longest[LOCAL_SOCKET_PATH_MAX + 2];
    memset(longest, 'n', sizeof(longest));
    longest[LOCAL_SOCKET_PATH_MAX + 1] = '\0';
    ck_assert_int_eq(local_socket_open(&opened, longest), -ENAMETOOLONG);
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(local_socket_open(&opened, longest + 1), 0); /* of this directory */
    local_socket_close(&opened);
    ck_assert_int_eq(local_socket_open(&opened, "nowhere/socket"), -ENOENT);
}
END_TEST

/* Many begin at the same time where one was left behind: one of them has it. */
START_TEST(one_of_many_has_it)
{
    enum { STARTERS = 16 };

    int start[2], end[2];
    ck_assert_int_eq(pipe(start) | pipe(end), 0);
    close(bind_one(SOCK_STREAM));
    for (int i = 0; i < STARTERS; i++) {
        if (fork() == 0) {
            char octet;
            close(start[1]), close(end[1]);
            (void)!read(start[0], &octet, 1);
            int error = local_socket_open(&opened, path);
            if (error == 0)
                (void)!read(end[0], &octet, 1); /* until the others have tried */
            _exit(error == 0 ? 0 : error == -EADDRINUSE ? 1 : 2);
        }
    }
    close(start[1]); /* off they go */
    unsigned refused = 0;
    for (int status; refused < STARTERS - 1 && wait(&status) > 0; refused++)
        ck_assert_int_eq(WEXITSTATUS(status), 1);
    close(connect_to_it());
    close(end[1]);
    int status;
    ck_assert_int_gt(wait(&status), 0);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* Somebody else's lock on the directory does not keep it from beginning. */
START_TEST(a_lock_that_stays)
{
    int lock = open(directory, O_RDONLY | O_DIRECTORY);
    ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    close(bind_one(SOCK_STREAM));
    ck_assert_int_eq(local_socket_open(&opened, path), 0);
    local_socket_close(&opened);
    close(lock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("local_socket");
    TCase *tests = tcase_create("local_socket");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, listens_until_it_is_closed);
    tcase_add_loop_test(tests, what_was_left_behind_is_replaced, 0, 2);
    tcase_add_loop_test(tests, what_is_in_use_stays, 0, 3);
    tcase_add_loop_test(tests, what_is_no_socket_stays, 0, 2);
    tcase_add_test(tests, the_file_of_another_stays);
    tcase_add_loop_test(tests, the_mode_is_that_of_the_umask, 0, 3);
    tcase_add_test(tests, bad_paths_are_refused);
    tcase_add_test(tests, one_of_many_has_it);
    tcase_add_test(tests, a_lock_that_stays);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
