/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads the program (first_packets.bpf.c), hangs it into the four hooks, and reads the table that it
 * fills: no system call is made for a record.
 *
 * libbpf 1.1 knows the program type by its number alone, and cannot link it; so that is done here.
 */
#include "ctflow9/input/first_packets.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/base/log.h"

#include "first_packets.skel.h"

/* linux/bpf.h has these since Linux 6.4. */
enum { PROGRAM_TYPE_NETFILTER = 32, ATTACH_NETFILTER = 45 };

enum {
    HOOKS = 4,
    PRIORITY = INT_MAX - 1,       /* the kernel confirms at INT_MAX */
    PRIORITY_MIN = PRIORITY - 63, /* each program has a priority for itself */
    SETS_MAX = 1 << 18,           /* 256 MiB */
};

struct first_packets {
    struct first_packets_bpf *program;
    struct first_packets_table table;
    int links[HOOKS];
};

/* What an error means is told by who opens this; libbpf's own words are for who looks closer. */
static int __attribute__((format(printf, 2, 0)))
to_log(enum libbpf_print_level level, const char *format, va_list arguments)
{
    char line[LOG_LINE_MAX];
    if (level == LIBBPF_DEBUG)
        return 0;
    vsnprintf(line, sizeof(line), format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("%s", line);
    return 0;
}

/* Two places for three connections at the least, so that few sets are full while the table is not. */
static uint32_t choose_sets(uint32_t connections_max)
{
    uint64_t sets = 1;
    while (sets < SETS_MAX && sets * FIRST_PACKETS_WAYS < connections_max + UINT64_C(1) * connections_max / 2)
        sets *= 2;
    return (uint32_t)sets;
}

static size_t table_octets(const struct first_packets *packets)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t octets = ((size_t)packets->table.set_mask + 1) * sizeof(struct first_packets_set);
    return (octets + page - 1) / page * page;
}

/* Where a struct of the kernel's has a member, or -ENOENT. */
static int64_t offset_of(const struct btf *types, const char *name, const char *member)
{
    const int id = btf__find_by_name_kind(types, name, BTF_KIND_STRUCT);
    const struct btf_type *type = id > 0 ? btf__type_by_id(types, (uint32_t)id) : NULL;
    if (!type)
        return -ENOENT;
    for (uint32_t i = 0; i < btf_vlen(type); i++)
        if (strcmp(btf__name_by_offset(types, btf_members(type)[i].name_off), member) == 0)
            return btf_member_bit_offset(type, i) / CHAR_BIT;
    return -ENOENT;
}

static int tell_entry(struct first_packets_bpf *program, const struct btf *types)
{
    const int64_t status = offset_of(types, "nf_conn", "status"),
                  tuples = offset_of(types, "nf_conn", "tuplehash"),
                  tuple = offset_of(types, "nf_conntrack_tuple_hash", "tuple"),
                  zone = offset_of(types, "nf_conn", "zone");
    if (status < 0 || tuples < 0 || tuple < 0 ||
        offset_of(types, "nf_conntrack_tuple", "dst") != offsetof(struct first_packets_tuple, dst) ||
        offset_of(types, "nf_conntrack_man", "l3num") != offsetof(struct first_packets_tuple, family))
        return -ENOENT;
    program->rodata->status_at = (uint32_t)status;
    program->rodata->tuple_at = (uint32_t)(tuples + tuple);
    program->rodata->zone_at = zone < 0 ? FIRST_PACKETS_NOWHERE : (uint32_t)zone;
    return 0;
}

/* How this kernel lays out an entry. 0 or -errno. */
static int learn_entry(struct first_packets_bpf *program)
{
    struct btf *types = btf__load_vmlinux_btf();
    if (!types)
        return -errno;
    int error = tell_entry(program, types);
    struct btf *module = error ? btf__load_module_btf("nf_conntrack", types) : NULL;
    if (module)
        error = tell_entry(program, module);
    btf__free(module);
    btf__free(types);
    return error;
}

static int load(struct first_packets *packets)
{
    struct first_packets_bpf *program = packets->program;
    if (getrandom(packets->table.secret, sizeof(packets->table.secret), 0) !=
        (ssize_t)sizeof(packets->table.secret))
        return -errno;
    memcpy((void *)(uintptr_t)program->rodata->secret, packets->table.secret, sizeof(packets->table.secret));
    int error = learn_entry(program);
    if (error)
        return error;
    program->rodata->set_mask = packets->table.set_mask;
    bpf_program__set_type(program->progs.first_packets, (enum bpf_prog_type)PROGRAM_TYPE_NETFILTER);
    bpf_program__set_expected_attach_type(program->progs.first_packets,
                                          (enum bpf_attach_type)ATTACH_NETFILTER);
    error = bpf_map__set_max_entries(program->maps.notes, packets->table.set_mask + 1);
    return error ? error : first_packets_bpf__load(program);
}

