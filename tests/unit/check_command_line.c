/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/command_line.h"
#include "ctflow9/config/option_table.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctflow9/config/option_value.h"
#include "ctflow9/input/rx.h"

#include "run_suite.h"

enum { ARGUMENTS_MAX = 16 };

/* The configuration file that may be missing; when it is there it has no name in any directory. */
static char path[32];
static int fd;

static struct options options;
static char *out, *err;

static void remove_file(void)
{
    strcpy(path, "/nonexistent/ctflow9.json");
}

static void write_file(const char *text)
{
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
}

static void setup(void)
{
    fd = memfd_create("ctflow9.json", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, 0600), 0);
    remove_file();
}

static void teardown(void)
{
    free(out);
    free(err);
}

/* Parses the words of a command line; out and err hold what was written. */
static enum command_line_outcome parse(const char *words)
{
    char line[512] = "ctflow9 ";
    char *argv[ARGUMENTS_MAX + 1];
    int argc = 0;
    strncat(line, words, sizeof(line) - strlen(line) - 1);
    for (char *word = strtok(line, " "); word && argc < ARGUMENTS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;

    free(out);
    free(err);
    size_t out_octets, err_octets;
    FILE *out_stream = open_memstream(&out, &out_octets);
    FILE *err_stream = open_memstream(&err, &err_octets);
    memset(&options, 0xa5, sizeof(options));
    enum command_line_outcome outcome =
        command_line_parse_with(&options, argc, argv, path, out_stream, err_stream);
    fclose(out_stream);
    fclose(err_stream);
    return outcome;
}

static void check_runs(const char *words)
{
    ck_assert_msg(parse(words) == COMMAND_LINE_RUN, "%s: %s", words, err);
    ck_assert_str_eq(out, "");
    ck_assert_str_eq(err, "");
}

/* Refused with exactly that line. */
static void check_refused(const char *words, const char *line)
{
    ck_assert_msg(parse(words) == COMMAND_LINE_REFUSED, "%s was taken", words);
    ck_assert_str_eq(out, "");
    ck_assert_str_eq(err, line);
}

START_TEST(defaults)
{
    check_runs("");
    ck_assert_uint_eq(options.collector_count, 0);
    ck_assert(!options.print && !options.json && !options.no_reliable && !options.set_sysctls);
    ck_assert(!options.check && !options.verbose);
    ck_assert_uint_eq(options.source_id, 0);
    ck_assert_uint_eq(options.max_datagram, 1400);
    ck_assert_uint_eq(options.max_delay_ms, 1000);
    ck_assert_uint_eq(options.max_rate, 0);
    ck_assert_uint_eq(options.queue, 65536);
    ck_assert_uint_eq(options.template_refresh_s, 60);
    ck_assert_uint_eq(options.template_datagrams, 20);
    ck_assert_uint_eq(options.rcvbuf_octets, 64 << 20);
    ck_assert_uint_eq(options.rx, RX_AUTO);
    ck_assert_uint_eq(options.fields, 0);
    ck_assert_uint_eq(options.aggregate.keys, 0);
    ck_assert_uint_eq(options.aggregate.source_ipv4_bits, 0);
    ck_assert_uint_eq(options.aggregate_interval_s, 60);
    ck_assert(!options.mark.given);
    ck_assert_str_eq(options.source_address, "");
    ck_assert_str_eq(options.netns, "");
}
END_TEST

/* Each is possible by itself. */
START_TEST(options_that_contradict_each_other)
{
    check_refused("-c [::1]:9995 --source-address 127.0.0.1",
                  "ctflow9: --collector [::1]:9995 cannot be reached from --source-address 127.0.0.1: "
                  "give both as IPv4 or both as IPv6\n");
    check_refused("--check -c host -c 192.0.2.1 --source-address ::1",
                  "ctflow9: --collector 192.0.2.1:2055 cannot be reached from --source-address ::1: "
                  "give both as IPv4 or both as IPv6\n");
    check_runs("-c host -c ::1 --source-address 2001:db8::1");
    check_runs("-c host -c 1.2.3.4.example --source-address ::1");
    check_runs("-c ::ffff:127.0.0.1 --source-address 127.0.0.1");
    write_file("{ \"source-address\": \"127.0.0.1\" }");
    check_refused("-c ::1",
                  "ctflow9: --collector [::1]:2055 cannot be reached from --source-address 127.0.0.1: "
                  "give both as IPv4 or both as IPv6\n");
}
END_TEST

/* It may come later (PPP, a tunnel): told, not refused. */
START_TEST(check_tells_of_interfaces_that_are_not_there)
{
    ck_assert_int_eq(
        parse("--check -c fe80::1%lo -c [fe80::1%nowhere0]:9 -c fe80::1%1 -c fe80::1%4000000000"),
        COMMAND_LINE_DONE);
    ck_assert_str_eq(err,
                     "ctflow9: warning: --collector [fe80::1%nowhere0]:9: there is no interface nowhere0 "
                     "here now\n"
                     "ctflow9: warning: --collector [fe80::1%4000000000]:2055: there is no interface "
                     "4000000000 here now\n");
    ck_assert_int_eq(parse("--check --source-address fe80::1%nowhere0"), COMMAND_LINE_DONE);
    ck_assert_str_eq(
        err,
        "ctflow9: warning: --source-address fe80::1%nowhere0: there is no interface nowhere0 here now\n");
    check_runs("-c fe80::1%nowhere0"); /* tells so itself, each time it tries */
}
END_TEST

START_TEST(every_flag)
{
    check_runs("-c a --collector b:1 -p -j -i 7 --max-datagram 1472 --max-delay=0.5");
    ck_assert_uint_eq(options.collector_count, 2);
    ck_assert_str_eq(options.collectors[1].host, "b");
    ck_assert_uint_eq(options.collectors[1].port, 1);
    ck_assert(options.print && options.json);
    ck_assert_uint_eq(options.source_id, 7);
    ck_assert_uint_eq(options.max_datagram, 1472);
    ck_assert_uint_eq(options.max_delay_ms, 500);
    check_runs("--max-rate 1000 --queue 100 --template-refresh 30 --template-datagrams 5");
    ck_assert_uint_eq(options.max_rate, 1000);
    ck_assert_uint_eq(options.queue, 100);
    ck_assert_uint_eq(options.template_refresh_s, 30);
    ck_assert_uint_eq(options.template_datagrams, 5);
    check_runs("--source-address ::1 --mark 1/3 --netns blue --rcvbuf 1M --no-reliable --set-sysctls -v");
    ck_assert_str_eq(options.source_address, "::1");
    ck_assert_uint_eq(options.mark.mask, 3);
    ck_assert_str_eq(options.netns, "blue");
    ck_assert_uint_eq(options.rcvbuf_octets, 1 << 20);
    ck_assert(options.no_reliable && options.set_sysctls && options.verbose);
    check_runs("--rx recvmmsg");
    ck_assert_uint_eq(options.rx, RX_RECVMMSG);
    check_runs("--aggregate dst6/64,proto --aggregate sport --aggregate-interval 300");
    ck_assert_uint_eq(options.aggregate.keys, AGGREGATE_KEY_PROTO | AGGREGATE_KEY_SPORT);
    ck_assert_uint_eq(options.aggregate.destination_ipv6_bits, 64);
    ck_assert_uint_eq(options.aggregate_interval_s, 300);
    check_runs("--fields mark,times --fields zone");
    ck_assert_uint_eq(options.fields, FIELDS_MARK | FIELDS_ZONE | FIELDS_TIMES);
}
END_TEST

START_TEST(flags_as_getopt_takes_them)
{
    check_runs("-pjv -ca -i9");
    ck_assert(options.print && options.json && options.verbose);
    ck_assert_str_eq(options.collectors[0].host, "a");
    ck_assert_uint_eq(options.source_id, 9);
    check_runs("--coll a --template-r 5");
    ck_assert_str_eq(options.collectors[0].host, "a");
    ck_assert_uint_eq(options.template_refresh_s, 5);
    check_runs("-c a --max-rate 5 --max-rate 6 -c b");
    ck_assert_uint_eq(options.max_rate, 6);
    ck_assert_uint_eq(options.collector_count, 2);
    check_runs("--print --print=false --json=true");
    ck_assert(!options.print && options.json);
}
END_TEST

START_TEST(refused_flags)
{
    check_refused("--colector a", "ctflow9: there is no option --colector: did you mean --collector?\n");
    check_refused("--max_rate=5", "ctflow9: there is no option --max_rate: did you mean --max-rate?\n");
    check_refused("--reliable", "ctflow9: there is no option --reliable: did you mean --no-reliable?\n");
    check_refused("--frobnicate", "ctflow9: there is no option --frobnicate: see ctflow9 --help\n");
    check_refused("--max 5", "ctflow9: --max is short for more than one option: see ctflow9 --help\n");
    check_refused("-x", "ctflow9: there is no option -x: see ctflow9 --help\n");
    check_refused("-p?", "ctflow9: there is no option -?: see ctflow9 --help\n");
    check_refused("-:", "ctflow9: there is no option -:: see ctflow9 --help\n");
    check_refused("-\n", "ctflow9: there is no option -?: see ctflow9 --help\n");
    check_refused("-c", "ctflow9: --collector needs a value: HOST[:PORT]\n");
    check_refused("--queue", "ctflow9: --queue needs a value: RECORDS\n");
    check_refused("--check=true", "ctflow9: --check takes no value\n");
    check_refused("--config=", "ctflow9: --config needs a value: FILE\n");
    check_refused("--print=1", "ctflow9: --print: '1' is neither true nor false\n");
    check_refused("--queue 0", "ctflow9: --queue: '0' is out of range: give 1 to 16777216 records\n");
    check_refused("-c a:b", "ctflow9: --collector: 'b' is not a port: give 1 to 65535\n");
    check_refused("-c a -c A:2055", "ctflow9: --collector: 'A:2055' is given twice\n");
    check_refused("-p 192.0.2.1", "ctflow9: '192.0.2.1' is not an option: collectors are given with -c\n");
    check_refused("-- -p", "ctflow9: '-p' is not an option: collectors are given with -c\n");
}
END_TEST

START_TEST(the_nearest_name)
{
    ck_assert_str_eq(option_table_nearest("colector")->name, "collector");
    ck_assert_str_eq(option_table_nearest("collectors")->name, "collector");
    ck_assert_str_eq(option_table_nearest("max_datagram")->name, "max-datagram");
    ck_assert_str_eq(option_table_nearest("maxDelay")->name, "max-delay");
    ck_assert_str_eq(option_table_nearest("check")->name, "check");
    ck_assert_ptr_null(option_table_nearest(""));
    ck_assert_ptr_null(option_table_nearest("xyz"));
    ck_assert_ptr_null(option_table_nearest("a-name-that-is-longer-than-any-of-ours"));
    ck_assert_ptr_null(option_table_nearest("something-else-altogether"));
    ck_assert_ptr_null(option_table_find("colector"));
}
END_TEST

START_TEST(the_file_is_read_when_it_is_there)
{
    check_runs("-p");
    write_file("{ \"queue\": 5, \"collector\": [\"a\", \"b\"], \"verbose\": true }");
    check_runs("");
    ck_assert_uint_eq(options.queue, 5);
    ck_assert_uint_eq(options.collector_count, 2);
    ck_assert(options.verbose);

    write_file("{ \"queue\": 0 }");
    ck_assert_int_eq(parse(""), COMMAND_LINE_REFUSED);
    ck_assert_str_eq(out, "");
    ck_assert_ptr_nonnull(strstr(err, ":1: queue: '0' is out of range: give 1 to 16777216 records\n"));
}
END_TEST

START_TEST(another_file_replaces_it)
{
    char words[sizeof(path) + 4];
    write_file("not JSON at all");
    check_refused("-f /nonexistent/ctflow9.json",
                  "ctflow9: /nonexistent/ctflow9.json: No such file or directory\n");
    check_refused("-f /", "ctflow9: /: this is a directory: give a file\n");
    snprintf(words, sizeof(words), "-f %s", path);
    ck_assert_int_eq(parse(words), COMMAND_LINE_REFUSED);
    write_file("{}");
    check_runs(words);
}
END_TEST

START_TEST(flags_win_over_the_file)
{
    write_file("{ \"queue\": 5, \"max-rate\": 6, \"print\": true, \"json\": true,"
               "  \"collector\": [\"a\", \"b\"], \"fields\": \"mark,zone\","
               "  \"aggregate\": [\"src\", \"proto\"] }");
    check_runs("--queue 7 --print=false -c c --fields times --aggregate dst4");
    ck_assert_uint_eq(options.queue, 7);
    ck_assert_uint_eq(options.max_rate, 6);
    ck_assert(!options.print && options.json);
    ck_assert_uint_eq(options.collector_count, 1);
    ck_assert_str_eq(options.collectors[0].host, "c");
    ck_assert_uint_eq(options.fields, FIELDS_TIMES);
    ck_assert_uint_eq(options.aggregate.keys, 0);
    ck_assert_uint_eq(options.aggregate.source_ipv4_bits, 0);
    ck_assert_uint_eq(options.aggregate.destination_ipv4_bits, 32);
    /* The same as in the file is no repetition. */
    check_runs("-c a -c b");
    ck_assert_uint_eq(options.collector_count, 2);
}
END_TEST

START_TEST(one_line_whatever_is_in_it)
{
    write_file("{ \"collector\": \"two\\nlines\\u001b[1m\" }");
    ck_assert_int_eq(parse(""), COMMAND_LINE_REFUSED);
    ck_assert_ptr_eq(strchr(err, '\n'), err + strlen(err) - 1);
    ck_assert_ptr_null(strchr(err, '\x1b'));
}
END_TEST

START_TEST(version)
{
    write_file("a broken file is no reason not to tell");
    ck_assert_int_eq(parse("-V --nonsense"), COMMAND_LINE_DONE);
    ck_assert_int_eq(strncmp(out, "ctflow9 ", 8), 0);
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
    ck_assert_ptr_nonnull(strstr(out, CTFLOW9_NFLOG ? " +NFLOG" : " -NFLOG"));
    ck_assert_ptr_nonnull(strstr(out, CTFLOW9_NFQUEUE ? " +NFQUEUE" : " -NFQUEUE"));
    ck_assert_ptr_nonnull(strstr(out, CTFLOW9_SECCOMP ? " +seccomp" : " -seccomp"));
    ck_assert_ptr_nonnull(strstr(out, CTFLOW9_NFACCT ? " +nfacct" : " -nfacct"));
    ck_assert_ptr_nonnull(strstr(out, CTFLOW9_FENTRY ? " +fentry" : " -fentry"));
    ck_assert_ptr_nonnull(strstr(out, CTFLOW9_BPF ? " +libbpf" : " -libbpf"));
    ck_assert_str_eq(err, "");
    ck_assert_int_eq(parse("--nonsense -V"), COMMAND_LINE_REFUSED);
}
END_TEST

#if CTFLOW9_NFLOG || CTFLOW9_NFQUEUE || CTFLOW9_NFACCT
START_TEST(something_is_to_be_read)
{
    if (CTFLOW9_NFLOG)
        check_runs("--no-conntrack --nflog 5");
    if (CTFLOW9_NFQUEUE)
        check_runs("--no-conntrack --nfqueue 5");
    if (CTFLOW9_NFACCT)
        check_runs("--no-conntrack --nfacct 5");
    ck_assert(options.no_conntrack);
    ck_assert_int_eq(parse("--no-conntrack"), COMMAND_LINE_REFUSED);
    ck_assert_str_eq(err, "ctflow9: --no-conntrack leaves nothing to read: give --nflog GROUP, --nfqueue NUM "
                          "or --nfacct SECONDS as well\n");
}
END_TEST
#endif

#if CTFLOW9_NFQUEUE
START_TEST(packets_do_not_go_round_for_ever)
{
    check_runs("--nfqueue 5 --nfqueue-verdict repeat --nfqueue-mark 1/1");
    check_runs("--nfqueue 5 --nfqueue-mark 1");
    ck_assert_int_eq(parse("--nfqueue 5 --nfqueue-verdict repeat"), COMMAND_LINE_REFUSED);
    ck_assert_ptr_nonnull(strstr(err, "again and again: give --nfqueue-mark as well"));
}
END_TEST
#endif

/* Options of a source that was not built, one after the other. */
static void check_unbuilt(const char *source, const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char flag[64], wanted[128];
        int octets = (int)strcspn(names[i], "=");
        snprintf(flag, sizeof(flag), "--%s", names[i]);
        snprintf(wanted, sizeof(wanted), "ctflow9: --%.*s is not possible: ctflow9 was built without %s\n",
                 octets, names[i], source);
        ck_assert_int_eq(parse(flag), COMMAND_LINE_REFUSED);
        ck_assert_str_eq(err, wanted);
        snprintf(wanted, sizeof(wanted), "--%.*s", octets, names[i]);
        ck_assert_int_eq(parse("--help"), COMMAND_LINE_DONE);
        ck_assert_ptr_null(strstr(out, wanted));
        snprintf(wanted, sizeof(wanted), "\"%.*s\"", octets, names[i]);
        ck_assert_int_eq(parse("--check"), COMMAND_LINE_DONE);
        ck_assert_ptr_null(strstr(out, wanted));
    }
}

