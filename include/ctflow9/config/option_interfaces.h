/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/config/option_row.h"

/* A list, struct interface_numbers: NAME=NUMBER; in the configuration an object, { "NAME": NUMBER }. */
extern const struct option_type option_interface_numbers;
