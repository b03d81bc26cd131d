/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/option_row.h"

/* The types of options that are text, and what each has in struct options. */

/* bool: "true" or "false". */
extern const struct option_type option_flag;

/* uint32_t, the number of one of the row's choices. */
extern const struct option_type option_choice;

/* char[OPTIONS_TEXT_MAX + 1]: anything but nothing. */
extern const struct option_type option_text;
