/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/config.h"
#include "ctflow9/config/option_table.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctflow9/input/rx.h"

#include "run_suite.h"

static struct options options;
static struct option_error why;

/* A file that has no name in any directory, so that nothing is left behind. */
static int fd;
static char path[32];

static void setup(void)
{
    fd = memfd_create("ctflow9.json", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, 0600), 0); /* at first everybody may write to it, which is warned of */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    option_table_default(&options);
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
    ck_assert_uint_eq(options.fields, FIELDS_MARK | FIELDS_TIMES);
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
    ck_assert_uint_eq(options.fields, FIELDS_MARK | FIELDS_ZONE);
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
     "rcvbuf: '64MB' is not a whole number, with K, M or G after it or without: give 4K to 1G octets"},
    {"{ \"mark\": 1.5 }", 1,
     "mark: this is of the wrong type: give a whole number or a string like \"0x10/0xff\""},
    {"{ \"mark\": -1 }", 1, "mark: '-1' is not a mark: give VALUE or VALUE/MASK, each 0 to 0xffffffff"},
    {"{ \"netns\": 5 }", 1, "netns: this is of the wrong type: give a string"},
    {"{ \"netns\": \"\" }", 1, "netns: '' is not possible: give 1 to 255 printable ASCII characters"},
    {"{ \"source-address\": \"x\" }", 1, "source-address: 'x' is neither an IPv4 nor an IPv6 address"},
    {"{ \"fields\": \"all\" }", 1,
     "fields: 'all' is not a field: give some of mark, zone, times, mac, vlan and ttl"},
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
     "collector: 'b}\"{' is neither an address nor a host name"},
    {"{ \"netns\": \"a,\\\"b\\\\\", \"fields\": [\"mark\",\n\"zone\"],\n \"mark\": \"1\", \"print\": true,\n "
     "\"json\": 1,"
     " \"verbose\": 2 }",
     4, "json: this is of the wrong type: give true or false"},
    {"{ \"collector\": [\"a\", \"b\"],\n \"fields\": [\n\"mark\",\n\"x\"] }", 4,
     "fields: 'x' is not a field: give some of mark, zone, times, mac, vlan and ttl"},
    {"{\r\n\t\"print\": true,\r\n\t\"jsom\": true\r\n}\r\n", 3,
     "there is no option jsom: did you mean json?"},
    {"[]", 1, "give an object: { \"collector\": \"192.0.2.10\" }"},
};

START_TEST(fault)
{
    check_refused(faults[_i].text, faults[_i].line, faults[_i].reason);
}
END_TEST

