/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Gives up CAP_BPF and CAP_PERFMON for good, in the calling thread and those that it starts from then on:
 * they are needed to set up receiving, and not afterwards. They leave the bounding set as well where that is
 * allowed (CAP_SETPCAP), and no_new_privs is set in any case, so that no program executed could have them
 * again. 0 or -errno.
 */
int privileges_drop(void);
