/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program is put together here, an instruction at a time: it is small, and takes neither a compiler for
 * BPF nor a library. Registers: r6 the message (struct __sk_buff), r7 its octets, r8 its record in the ring,
 * r9 the place in it that is looked at; r0 to r5 are for helpers; r10 is the end of the stack.
 */
#include "ctflow9/input/bpf_filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

enum { INSTRUCTIONS_MAX = 192 };

struct program {
    struct bpf_insn code[INSTRUCTIONS_MAX];
    int length;
};

/* Where the program ends, one way or the other; both stand at its beginning. */
enum end { HOLD_BACK = 1, PASS = 3 };

/* A record has a header of 8 octets (BPF_RINGBUF_HDR_SZ), and its size must be known when the program is
 * loaded. The sizes make records of 256, 320 and 512 octets: IPv4, IPv6, and what has all attributes. */
static const int record_octets[] = {248, 312, BPF_FILTER_OCTETS_MAX};

/* The helpers' numbers are fixed for ever; older headers lack the later ones. */
enum {
    SKB_LOAD_BYTES = 26,
    PROBE_READ_KERNEL = 113,
    RINGBUF_RESERVE = 131,
    RINGBUF_SUBMIT = 132,
    RINGBUF_DISCARD = 133
};

static long bpf(int command, union bpf_attr *attributes)
{
    return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static int emit(struct program *program, struct bpf_insn instruction)
{
    assert(program->length < INSTRUCTIONS_MAX);
    program->code[program->length] = instruction;
    return program->length++;
}

static void set(struct program *program, unsigned to, int value)
{
    emit(program, (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to & 0xfU, .imm = value});
}

static void copy(struct program *program, unsigned to, unsigned from)
{
    emit(program, (struct bpf_insn){
                      .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = to & 0xfU, .src_reg = from & 0xfU});
}

static void compute(struct program *program, uint8_t code, unsigned to, int value)
{
    emit(program, (struct bpf_insn){.code = code | BPF_K, .dst_reg = to & 0xfU, .imm = value});
}

/* to = what stands at that offset from base; size is BPF_H or BPF_W. */
static void load(struct program *program, uint8_t size, unsigned to, unsigned base, int offset)
{
    emit(program, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | size,
                                    .dst_reg = to & 0xfU,
                                    .src_reg = base & 0xfU,
                                    .off = (int16_t)offset});
}

static void call(struct program *program, int helper)
{
    emit(program, (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = helper});
}

/* Returns the jump's place. A target that is not known yet is set by land_here(). */
enum { LATER = 0 };
static int jump_if(struct program *program, uint8_t code, unsigned left, int right, int target)
{
    return emit(program, (struct bpf_insn){.code = code | BPF_K,
                                           .dst_reg = left & 0xfU,
                                           .imm = right,
                                           .off = (int16_t)(target - program->length - 1)});
}

static int jump(struct program *program, int target)
{
    return jump_if(program, BPF_JMP | BPF_JA, 0, 0, target);
}

static void land_here(struct program *program, int jump)
{
    program->code[jump].off = (int16_t)(program->length - jump - 1);
}

static void begin(struct program *program)
{
    const struct bpf_insn end = {.code = BPF_JMP | BPF_EXIT};
    int start = jump(program, LATER);
    set(program, BPF_REG_0, 0); /* HOLD_BACK */
    emit(program, end);
    set(program, BPF_REG_0, -1); /* PASS, whole */
    emit(program, end);
    land_here(program, start);
    copy(program, BPF_REG_6, BPF_REG_1);
}

/* r0 = result of loading octets from the message at the place in r2 to where r3 points. */
static void load_message(struct program *program)
{
    copy(program, BPF_REG_1, BPF_REG_6);
    call(program, SKB_LOAD_BYTES);
}

