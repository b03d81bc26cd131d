/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctflow9/config/option_list.h"
#include "ctflow9/config/option_type.h"

static int set_groups(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    struct nflog_groups *groups = option_place(row, options);
    for (const char *at = text;; at++) {
        char *end;
        unsigned long group = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : ULONG_MAX;
        if (group > UINT16_MAX || (*end != ',' && *end != '\0'))
            return option_error(why, "'%.100s' is no list of NFLOG groups: give numbers from 0 to 65535",
                                text);
        for (unsigned i = 0; i < groups->count; i++)
            if (groups->group[i] == group)
                return option_error(why, "NFLOG group %lu is named twice", group);
        if (groups->count == NFLOG_GROUPS_MAX)
            return option_error(why, "more than %d NFLOG groups", NFLOG_GROUPS_MAX);
        groups->group[groups->count++] = (uint16_t)group;
        at = end;
        if (*at == '\0')
            return 0;
    }
}

static json_t *groups_json(const struct option_row *row, const struct options *options)
{
    const struct nflog_groups *groups = option_place_const(row, options);
    json_t *array = json_array();
    for (unsigned i = 0; i < groups->count; i++) {
        char text[8];
        snprintf(text, sizeof(text), "%u", groups->group[i]);
        if (json_array_append_new(array, json_string(text)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static void clear_groups(const struct option_row *row, struct options *options)
{
    *(struct nflog_groups *)option_place(row, options) = (struct nflog_groups){0};
}

const struct option_type option_groups = {
    .set = set_groups,
    .json = groups_json,
    .clear = clear_groups,
    .octets = sizeof(struct nflog_groups),
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string or an array of strings",
};
