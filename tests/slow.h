/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How many times slower this machine is than those the tests were written on: CTFLOW9_TEST_SLOW in the
 * environment, a whole number, 1 when it is not there. A test multiplies its time limits by it. Check's own
 * limits are multiplied in every test program (CK_TIMEOUT_MULTIPLIER, unless that is set), and a test that
 * sets none has a minute (CK_DEFAULT_TIMEOUT), not Check's four seconds, which a busy machine may take.
 */
unsigned slow_factor(void);
