/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any octets as a configuration file: what is taken is printed as a file that says the same, what is refused
 * names a line that exists, and a reason that can be.
 */
#include "fuzz_rig.h"

#include <errno.h>

static unsigned long count_lines(const char *text, size_t octets)
{
    unsigned long lines = 1;
    for (size_t i = 0; i < octets; i++)
        lines += text[i] == '\n';
    return lines;
}

/* "file:LINE: …" or "file:LINE:COLUMN: …". */
static void check_refusal(const char *why, const char *text, size_t octets)
{
    char *end;
    require(strncmp(why, "file:", 5) == 0);
    unsigned long line = strtoul(why + 5, &end, 10);
    require(end > why + 5 && *end == ':' && line >= 1 && line <= count_lines(text, octets));
    if (end[1] != ' ') {
        const char *digits = end + 1;
        unsigned long column = strtoul(digits, &end, 10);
        require(end > digits && *end == ':' && column >= 1 && column <= octets + 1);
    }
    require(end[1] == ' ' && end[2] != '\0');
    if (strncmp(end + 2, "there is an impossible", 22) == 0)
        require(memmem(text, octets, "\\u", 2) != NULL);
    if (strncmp(end + 2, "there is a backslash", 20) == 0)
        require(memchr(text, '\\', octets) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
    struct options options;
    struct option_error why;
    char *text = malloc(octets); /* ends where the octets do */
    require(text != NULL || octets == 0);
    if (octets > 0)
        memcpy(text, data, octets);
    option_table_default(&options);
    why.text[0] = '\0';
    int error = config_parse(&options, "file", text, octets, &why);
    require(error == 0 || error == -EINVAL);
    if (error)
        check_refusal(why.text, text, octets);
    else
        fuzz_require_round_trip(&options);
    free(text);
    return 0;
}
