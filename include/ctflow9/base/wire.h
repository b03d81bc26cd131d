/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/* Integers in network byte order. A plain uintN_t is always in host order; <endian.h>'s htobeN() and beNtoh()
 * convert. */
typedef uint16_t be16;
typedef uint32_t be32;
typedef uint64_t be64;
