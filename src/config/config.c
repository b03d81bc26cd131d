/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/config/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctflow9/base/log.h"
#include "ctflow9/config/json_fault.h"
#include "ctflow9/config/option_table.h"

enum { FILE_OCTETS_MAX = 1 << 20, PIPE_PATIENCE_MS = 10000 };

struct config {
    const char *path;
    const char *text;
    size_t octets;
};

/* What the file says is done with the program's privileges, so who may write it matters. Groups that have the
 * number of the file's owner are that user's own. */
static void warn_of_writers(const char *path, const struct stat *status)
{
    char directory[PATH_MAX];
    struct stat above;
    const char *slash = strrchr(path, '/');
    if ((status->st_mode & S_IWOTH) != 0)
        log_warnx("%s: everybody may write to this file, and so tell ctflow9 what to do; type: chmod o-w %s",
                  path, path);
    else if ((status->st_mode & S_IWGRP) != 0 && status->st_gid != 0 && status->st_gid != status->st_uid)
        log_warnx("%s: group %u may write to this file, and so tell ctflow9 what to do; type: chmod g-w %s",
                  path, status->st_gid, path);
    snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (stat(directory, &above) == 0 && (above.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH)
        log_warnx("%s: everybody may replace this file, and so tell ctflow9 what to do; type: chmod o-w %s",
                  path, directory);
}

/* A pipe may have no writer yet: then it reads as if at its end. Octets, 0 at the end, or -errno. */
static ssize_t read_patiently(int fd, bool is_pipe, char *text, size_t had)
{
    for (;;) {
        ssize_t octets = read(fd, text + had, FILE_OCTETS_MAX - had);
        if (octets > 0 || (octets == 0 && (!is_pipe || had > 0)))
            return octets;
        if (octets < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        if (poll(&pollfd, 1, PIPE_PATIENCE_MS) == 0)
            return -ETIMEDOUT;
        if ((pollfd.revents & (POLLIN | POLLHUP)) == POLLHUP)
            return 0; /* the writer came, and left */
    }
}

/* Octets in text, or -errno. */
static ssize_t read_all(const char *path, int fd, char text[FILE_OCTETS_MAX])
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode))
        return -ENXIO;
    warn_of_writers(path, &status);
    ssize_t octets;
    size_t had = 0;
    while ((octets = read_patiently(fd, S_ISFIFO(status.st_mode), text, had)) > 0)
        had += (size_t)octets;
    return octets < 0 ? octets : had == FILE_OCTETS_MAX ? -EFBIG : (ssize_t)had;
}

/* Reads the whole file, which may be a pipe; opening one waits for its writer unless told not to. Octets in
 * text, or -errno. */