static int map_notes(struct first_packets *packets)
{
    void *mapped = mmap(NULL, table_octets(packets), PROT_READ | PROT_WRITE, MAP_SHARED,
                        bpf_map__fd(packets->program->maps.notes), 0);
    if (mapped == MAP_FAILED)
        return -errno;
    packets->table.sets = mapped;
    return 0;
}

/* The descriptor of the link, or -errno: -EBUSY when there is something of that priority. */
static int hang_at(int program_fd, uint32_t family, uint32_t hook, int32_t priority)
{
    /* Of union bpf_attr, which has this member since Linux 6.4. */
    struct {
        uint32_t program_fd, target_fd, attach_type, flags;
        uint32_t family, hook;
        int32_t priority;
        uint32_t netfilter_flags;
        uint32_t unused[4];
    } attributes = {.program_fd = (uint32_t)program_fd,
                    .attach_type = ATTACH_NETFILTER,
                    .family = family,
                    .hook = hook,
                    .priority = priority};
    long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes));
    return fd < 0 ? -errno : (int)fd;
}

static int hang(int program_fd, uint32_t family, uint32_t hook)
{
    int fd, priority = PRIORITY;
    do
        fd = hang_at(program_fd, family, hook, priority);
    while (fd == -EBUSY && --priority >= PRIORITY_MIN);
    return fd;
}

static int hang_all(struct first_packets *packets)
{
    static const struct {
        uint32_t family, hook;
    } at[HOOKS] = {{NFPROTO_IPV4, NF_INET_POST_ROUTING},
                   {NFPROTO_IPV4, NF_INET_LOCAL_IN},
                   {NFPROTO_IPV6, NF_INET_POST_ROUTING},
                   {NFPROTO_IPV6, NF_INET_LOCAL_IN}};
    const int program_fd = bpf_program__fd(packets->program->progs.first_packets);
    for (int i = 0; i < HOOKS; i++) {
        packets->links[i] = hang(program_fd, at[i].family, at[i].hook);
        if (packets->links[i] < 0)
            return packets->links[i];
    }
    return 0;
}

int first_packets_open(struct first_packets **packets, uint32_t connections_max)
{
    struct first_packets *opened = calloc(1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    for (int i = 0; i < HOOKS; i++)
        opened->links[i] = -1;
    opened->table.set_mask = choose_sets(connections_max) - 1;
    first_packets_see_clock(opened);
    libbpf_set_print(to_log);
    opened->program = first_packets_bpf__open();
    int error = opened->program ? load(opened) : -errno;
    if (!error)
        error = map_notes(opened);
    if (!error)
        error = hang_all(opened);
    if (error) {
        first_packets_close(opened);
        return error;
    }
    *packets = opened;
    return 0;
}

void first_packets_close(struct first_packets *packets)
{
    if (!packets)
        return;
    for (int i = 0; i < HOOKS; i++)
        if (packets->links[i] >= 0)
            close(packets->links[i]);
    if (packets->table.sets)
        munmap(packets->table.sets, table_octets(packets));
    first_packets_bpf__destroy(packets->program);
    free(packets);
}

const char *first_packets_reason(int error)
{
    switch (error) {
    case -EINVAL:
        return "this kernel has no BPF programs of type NETFILTER, it takes Linux 6.4";
    case -EPERM:
    case -EACCES:
        return "it takes CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN outside any container, or a seccomp filter "
               "refuses it";
    case -ENOENT:
    case -ESRCH:
        return "this kernel does not tell its types (CONFIG_DEBUG_INFO_BTF), or has no connection tracking";
    default:
        return strerror(-error);
    }
}

void first_packets_see_clock(struct first_packets *packets)
{
    struct timespec tai;
    clock_gettime(CLOCK_TAI, &tai);
    const uint64_t wall_ns = instant_read_clock(CLOCK_REALTIME);
    const int64_t ahead_ns = (int64_t)((uint64_t)tai.tv_sec * NS_PER_S + (uint64_t)tai.tv_nsec - wall_ns);
    /* Both count whole seconds from each other; what is left is the time between the two looks. */
    const int64_t second_ns = (int64_t)NS_PER_S;
    const int64_t offset_ns = (ahead_ns + second_ns / 2) / second_ns * second_ns;
    atomic_store_explicit(&packets->table.tai_offset_ns, offset_ns, memory_order_relaxed);
}

uint64_t first_packets_evicted(const struct first_packets *packets)
{
    return atomic_load_explicit((const _Atomic uint64_t *)&packets->program->bss->evicted,
                                memory_order_relaxed);
}

const struct first_packets_table *first_packets_table(const struct first_packets *packets)
{
    return &packets->table;
}
