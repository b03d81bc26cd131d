/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/*
 * A text that somebody else has chosen, for terminals, JSON and collectors, which all take UTF-8 without
 * control characters only. Copies octets up to the first NUL, as many whole characters as size leaves room
 * for, and ends them with NUL; what is none of these characters becomes '?'. size > 0. Pure.
 */
void utf8_copy(char *to, size_t size, const char *from, size_t octets);
