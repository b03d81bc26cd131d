/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/aggregate_keys.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run_suite.h"

static struct aggregate_by by;
static struct option_error why;

static void setup(void)
{
    by = (struct aggregate_by){0};
}

static void check_set(const char *text)
{
    ck_assert_msg(aggregate_keys_set(&by, text, &why) == 0, "%s was refused: %s", text, why.text);
}

static void check_bits(unsigned source_ipv4, unsigned source_ipv6, unsigned destination_ipv4,
                       unsigned destination_ipv6)
{
    ck_assert_uint_eq(by.source_ipv4_bits, source_ipv4);
    ck_assert_uint_eq(by.source_ipv6_bits, source_ipv6);
    ck_assert_uint_eq(by.destination_ipv4_bits, destination_ipv4);
    ck_assert_uint_eq(by.destination_ipv6_bits, destination_ipv6);
}

static void check_json(const char *wanted)
{
    json_t *array = aggregate_keys_json(&by);
    char *text = json_dumps(array, JSON_COMPACT);
    ck_assert_str_eq(text, wanted);
    free(text);
    json_decref(array);
}

START_TEST(names)
{
    static const struct {
        const char *name;
        uint32_t key;
    } others[] = {{"sport", AGGREGATE_KEY_SPORT}, {"dport", AGGREGATE_KEY_DPORT},
                  {"proto", AGGREGATE_KEY_PROTO}, {"mark", AGGREGATE_KEY_MARK},
                  {"zone", AGGREGATE_KEY_ZONE},   {"nat", AGGREGATE_KEY_NAT},
                  {"in", AGGREGATE_KEY_IN},       {"out", AGGREGATE_KEY_OUT}};
    check_json("[]");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        setup();
        check_set(others[i].name);
        ck_assert_uint_eq(by.keys, others[i].key);
        check_bits(0, 0, 0, 0);
    }
    check_set("zone,sport,nat");
    ck_assert_uint_eq(by.keys,
                      AGGREGATE_KEY_ZONE | AGGREGATE_KEY_SPORT | AGGREGATE_KEY_NAT | AGGREGATE_KEY_OUT);
    check_json("[\"sport\",\"zone\",\"nat\",\"out\"]");
}
END_TEST

START_TEST(addresses)
{
    check_set("src");
    check_bits(32, 128, 0, 0);
    check_json("[\"src\"]");
    check_set("dst6");
    check_bits(32, 128, 0, 128);
    check_json("[\"src\",\"dst6/128\"]");
    check_set("dst");
    check_bits(32, 128, 32, 128);
    check_json("[\"src\",\"dst\"]");
    ck_assert_uint_eq(by.keys, 0);
}
END_TEST

START_TEST(prefixes)
{
    check_set("src4/24,src6/64,dst4/1,dst6/127");
    check_bits(24, 64, 1, 127);
    check_json("[\"src4/24\",\"src6/64\",\"dst4/1\",\"dst6/127\"]");
    check_set("src4/32,src6/128");
    check_bits(32, 128, 1, 127);
    setup();
    check_set("src,src4/24"); /* the last one counts */
    check_bits(24, 128, 0, 0);
    check_json("[\"src4/24\",\"src6/128\"]");
    check_set("src");
    check_bits(32, 128, 0, 0);
}
END_TEST

START_TEST(no_keys)
{
    static const char *const texts[] = {"",         "src,",     ",src",      "sr",          "src5",
                                        "src/24",   "src4/",    "src4/0",    "src4/33",     "src6/129",
                                        "src4/+24", "src4/ 24", "src4/24x",  "src4/24/24",  "src4/4294967320",
                                        "source",   "SRC",      "src dst",   "proto/8",     "sports",
                                        "src4/-1",  "dst6/0x8", "src6/1281", "srcsrcsrcsrc"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(aggregate_keys_set(&by, texts[i], &why) == -EINVAL, "'%s' was taken", texts[i]);
    ck_assert_int_eq(aggregate_keys_set(&by, "proto,colour,dst", &why), -EINVAL);
    ck_assert_int_eq(strncmp(why.text, "'colour' is not a key: give some of src, dst, ", 46), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aggregate_keys");
    TCase *tests = tcase_create("aggregate_keys");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, names);
    tcase_add_test(tests, addresses);
    tcase_add_test(tests, prefixes);
    tcase_add_test(tests, no_keys);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
