/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* Why jansson refused a text, in our words and with our position: jansson's are for programmers, and it
 * stands after the token at fault. Lines and columns count from 1, columns in characters. Pure. */
enum { JSON_FAULT_MAX = 256 };
struct json_fault {
    unsigned line, column;
    char why[JSON_FAULT_MAX];
};

void json_fault_find(struct json_fault *fault, const char *text, size_t octets, const json_error_t *error);
