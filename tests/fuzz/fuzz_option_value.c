/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any text, but for NUL, as the value of any option: the first octet is the number of its row. What is taken
 * is printed as a configuration that says the same.
 */
#include "fuzz_rig.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
    struct options options;
    struct option_error why;
    if (octets == 0)
        return 0;
    const struct option_row *row = &option_table[data[0] % option_table_count];
    if (!option_is_setting(row))
        return 0;
    char *text = strndup((const char *)data + 1, octets - 1);
    require(text != NULL);
    option_table_default(&options);
    option_value_clear(row, &options);
    why.text[0] = '\0';
    int error = option_value_set(row, &options, text, &why);
    require(error == 0 || (error == -EINVAL && why.text[0] != '\0'));
    if (!error)
        fuzz_require_round_trip(&options);
    free(text);
    return 0;
}
