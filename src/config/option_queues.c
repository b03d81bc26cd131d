/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <limits.h>
#include <stdlib.h>

#include "ctflow9/config/option_list.h"
#include "ctflow9/config/option_type.h"

/* Returns what follows, or NULL when it is no number of a queue. */
static const char *read_queue(const char *text, unsigned long *queue)
{
    char *end;
    *queue = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : ULONG_MAX;
    return *queue <= UINT16_MAX ? end : NULL;
}

static int set_queues(const struct option_row *row, struct options *options, const char *text,
                      struct option_error *why)
{
    unsigned long first = 0, last = 0;
    const char *end = read_queue(text, &first);
    last = first;
    if (end && *end == '-')
        end = read_queue(end + 1, &last);
    if (!end || *end != '\0' || last < first)
        return option_error(
            why, "'%.100s' is no range of NFQUEUE queues: give NUM or NUM-NUM, each 0 to 65535", text);
    if (last - first >= NFQUEUE_QUEUES_MAX)
        return option_error(why, "'%.100s' is more than %d NFQUEUE queues", text, NFQUEUE_QUEUES_MAX);
    *(struct nfqueue_range *)option_place(row, options) =
        (struct nfqueue_range){.first = (uint16_t)first, .count = (uint16_t)(last - first + 1)};
    return 0;
}

static json_t *queues_json(const struct option_row *row, const struct options *options)
{
    const struct nfqueue_range *queues = option_place_const(row, options);
    unsigned last = queues->first + queues->count - 1u;
    if (queues->count == 0)
        return json_null();
    return queues->count == 1 ? json_sprintf("%u", last) : json_sprintf("%u-%u", queues->first, last);
}

const struct option_type option_queues = {
    .set = set_queues,
    .json = queues_json,
    .octets = sizeof(struct nfqueue_range),
    .json_types = OPTION_JSON(INTEGER) | OPTION_JSON(STRING),
    .wanted = "a whole number or a string like \"0-3\"",
};
