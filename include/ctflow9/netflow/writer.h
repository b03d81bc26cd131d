/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A bounded big-endian writer with a sticky error: what does not fit is not written, and from then on nothing
 * is. One check at the end tells whether everything is there.
 */
struct writer {
    uint8_t *begin, *at, *end;
    bool overflow;
};

static inline struct writer writer_on(uint8_t *buffer, size_t octets)
{
    return (struct writer){.begin = buffer, .at = buffer, .end = buffer + octets};
}

static inline size_t writer_length(const struct writer *writer)
{
    return (size_t)(writer->at - writer->begin);
}

static inline size_t writer_room(const struct writer *writer)
{
    return (size_t)(writer->end - writer->at);
}

static inline void writer_put(struct writer *writer, const void *data, size_t octets)
{
    if (writer->overflow || writer_room(writer) < octets) {
        writer->overflow = true;
        return;
    }
    memcpy(writer->at, data, octets);
    writer->at += octets;
}

static inline void writer_put_u16(struct writer *writer, uint16_t value)
{
    uint16_t wire = htobe16(value);
    writer_put(writer, &wire, sizeof(wire));
}

static inline void writer_put_u32(struct writer *writer, uint32_t value)
{
    uint32_t wire = htobe32(value);
    writer_put(writer, &wire, sizeof(wire));
}

/* Zero octets up to a multiple of 4 from the writer's beginning. */
static inline void writer_pad(struct writer *writer)
{
    static const uint8_t zero[4];
    writer_put(writer, zero, (4 - writer_length(writer) % 4) % 4);
}

/* Replaces two octets already written. */
static inline void writer_patch_u16(struct writer *writer, size_t offset, uint16_t value)
{
    uint16_t wire = htobe16(value);
    if (offset + sizeof(wire) <= writer_length(writer))
        memcpy(writer->begin + offset, &wire, sizeof(wire));
}