/* What jansson finds, in our words and with our position. */
static const struct {
    const char *text;
    const char *reason;
} not_json[] = {
    {"", "1:1: there is nothing in it: give {} at least"},
    {" \n\n", "3:1: there is nothing in it: give {} at least"},
    {"{ \"print\": true,\n }", "2:2: the comma before this '}' is one too many"},
    {"{ \"fields\": [\"mark\", ] }", "1:22: the comma before this ']' is one too many"},
    {"{ \"print\": true\n\n", "3:1: the text ends here, with a quote, bracket or brace still open"},
    {"{ \"netns\": \"abc", "1:16: the text ends here, with a quote, bracket or brace still open"},
    {"{ \"netns\"", "1:10: the text ends here, with a quote, bracket or brace still open"},
    {"{} x", "1:4: there is something after the end of the object"},
    {"{}}", "1:3: there is something after the end of the object"},
    {"{ \"print\": true,\n \"print\": true }", "2:2: \"print\" is given twice"},
    {"{ \"print\": true,\n \"pri\\u006et\": true }", "2:2: \"pri\\u006et\" is given twice"},
    {"{\n\"queue\": 9223372036854775808 }", "2:10: 9223372036854775808 is too large a number"},
    {"{ \"max-delay\": 1e999 }", "1:16: 1e999 is too large a number"},
    {"{ \"netns\": \"\xff\" }", "1:12: this is not UTF-8"},
    {"{ \"netns\": \"a\\u0000b\" }", "1:12: \\u0000 cannot be part of a name or a string"},
    {"{ \"ne\\u0000tns\": 1 }", "1:3: \\u0000 cannot be part of a name or a string"},
    {"{\n // a comment\n }", "2:2: there are no comments in JSON"},
    {"{ \"print\": true, # a comment\n }", "1:18: there are no comments in JSON"},
    {"{ 'print': true }", "1:3: names and strings are in double quotes"},
    {"{ \"netns\": 'x' }", "1:12: names and strings are in double quotes"},
    {"{ print: true }", "1:3: 'print' is not true, false, null, a number or in double quotes"},
    {"{ \"print\": True }", "1:12: 'True' is not true, false, null, a number or in double quotes"},
    {"{ \"queue\": 010 }", "1:12: '010' is not true, false, null, a number or in double quotes"},
    {"{ \"queue\": +1 }", "1:12: '+1' is not true, false, null, a number or in double quotes"},
    {"{ \"print\" true }", "1:11: there is a comma or a colon missing before 'true'"},
    {"{ \"print\": true\n  \"json\": true }", "2:3: there is a comma or a colon missing before '\"json\"'"},
    {"{ \"netns\": \"\xc3\xa4\xe2\x82\xac\" 2 }", "1:17: there is a comma or a colon missing before '2'"},
    {"{ \"fields\": [\"mark\" \"zone\"] }", "1:21: there is a comma or a colon missing before '\"zone\"'"},
    {"{ \"netns\": \"a\n\" }", "1:12: this string does not end on its line: is there a quote missing?"},
    {"{ \"print\": true,\f \"json\": true }",
     "1:17: '\f' is not true, false, null, a number or in double quotes"},
    {"{ \"netns\": true, \"\n }", "1:18: this string does not end on its line: is there a quote missing?"},
    {"{ \"netns\": \"a\\\"\n }", "1:12: this string does not end on its line: is there a quote missing?"},
    {"{ \"netns\": \"a\tb\" }", "1:12: there is a control character in this string"},
    {"{ \"netns\": \"C:\\x\" }", "1:12: there is a backslash in this string: a backslash is written as two"},
    {"{ \"netns\": \"\\ud800\" }", "1:12: there is an impossible \\u in this string"},
    {"{ \"queue\": }",
     "1:12: '}' cannot be here: is there something missing before it, or a bracket too many?"},
    {"{ \"queue\": 1]",
     "1:13: ']' cannot be here: is there something missing before it, or a bracket too many?"},
    {"\"print\"", "1:1: give an object: { \"collector\": \"192.0.2.10\" }"},
    {"true", "1:1: give an object: { \"collector\": \"192.0.2.10\" }"},
    {"collector = 192.0.2.1\n", "1:1: give an object: { \"collector\": \"192.0.2.10\" }"},
    {"\xef\xbb\xbf{}", "1:1: give an object: { \"collector\": \"192.0.2.10\" }"},
};

/* Wherever it stands: after it nothing is where it seems to be. */
static const struct {
    const char *text;
    size_t octets;
    const char *where;
} with_nul[] = {
    {"{ \"netns\": \"\\\0\" }", 16, ":1:14: "},
    {"{ \"netns\": \"a\0b\" }", 18, ":1:14: "},
    {"{ \"print\": true }\0", 18, ":1:18: "},
    {"{ \"max-delay\": 1.19\0, \"ma:\"6S }", 31, ":1:20: "},
};

START_TEST(octets_with_nul)
{
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "%sthere is a NUL octet here", with_nul[_i].where);
    ck_assert_int_eq(read_octets(with_nul[_i].text, with_nul[_i].octets), -EINVAL);
    ck_assert_msg(strstr(why.text, wanted), "%s", why.text);
}
END_TEST