START_TEST(what_was_not_built_is_refused_by_name)
{
    static const char *const nflog[] = {"nflog=5", "nflog-size=128"};
    static const char *const nfqueue[] = {"nfqueue=5", "nfqueue-verdict=accept", "nfqueue-mark=1"};
    static const char *const nfacct[] = {"nfacct=5"};
    static const char *const either[] = {"flow-cache=9", "inactive-timeout=9"};
    static const char *const any[] = {"no-conntrack"};
    if (!CTFLOW9_NFLOG)
        check_unbuilt("NFLOG", nflog, 2);
    if (!CTFLOW9_NFQUEUE)
        check_unbuilt("NFQUEUE", nfqueue, 3);
    if (!CTFLOW9_NFACCT)
        check_unbuilt("nfacct", nfacct, 1);
    if (CTFLOW9_NFLOG || CTFLOW9_NFQUEUE)
        return;
    check_unbuilt("NFLOG and NFQUEUE", either, 2);
    if (!CTFLOW9_NFACCT)
        check_unbuilt("NFLOG, NFQUEUE and nfacct", any, 1);
    write_file("{ \"nflog\": \"5\" }");
    ck_assert_int_eq(parse(""), COMMAND_LINE_REFUSED);
    ck_assert_ptr_nonnull(strstr(err, ":1: nflog is not possible: ctflow9 was built without NFLOG\n"));
}
END_TEST

