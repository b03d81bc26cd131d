/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctflow9/rx.h"

static struct options options;
static struct option_error why;

/* A file that has no name in any directory, so that nothing is left behind. */
static int fd;
static char path[32];

static void setup(void)
{
    fd = memfd_create("ctflow9.json", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    options_default(&options);
}

static int read_octets(const char *text, size_t octets)
{
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, text, octets, 0), (ssize_t)octets);
    memset(&why, 0, sizeof(why));
    return config_read(&options, path, &why);
}

static int read_text(const char *text)
{
    return read_octets(text, strlen(text));
}

static void check_read(const char *text)
{
    ck_assert_msg(read_text(text) == 0, "%s was refused: %s", text, why.text);
}

/* Refused for a reason in that line. */
static void check_refused(const char *text, unsigned line, const char *reason)
{
    char wanted[512];
    ck_assert_msg(read_text(text) == -EINVAL, "%s was taken", text);
    snprintf(wanted, sizeof(wanted), "%s:%u: %s", path, line, reason);
    ck_assert_str_eq(why.text, wanted);
}

START_TEST(every_key)
{
    check_read("{ \"collector\": [\"a\", \"[::1]:99\"], \"print\": true, \"json\": true, \"source-id\": 7,"
               "  \"max-datagram\": 1472, \"max-delay\": 0.25, \"max-rate\": 1000, \"queue\": 100,"
               "  \"template-refresh\": 30, \"template-datagrams\": 5, \"source-address\": \"192.0.2.1\","
               "  \"mark\": \"0x10/0xf0\", \"netns\": \"blue\", \"rcvbuf\": \"8M\", \"no-reliable\": true,"
               "  \"set-sysctls\": true, \"rx\": \"recvmmsg\", \"fields\": [\"mark\", \"times\"], "
               "\"verbose\": true }");
    ck_assert_uint_eq(options.collector_count, 2);
    ck_assert_str_eq(options.collectors[1].host, "::1");
    ck_assert_uint_eq(options.collectors[1].port, 99);
    ck_assert(options.print && options.json && options.no_reliable && options.set_sysctls && options.verbose);
    ck_assert_uint_eq(options.source_id, 7);
    ck_assert_uint_eq(options.max_datagram, 1472);
    ck_assert_uint_eq(options.max_delay_ms, 250);
    ck_assert_uint_eq(options.max_rate, 1000);
    ck_assert_uint_eq(options.queue, 100);
    ck_assert_uint_eq(options.template_refresh_s, 30);
    ck_assert_uint_eq(options.template_datagrams, 5);
    ck_assert_str_eq(options.source_address, "192.0.2.1");
    ck_assert_uint_eq(options.mark.value, 0x10);
    ck_assert_uint_eq(options.mark.mask, 0xf0);
    ck_assert_str_eq(options.netns, "blue");
    ck_assert_uint_eq(options.rcvbuf_octets, 8 << 20);
    ck_assert_uint_eq(options.rx, RX_RECVMMSG);
    ck_assert_uint_eq(options.fields, OPTIONS_FIELD_MARK | OPTIONS_FIELD_TIMES);
}
END_TEST

START_TEST(other_ways_to_say_it)
{
    check_read("{ \"collector\": \"a:1\", \"max-delay\": 2, \"mark\": 16, \"rcvbuf\": 65536,"
               "  \"fields\": \"mark,zone\", \"print\": false }");
    ck_assert_uint_eq(options.collector_count, 1);
    ck_assert_uint_eq(options.max_delay_ms, 2000);
    ck_assert_uint_eq(options.mark.value, 16);
    ck_assert_uint_eq(options.mark.mask, UINT32_MAX);
    ck_assert_uint_eq(options.rcvbuf_octets, 65536);
    ck_assert_uint_eq(options.fields, OPTIONS_FIELD_MARK | OPTIONS_FIELD_ZONE);
    check_read("{ \"max-delay\": 1.1e1, \"fields\": [], \"collector\": [] }");
    ck_assert_uint_eq(options.max_delay_ms, 11000);
    ck_assert_uint_eq(options.fields, 0);
    ck_assert_uint_eq(options.collector_count, 0);
    check_read("{ \"pri\\u006et\": true }");
    ck_assert(options.print);
}
END_TEST

START_TEST(null_and_nothing_change_nothing)
{
    struct options before;
    memcpy(&before, &options, sizeof(options));
    check_read("{}");
    check_read(
        "{ \"collector\": null, \"queue\": null, \"netns\": null, \"print\": null, \"fields\": null }");
    ck_assert_mem_eq(&options, &before, sizeof(options));
}
END_TEST

START_TEST(a_list_replaces_what_was_there)
{
    check_read("{ \"collector\": [\"a\", \"b\"] }");
    check_read("{ \"collector\": \"a\" }");
    ck_assert_uint_eq(options.collector_count, 1);
}
END_TEST

