/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/option_text.h"

#include <ctype.h>
#include <string.h>

#include "ctflow9/config/option_type.h"

/* ---- flags ---- */

static int set_flag(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    bool *flag = option_place(row, options);
    *flag = strcmp(text, "true") == 0;
    if (!*flag && strcmp(text, "false") != 0)
        return option_error(why, "'%.100s' is neither true nor false", text);
    return 0;
}

static json_t *flag_json(const struct option_row *row, const struct options *options)
{
    const bool *flag = option_place_const(row, options);
    return json_boolean(*flag);
}

const struct option_type option_flag = {
    .set = set_flag,
    .json = flag_json,
    .octets = sizeof(bool),
    .json_types = OPTION_JSON(TRUE) | OPTION_JSON(FALSE),
    .wanted = "true or false",
};

/* ---- choices ---- */

/* The number of a word among words separated by blanks; -1 when it is not there. */
static int find_word(const char *words, const char *word)
{
    size_t octets = strlen(word);
    for (int number = 0; *words != '\0'; number++) {
        size_t span = strcspn(words, " ");
        if (span == octets && memcmp(words, word, span) == 0)
            return number;
        words += span + strspn(words + span, " ");
    }
    return -1;
}

static int set_choice(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    int number = *text != '\0' ? find_word(row->choices, text) : -1;
    if (number < 0)
        return option_error(why, "'%.100s' is not possible: give one of: %s", text, row->choices);
    if (row->unbuilt && strcmp(text, row->unbuilt) == 0)
        return option_error(why, "'%s' is not possible: ctflow9 was built without %s", text, row->lacking);
    *(uint32_t *)option_place(row, options) = (uint32_t)number;
    return 0;
}

static json_t *choice_json(const struct option_row *row, const struct options *options)
{
    const char *word = row->choices;
    for (uint32_t number = *(const uint32_t *)option_place_const(row, options); number > 0; number--)
        word = strchr(word, ' ') + 1;
    return json_stringn(word, strcspn(word, " "));
}

const struct option_type option_choice = {
    .set = set_choice,
    .json = choice_json,
    .octets = sizeof(uint32_t),
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string",
};

/* ---- any text ---- */

static bool is_printable(const char *text)
{
    while (isprint((unsigned char)*text))
        text++;
    return *text == '\0';
}

static int set_text(const struct option_row *row, struct options *options, const char *text,
                    struct option_error *why)
{
    size_t octets = strlen(text);
    size_t max = row->max != 0 ? (size_t)row->max : OPTIONS_TEXT_MAX;
    if (octets == 0 || octets > max || !is_printable(text))
        return option_error(why, "'%.100s' is not possible: give 1 to %zu printable ASCII characters", text,
                            max);
    memcpy(option_place(row, options), text, octets + 1);
    return 0;
}

static json_t *text_json(const struct option_row *row, const struct options *options)
{
    const char *text = option_place_const(row, options);
    return *text != '\0' ? json_string(text) : json_null();
}

const struct option_type option_text = {
    .set = set_text,
    .json = text_json,
    .octets = OPTIONS_TEXT_MAX + 1,
    .json_types = OPTION_JSON(STRING),
    .wanted = "a string",
};