static ssize_t read_file(const char *path, char text[FILE_OCTETS_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    ssize_t octets = read_all(path, fd, text);
    close(fd);
    return octets;
}

/* Why the file was not read. A link to nothing is there, while a missing default file is none of the errors.
 */
static int refuse_file(const char *path, int error, struct option_error *why)
{
    struct stat status;
    switch (error) {
    case -ENOENT:
        if (lstat(path, &status) == 0)
            return option_error(why, "%s: this is a symbolic link to a file that does not exist", path);
        break;
    case -EACCES:
        option_error(why, "%s: %s for user %u, which ctflow9 runs as", path, strerror(-error), geteuid());
        return error;
    case -EISDIR:
        option_error(why, "%s: this is a directory: give a file", path);
        return error;
    case -ENXIO:
        option_error(why, "%s: this is neither a file nor a pipe", path);
        return error;
    case -EFBIG:
        option_error(why, "%s: this is larger than a configuration can be, which is 1 MiB", path);
        return error;
    case -ETIMEDOUT:
        option_error(why, "%s: nothing came through this pipe for %d seconds", path, PIPE_PATIENCE_MS / 1000);
        return error;
    default:
        break;
    }
    option_error(why, "%s: %s", path, strerror(-error));
    return error;
}

/*
 * The line of the top-level object's key of that index; with element >= 0, of that element of the array or
 * object after it. jansson keeps no positions, but the order of the keys, and what it took is well-formed.
 */
static unsigned line_of(const struct config *config, size_t key, int element)
{
    enum { OBJECT = 1, ARRAY = 2, DEPTHS };
    unsigned depth = 0;
    unsigned line = 1;
    size_t commas[DEPTHS] = {0}; /* at each depth, in what is open there */
    for (const char *octet = config->text; octet < config->text + config->octets; octet++) {
        line += *octet == '\n';
        if (isspace((unsigned char)*octet))
            continue;
        if (commas[OBJECT] == key &&
            (element < 0 ? depth == OBJECT : depth == ARRAY && commas[ARRAY] == (size_t)element))
            break;
        if (*octet == '"') {
            while (*++octet != '"')
                octet += *octet == '\\';
        } else if (*octet == '{' || *octet == '[') {
            if (++depth < DEPTHS)
                commas[depth] = 0;
        } else if (*octet == '}' || *octet == ']') {
            depth--;
        } else if (*octet == ',' && depth < DEPTHS) {
            commas[depth]++;
        }
    }
    return line;
}

static int refuse_key(const struct config *config, unsigned line, const char *key, struct option_error *why)
{
    const struct option_row *row = option_table_find(key);
    const struct option_row *nearest = option_table_nearest(key);
    if (row && option_is_unbuilt(row))
        return option_error(why, "%s:%u: %s is not possible: ctflow9 was built without %s", config->path,
                            line, key, row->lacking);
    if (row)
        return option_error(why, "%s:%u: %s is for the command line only", config->path, line, key);
    if (nearest)
        return option_error(why, "%s:%u: there is no option %.100s: did you mean %s?", config->path, line,
                            key, nearest->name);
    return option_error(why, "%s:%u: there is no option %.100s: see ctflow9.json(5)", config->path, line,
                        key);
}

/* Each value of a key that has several; *element counts them, up to the one that was refused. */
static int set_each(const struct option_row *row, const json_t *value, struct options *options, int *element,
                    struct option_error *why)
{
    int error = 0;
    if (json_is_array(value)) {
        while (!error && ++*element < (int)json_array_size(value))
            error = option_value_set_json(row, options, json_array_get(value, (size_t)*element), why);
        return error;
    }
    json_t *object = (json_t *)value; /* it is only read */
    for (void *at = json_object_iter(object); at && !error; at = json_object_iter_next(object, at)) {
        ++*element;
        error =
            option_value_set_member(row, options, json_object_iter_key(at), json_object_iter_value(at), why);
    }
    return error;
}

/* One key, the index-th of the file. */
static int set_key(const struct config *config, size_t index, const char *key, const json_t *value,
                   struct options *options, struct option_error *why)
{
    const struct option_row *row = option_table_find(key);
    if (!row || !option_is_setting(row))
        return refuse_key(config, line_of(config, index, -1), key, why);
    if (json_is_null(value))
        return 0;

    struct option_error detail;
    int element = -1;
    bool has_several =
        (option_is_list(row) && json_is_array(value)) || (option_has_members(row) && json_is_object(value));
    option_value_clear(row, options);
    int error = has_several ? set_each(row, value, options, &element, &detail)
                            : option_value_set_json(row, options, value, &detail);
    if (error)
        option_error(why, "%s:%u: %s: %s", config->path, line_of(config, index, element), key, detail.text);
    return error;
}

static int refuse_text(const struct config *config, const json_error_t *json_error, struct option_error *why)
{
    struct json_fault fault;
    json_fault_find(&fault, config->text, config->octets, json_error);
    return option_error(why, "%s:%u:%u: %s", config->path, fault.line, fault.column, fault.why);
}

int config_parse(struct options *options, const char *path, const char *text, size_t octets,
                 struct option_error *why)
{
    const struct config config = {.path = path, .text = text, .octets = octets};
    json_error_t json_error;
    json_t *object = json_loadb(text, octets, JSON_REJECT_DUPLICATES, &json_error);
    if (!object)
        return refuse_text(&config, &json_error, why);
    int error = 0;
    if (!json_is_object(object))
        error = option_error(why, "%s:1: give an object: { \"collector\": \"192.0.2.10\" }", path);
    size_t index = 0;
    for (void *key = json_object_iter(object); key && !error; key = json_object_iter_next(object, key))
        error =
            set_key(&config, index++, json_object_iter_key(key), json_object_iter_value(key), options, why);
    json_decref(object);
    return error;
}

int config_read(struct options *options, const char *path, struct option_error *why)
{
    char *text = malloc(FILE_OCTETS_MAX);
    ssize_t octets = text ? read_file(path, text) : -ENOMEM;
    int error = octets < 0 ? refuse_file(path, (int)octets, why)
                           : config_parse(options, path, text, (size_t)octets, why);
    free(text);
    return error;
}