static const struct {
    const char *text;
    unsigned line;
    const char *reason;
} faults[] = {
    {"{\n \"max_datagram\": 1400 }", 2, "there is no option max_datagram: did you mean max-datagram?"},
    {"{\n\n\"frobnicate\": 1 }", 3, "there is no option frobnicate: see ctflow9.json(5)"},
    {"{ \"\": 1 }", 1, "there is no option : see ctflow9.json(5)"},
    {"{ \"check\":\n true }", 1, "check is for the command line only"},
    {"{ \"config\": \"x\" }", 1, "config is for the command line only"},
    {"{ \"help\": true }", 1, "help is for the command line only"},
    {"{ \"version\": true }", 1, "version is for the command line only"},
    {"{ \"print\": \"true\" }", 1, "print: this is of the wrong type: give true or false"},
    {"{ \"print\": 1 }", 1, "print: this is of the wrong type: give true or false"},
    {"{ \"queue\": \"5\" }", 1,
     "queue: this is of the wrong type: give a whole number, 1 to 16777216 records"},
    {"{ \"queue\": 5.0 }", 1, "queue: this is of the wrong type: give a whole number, 1 to 16777216 records"},
    {"{ \"queue\": [5] }", 1, "queue: this is of the wrong type: give a whole number, 1 to 16777216 records"},
    {"{ \"queue\": -5 }", 1, "queue: '-5' is not a whole number: give 1 to 16777216 records"},
    {"{ \"queue\": 0 }", 1, "queue: '0' is out of range: give 1 to 16777216 records"},
    {"{ \"queue\": 9223372036854775807 }", 1,
     "queue: '9223372036854775807' is out of range: give 1 to 16777216 records"},
    {"{ \"max-delay\": \"1\" }", 1, "max-delay: this is of the wrong type: give a number, 0 to 3600 seconds"},
    {"{ \"max-delay\": 0.0001 }", 1,
     "max-delay: '0.0001' is not a number with three decimals at most: give 0 to 3600 seconds"},
    {"{ \"max-delay\": 3600.5 }", 1, "max-delay: '3600.5' is out of range: give 0 to 3600 seconds"},
    {"{ \"max-delay\": 1e300 }", 1,
     "max-delay: '1e+300' is not a number with three decimals at most: give 0 to 3600 seconds"},
    {"{ \"rcvbuf\": true }", 1,
     "rcvbuf: this is of the wrong type: give a whole number or a string like \"64M\", 4K to 1G octets"},
    {"{ \"rcvbuf\": \"64MB\" }", 1,
     "rcvbuf: '64MB' is not a whole number, with K, M or G behind it or without: give 4K to 1G octets"},
    {"{ \"mark\": 1.5 }", 1,
     "mark: this is of the wrong type: give a whole number or a string like \"0x10/0xff\""},
    {"{ \"mark\": -1 }", 1, "mark: '-1' is not a mark: give VALUE or VALUE/MASK, each 0 to 0xffffffff"},
    {"{ \"netns\": 5 }", 1, "netns: this is of the wrong type: give a string"},
    {"{ \"netns\": \"\" }", 1, "netns: '' is not possible: give 1 to 255 printable ASCII characters"},
    {"{ \"source-address\": \"x\" }", 1, "source-address: 'x' is neither an IPv4 nor an IPv6 address"},
    {"{ \"fields\": \"all\" }", 1, "fields: 'all' is not a field: give some of mark, zone and times"},
    {"{ \"collector\": {\"host\": \"a\"} }", 1,
     "collector: this is of the wrong type: give a string or an array of strings"},
    {"{ \"collector\": [\"a\",\n\n \"a:b\"] }", 3, "collector: 'b' is not a port: give 1 to 65535"},
    {"{ \"collector\":\n[\n \"a\",\n \"b\",\n \"a\"\n ]\n }", 5, "collector: 'a' is given twice"},
    {"{ \"collector\": [\"a\",\n 5] }", 2,
     "collector: this is of the wrong type: give a string or an array of strings"},
    {"{ \"collector\": [\"a\",\n null] }", 2,
     "collector: this is of the wrong type: give a string or an array of strings"},
    {"{ \"collector\": [\"a\",\n [\"b\",\n \"c\"]] }", 2,
     "collector: this is of the wrong type: give a string or an array of strings"},
    /* Everything that could lead the search for the line astray stands in front of the fault. */
    {"\n{ \"collector\": [\"a,b}\\\"{\",\n \"]\\\\\"],\n \"x\": 1 }", 2,
     "collector: 'a,b}\"{' is neither an address nor a host name"},
    {"{ \"netns\": \"a,\\\"b\\\\\", \"fields\": [\"mark\",\n\"zone\"],\n \"mark\": \"1\", \"print\": true,\n "
     "\"json\": 1,"
     " \"verbose\": 2 }",
     4, "json: this is of the wrong type: give true or false"},
    {"{ \"collector\": [\"a\", \"b\"],\n \"fields\": [\n\"mark\",\n\"x\"] }", 4,
     "fields: 'x' is not a field: give some of mark, zone and times"},
    {"{\r\n\t\"print\": true,\r\n\t\"jsom\": true\r\n}\r\n", 3,
     "there is no option jsom: did you mean json?"},
    {"[]", 1, "give an object: { \"collector\": \"192.0.2.10\" }"},
};