/* r0 = the value of the message's first attribute of a type, 32 bits; 0 when there is none. */
static void find_attribute(struct program *program, int type)
{
    enum { HEAD = -8, TYPE = -6, VALUE = -4, HEAD_OCTETS = 8, ATTRIBUTES_MAX = 32 };

    set(program, BPF_REG_9, NLMSG_HDRLEN + sizeof(struct nfgenmsg));
    set(program, BPF_REG_8, ATTRIBUTES_MAX); /* for the verifier: the loop ends */
    const int next = program->length;
    copy(program, BPF_REG_2, BPF_REG_9);
    copy(program, BPF_REG_3, BPF_REG_10);
    compute(program, BPF_ALU64 | BPF_ADD, BPF_REG_3, HEAD);
    set(program, BPF_REG_4, HEAD_OCTETS);
    load_message(program);
    int over = jump_if(program, BPF_JMP | BPF_JNE, BPF_REG_0, 0, LATER);
    load(program, BPF_H, BPF_REG_1, BPF_REG_10, TYPE);
    int found = jump_if(program, BPF_JMP | BPF_JEQ, BPF_REG_1, type, LATER);
    load(program, BPF_H, BPF_REG_1, BPF_REG_10, HEAD);
    int malformed = jump_if(program, BPF_JMP | BPF_JLT, BPF_REG_1, (int)sizeof(struct nlattr), LATER);
    compute(program, BPF_ALU64 | BPF_ADD, BPF_REG_1, NLA_ALIGNTO - 1);
    compute(program, BPF_ALU64 | BPF_AND, BPF_REG_1, ~(NLA_ALIGNTO - 1));
    emit(program,
         (struct bpf_insn){.code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = BPF_REG_9, .src_reg = BPF_REG_1});
    compute(program, BPF_ALU64 | BPF_SUB, BPF_REG_8, 1);
    jump_if(program, BPF_JMP | BPF_JNE, BPF_REG_8, 0, next);
    land_here(program, over);
    land_here(program, malformed);
    set(program, BPF_REG_0, 0);
    int done = jump(program, LATER);
    land_here(program, found);
    load(program, BPF_W, BPF_REG_0, BPF_REG_10, VALUE);
    emit(program, (struct bpf_insn){.code = BPF_ALU | BPF_END | BPF_TO_BE, .dst_reg = BPF_REG_0, .imm = 32});
    land_here(program, done);
}

static void filter_message(struct program *program, const struct netlink_filter *filter)
{
    if (filter->mark.given) {
        find_attribute(program, CTA_MARK);
        compute(program, BPF_ALU | BPF_AND, BPF_REG_0, (int)filter->mark.mask);
        jump_if(program, BPF_JMP32 | BPF_JNE, BPF_REG_0, (int)filter->mark.value, HOLD_BACK);
    }
    if (filter->share.count > 1) {
        find_attribute(program, CTA_ID);
        compute(program, BPF_ALU | BPF_MOD, BPF_REG_0, (int)filter->share.count);
        jump_if(program, BPF_JMP32 | BPF_JNE, BPF_REG_0, (int)filter->share.index, HOLD_BACK);
    }
}

/* Loads octets of the kernel's struct sk_buff, from offset on, to that place on the stack. */
static void read_notes(struct program *program, int to, int octets, int offset)
{
    copy(program, BPF_REG_1, BPF_REG_10);
    compute(program, BPF_ALU64 | BPF_ADD, BPF_REG_1, to);
    set(program, BPF_REG_2, octets);
    copy(program, BPF_REG_3, BPF_REG_6);
    compute(program, BPF_ALU64 | BPF_ADD, BPF_REG_3, offset);
    call(program, PROBE_READ_KERNEL);
}

/* r1 = the port id of who sent the message, 0 for the kernel. */
static void load_source(struct program *program, int source)
{
    enum { SOURCE = -8 };

    read_notes(program, SOURCE, sizeof(uint32_t), source);
    load(program, BPF_W, BPF_REG_1, BPF_REG_10, SOURCE);
}

