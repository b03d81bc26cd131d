/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Descriptors 0 to 2 that are closed are taken, so that no socket or file that is opened later becomes
 * standard output or standard error. Whoever uses one of them is told EBADF, as if it were closed still. To
 * be called before anything is opened.
 */
void descriptors_take_standard(void);
