/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_interfaces.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/base/utf8.h"
#include "ctflow9/config/option_type.h"

/* What the kernel takes for a name, and JSON, too. */
static bool is_name(const char *name, size_t octets)
{
    char shown[IFNAMSIZ];
    if (octets == 0 || octets >= IFNAMSIZ || strcspn(name, ":/") < octets)
        return false;
    utf8_copy(shown, sizeof(shown), name, octets);
    if (strlen(shown) != octets || memcmp(shown, name, octets) != 0)
        return false;
    for (size_t i = 0; i < octets; i++)
        if (isspace((unsigned char)name[i]))
            return false;
    return (octets > 2 || strncmp(name, "..", octets) != 0);
}

/* 0 when it is no number of an interface. */
static uint32_t read_number(const char *text)
{
    char *end;
    unsigned long long number = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
    return number > 0 && number <= INTERFACE_NUMBER_MAX && *end == '\0' ? (uint32_t)number : 0;
}

static int refuse_twice(const struct interface_numbers *numbers, const struct interface_number *given,
                        struct option_error *why)
{
    for (const struct interface_number *other = numbers->each; other < numbers->each + numbers->count;
         other++) {
        if (strcmp(other->name, given->name) == 0)
            return option_error(why, "interface %s is given twice", given->name);
        if (other->number == given->number)
            return option_error(why, "%s and %s have the number %u: give each its own", other->name,
                                given->name, given->number);
    }
    return 0;
}

static int set_number(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    struct interface_numbers *numbers = option_place(row, options);
    struct interface_number given = {.name = ""};
    const char *equals = strrchr(text, '='); /* names may have one */
    if (!equals)
        return option_error(why, "'%.100s' is not possible: give NAME=NUMBER, as in eth0=2", text);
    size_t octets = (size_t)(equals - text);
    if (!is_name(text, octets))
        return option_error(why, "'%.*s' is not the name of an interface", octets < 100 ? (int)octets : 100,
                            text);
    memcpy(given.name, text, octets);
    given.number = read_number(equals + 1);
    if (given.number == 0)
        return option_error(why, "'%.100s' is not the number of an interface: give 1 to %d", equals + 1,
                            INTERFACE_NUMBER_MAX);
    int error = refuse_twice(numbers, &given, why);
    if (error)
        return error;
    if (numbers->count == INTERFACE_NUMBERS_MAX)
        return option_error(why, "interface %s is one too many: give %d at most", given.name,
                            INTERFACE_NUMBERS_MAX);
    numbers->each[numbers->count++] = given;
    return 0;
}

static json_t *numbers_json(const struct option_row *row, const struct options *options)
{
    const struct interface_numbers *numbers = option_place_const(row, options);
    json_t *object = json_object();
    for (size_t i = 0; i < numbers->count; i++) {
        if (json_object_set_new(object, numbers->each[i].name, json_integer(numbers->each[i].number)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static void clear_numbers(const struct option_row *row, struct options *options)
{
    struct interface_numbers *numbers = option_place(row, options);
    numbers->count = 0;
}

const struct option_type option_interface_numbers = {
    .set = set_number,
    .json = numbers_json,
    .clear = clear_numbers,
    .octets = sizeof(struct interface_numbers),
    .json_types = OPTION_JSON(OBJECT),
    .wanted = "an object like { \"eth0\": 2 }",
};