START_TEST(help_fits_the_screen_and_names_every_setting)
{
    json_t *settings, *value;
    const char *name;

    write_file("a broken file is no reason not to help");
    ck_assert_int_eq(parse("-p -h nonsense"), COMMAND_LINE_DONE);
    ck_assert_str_eq(err, "");
    char *help = strdup(out);
    remove_file();
    ck_assert_int_eq(parse("--check"), COMMAND_LINE_DONE);
    settings = json_loads(out, 0, NULL);
    ck_assert_uint_gt(json_object_size(settings), 10);
    json_object_foreach(settings, name, value)
    {
        char flag[64];
        snprintf(flag, sizeof(flag), " --%s ", name);
        ck_assert_msg(strstr(help, flag), "%s is missing", flag);
    }
    ck_assert_ptr_nonnull(strstr(help, "  -c, --collector HOST[:PORT] "));
    ck_assert_ptr_nonnull(strstr(help, " 512 to 8972 octets, default 1400\n"));
    ck_assert_ptr_nonnull(strstr(help, " 4K to 1G octets, default 64M\n"));
    ck_assert_ptr_nonnull(strstr(help, " default auto\n"));
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n"))
        ck_assert_msg(strlen(line) < 80, "too long: %s", line);
    json_decref(settings);
    free(help);
}
END_TEST

