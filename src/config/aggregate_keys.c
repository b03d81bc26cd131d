/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/aggregate_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The addresses of one family at one end: the first three letters name the end for both families. */
static const struct {
    char name[5];
    uint8_t bits;  /* of a whole address */
    size_t offset; /* of the bits that count, in struct aggregate_by */
} addresses[] = {
    {"src4", 32, offsetof(struct aggregate_by, source_ipv4_bits)},
    {"src6", 128, offsetof(struct aggregate_by, source_ipv6_bits)},
    {"dst4", 32, offsetof(struct aggregate_by, destination_ipv4_bits)},
    {"dst6", 128, offsetof(struct aggregate_by, destination_ipv6_bits)},
};

static const struct {
    char name[6];
    uint32_t key; /* enum aggregate_key */
} others[] = {
    {"sport", AGGREGATE_KEY_SPORT}, {"dport", AGGREGATE_KEY_DPORT}, {"proto", AGGREGATE_KEY_PROTO},
    {"mark", AGGREGATE_KEY_MARK},   {"zone", AGGREGATE_KEY_ZONE},   {"nat", AGGREGATE_KEY_NAT},
    {"in", AGGREGATE_KEY_IN},       {"out", AGGREGATE_KEY_OUT},
};

enum {
    ADDRESSES = sizeof(addresses) / sizeof(addresses[0]),
    OTHERS = sizeof(others) / sizeof(others[0]),
    END_OCTETS = 3, /* "src" */
    KEY_OCTETS = 8  /* "src6/128" */
};

/* What follows the slash; 0 when it is no number. */
static unsigned long read_bits(const char *text)
{
    char *end;
    unsigned long bits = strspn(text, "0123456789") > 0 ? strtoul(text, &end, 10) : 0;
    return bits > 0 && *end == '\0' ? bits : 0;
}

/* "src", "src4" or "src4/24". */
static bool set_addresses(struct aggregate_by *by, const char *key)
{
    size_t octets = strcspn(key, "/");
    bool whole = key[octets] == '\0';
    bool known = false;
    for (size_t i = 0; i < ADDRESSES; i++) {
        bool named = octets == strlen(addresses[i].name) || (whole && octets == END_OCTETS);
        unsigned long bits = whole ? addresses[i].bits : read_bits(key + octets + 1);
        if (!named || memcmp(key, addresses[i].name, octets) != 0 || bits < 1 || bits > addresses[i].bits)
            continue;
        *((uint8_t *)by + addresses[i].offset) = (uint8_t)bits;
        known = true;
    }
    return known;
}

static bool set_key(struct aggregate_by *by, const char *key)
{
    for (size_t i = 0; i < OTHERS; i++) {
        if (strcmp(others[i].name, key) == 0) {
            by->keys |= others[i].key;
            return true;
        }
    }
    return set_addresses(by, key);
}

int aggregate_keys_set(struct aggregate_by *by, const char *text, struct option_error *why)
{
    for (const char *name = text;; name++) {
        char key[KEY_OCTETS + 1];
        size_t octets = strcspn(name, ",");
        snprintf(key, sizeof(key), "%.*s", octets <= KEY_OCTETS ? (int)octets : 0, name);
        if (!set_key(by, key))
            return option_error(
                why,
                "'%.*s' is not a key: give some of src, dst, sport, dport, proto, mark, zone, "
                "nat, in and out, or prefixes like src4/24 and dst6/64",
                octets < 100 ? (int)octets : 100, name);
        name += octets;
        if (*name == '\0')
            return 0;
    }
}

static uint8_t bits_of(const struct aggregate_by *by, size_t i)
{
    return *((const uint8_t *)by + addresses[i].offset);
}

static bool is_whole(const struct aggregate_by *by, size_t i)
{
    return bits_of(by, i) == addresses[i].bits;
}

/* 0, or -1 when there is no memory. */
static int add_addresses(json_t *array, const struct aggregate_by *by, size_t first)
{
    if (is_whole(by, first) && is_whole(by, first + 1))
        return json_array_append_new(array, json_stringn(addresses[first].name, END_OCTETS));
    int error = 0;
    for (size_t i = first; i <= first + 1 && !error; i++) {
        if (bits_of(by, i) > 0)
            error = json_array_append_new(array, json_sprintf("%s/%d", addresses[i].name, bits_of(by, i)));
    }
    return error;
}

json_t *aggregate_keys_json(const struct aggregate_by *by)
{
    json_t *array = json_array();
    int error = 0;
    for (size_t i = 0; i < ADDRESSES && !error; i += 2)
        error = add_addresses(array, by, i);
    for (size_t i = 0; i < OTHERS && !error; i++) {
        if ((by->keys & others[i].key) != 0)
            error = json_array_append_new(array, json_string(others[i].name));
    }
    if (error) {
        json_decref(array);
        return NULL;
    }
    return array;
}
