/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sending sockets over loopback. What moves while they are in use: tests/kernel/check_udp_recovery.c. */
#include "ctflow9/output/udp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "run_suite.h"

static struct sockaddr_storage address_of(const char *text, uint16_t port)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (void *)&address;
    struct sockaddr_in6 *v6 = (void *)&address;
    if (strchr(text, ':')) {
        *v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        ck_assert_int_eq(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
    } else {
        *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        ck_assert_int_eq(inet_pton(AF_INET, text, &v4->sin_addr), 1);
    }
    return address;
}

static const struct sockaddr_storage any_source; /* AF_UNSPEC */

/* A receiver on 127.0.0.1, and its port. */
static int receive_at(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static uint16_t port_it_came_from(int receiver)
{
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    char octet;
    ck_assert_int_eq(recvfrom(receiver, &octet, 1, 0, (struct sockaddr *)&from, &size), 1);
    return ntohs(from.sin_port);
}

START_TEST(says_its_port_and_source)
{
    uint16_t to_port, port = 0;
    char text[UDP_SOCKET_SOURCE_MAX];
    int receiver = receive_at(&to_port);
    const struct sockaddr_storage peer = address_of("127.0.0.1", to_port);
    int fd = udp_socket_open(&peer, &any_source, &port, -1);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_ne(port, 0);
    ck_assert_int_eq(send(fd, "x", 1, 0), 1);
    ck_assert_uint_eq(port_it_came_from(receiver), port);
    udp_socket_source(fd, text);
    ck_assert_str_eq(text, "127.0.0.1");
    close(fd);
    close(receiver);
}
END_TEST

/* The port goes over to the new socket, and nobody else gets it meanwhile. */
START_TEST(another_takes_its_port_beside_it)
{
    uint16_t to_port, port = 0;
    int receiver = receive_at(&to_port);
    const struct sockaddr_storage peer = address_of("127.0.0.1", to_port);
    int old_fd = udp_socket_open(&peer, &any_source, &port, -1);
    const uint16_t first = port;
    int fd = udp_socket_open(&peer, &any_source, &port, old_fd);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(port, first);
    ck_assert(udp_socket_same_source(fd, old_fd));
    close(old_fd);
    ck_assert_int_eq(send(fd, "x", 1, 0), 1);
    ck_assert_uint_eq(port_it_came_from(receiver), first);
    ck_assert_int_eq(udp_socket_open(&peer, &any_source, &port, -1), -EADDRINUSE);
    close(fd);
    close(receiver);
}
END_TEST

START_TEST(sends_from_the_source_that_is_given)
{
    uint16_t to_port, port = 0, other_port = 0;
    char text[UDP_SOCKET_SOURCE_MAX];
    int receiver = receive_at(&to_port);
    const struct sockaddr_storage peer = address_of("127.0.0.1", to_port);
    const struct sockaddr_storage source = address_of("127.0.0.5", 9), nobody = address_of("192.0.2.1", 0);
    int fd = udp_socket_open(&peer, &source, &port, -1),
        other = udp_socket_open(&peer, &any_source, &other_port, -1);
    udp_socket_source(fd, text);
    ck_assert_str_eq(text, "127.0.0.5");
    ck_assert_uint_ne(port, 9); /* the source's port is ignored */
    ck_assert(!udp_socket_same_source(fd, other));
    port = 0;
    ck_assert_int_eq(udp_socket_open(&peer, &nobody, &port, -1), -EADDRNOTAVAIL);
    close(other);
    close(fd);
    close(receiver);
}
END_TEST

/* An ICMP error is told from a failure of the send's own, and taken. */
START_TEST(tells_icmp_errors)
{
    uint16_t to_port, port = 0;
    int receiver = receive_at(&to_port), error = 0;
    const struct sockaddr_storage peer = address_of("127.0.0.1", to_port);
    int fd = udp_socket_open(&peer, &any_source, &port, -1);
    ck_assert_uint_eq(udp_socket_take_errors(fd, &error), 0);
    close(receiver);
    ck_assert_int_eq(send(fd, "x", 1, 0), 1);
    ck_assert_int_eq(poll(&(struct pollfd){.fd = fd}, 1, 20000), 1); /* POLLERR */
    ck_assert_uint_eq(udp_socket_take_errors(fd, &error), 1);
    ck_assert_int_eq(error, ECONNREFUSED);
    ck_assert(udp_socket_may_be_icmp(ECONNREFUSED));
    ck_assert(!udp_socket_may_be_icmp(ENOBUFS));
    close(fd);
}
END_TEST

START_TEST(keeps_nothing_that_arrives)
{
    uint16_t to_port, port = 0;
    int receiver = receive_at(&to_port);
    const struct sockaddr_storage peer = address_of("127.0.0.1", to_port);
    int fd = udp_socket_open(&peer, &any_source, &port, -1);
    const struct sockaddr_storage own = address_of("127.0.0.1", port);
    ck_assert_int_eq(sendto(receiver, "x", 1, 0, (const struct sockaddr *)&own, sizeof(struct sockaddr_in)),
                     1);
    ck_assert_int_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0), 0);
    close(fd);
    close(receiver);
}
END_TEST

START_TEST(ipv6)
{
    uint16_t port = 0;
    char text[UDP_SOCKET_SOURCE_MAX];
    const struct sockaddr_storage peer = address_of("::1", 9);
    int fd = udp_socket_open(&peer, &any_source, &port, -1);
    ck_assert_int_ge(fd, 0);
    udp_socket_source(fd, text);
    ck_assert_str_eq(text, "::1");
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("udp_socket");
    tcase_add_test(tcase, says_its_port_and_source);
    tcase_add_test(tcase, another_takes_its_port_beside_it);
    tcase_add_test(tcase, sends_from_the_source_that_is_given);
    tcase_add_test(tcase, tells_icmp_errors);
    tcase_add_test(tcase, keeps_nothing_that_arrives);
    tcase_add_test(tcase, ipv6);
    Suite *suite = suite_create("udp_socket");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