START_TEST(text_that_is_not_json)
{
    char wanted[512];
    snprintf(wanted, sizeof(wanted), "%s:%s", path, not_json[_i].reason);
    ck_assert_int_eq(read_text(not_json[_i].text), -EINVAL);
    ck_assert_str_eq(why.text, wanted);
}
END_TEST

START_TEST(octets_that_are_no_text)
{
    /* Deep nesting must not end on the stack. */
    enum { DEPTH = 100000 };
    char *deep = malloc(2 * DEPTH);
    memset(deep, '[', DEPTH);
    memset(deep + DEPTH, ']', DEPTH);
    ck_assert_int_eq(read_octets(deep, 2 * DEPTH), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why.text, ":1:2049: there are too many brackets inside each other"));
    free(deep);
}
END_TEST

static void check_unread(const char *file, int error, const char *reason)
{
    char wanted[512];
    snprintf(wanted, sizeof(wanted), "%s: %s", file, reason);
    ck_assert_int_eq(config_read(&options, file, &why), error);
    ck_assert_str_eq(why.text, wanted);
}

static char directory[] = "/tmp/check_config_XXXXXX";
static char file[64];

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/file", directory);
}

static void remove_directory(void)
{
    unlink(file);
    rmdir(directory);
}

START_TEST(files_that_cannot_be_read)
{
    make_directory();
    check_unread(file, -ENOENT, "No such file or directory");
    ck_assert_int_eq(symlink("nothing", file), 0);
    check_unread(file, -EINVAL, "this is a symbolic link to a file that does not exist");
    remove_directory();
    check_unread("/", -EISDIR, "this is a directory: give a file");
    check_unread("/dev/zero", -ENXIO, "this is neither a file nor a pipe");
    ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
    check_unread(path, -EFBIG, "this is larger than a configuration can be, which is 1 MiB");
}
END_TEST