/* What was not sent by the kernel goes into the socket, where its source is told. */
static void pass_programs(struct program *program, int source)
{
    if (source == BPF_FILTER_NO_SOURCE)
        return;
    load_source(program, source);
    jump_if(program, BPF_JMP | BPF_JNE, BPF_REG_1, 0, PASS);
}

/* Ends the program, unless the message is too long for a record of that size. */
static void take_message(struct program *program, int ring_fd, int octets)
{
    int too_long = jump_if(program, BPF_JMP | BPF_JGT, BPF_REG_7, octets, LATER);

    emit(program, (struct bpf_insn){.code = BPF_LD | BPF_DW | BPF_IMM,
                                    .dst_reg = BPF_REG_1,
                                    .src_reg = BPF_PSEUDO_MAP_FD,
                                    .imm = ring_fd});
    emit(program, (struct bpf_insn){0}); /* the second half of that one */
    set(program, BPF_REG_2, octets);
    set(program, BPF_REG_3, 0);
    call(program, RINGBUF_RESERVE);
    jump_if(program, BPF_JMP | BPF_JEQ, BPF_REG_0, 0, PASS);
    copy(program, BPF_REG_8, BPF_REG_0);

    set(program, BPF_REG_2, 0);
    copy(program, BPF_REG_3, BPF_REG_8);
    copy(program, BPF_REG_4, BPF_REG_7);
    load_message(program);
    int failed = jump_if(program, BPF_JMP | BPF_JNE, BPF_REG_0, 0, LATER);
    load(program, BPF_W, BPF_REG_1, BPF_REG_8, offsetof(struct nlmsghdr, nlmsg_len));
    int odd = emit(
        program,
        (struct bpf_insn){.code = BPF_JMP | BPF_JNE | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_7});
    copy(program, BPF_REG_1, BPF_REG_8);
    set(program, BPF_REG_2, 0); /* wakes the reader if it has read everything before */
    call(program, RINGBUF_SUBMIT);
    jump(program, HOLD_BACK);

    land_here(program, failed);
    land_here(program, odd);
    copy(program, BPF_REG_1, BPF_REG_8);
    set(program, BPF_REG_2, 0);
    call(program, RINGBUF_DISCARD);
    jump(program, PASS);
    land_here(program, too_long);
}

static void write_program(struct program *program, int ring_fd, const struct netlink_filter *filter,
                          int source)
{
    begin(program);
    filter_message(program, filter);
    pass_programs(program, source);
    load(program, BPF_W, BPF_REG_7, BPF_REG_6, offsetof(struct __sk_buff, len));
    jump_if(program, BPF_JMP | BPF_JLT, BPF_REG_7, NLMSG_HDRLEN, PASS);
    for (size_t i = 0; i < sizeof(record_octets) / sizeof(record_octets[0]); i++)
        take_message(program, ring_fd, record_octets[i]);
    jump(program, PASS);
}

int bpf_filter_create_ring(uint32_t octets)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof(attributes));
    attributes.map_type = BPF_MAP_TYPE_RINGBUF;
    attributes.max_entries = octets;
    long fd = bpf(BPF_MAP_CREATE, &attributes);
    return fd < 0 ? -errno : (int)fd;
}

/* 0 or -errno. */
static int attach(int socket_fd, const struct program *program)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof(attributes));
    attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attributes.insns = (uintptr_t)program->code;
    attributes.insn_cnt = (uint32_t)program->length;
    attributes.license = (uintptr_t) "GPL";
    int fd;
    int attempts = 5; /* a signal that is pending interrupts the verifier */
    do
        fd = (int)bpf(BPF_PROG_LOAD, &attributes);
    while (fd < 0 && errno == EAGAIN && --attempts > 0);
    if (fd < 0)
        return -errno;
    int error = setsockopt(socket_fd, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd)) == 0 ? 0 : -errno;
    close(fd); /* the socket holds it */
    return error;
}

