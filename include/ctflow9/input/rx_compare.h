/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "ctflow9/input/rx.h"

/*
 * The CPU time that receiving takes through one backend, in percent of what it takes through the other, on
 * this machine now. Takes some 20 ms. -errno when that cannot be found out.
 */
int rx_compare(const struct rx_backend *one, const struct rx_backend *other);
