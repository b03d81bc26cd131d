/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/service/metrics_write.h"

#include <inttypes.h>
#include <string.h>

#include "ctflow9/base/instant.h"

enum { LABELS_MAX = 3, NAME_MAX_OCTETS = 64, NUMBER_MAX = 32 };

struct labels {
    unsigned count;
    struct {
        const char *name, *value;
    } label[LABELS_MAX];
};

/* Either way to write. A metric is announced before its values. */
struct writer_ops {
    void (*announce)(void *context, const char *name, const struct stats_row *row);
    void (*value)(void *context, const char *name, const struct labels *labels, const struct stats_row *row,
                  uint64_t value);
    void (*histogram)(void *context, const char *name, const struct labels *labels,
                      const struct stats_histogram *histogram);
};

/* ---- the walk ---- */

static struct labels with(struct labels labels, const char *name, const char *value)
{
    labels.label[labels.count].name = name;
    labels.label[labels.count++].value = value;
    return labels;
}

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void walk_flows(const struct writer_ops *ops, void *context, const char *name,
                       const struct stats_row *row, const struct stats *total)
{
    for (unsigned i = 0; i < STATS_PROTOCOLS; i++) {
        for (unsigned j = 0; j < STATS_END_REASONS; j++) {
            const struct labels labels = {
                2, {{"protocol", stats_protocol_names[i]}, {"end_reason", stats_end_reason_names[j]}}};
            ops->value(context, name, &labels, row, load(&total->flows_by[i][j]));
        }
    }
}

static void walk_row(const struct writer_ops *ops, void *context, const char *name, struct labels labels,
                     const struct stats_row *row, const void *stats)
{
    if (row->label)
        labels = with(labels, row->label, row->value);
    switch (row->kind) {
    case STATS_FLOWS:
        walk_flows(ops, context, name, row, stats);
        break;
    case STATS_HISTOGRAM:
        ops->histogram(context, name, &labels, (const void *)stats_place(row, stats));
        break;
    default:
        ops->value(context, name, &labels, row, load(stats_place(row, stats)));
        break;
    }
}

static const char *name_of(const struct stats_row *row, char name[NAME_MAX_OCTETS])
{
    snprintf(name, NAME_MAX_OCTETS, "ctflow9_%s", row->metric);
    return name;
}

static void walk(const struct writer_ops *ops, void *context, const struct metrics_sample *sample)
{
    const struct labels none = {0};
    char name[NAME_MAX_OCTETS];
    const struct stats_row *row = stats_build_row();
    ops->announce(context, name_of(row, name), row);
    ops->value(context, name, &(struct labels){1, {{row->label, row->value}}}, row, 1);

    for (size_t i = 0; (row = stats_row(i)); i++) {
        if (!row->metric)
            continue;
        ops->announce(context, name_of(row, name), row);
        walk_row(ops, context, name, none, row, &sample->total);
    }
    for (size_t i = 0; sample->collector_count > 0 && (row = stats_collector_row(i)); i++) {
        ops->announce(context, name_of(row, name), row);
        for (size_t j = 0; j < sample->collector_count; j++) {
            const struct metrics_collector *collector = &sample->collector[j];
            walk_row(ops, context, name, with(none, "collector", collector->name), row, &collector->stats);
        }
    }
}

/* ---- text ---- */

static const char *const types[] = {[STATS_COUNTER] = "counter",
                                    [STATS_FLOWS] = "counter",
                                    [STATS_GAUGE] = "gauge",
                                    [STATS_HISTOGRAM] = "histogram"};

static void announce_text(void *context, const char *name, const struct stats_row *row)
{
    fprintf(context, "# HELP %s %s\n# TYPE %s %s\n", name, row->help, name, types[row->kind]);
}

static void put_label(FILE *out, char before, const char *name, const char *value)
{
    fprintf(out, "%c%s=\"", before, name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            fputc('\\', out);
        fputc(*value, out);
    }
    fputc('"', out);
}

