/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any text as a command line, a word on each line: what is refused is said in one line, --check prints a
 * configuration that says the same, and a program that is to run has said nothing.
 */
#include "fuzz_rig.h"

#include "ctflow9/config/command_line.h"

enum { WORDS_MAX = 64 };

/* Files would make it depend on this machine. */
static bool names_a_file(const char *word)
{
    bool is_long = strncmp(word, "--", 2) == 0;
    return is_long ? strncmp(word, "--con", 5) == 0 : word[0] == '-' && strchr(word, 'f') != NULL;
}

static int split(char *text, char *argv[WORDS_MAX + 1])
{
    int argc = 0;
    argv[argc++] = text;
    for (char *at = text; argc < WORDS_MAX && (at = strchr(at, '\n')) != NULL;) {
        *at++ = '\0';
        argv[argc++] = at;
    }
    argv[argc] = NULL;
    return argc;
}

static void check_said(enum command_line_outcome outcome, const char *out, const char *err)
{
    switch (outcome) {
    case COMMAND_LINE_RUN:
        require(*out == '\0' && *err == '\0');
        break;
    case COMMAND_LINE_DONE:
        require(*out != '\0' && (*err == '\0' || strncmp(err, "ctflow9: warning: ", 18) == 0));
        break;
    case COMMAND_LINE_FAILED:
    case COMMAND_LINE_REFUSED:
        require(*out == '\0' && strncmp(err, "ctflow9: ", 9) == 0);
        require(err[9] != '\0' && strchr(err, '\n') == err + strlen(err) - 1);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
    struct options options;
    char *argv[WORDS_MAX + 1], *out, *err;
    size_t out_octets, err_octets;
    char *text = strndup((const char *)data, octets);
    require(text != NULL);
    int argc = split(text, argv);
    for (int i = 1; i < argc; i++) {
        if (names_a_file(argv[i])) {
            free(text);
            return 0;
        }
    }
    FILE *out_stream = open_memstream(&out, &out_octets);
    FILE *err_stream = open_memstream(&err, &err_octets);
    require(out_stream != NULL && err_stream != NULL);
    enum command_line_outcome outcome =
        command_line_parse_with(&options, argc, argv, "/nonexistent", out_stream, err_stream);
    require(fclose(out_stream) == 0 && fclose(err_stream) == 0);
    check_said(outcome, out, err);
    if (outcome == COMMAND_LINE_RUN || *out == '{')
        fuzz_require_round_trip(&options);
    free(err);
    free(out);
    free(text);
    return 0;
}
