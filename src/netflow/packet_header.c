/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/netflow/packet_header.h"

#include <endian.h>
#include <string.h>

#include "ctflow9/base/wire.h"

void packet_header_write(struct writer *writer, unsigned count, struct epoch_stamp stamp, uint32_t source_id)
{
    enum { VERSION = 9 };

    writer_put_u16(writer, VERSION);
    writer_put_u16(writer, (uint16_t)count);
    writer_put_u32(writer, stamp.sys_uptime_ms);
    writer_put_u32(writer, stamp.unix_secs);
    writer_put_u32(writer, 0);
    writer_put_u32(writer, source_id);
}

void packet_header_set_sequence(uint8_t header[PACKET_HEADER_OCTETS], uint32_t sequence)
{
    enum { SEQUENCE_OFFSET = 12 };

    be32 wire = htobe32(sequence);
    memcpy(header + SEQUENCE_OFFSET, &wire, sizeof(wire));
}
