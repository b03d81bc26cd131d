/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/recent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WAYS = 8 }; /* one cache line */

struct recent {
    size_t line_mask;
    uint64_t (*lines)[WAYS]; /* newest first; 0 = none */
};

static size_t lines_octets(const struct recent *recent)
{
    return (recent->line_mask + 1) * sizeof(*recent->lines);
}

int recent_open(struct recent **recent, size_t capacity)
{
    struct recent *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    while ((new->line_mask + 1) * WAYS < capacity)
        new->line_mask = new->line_mask * 2 + 1;
    new->lines = mmap(NULL, lines_octets(new), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (new->lines == MAP_FAILED) {
        free(new);
        return -ENOMEM;
    }
    *recent = new;
    return 0;
}

void recent_close(struct recent *recent)
{
    if (!recent)
        return;
    munmap(recent->lines, lines_octets(recent));
    free(recent);
}

bool recent_seen(struct recent *recent, uint64_t hash)
{
    uint64_t *line = recent->lines[hash >> 32 & recent->line_mask];
    uint64_t mark = hash | 1; /* never 0 */
    bool seen = false;
    for (int i = 0; i < WAYS; i++)
        seen |= line[i] == mark;
    if (seen)
        return true;
    memmove(line + 1, line, (WAYS - 1) * sizeof(*line));
    line[0] = mark;
    return false;
}