int bpf_filter_attach(int socket_fd, int ring_fd, const struct netlink_filter *filter, int source)
{
    struct program program = {.length = 0};
    write_program(&program, ring_fd, filter, source);
    return attach(socket_fd, &program);
}

int bpf_filter_attach_cutting(int socket_fd, const struct netlink_filter *filter, int source)
{
    const struct bpf_insn end = {.code = BPF_JMP | BPF_EXIT};
    struct program program = {.length = 0};
    begin(&program);
    filter_message(&program, filter);
    load_source(&program, source);
    jump_if(&program, BPF_JMP | BPF_JEQ, BPF_REG_1, 0, PASS);
    /* An empty one cannot be cut; and the verifier wants every end to be reached. */
    load(&program, BPF_W, BPF_REG_7, BPF_REG_6, offsetof(struct __sk_buff, len));
    jump_if(&program, BPF_JMP | BPF_JEQ, BPF_REG_7, 0, HOLD_BACK);
    set(&program, BPF_REG_0, BPF_FILTER_CUT_OCTETS);
    emit(&program, end);
    return attach(socket_fd, &program);
}

enum { NOTES_OCTETS = 128 }; /* the beginning of struct sk_buff, control block included, and a message */

/* Cuts a message to as many octets as stand in front of the port id in the kernel's notes on it; holds it
 * back when it is not there. */
static void write_search(struct program *program, uint32_t port_id)
{
    const struct bpf_insn end = {.code = BPF_JMP | BPF_EXIT};
    copy(program, BPF_REG_6, BPF_REG_1);
    read_notes(program, -NOTES_OCTETS, NOTES_OCTETS, 0);
    for (int offset = sizeof(uint32_t); offset < NOTES_OCTETS; offset += (int)sizeof(uint32_t)) {
        load(program, BPF_W, BPF_REG_1, BPF_REG_10, offset - NOTES_OCTETS);
        set(program, BPF_REG_0, offset);
        int other = jump_if(program, BPF_JMP32 | BPF_JNE, BPF_REG_1, (int)port_id, LATER);
        emit(program, end);
        land_here(program, other);
    }
    set(program, BPF_REG_0, 0);
    emit(program, end);
}

/* Sends a message from one socket to the other, and tells how much of it arrives. */
static int search(int from, int to)
{
    static const uint8_t message[NOTES_OCTETS];
    uint8_t received[NOTES_OCTETS];
    struct program program = {.length = 0};
    struct sockaddr_nl source = {0}, target = {0};
    socklen_t size = sizeof(source);
    if (getsockname(from, (struct sockaddr *)&source, &size) != 0 ||
        getsockname(to, (struct sockaddr *)&target, &size) != 0)
        return -errno;
    if (source.nl_pid == (uint32_t)getpid())
        return -ENODATA;
    write_search(&program, source.nl_pid);
    int error = attach(to, &program);
    if (error)
        return error;
    if (sendto(from, message, sizeof(message), 0, (const struct sockaddr *)&target, size) < 0)
        return -errno;
    ssize_t octets = recv(to, received, sizeof(received), 0);
    return octets < 0 ? -ENODATA : (int)octets;
}

static int find_source(void)
{
    int to = netlink_socket_open(); /* the first one gets our process id, which stands there as well */
    if (to < 0)
        return to;
    int from = netlink_socket_open();
    int found = from < 0 ? from : search(from, to);
    if (from >= 0)
        close(from);
    close(to);
    return found;
}

int bpf_filter_find_source(int *source)
{
    int found = find_source();
    bool is_not_told = found == -EPERM || found == -EACCES || found == -EINVAL || found == -ENODATA;
    *source = found < 0 ? BPF_FILTER_NO_SOURCE : found;
    return found < 0 && !is_not_told ? found : 0;
}