START_TEST(fault)
{
    check_refused(faults[_i].text, faults[_i].line, faults[_i].reason);
}
END_TEST

/* What jansson finds is in its words. */
static const struct {
    const char *text;
    unsigned line;
} not_json[] = {
    {"", 1},
    {"{ \"print\": true,\n }", 2},
    {"{ \"print\": true\n\n", 3},
    {"{} x", 1},
    {"{ \"print\": true,\n \"print\": true }", 2},
    {"{ \"print\": true,\n \"pri\\u006et\": true }", 2},
    {"{\n\"queue\": 9223372036854775808 }", 2},
    {"{ \"netns\": \"\xff\" }", 1},
    {"{ \"netns\": \"a\\u0000b\" }", 1},
    {"{\n // a comment\n }", 2},
};

START_TEST(text_that_is_not_json)
{
    char start[512];
    snprintf(start, sizeof(start), "%s:%u: ", path, not_json[_i].line);
    ck_assert_int_eq(read_text(not_json[_i].text), -EINVAL);
    ck_assert_msg(strncmp(why.text, start, strlen(start)) == 0, "%s", why.text);
    ck_assert_uint_gt(strlen(why.text), strlen(start));
}
END_TEST

START_TEST(octets_that_are_no_text)
{
    ck_assert_int_eq(read_octets("{ \"print\": true }\0", 18), -EINVAL);
    ck_assert_int_eq(read_octets("\xef\xbb\xbf{}", 5), -EINVAL);
    /* Deep nesting must not end on the stack. */
    enum { DEPTH = 100000 };
    char *deep = malloc(2 * DEPTH);
    memset(deep, '[', DEPTH);
    memset(deep + DEPTH, ']', DEPTH);
    ck_assert_int_eq(read_octets(deep, 2 * DEPTH), -EINVAL);
    free(deep);
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
    ck_assert_int_eq(config_read(&options, "/nonexistent/file", &why), -ENOENT);
    ck_assert_str_eq(why.text, "/nonexistent/file: No such file or directory");
    ck_assert_int_eq(config_read(&options, "/", &why), -EISDIR);
    ck_assert_str_eq(why.text, "/: Is a directory");
    ck_assert_int_eq(config_read(&options, "/dev/zero", &why), -EFBIG);
    ck_assert_str_eq(why.text, "/dev/zero: File too large");
}
END_TEST

/* Every text that comes of removing or changing one octet is taken or refused, and nothing worse. */
START_TEST(damaged_texts)
{
    static const char text[] =
        "{\n \"collector\": [\"a:1\", \"[::1]:99\"],\n \"fields\": \"mark,zone\",\n"
        " \"max-delay\": 0.5, \"mark\": \"0x1/0x3\",\n \"print\": true, \"rcvbuf\": \"8M\" }";
    static const char octets[] = "\"{}[],:\\0\n ";
    char damaged[sizeof(text)];
    unsigned refused = 0;
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (size_t i = 0; i < sizeof(octets); i++) {
            memcpy(damaged, text, sizeof(text));
            if (octets[i] != '\0')
                damaged[at] = octets[i];
            else
                memmove(damaged + at, damaged + at + 1, sizeof(text) - at - 1);
            options_default(&options);
            refused += read_text(damaged) != 0;
            ck_assert(refused == 0 || why.text[0] == '\0' || strncmp(why.text, path, strlen(path)) == 0);
        }
    }
    ck_assert_uint_gt(refused, 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, every_key);
    tcase_add_test(tests, other_ways_to_say_it);
    tcase_add_test(tests, null_and_nothing_change_nothing);
    tcase_add_test(tests, a_list_replaces_what_was_there);
    tcase_add_loop_test(tests, fault, 0, sizeof(faults) / sizeof(faults[0]));
    tcase_add_loop_test(tests, text_that_is_not_json, 0, sizeof(not_json) / sizeof(not_json[0]));
    tcase_add_test(tests, octets_that_are_no_text);
    tcase_add_test(tests, files_that_cannot_be_read);
    tcase_add_test(tests, damaged_texts);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