/* more: a further label's value, of the name "le"; NULL = none. */
static void put_name(FILE *out, const char *name, const char *suffix, const struct labels *labels,
                     const char *more)
{
    char before = '{';
    fprintf(out, "%s%s", name, suffix);
    for (unsigned i = 0; i < labels->count; i++, before = ',')
        put_label(out, before, labels->label[i].name, labels->label[i].value);
    if (more) {
        put_label(out, before, "le", more);
        before = ',';
    }
    fputs(before == ',' ? "} " : " ", out);
}

static double in_units(const struct stats_row *row, uint64_t value)
{
    return (double)value / row->parts;
}

static void value_text(void *context, const char *name, const struct labels *labels,
                       const struct stats_row *row, uint64_t value)
{
    FILE *out = context;
    put_name(out, name, "", labels, NULL);
    if (row->parts != 0)
        fprintf(out, "%.15g\n", in_units(row, value));
    else
        fprintf(out, "%" PRIu64 "\n", value);
}

static const char *limit_text(unsigned number, char text[NUMBER_MAX])
{
    if (number == STATS_LIMITS)
        return "+Inf";
    snprintf(text, NUMBER_MAX, "%g", (double)stats_limit_ns(number) / (double)NS_PER_S);
    return text;
}

static void histogram_text(void *context, const char *name, const struct labels *labels,
                           const struct stats_histogram *histogram)
{
    FILE *out = context;
    char limit[NUMBER_MAX];
    uint64_t count = 0;
    for (unsigned i = 0; i <= STATS_LIMITS; i++) {
        count += load(&histogram->count[i]);
        put_name(out, name, "_bucket", labels, limit_text(i, limit));
        fprintf(out, "%" PRIu64 "\n", count);
    }
    put_name(out, name, "_sum", labels, NULL);
    fprintf(out, "%.15g\n", (double)load(&histogram->sum_ns) / (double)NS_PER_S);
    put_name(out, name, "_count", labels, NULL);
    fprintf(out, "%" PRIu64 "\n", count);
}

void metrics_write_text(const struct metrics_sample *sample, FILE *out)
{
    static const struct writer_ops ops = {announce_text, value_text, histogram_text};
    walk(&ops, out, sample);
}

/* ---- JSON ---- */

static void announce_json(void *context, const char *name, const struct stats_row *row)
{
    (void)context, (void)name, (void)row;
}

/* Into an array where there are labels. members has what tells the value. */
static void add_json(json_t *object, const char *name, const struct labels *labels, json_t *members)
{
    if (labels->count == 0) {
        json_object_set_new(object, name, members);
        return;
    }
    for (unsigned i = 0; i < labels->count; i++)
        json_object_set_new(members, labels->label[i].name, json_string(labels->label[i].value));
    json_t *array = json_object_get(object, name);
    if (!array) {
        json_object_set_new(object, name, json_array());
        array = json_object_get(object, name);
    }
    json_array_append_new(array, members);
}

static json_t *number_json(const struct stats_row *row, uint64_t value)
{
    return row->parts != 0 ? json_real(in_units(row, value)) : json_integer((json_int_t)value);
}

static void value_json(void *context, const char *name, const struct labels *labels,
                       const struct stats_row *row, uint64_t value)
{
    json_t *number = number_json(row, value);
    add_json(context, name, labels, labels->count == 0 ? number : json_pack("{s:o}", "value", number));
}

static void histogram_json(void *context, const char *name, const struct labels *labels,
                           const struct stats_histogram *histogram)
{
    char limit[NUMBER_MAX];
    uint64_t count = 0;
    json_t *buckets = json_object();
    for (unsigned i = 0; i <= STATS_LIMITS; i++) {
        count += load(&histogram->count[i]);
        json_object_set_new(buckets, limit_text(i, limit), json_integer((json_int_t)count));
    }
    add_json(context, name, labels,
             json_pack("{s:o, s:f, s:I}", "buckets", buckets, "sum",
                       (double)load(&histogram->sum_ns) / (double)NS_PER_S, "count", (json_int_t)count));
}

json_t *metrics_json(const struct metrics_sample *sample)
{
    static const struct writer_ops ops = {announce_json, value_json, histogram_json};
    json_t *object = json_object();
    if (object)
        walk(&ops, object, sample);
    return object;
}
