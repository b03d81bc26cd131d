/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_value.h"

#include <stdio.h>
#include <string.h>

#include "ctflow9/config/option_type.h"

enum { NUMBER_TEXT_MAX = 32 };

bool option_is_setting(const struct option_row *row)
{
    return row->type != NULL;
}

bool option_is_unbuilt(const struct option_row *row)
{
    return !row->type && row->lacking;
}

bool option_is_list(const struct option_row *row)
{
    return row->type->clear != NULL;
}

void option_value_clear(const struct option_row *row, struct options *options)
{
    if (option_is_list(row))
        row->type->clear(row, options);
}

int option_value_set(const struct option_row *row, struct options *options, const char *text,
                     struct option_error *why)
{
    return row->type->set(row, options, text, why);
}

/* The value as the command line would have it. */
static const char *text_of(const json_t *value, char number[NUMBER_TEXT_MAX])
{
    switch (json_typeof(value)) {
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_INTEGER:
        snprintf(number, NUMBER_TEXT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return number;
    case JSON_REAL:
        snprintf(number, NUMBER_TEXT_MAX, "%.10g", json_real_value(value));
        return number;
    default:
        return json_string_value(value);
    }
}

int option_value_set_json(const struct option_row *row, struct options *options, const json_t *value,
                          struct option_error *why)
{
    const struct option_type *type = row->type;
    char number[NUMBER_TEXT_MAX], range[OPTION_RANGE_MAX];
    if ((type->json_types & 1u << json_typeof(value)) != 0)
        return type->set(row, options, text_of(value, number), why);
    option_value_range(row, range);
    return option_error(why, "this is of the wrong type: give %s%s%s", type->wanted,
                        range[0] != '\0' ? ", " : "", range);
}

bool option_has_members(const struct option_row *row)
{
    return (row->type->json_types & OPTION_JSON(OBJECT)) != 0;
}

int option_value_set_member(const struct option_row *row, struct options *options, const char *name,
                            const json_t *value, struct option_error *why)
{
    char number[NUMBER_TEXT_MAX], text[OPTIONS_TEXT_MAX + 1];
    const char *value_text = text_of(value, number);
    if (!value_text)
        return option_error(why, "the value of %.100s is of the wrong type: give %s", name,
                            row->type->wanted);
    snprintf(text, sizeof(text), "%.100s=%s", name, value_text);
    return row->type->set(row, options, text, why);
}

json_t *option_value_json(const struct option_row *row, const struct options *options)
{
    return row->type->json(row, options);
}

bool option_value_is_same(const struct option_row *row, const struct options *one,
                          const struct options *other)
{
    json_t *value = option_value_json(row, one), *other_value = option_value_json(row, other);
    bool is_same = json_equal(value, other_value);
    json_decref(value);
    json_decref(other_value);
    return is_same;
}

void option_value_copy(const struct option_row *row, struct options *to, const struct options *from)
{
    memcpy(option_place(row, to), option_place_const(row, from), row->type->octets);
}

const char *option_value_range(const struct option_row *row, char text[OPTION_RANGE_MAX])
{
    text[0] = '\0';
    if (row->type && row->type->range)
        row->type->range(row, text);
    return text;
}
