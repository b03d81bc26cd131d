/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_number.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/config/option_type.h"

enum { MS_PER_SECOND = 1000, NUMBER_TEXT_MAX = 32 };

/* 65536 as "64K": with the largest suffix that leaves nothing over. */
static void write_size(char text[NUMBER_TEXT_MAX], uint64_t octets)
{
    static const char *const suffixes[] = {"", "K", "M", "G"};
    size_t suffix = 0;
    for (; suffix < 3 && octets != 0 && octets % 1024 == 0; suffix++)
        octets /= 1024;
    snprintf(text, NUMBER_TEXT_MAX, "%" PRIu64 "%s", octets, suffixes[suffix]);
}

static void write_range(const struct option_row *row, char text[OPTION_RANGE_MAX], const char *min,
                        const char *max)
{
    snprintf(text, OPTION_RANGE_MAX, "%s to %s%s%s", min, max, row->unit ? " " : "",
             row->unit ? row->unit : "");
}

static void size_range(const struct option_row *row, char text[OPTION_RANGE_MAX])
{
    char min[NUMBER_TEXT_MAX], max[NUMBER_TEXT_MAX];
    write_size(min, row->min);
    write_size(max, row->max);
    write_range(row, text, min, max);
}

static void divided_range(const struct option_row *row, char text[OPTION_RANGE_MAX], unsigned divisor)
{
    char min[NUMBER_TEXT_MAX], max[NUMBER_TEXT_MAX];
    snprintf(min, sizeof(min), "%" PRIu64, row->min / divisor);
    snprintf(max, sizeof(max), "%" PRIu64, row->max / divisor);
    write_range(row, text, min, max);
}

static void number_range(const struct option_row *row, char text[OPTION_RANGE_MAX])
{
    divided_range(row, text, 1);
}

static void seconds_range(const struct option_row *row, char text[OPTION_RANGE_MAX])
{
    divided_range(row, text, MS_PER_SECOND);
}

static void auto_range(const struct option_row *row, char text[OPTION_RANGE_MAX])
{
    static const char or_auto[] = " or auto";
    number_range(row, text);
    strncat(text, or_auto, OPTION_RANGE_MAX - strlen(text) - 1);
}

static int refuse_number(const struct option_row *row, const char *text, const char *what,
                         struct option_error *why)
{
    char range[OPTION_RANGE_MAX];
    row->type->range(row, range);
    return option_error(why, "'%.100s' is %s: give %s", text, what, range);
}

/*
 * Reads digits of base 10 or 16; no sign, no blanks. A number too large for 64 bits becomes the largest one,
 * which is out of every range. Returns what follows, or NULL when there is no digit.
 */
static const char *read_digits(const char *text, int base, uint64_t *value)
{
    if (!isdigit((unsigned char)*text))
        return NULL;
    char *end;
    *value = strtoull(text, &end, base);
    return end;
}

static int set_number(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    uint64_t value;
    const char *end = read_digits(text, 10, &value);
    if (!end || *end != '\0')
        return refuse_number(row, text, "not a whole number", why);
    if (value < row->min || value > row->max)
        return refuse_number(row, text, "out of range", why);
    uint32_t *number = option_place(row, options);
    *number = (uint32_t)value;
    return 0;
}

static json_t *number_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *number = option_place_const(row, options);
    return json_integer(*number);
}

const struct option_type option_number = {
    .set = set_number,
    .json = number_json,
    .octets = sizeof(uint32_t),
    .range = number_range,
    .json_types = OPTION_JSON(INTEGER),
    .wanted = "a whole number",
};

static int set_auto(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    if (strcmp(text, "auto") != 0)
        return set_number(row, options, text, why);
    *(uint32_t *)option_place(row, options) = 0;
    return 0;
}

static json_t *auto_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *number = option_place_const(row, options);
    return *number == 0 ? json_string("auto") : json_integer(*number);
}

const struct option_type option_auto = {
    .set = set_auto,
    .json = auto_json,
    .octets = sizeof(uint32_t),
    .range = auto_range,
    .json_types = OPTION_JSON(INTEGER) | OPTION_JSON(STRING),
    .wanted = "a whole number or \"auto\"",
};

static int set_seconds(const struct option_row *row, struct options *options, const char *text,
                       struct option_error *why)
{
    uint64_t seconds;
    uint64_t ms = 0;
    const char *end = read_digits(text, 10, &seconds);
    if (end && *end == '.' && isdigit((unsigned char)end[1])) {
        end++;
        for (unsigned unit = MS_PER_SECOND / 10; unit > 0 && isdigit((unsigned char)*end); unit /= 10)
            ms += (unsigned)(*end++ - '0') * unit;
    }
    if (!end || *end != '\0')
        return refuse_number(row, text, "not a number with three decimals at most", why);
    /* More seconds than milliseconds are allowed: out of range, and too many to be multiplied. */
    if (seconds > row->max)
        return refuse_number(row, text, "out of range", why);
    ms += seconds * MS_PER_SECOND;
    if (ms < row->min || ms > row->max)
        return refuse_number(row, text, "out of range", why);
    uint32_t *value_ms = option_place(row, options);
    *value_ms = (uint32_t)ms;
    return 0;
}

static json_t *seconds_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *ms = option_place_const(row, options);
    return *ms % MS_PER_SECOND == 0 ? json_integer(*ms / MS_PER_SECOND)
                                    : json_real(*ms / (double)MS_PER_SECOND);
}

