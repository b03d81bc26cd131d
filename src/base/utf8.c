/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The octets of the character that begins there, by its first one; 0 when none does (RFC 3629, 4). */
static size_t length_of(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Whether the first of its other octets has a value that makes it another, shorter character, a surrogate or
 * one past the last. */
static bool is_second_wrong(uint8_t first, uint8_t second)
{
    return (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
           (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
}

static bool is_control(const uint8_t *at, size_t length)
{
    return length == 1 ? *at < 0x20 || *at == 0x7f : length == 2 && at[0] == 0xc2 && at[1] < 0xa0;
}

/* The octets of a character that may be shown; 0 when there is none. */
static size_t character(const uint8_t *at, size_t octets)
{
    size_t length = length_of(*at);
    if (length > octets)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if (length > 1 && is_second_wrong(at[0], at[1]))
        return 0;
    return is_control(at, length) ? 0 : length;
}

void utf8_copy(char *to, size_t size, const char *from, size_t octets)
{
    const char *end = from + strnlen(from, octets);
    while (from < end) {
        size_t length = character((const uint8_t *)from, (size_t)(end - from));
        size_t written = length != 0 ? length : 1;
        if (written >= size)
            break;
        if (length != 0)
            memcpy(to, from, length);
        else
            *to = '?';
        to += written;
        from += written;
        size -= written;
    }
    *to = '\0';
}
