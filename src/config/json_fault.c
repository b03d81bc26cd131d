/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/json_fault.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Pieces of the text. The token is empty at its end. */
struct place {
    const char *token, *token_end;
    int before; /* the last octet of the token before, 0 when it is the first one */
};

/* JSON has fewer of them than isspace(). */
static bool is_blank(int octet)
{
    return octet == ' ' || octet == '\t' || octet == '\n' || octet == '\r';
}

static bool is_punctuation(int octet)
{
    return octet != '\0' && strchr("{}[],:", octet) != NULL;
}

/* The end of the token that begins at `at`, well-formed or not. A string does not go beyond its line. */
static const char *end_of_token(const char *at, const char *end)
{
    if (is_punctuation(*at))
        return at + 1;
    if (*at == '"') {
        for (at++; at < end && *at != '"' && *at != '\n'; at++)
            at += *at == '\\' && at + 1 < end;
        return at < end && *at == '"' ? at + 1 : at;
    }
    while (at < end && !is_blank(*at) && !is_punctuation(*at) && *at != '"')
        at++;
    return at;
}

/* The token that ends at that octet or goes on after it. */
static struct place find_token(const char *text, size_t octets, size_t position)
{
    const char *end = text + octets;
    struct place place = {.token = text, .token_end = text};
    for (;;) {
        while (place.token < end && is_blank(*place.token))
            place.token++;
        place.token_end = place.token < end ? end_of_token(place.token, end) : end;
        if (place.token == end || place.token_end >= text + position)
            return place;
        place.before = (unsigned char)place.token_end[-1];
        place.token = place.token_end;
    }
}

static void count_lines(struct json_fault *fault, const char *text, const char *at)
{
    fault->line = fault->column = 1;
    for (; text < at; text++) {
        if (*text == '\n') {
            fault->line++;
            fault->column = 1;
        } else {
            fault->column += (*text & 0xc0) != 0x80; /* an octet that goes on with a UTF-8 character */
        }
    }
}

__attribute__((format(printf, 2, 3))) static void say(struct json_fault *fault, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault->why, sizeof(fault->why), format, arguments);
    va_end(arguments);
}

/* Whether there is a closing quote; string is what follows the opening one. */
static bool is_closed(const char *string, const char *end)
{
    while (string < end && *string != '"')
        string += *string == '\\' && string + 1 < end ? 2 : 1;
    return string < end;
}

/* A string that is not closed, or has something in it that has to be written in another way. */
static const char *fault_of_string(const char *string, const char *end)
{
    const bool closed = is_closed(string, end);
    bool escapes = false;
    for (; string < end; string++) {
        if ((unsigned char)*string < ' ')
            return "there is a control character in this string";
        if (*string != '\\')
            continue;
        if (++string == end || *string == '\0' || strchr("\"\\/bfnrtu", *string) == NULL)
            return "there is a backslash in this string: a backslash is written as two";
        escapes |= *string == 'u';
    }
    if (!closed)
        return "this string does not end on its line: is there a quote missing?";
    return escapes ? "there is an impossible \\u in this string" : "there cannot be a string here";
}

/* A token that cannot stand where it does. */
static void say_token(struct json_fault *fault, const struct place *place)
{
    enum { SHOWN_MAX = 40 };

    size_t octets = (size_t)(place->token_end - place->token);
    int shown = octets < SHOWN_MAX ? (int)octets : SHOWN_MAX;
    bool value_before = place->before != 0 &&
                        (!is_punctuation(place->before) || place->before == '}' || place->before == ']');
    bool closed = is_closed(place->token + 1, place->token_end);

    if (*place->token == '"' && (!closed || (place->before != 0 && !value_before)))
        say(fault, "%s", fault_of_string(place->token + 1, place->token_end));
    else if (*place->token == '/' || *place->token == '#')
        say(fault, "there are no comments in JSON");
    else if (*place->token == '\'')
        say(fault, "names and strings are in double quotes");
    else if (place->before == 0)
        say(fault, "give an object: { \"collector\": \"192.0.2.10\" }");
    else if (place->before == ',' && (*place->token == '}' || *place->token == ']'))
        say(fault, "the comma before this '%c' is one too many", *place->token);
    else if (value_before && !is_punctuation(*place->token))
        say(fault, "there is a comma or a colon missing before '%.*s'", shown, place->token);
    else if (!is_punctuation(*place->token))
        say(fault, "'%.*s' is not true, false, null, a number or in double quotes", shown, place->token);
    else
        say(fault, "'%c' cannot be here: is there something missing before it, or a bracket too many?",
            *place->token);
}

void json_fault_find(struct json_fault *fault, const char *text, size_t octets, const json_error_t *error)
{
    /* jansson's position is wrong after one. */
    const char *nul = memchr(text, '\0', octets);
    if (nul) {
        count_lines(fault, text, nul);
        say(fault, "there is a NUL octet here: is this a text file?");
        return;
    }
    bool at_end = json_error_code(error) == json_error_premature_end_of_input;
    struct place place = find_token(text, octets, at_end ? octets + 1 : (size_t)error->position);
    int shown = (int)(place.token_end - place.token);
    count_lines(fault, text, place.token);
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        say(fault, "there is no memory to read it");
        return;
    case json_error_stack_overflow:
        say(fault, "there are too many brackets inside each other");
        return;
    case json_error_invalid_utf8:
        say(fault, "this is not UTF-8");
        return;
    case json_error_null_character:
    case json_error_null_byte_in_key:
        say(fault, "\\u0000 cannot be part of a name or a string");
        return;
    case json_error_duplicate_key:
        say(fault, "%.*s is given twice", shown, place.token);
        return;
    case json_error_numeric_overflow:
        say(fault, "%.*s is too large a number", shown, place.token);
        return;
    case json_error_premature_end_of_input:
        if (place.before == 0)
            say(fault, "there is nothing in it: give {} at least");
        else
            say(fault, "the text ends here, with a quote, bracket or brace still open");
        return;
    case json_error_end_of_input_expected:
        say(fault, "there is something after the end of the object");
        return;
    default:
        break;
    }
    if (place.token < place.token_end)
        say_token(fault, &place);
    else
        say(fault, "this is not JSON");
}