const struct option_type option_seconds = {
    .set = set_seconds,
    .json = seconds_json,
    .octets = sizeof(uint32_t),
    .range = seconds_range,
    .json_types = OPTION_JSON(INTEGER) | OPTION_JSON(REAL),
    .wanted = "a number",
};

static int set_size(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    static const char suffixes[] = "KMG";
    uint64_t value;
    unsigned shift = 0;
    const char *end = read_digits(text, 10, &value);
    const char *suffix = end && *end != '\0' ? strchr(suffixes, *end) : NULL;
    if (suffix) {
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        end++;
    }
    if (!end || *end != '\0')
        return refuse_number(row, text, "not a whole number, with K, M or G after it or without", why);
    if (value > row->max >> shift || value << shift < row->min)
        return refuse_number(row, text, "out of range", why);
    uint64_t *octets = option_place(row, options);
    *octets = value << shift;
    return 0;
}

static json_t *size_json(const struct option_row *row, const struct options *options)
{
    const uint64_t *octets = option_place_const(row, options);
    return json_integer((json_int_t)*octets);
}

const struct option_type option_size = {
    .set = set_size,
    .json = size_json,
    .octets = sizeof(uint64_t),
    .range = size_range,
    .json_types = OPTION_JSON(INTEGER) | OPTION_JSON(STRING),
    .wanted = "a whole number or a string like \"64M\"",
};

/* ---- marks ---- */

/* Decimal, or 0x and hexadecimal digits. Returns what follows, or NULL when it is no number of 32 bits. */
static const char *read_mark(const char *text, uint32_t *mark)
{
    uint64_t value;
    const char *end = read_digits(text, strncmp(text, "0x", 2) == 0 ? 16 : 10, &value);
    if (!end || value > UINT32_MAX)
        return NULL;
    *mark = (uint32_t)value;
    return end;
}

static int set_mark(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    struct netlink_mark *given = option_place(row, options);
    struct netlink_mark mark = {.given = true, .mask = UINT32_MAX};
    const char *end = read_mark(text, &mark.value);
    if (end && *end == '/')
        end = read_mark(end + 1, &mark.mask);
    if (!end || *end != '\0')
        return option_error(why, "'%.100s' is not a mark: give VALUE or VALUE/MASK, each 0 to 0xffffffff",
                            text);
    if ((mark.value & ~mark.mask) != 0)
        return option_error(why, "'%.100s' matches no mark: the value has bits that the mask leaves out",
                            text);
    *given = mark;
    return 0;
}

static json_t *mark_json(const struct option_row *row, const struct options *options)
{
    const struct netlink_mark *mark = option_place_const(row, options);
    if (!mark->given)
        return json_null();
    if (mark->mask == UINT32_MAX)
        return json_sprintf("0x%" PRIx32, mark->value);
    return json_sprintf("0x%" PRIx32 "/0x%" PRIx32, mark->value, mark->mask);
}

const struct option_type option_mark = {
    .set = set_mark,
    .json = mark_json,
    .octets = sizeof(struct netlink_mark),
    .json_types = OPTION_JSON(INTEGER) | OPTION_JSON(STRING),
    .wanted = "a whole number or a string like \"0x10/0xff\"",
};

/* ---- bits of marks ---- */

static int set_mask(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    uint32_t mask = 0;
    const char *end = read_mark(text, &mask);
    if (!end || *end != '\0' || mask == 0)
        return option_error(why, "'%.100s' is no bits of a mark: give 1 to 0xffffffff", text);
    *(uint32_t *)option_place(row, options) = mask;
    return 0;
}

static json_t *mask_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *mask = option_place_const(row, options);
    return *mask != 0 ? json_sprintf("0x%" PRIx32, *mask) : json_null();
}

const struct option_type option_mask = {
    .set = set_mask,
    .json = mask_json,
    .octets = sizeof(uint32_t),
    .json_types = OPTION_JSON(INTEGER) | OPTION_JSON(STRING),
    .wanted = "a whole number or a string like \"0x10000\"",
};

/* Bits without a gap between them. */
static bool is_one_run(uint32_t mask)
{
    uint32_t down = mask != 0 ? mask / (mask & -mask) : 0;
    return mask != 0 && (down & (down + 1)) == 0;
}

static int set_mask_pair(const struct option_row *row, struct options *options, const char *text,
                         struct option_error *why)
{
    uint32_t first = 0, second = 0;
    const char *end = read_mark(text, &first);
    end = end && *end == ',' ? read_mark(end + 1, &second) : NULL;
    if (!end || *end != '\0')
        return option_error(why, "'%.100s' is not possible: give two masks like 0xff,0xff00", text);
    if (!is_one_run(first) || !is_one_run(second))
        return option_error(why, "'%.100s' is not possible: the bits of a mask must be one run, as in 0xff00",
                            text);
    if ((first & second) != 0)
        return option_error(why, "'%.100s' is not possible: both masks have the bits 0x%" PRIx32, text,
                            first & second);
    uint32_t *masks = option_place(row, options);
    masks[0] = first;
    masks[1] = second;
    return 0;
}

static json_t *mask_pair_json(const struct option_row *row, const struct options *options)
{
    const uint32_t *masks = option_place_const(row, options);
    return masks[0] != 0 ? json_sprintf("0x%" PRIx32 ",0x%" PRIx32, masks[0], masks[1]) : json_null();
}

const struct option_type option_mask_pair = {
    .set = set_mask_pair,
    .json = mask_pair_json,
    .octets = 2 * sizeof(uint32_t),
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string like \"0xff,0xff00\"",
};
