/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends without messages: programs at functions of the kernel's (rx_fentry.bpf.c) copy each entry that ends
 * into a ring. The socket tells the network namespace and, by its receive buffer, how large the ring is to
 * be; nothing is received from it. What the ring has no room for is lost, and counted by the program. So is
 * what ends on a CPU that was interrupted while it ran the program: the kernel does not run it twice there,
 * and counts that (recursion_misses, Linux 5.12).
 *
 * CTA_ID, which tells entries apart in looks at the table, is a hash with a key that the kernel keeps to
 * itself. The program makes the same hash; where the key stands is told by /proc/kallsyms.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctflow9/base/instant.h"
#include "ctflow9/input/bpf_ring.h"
#include "ctflow9/input/rx.h"

#include "rx_fentry.skel.h"

struct fentry_rx {
    struct rx rx;
    struct rx_fentry_bpf__rodata constants; /* set before the program is loaded */
    struct bpf_ring ring;
    struct rx_fentry_bpf *program;
    struct rx_message messages[RX_BATCH];
};

static int find_namespace(int socket_fd, uint32_t *number)
{
    struct stat status;
    int fd = ioctl(socket_fd, SIOCGSKNS);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) == 0 ? 0 : -errno;
    close(fd);
    *number = (uint32_t)status.st_ino;
    return error;
}

/* A line of /proc/kallsyms: "ADDRESS KIND NAME [MODULE]". The compiler ends the names of static variables
 * within functions with a number. */
static bool is_id_seed(const char *line, __u64 *address)
{
    static const char name[] = "ct_id_seed";
    char kind, word[64];
    if (strstr(line, name) == NULL || sscanf(line, "%llx %c %63s", address, &kind, word) != 3)
        return false;
    return strncmp(word, name, sizeof(name) - 1) == 0 && strchr(".", word[sizeof(name) - 1]) != NULL;
}

/* 0, -ENOENT where the kernel does not name it, or -EPERM where it does not tell the address. */
static int find_id_seed(__u64 *address)
{
    char line[512];
    FILE *symbols = fopen("/proc/kallsyms", "re");
    if (symbols == NULL)
        return -ENOENT;
    bool found = false;
    while (!found && fgets(line, sizeof(line), symbols) != NULL)
        found = is_id_seed(line, address);
    fclose(symbols);
    return !found ? -ENOENT : *address == 0 ? -EPERM : 0;
}

static int find_constants(int socket_fd, const struct netlink_filter *filter,
                          struct rx_fentry_bpf__rodata *constants)
{
    struct timespec tick;
    *constants = (struct rx_fentry_bpf__rodata){0};
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0)
        return -errno;
    constants->ticks_per_second = (uint32_t)(NS_PER_S / (uint64_t)tick.tv_nsec);
    if (filter && filter->mark.given) {
        constants->mark_value = filter->mark.value;
        constants->mark_mask = filter->mark.mask;
    }
    if (filter) {
        constants->share_index = filter->share.index;
        constants->share_count = filter->share.count;
    }
    int error = find_namespace(socket_fd, &constants->namespace_number);
    return error ? error : find_id_seed(&constants->id_seed_address);
}

/* Loads the program with a ring of that size: the map's fd, or -errno. */
static int load(void *context, uint32_t octets)
{
    struct fentry_rx *own = context;
    rx_fentry_bpf__destroy(own->program);
    own->program = rx_fentry_bpf__open();
    if (own->program == NULL)
        return -ENOMEM;
    *own->program->rodata = own->constants;
    own->program->maps.ring.max_entries = octets;
    int error = rx_fentry_bpf__load(own->program);
    return error ? error : fcntl(own->program->maps.ring.map_fd, F_DUPFD_CLOEXEC, 0);
}

static void fentry_close(struct rx *rx)
{
    struct fentry_rx *own = (void *)rx;
    rx_fentry_bpf__destroy(own->program);
    bpf_ring_close(&own->ring);
    free(own);
}

/* A ring as large as the socket's receive buffer. */
static int open_program(struct fentry_rx *own, const struct netlink_filter *filter)
{
    int rcvbuf;
    socklen_t size = sizeof(rcvbuf);
    if (getsockopt(own->rx.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, &size) != 0)
        return -errno;
    int error = find_constants(own->rx.fd, filter, &own->constants);
    if (!error)
        error = bpf_ring_open(&own->ring, (uint64_t)rcvbuf / 2, load, own);
    own->rx.ring_fd = own->ring.fd;
    return error ? error : rx_fentry_bpf__attach(own->program);
}

static int fentry_open(struct rx **rx, int fd, const struct netlink_filter *filter)
{
    struct fentry_rx *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return -ENOMEM;
    opened->ring.fd = -1;
    opened->rx = (struct rx){.backend = &rx_fentry, .fd = fd, .ring_fd = -1, .tells_programs = true};
    int error = open_program(opened, filter);
    if (error) {
        fentry_close(&opened->rx);
        return error;
    }
    *rx = &opened->rx;
    return 0;
}

static int fentry_receive(struct rx *rx, unsigned limit, const struct rx_message **messages)
{
    struct fentry_rx *own = (void *)rx;
    bpf_ring_give_back(&own->ring);
    bpf_ring_look(&own->ring);
    unsigned count = bpf_ring_take(&own->ring, own->messages, limit);
    rx->is_pending = own->ring.is_pending;
    *messages = own->messages;
    return (int)count;
}

/* Before Linux 6.0 only who has CAP_BPF is told: none then. */
static uint64_t count_misses(const struct fentry_rx *own)
{
    struct bpf_prog_info info;
    union bpf_attr attributes;
    memset(&info, 0, sizeof(info));
    memset(&attributes, 0, sizeof(attributes));
    attributes.info.bpf_fd = (uint32_t)own->program->progs.copy_entry.prog_fd;
    attributes.info.info_len = sizeof(info);
    attributes.info.info = (uintptr_t)&info;
    return skel_sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes, sizeof(attributes)) == 0 ? info.recursion_misses
                                                                                      : 0;
}

static int fentry_drops(const struct rx *rx, uint32_t *drops)
{
    const struct fentry_rx *own = (const void *)rx;
    *drops = (uint32_t)(__atomic_load_n(&own->program->bss->lost, __ATOMIC_RELAXED) + count_misses(own));
    return 0;
}

static int fentry_stop(struct rx *rx)
{
    struct fentry_rx *own = (void *)rx;
    __atomic_store_n(&own->program->bss->is_stopped, true, __ATOMIC_RELAXED);
    return 0;
}

static const char *fentry_reason(int error)
{
    switch (error) {
    case -ENOSYS:
        return "this kernel has no BPF, or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        return "it needs CAP_BPF, CAP_PERFMON and CAP_SYSLOG at the start, outside any container, "
               "and a kernel that lets programs trace it";
    case -EINVAL:
    case -ENOENT:
    case -ESRCH:
    case -ENOTSUP:
        return "it needs Linux 5.17, built with the types and the names of its modules "
               "(CONFIG_DEBUG_INFO_BTF_MODULES, CONFIG_KALLSYMS_ALL), and 64 bits";
    default:
        return rx_lack(error);
    }
}

const struct rx_backend rx_fentry = {.gives_entries = true,
                                     .reason = fentry_reason,
                                     .open = fentry_open,
                                     .close = fentry_close,
                                     .receive = fentry_receive,
                                     .drops = fentry_drops,
                                     .stop = fentry_stop};
