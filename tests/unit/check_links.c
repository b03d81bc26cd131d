/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/input/links.h"

#include <linux/rtnetlink.h>

#include "unit/ct_lab.h"

static struct links *links;
static bool is_refused; /* from now on, by the kernel */
static unsigned sent;

/* libc's, but that a request may be made one of no known type on its way. */
ssize_t send(int fd, const void *message, size_t octets, int flags)
{
    struct nlmsghdr request[8] = {0};
    ck_assert_uint_le(octets, sizeof(request));
    memcpy(request, message, octets);
    if (is_refused)
        request->nlmsg_type = RTM_MAX + 1;
    sent++;
    return sendto(fd, request, octets, flags, NULL, 0);
}

static void setup(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "this needs root: %s", strerror(errno));
    ck_assert_int_eq(links_open(&links), 0);
}

static void teardown(void)
{
    links_close(links);
}

static void run(const char *command)
{
    ck_assert_int_eq(system(command), 0);
}

static void ip(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof(command), "ip %s", arguments);
    run(command);
}

/* What the kernel has told by now: it tells within the call that changes something. */
static bool read_all(void)
{
    bool changed = false, more = true;
    while (more) {
        struct poll_set set;
        poll_set_clear(&set);
        links_wants(links, &set);
        more = poll(set.fds, set.count, 0) > 0;
        ck_assert_int_eq(links_run(links, &changed), 0);
    }
    return changed;
}

static const struct link *find(uint32_t index)
{
    for (size_t i = 0; i < links_count(links); i++)
        if (links_at(links, i)->index == index)
            return links_at(links, i);
    return NULL;
}

static const struct link *named(const char *name)
{
    for (size_t i = 0; i < links_count(links); i++)
        if (strcmp(links_at(links, i)->name, name) == 0)
            return links_at(links, i);
    return NULL;
}

START_TEST(those_that_are_there_are_known)
{
    ck_assert(!links_are_complete(links));
    ck_assert_uint_eq(links_count(links), 0);
    ck_assert(read_all());
    ck_assert(links_are_complete(links));
    const struct link *loopback = named("lo");
    ck_assert_ptr_ne(loopback, NULL);
    ck_assert_uint_eq(loopback->index, 1);
    ck_assert(!read_all());
}
END_TEST

START_TEST(changes_are_followed)
{
    read_all();
    ip("link add one index 70 type veth peer peer1");
    ip("link add two index 60 type veth peer peer2");
    ck_assert(read_all());
    ck_assert_uint_eq(named("one")->index, 70);
    ck_assert_ptr_eq(find(60), named("two"));
    ck_assert_ptr_eq(find(65), NULL);
    for (size_t i = 1; i < links_count(links); i++)
        ck_assert_uint_lt(links_at(links, i - 1)->index, links_at(links, i)->index);

    ip("link set one name uno");
    ip("link set two up alias 'the uplink'");
    ck_assert(read_all());
    ck_assert_str_eq(find(70)->name, "uno");
    ck_assert_str_eq(find(60)->alias, "the uplink");

    ip("link del uno");
    ip("link add uno index 71 type veth peer peer1"); /* a tunnel that was made anew */
    ck_assert(read_all());
    ck_assert_ptr_eq(find(70), NULL);
    ck_assert_uint_eq(named("uno")->index, 71);
}
END_TEST

/* What a bridge tells of its ports has another family, and says less: no alias for one. */
START_TEST(bridges_tell_of_ports_not_of_links)
{
    ip("link add bridge index 80 type bridge");
    ip("link add port index 81 type veth peer peer1");
    ip("link set port up alias uplink master bridge");
    read_all();
    run("bridge link set dev port cost 5");
    ck_assert(!read_all());
    ck_assert_str_eq(find(81)->alias, "uplink");
    ip("link set port nomaster");
    read_all();
    ck_assert_str_eq(find(81)->alias, "uplink");
}
END_TEST

START_TEST(texts_are_clean_and_cut_behind_a_character)
{
    char command[512] = "link set lo alias ";
    for (unsigned i = 0; i < 33; i++)
        strcat(command, i == 0 ? "x" : "\xc3\xa4");
    ip("link set lo up"); /* the kernel tells of no alias of a link that is down */
    ip(command);
    read_all();
    const struct link *loopback = named("lo");
    ck_assert_uint_eq(strlen(loopback->alias), 63);
    ck_assert_str_eq(loopback->alias + 61, "\xc3\xa4");
    ip("link add 'a\x1b\xffz' index 90 type veth peer peer1");
    read_all();
    ck_assert_str_eq(find(90)->name, "a??z");
}
END_TEST

/* Notices that do not fit: all is asked for again, and what went unseen is not kept. */
START_TEST(what_was_lost_is_asked_for_again)
{
    enum { MANY = 400 };
    char batch[] = "/tmp/check_links.XXXXXX";
    ip("link add old index 50 type veth peer peer1");
    read_all();
    ck_assert_ptr_ne(find(50), NULL);
    FILE *file = fdopen(mkstemp(batch), "w");
    for (unsigned i = 0; i < MANY; i++)
        fprintf(file, "link add many%u index %u type veth peer peer%u\n", i, 1000 + i, 10 + i);
    fprintf(file, "link del old\n");
    ck_assert_int_eq(fclose(file), 0);
    char command[128];
    snprintf(command, sizeof(command), "-batch %s", batch);
    ip(command);
    unlink(batch);

    ck_assert(read_all());
    ck_assert_ptr_eq(find(50), NULL);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_ptr_ne(find(1000 + i), NULL);
}
END_TEST

/* The kernel's answer to a request that it does not know is the one to a dump that it refuses. */
START_TEST(what_was_refused_is_asked_for_by_the_next_call)
{
    bool changed = false;
    read_all();
    links_close(links);
    is_refused = true;
    sent = 0;
    ck_assert_int_eq(links_open(&links), 0);
    ck_assert_int_eq(links_run(links, &changed), -EOPNOTSUPP);
    ck_assert_uint_eq(sent, 1);
    ck_assert(!links_are_complete(links));
    links_run(links, &changed); /* asks, and the answer is there at once */
    ck_assert_uint_eq(sent, 2);
    is_refused = false;
    ck_assert_int_eq(links_run(links, &changed), -EOPNOTSUPP);
    ck_assert_uint_eq(sent, 2);
    ck_assert_int_eq(links_run(links, &changed), 0);
    ck_assert_uint_eq(sent, 3);
    ck_assert(read_all());
    ck_assert(links_are_complete(links));
    ck_assert_ptr_ne(named("lo"), NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("links");
    TCase *tests = tcase_create("links");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, those_that_are_there_are_known);
    tcase_add_test(tests, changes_are_followed);
    tcase_add_test(tests, bridges_tell_of_ports_not_of_links);
    tcase_add_test(tests, texts_are_clean_and_cut_behind_a_character);
    tcase_add_test(tests, what_was_lost_is_asked_for_again);
    tcase_add_test(tests, what_was_refused_is_asked_for_by_the_next_call);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