/* A pipe is read to its end, whenever its writer comes, writes and leaves. */
START_TEST(pipes)
{
    enum { BEFORE, SLOWLY, NOTHING, LATE };
    int fds[2];
    make_directory();
    ck_assert_int_eq(mkfifo(file, 0600), 0);
    ck_assert_int_eq(pipe(fds), 0);
    if (_i == BEFORE)
        ck_assert_int_eq(write(fds[1], "{ \"print\": true }", 17), 17);
    else if (fork() == 0) {
        int out = _i == LATE ? (usleep(200000), open(file, O_WRONLY)) : fds[1];
        for (const char *at = "{ \"print\": true }"; *at != '\0' && _i != NOTHING; at++) {
            usleep(20000);
            if (write(out, at, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
    int error = config_read(&options, _i == LATE ? file : path, &why);
    remove_directory();
    ck_assert_msg(error == (_i == NOTHING ? -EINVAL : 0), "%s", why.text);
    if (_i == NOTHING)
        ck_assert_ptr_nonnull(strstr(why.text, ":1:1: there is nothing in it: give {} at least"));
    else
        ck_assert(options.print);
}
END_TEST

START_TEST(pipe_without_a_writer)
{
    make_directory();
    ck_assert_int_eq(mkfifo(file, 0600), 0);
    int error = config_read(&options, file, &why);
    remove_directory();
    ck_assert_int_eq(error, -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(why.text, ": nothing came through this pipe for 10 seconds"));
}
END_TEST

/* Whoever may write the file tells a privileged program what to do. */
static const struct {
    mode_t mode, directory_mode;
    gid_t group;
    const char *warning;
} writers[] = {
    {0644, 0755, 0, ""},
    {0664, 0755, 0, ""},
    {0646, 0755, 0, "warning: FILE: everybody may write to this file"},
    {0664, 0755, 1234, "warning: FILE: group 1234 may write to this file"},
    {0644, 0755, 1234, ""},
    {0600, 0777, 0, "warning: FILE: everybody may replace this file"},
    {0600, 01777, 0, ""},
};

START_TEST(file_that_others_may_write)
{
    make_directory();
    int out = open(file, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(out, 0);
    ck_assert_int_eq(write(out, "{}", 2), 2);
    int ends[2], saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    int prepared = fchown(out, 0, writers[_i].group) | fchmod(out, writers[_i].mode) |
                   chmod(directory, writers[_i].directory_mode);
    int error = config_read(&options, file, &why);
    remove_directory();
    dup2(saved, STDERR_FILENO);
    ck_assert_int_eq(prepared, 0);
    ck_assert_int_eq(error, 0);
    char said[1024] = "", wanted[1024] = "";
    ssize_t octets = read(ends[0], said, sizeof(said) - 1);
    said[octets > 0 ? octets : 0] = '\0';
    const char *after = strstr(writers[_i].warning, "FILE");
    if (after)
        snprintf(wanted, sizeof(wanted), "ctflow9: warning: %s%s", file, after + strlen("FILE"));
    ck_assert_msg(strncmp(said, wanted, strlen(wanted)) == 0 && (said[0] == '\0') == (wanted[0] == '\0'),
                  "%s", said);
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
            option_table_default(&options);
            refused += read_text(damaged) != 0;
            ck_assert(refused == 0 || why.text[0] == '\0' || strncmp(why.text, path, strlen(path)) == 0);
        }
    }
    ck_assert_uint_gt(refused, 100);
}
END_TEST

START_TEST(an_object_of_numbers)
{
    check_read("{ \"interface-index\": { \"lan0\": 1, \"ppp0\": 2 } }");
    ck_assert_uint_eq(options.interface_numbers.count, 2);
    ck_assert_str_eq(options.interface_numbers.each[1].name, "ppp0");
    ck_assert_uint_eq(options.interface_numbers.each[1].number, 2);
    check_read("{ \"interface-index\": { \"wg0\": \"7\" } }"); /* in place of those */
    ck_assert_uint_eq(options.interface_numbers.count, 1);
    check_read("{ \"interface-index\": {} }");
    ck_assert_uint_eq(options.interface_numbers.count, 0);

    check_refused("{ \"interface-index\": {\n\"lan0\": 1,\n\"ppp0\": 1 } }", 3,
                  "interface-index: lan0 and ppp0 have the number 1: give each its own");
    check_refused("{ \"interface-index\": {\n\"lan0\":\n\n[1] } }", 2,
                  "interface-index: the value of lan0 is of the wrong type: give an object like "
                  "{ \"eth0\": 2 }");
    check_refused("{ \"interface-index\": 1 }", 1,
                  "interface-index: this is of the wrong type: give an object like { \"eth0\": 2 }");
    check_refused("{ \"interface-index\": [\n\"lan0=1\"] }", 2,
                  "interface-index: this is of the wrong type: give an object like { \"eth0\": 2 }");
    check_refused("{ \"netns\": { \"a\": 1 } }", 1, "netns: this is of the wrong type: give a string");
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
    tcase_add_test(tests, an_object_of_numbers);
    tcase_add_loop_test(tests, fault, 0, sizeof(faults) / sizeof(faults[0]));
    tcase_add_loop_test(tests, octets_with_nul, 0, sizeof(with_nul) / sizeof(with_nul[0]));
    tcase_add_loop_test(tests, text_that_is_not_json, 0, sizeof(not_json) / sizeof(not_json[0]));
    tcase_add_test(tests, octets_that_are_no_text);
    tcase_add_test(tests, files_that_cannot_be_read);
    tcase_add_loop_test(tests, pipes, 0, 4);
    tcase_add_test(tests, pipe_without_a_writer);
    if (geteuid() == 0)
        tcase_add_loop_test(tests, file_that_others_may_write, 0, sizeof(writers) / sizeof(writers[0]));
    tcase_add_test(tests, damaged_texts);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