START_TEST(what_check_prints_is_a_configuration_that_says_the_same)
{
    static const char *const lines[] = {
        "--check",
        "--check -c 192.0.2.1 -c [2001:db8::1]:99 -c fe80::1%eth0 -c flows.example.net -p -j -i 4294967295",
        "--check --max-datagram 512 --max-delay 0.001 --max-rate 100000000 --queue 16777216 --rcvbuf 1G",
        "--check --template-refresh 86400 --template-datagrams 1000000 --source-address 192.0.2.9 --netns "
        "/a/b",
        "--check --mark 0x10/0x30 --fields zone,mark --no-reliable --set-sysctls --verbose --max-delay "
        "3599.999",
        "--check --mark 7 --fields times",
        "--check --aggregate src,dst4/24,dst6,sport,dport,proto,mark,zone,nat --aggregate-interval 3600",
        "--check --aggregate src6/127",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        ck_assert_int_eq(parse(lines[i]), COMMAND_LINE_DONE);
        ck_assert_str_eq(err, "");
        struct options flags = options;
        char *printed = strdup(out);
        write_file(printed);
        ck_assert_msg(parse("--check") == COMMAND_LINE_DONE, "%s", err);
        ck_assert_str_eq(out, printed);
        flags.config = options.config; /* one was read */
        ck_assert_mem_eq(&options, &flags, sizeof(options));
        free(printed);
        remove_file();
    }
}
END_TEST

