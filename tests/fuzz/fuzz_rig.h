/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctflow9/config/config.h"
#include "ctflow9/config/option_table.h"

/* What the fuzzers of the options share. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets);

static inline void require(bool holds)
{
    if (!holds)
        abort();
}

/* The options as --check prints them; the caller frees it. */
static inline char *fuzz_json(const struct options *options)
{
    char *json;
    size_t octets;
    FILE *out = open_memstream(&json, &octets);
    require(out != NULL);
    require(option_table_print_json(options, out) == 0);
    require(fclose(out) == 0);
    return json;
}

/* What --check prints is a configuration that says the same. */
static inline void fuzz_require_round_trip(const struct options *options)
{
    struct options again;
    struct option_error why;
    char *json = fuzz_json(options);
    option_table_default(&again);
    require(config_parse(&again, "printed", json, strlen(json), &why) == 0);
    char *json_again = fuzz_json(&again);
    require(strcmp(json, json_again) == 0);
    free(json_again);
    free(json);
}
