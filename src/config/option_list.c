/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_list.h"

#include <string.h>

#include "ctflow9/config/aggregate_keys.h"
#include "ctflow9/config/option_type.h"

/* ---- optional elements ---- */

static const struct {
    const char *name;
    uint32_t bit;
} fields[] = {{"mark", FIELDS_MARK}, {"zone", FIELDS_ZONE}, {"times", FIELDS_TIMES},
              {"mac", FIELDS_MAC},   {"vlan", FIELDS_VLAN}, {"ttl", FIELDS_TTL}};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static int set_fields(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    uint32_t *bits = option_place(row, options);
    for (const char *name = text;; name++) {
        size_t octets = strcspn(name, ",");
        size_t i = 0;
        while (i < FIELDS && (strlen(fields[i].name) != octets || memcmp(fields[i].name, name, octets) != 0))
            i++;
        if (i == FIELDS)
            return option_error(why,
                                "'%.*s' is not a field: give some of mark, zone, times, mac, vlan and ttl",
                                octets < 100 ? (int)octets : 100, name);
        *bits |= fields[i].bit;
        name += octets;
        if (*name == '\0')
            return 0;
    }
}

static json_t *fields_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *bits = option_place_const(row, options);
    json_t *array = json_array();
    for (size_t i = 0; i < FIELDS; i++) {
        if ((*bits & fields[i].bit) != 0 && json_array_append_new(array, json_string(fields[i].name)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static void clear_fields(const struct option_row *row, struct options *options)
{
    *(uint32_t *)option_place(row, options) = 0;
}

const struct option_type option_fields = {
    .set = set_fields,
    .json = fields_json,
    .octets = sizeof(uint32_t),
    .clear = clear_fields,
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string or an array of strings",
};

/* ---- aggregation keys ---- */

static int set_aggregate(const struct option_row *row, struct options *options, const char *text,
                         struct option_error *why)
{
    return aggregate_keys_set(option_place(row, options), text, why);
}

static json_t *aggregate_json(const struct option_row *row, const struct options *options)
{
    return aggregate_keys_json(option_place_const(row, options));
}

static void clear_aggregate(const struct option_row *row, struct options *options)
{
    *(struct aggregate_by *)option_place(row, options) = (struct aggregate_by){0};
}

const struct option_type option_aggregate = {
    .set = set_aggregate,
    .json = aggregate_json,
    .octets = sizeof(struct aggregate_by),
    .clear = clear_aggregate,
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string or an array of strings",
};