START_TEST(check_finds_faults)
{
    write_file("{ \"print\": 1 }");
    ck_assert_int_eq(parse("--check"), COMMAND_LINE_REFUSED);
    ck_assert_str_eq(out, "");
    FILE *full = fopen("/dev/full", "w");
    ck_assert_ptr_nonnull(full);
    option_table_default(&options);
    ck_assert_int_ne(option_table_print_json(&options, full), 0);
    fclose(full);
}
END_TEST

/* The options may be right, so nobody is told that they are wrong. */
START_TEST(cannot_be_read)
{
    struct rlimit limit, few;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    enum command_line_outcome outcome = parse("-f /dev/null");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0); /* a sanitizer opens files at the end */
    ck_assert_int_eq(outcome, COMMAND_LINE_FAILED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, options_that_contradict_each_other);
    tcase_add_test(tests, check_tells_of_interfaces_that_are_not_there);
    tcase_add_test(tests, every_flag);
    tcase_add_test(tests, flags_as_getopt_takes_them);
    tcase_add_test(tests, refused_flags);
    tcase_add_test(tests, the_nearest_name);
    tcase_add_test(tests, the_file_is_read_when_it_is_there);
    tcase_add_test(tests, another_file_replaces_it);
    tcase_add_test(tests, flags_win_over_the_file);
    tcase_add_test(tests, one_line_whatever_is_in_it);
    tcase_add_test(tests, version);
#if CTFLOW9_NFLOG || CTFLOW9_NFQUEUE || CTFLOW9_NFACCT
    tcase_add_test(tests, something_is_to_be_read);
#endif
#if CTFLOW9_NFQUEUE
    tcase_add_test(tests, packets_do_not_go_round_for_ever);
#endif
    tcase_add_test(tests, what_was_not_built_is_refused_by_name);
    tcase_add_test(tests, help_fits_the_screen_and_names_every_setting);
    tcase_add_test(tests, what_check_prints_is_a_configuration_that_says_the_same);
    tcase_add_test(tests, check_finds_faults);
    tcase_add_test(tests, cannot_be_read);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
