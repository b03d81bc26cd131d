/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Gives up CAP_BPF for good, in the calling thread and those that it starts from then on: it is needed to set
 * up receiving, and not afterwards. 0 or -errno; without the capability there is nothing to do.
 */
int privileges_drop(void);
