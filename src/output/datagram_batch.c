/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctflow9/output/datagram_batch.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ctflow9/netflow/packet_header.h"

enum { RUN_OCTETS_MAX = 65507, COPIES_OCTETS = 32768 };

union segment_control {
    struct cmsghdr header;
    uint8_t octets[CMSG_SPACE(sizeof(uint16_t))];
};

struct datagram_batch {
    unsigned count;
    size_t copied_octets;
    uint8_t headers[DATAGRAM_BATCH_MAX][PACKET_HEADER_OCTETS];
    struct iovec parts[DATAGRAM_BATCH_MAX][2]; /* header and body */
    struct mmsghdr messages[DATAGRAM_BATCH_MAX];
    unsigned message_datagrams[DATAGRAM_BATCH_MAX];
    union segment_control controls[DATAGRAM_BATCH_MAX];
    uint8_t copies[COPIES_OCTETS];
};

int datagram_batch_open(struct datagram_batch **batch)
{
    *batch = calloc(1, sizeof(**batch));
    return *batch ? 0 : -ENOMEM;
}

void datagram_batch_close(struct datagram_batch *batch)
{
    free(batch);
}

void datagram_batch_cut(struct datagram_batch *batch, unsigned count)
{
    batch->count = count;
    if (count == 0)
        batch->copied_octets = 0;
}

unsigned datagram_batch_count(const struct datagram_batch *batch)
{
    return batch->count;
}

bool datagram_batch_add(struct datagram_batch *batch, const uint8_t *datagram, size_t octets,
                        uint32_t sequence)
{
    if (batch->count == DATAGRAM_BATCH_MAX)
        return false;
    uint8_t *header = batch->headers[batch->count];
    struct iovec *parts = batch->parts[batch->count];
    memcpy(header, datagram, PACKET_HEADER_OCTETS);
    packet_header_set_sequence(header, sequence);
    parts[0] = (struct iovec){header, PACKET_HEADER_OCTETS};
    /* sendmmsg only reads; iovec has no const. */
    parts[1] =
        (struct iovec){(void *)(uintptr_t)(datagram + PACKET_HEADER_OCTETS), octets - PACKET_HEADER_OCTETS};
    batch->count++;
    return true;
}

bool datagram_batch_add_copy(struct datagram_batch *batch, const uint8_t *datagram, size_t octets,
                             uint32_t sequence)
{
    if (octets > COPIES_OCTETS - batch->copied_octets)
        return false;
    uint8_t *copy = batch->copies + batch->copied_octets;
    memcpy(copy, datagram, octets);
    batch->copied_octets += octets;
    return datagram_batch_add(batch, copy, octets, sequence);
}

static size_t datagram_octets(const struct datagram_batch *batch, unsigned index)
{
    return PACKET_HEADER_OCTETS + batch->parts[index][1].iov_len;
}

/* How many datagrams from first on can be one message: all of one size, but the last may be shorter. */
static unsigned run_length(const struct datagram_batch *batch, unsigned first)
{
    size_t size = datagram_octets(batch, first);
    size_t run_octets = size;
    unsigned end = first + 1;
    while (end < batch->count && datagram_octets(batch, end - 1) == size) {
        size_t octets = datagram_octets(batch, end);
        if (octets > size || run_octets + octets > RUN_OCTETS_MAX)
            break;
        run_octets += octets;
        end++;
    }
    return end - first;
}

/* Every segment but the last has this size. */
static void set_segment_size(struct msghdr *message, union segment_control *control, uint16_t octets)
{
    control->header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(octets)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(&control->header), &octets, sizeof(octets));
    message->msg_control = control;
    message->msg_controllen = sizeof(*control);
}

/* Returns how many messages the batch makes. */
static unsigned make_messages(struct datagram_batch *batch, bool segment)
{
    unsigned messages = 0;
    unsigned length;
    for (unsigned first = 0; first < batch->count; first += length) {
        length = segment ? run_length(batch, first) : 1;
        struct msghdr *message = &batch->messages[messages].msg_hdr;
        /* size_t with one C library, int with another */
        *message = (struct msghdr){.msg_iov = batch->parts[first], .msg_iovlen = (uint16_t)(2 * length)};
        if (length > 1)
            set_segment_size(message, &batch->controls[messages], (uint16_t)datagram_octets(batch, first));
        batch->message_datagrams[messages] = length;
        messages++;
    }
    return messages;
}

int datagram_batch_send(struct datagram_batch *batch, int fd, bool segment)
{
    int messages = sendmmsg(fd, batch->messages, make_messages(batch, segment), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (messages < 0)
        return -errno;
    unsigned sent = 0;
    for (int i = 0; i < messages; i++)
        sent += batch->message_datagrams[i];
    return (int)sent;
}
