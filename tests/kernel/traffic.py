# SPDX-License-Identifier: GPL-2.0-or-later
"""Real traffic from the lab's client over its router to its server."""

import socket
import struct
import threading
from collections import namedtuple

# What the client sends to, and the server's own address that it reaches.
Target = namedtuple("Target", "name address port server")

SERVER_PORT = 7000
UDP_PORT = 20000  # the client's, and those after it
PLAIN = Target("untranslated", "10.2.0.2", 7000, "10.2.0.2")
PLAIN_V6 = Target("untranslated IPv6", "fd02::2", 7000, "fd02::2")
MASQUERADED = Target("masqueraded", "10.2.0.3", 7000, "10.2.0.3")
MASQUERADED_V6 = Target("masqueraded IPv6", "fd02::3", 7000, "fd02::3")
TARGETS = [
    PLAIN, PLAIN_V6, MASQUERADED, MASQUERADED_V6,
    Target("destination NAT", "10.1.0.8", 8000, "10.2.0.2"),
    Target("destination NAT IPv6", "fd01::8", 8000, "fd02::2"),
    Target("both", "10.1.0.9", 8000, "10.2.0.2"),
    Target("both IPv6", "fd01::9", 8000, "fd02::2"),
]

GRE, OSPF, SCTP = 47, 89, 132
GRE_PACKET = struct.pack("!HHI", 0, 0x0800, 0)
# Enhanced GRE (RFC 2637 4.1): version 1, key present; a call id of 0x1234.
GRE_PPTP_PACKET = struct.pack("!HHHHI", 0x3001, 0x880b, 4, 0x1234, 1)
# An INIT (RFC 9260 3.3.2) without its checksum, which the router does not check.
SCTP_INIT = struct.pack("!HHII", 4660, 22136, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 20, 1, 1 << 16, 1, 1, 1)

LIMIT_S = 30


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Traffic:
    """Each method makes one connection and counts it in self.connections."""

    def __init__(self, lab):
        self.lab = lab
        self.connections = 0
        self.listeners = {}
        self.ports = {}
        for address in {target.server for target in TARGETS}:
            self.listeners[address] = self.open(lab.server, socket.SOCK_STREAM, address)
            self.listeners[address].listen()
            self.ports[address] = self.open(lab.server, socket.SOCK_DGRAM, address)

    @staticmethod
    def open(namespace, kind, bind_address=None, connect_to=None):
        opened = namespace.socket(family(bind_address or connect_to[0]), kind)
        opened.settimeout(LIMIT_S)
        if bind_address:
            opened.bind((bind_address, SERVER_PORT))
        if connect_to:
            opened.connect(connect_to)
        return opened

    def tcp_open(self, target):
        client = self.open(self.lab.client, socket.SOCK_STREAM, connect_to=(target.address, target.port))
        server, _ = self.listeners[target.server].accept()
        server.settimeout(LIMIT_S)
        self.connections += 1
        return client, server

    def tcp(self, target, request_octets, answer_octets, reset=False):
        client, server = self.tcp_open(target)

        def serve():
            receive(server, request_octets)
            server.sendall(bytes(answer_octets))

        serving = threading.Thread(target=serve)
        serving.start()
        client.sendall(bytes(request_octets))
        receive(client, answer_octets)
        serving.join()
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        if not reset:
            server.recv(1)
        server.close()

    def tcp_refused(self, target):
        try:
            self.open(self.lab.client, socket.SOCK_STREAM, connect_to=(target.address, 7999))
        except ConnectionRefusedError:
            self.connections += 1
            return
        raise AssertionError("port 7999 is open")

    def udp(self, target, requests, answers, octets=100):
        # A port of its own: one that the kernel chooses may be that of a connection it still remembers.
        client = self.lab.client.socket(family(target.address), socket.SOCK_DGRAM)
        client.settimeout(LIMIT_S)
        client.bind(("", UDP_PORT + self.connections))
        client.connect((target.address, target.port))
        server = self.ports[target.server]
        for _ in range(requests):
            client.send(bytes(octets))
            _, source = server.recvfrom(65536)
        for _ in range(answers):
            server.sendto(bytes(2 * octets), source)
            client.recv(65536)
        source_port = client.getsockname()[1]
        client.close()
        self.connections += 1
        return source_port

    def ping(self, target, count=1, octets=56):
        identifier = 1 + self.connections  # of its own, as a UDP connection's port
        self.lab.client.run("ping", "-n", "-q", "-e", identifier, "-c", count, "-i", "0.01", "-s", octets, target.address)
        self.connections += 1

    def raw(self, target, protocol, payload):
        """One packet of a protocol that the server does not speak."""
        sender = self.lab.client.socket(family(target.address), socket.SOCK_RAW, protocol)
        sender.sendto(payload, (target.address, 0))
        sender.close()
        self.connections += 1

    def everything(self):
        for target in TARGETS:
            for request_octets, answer_octets in ((0, 0), (1, 1), (300, 100000), (1000000, 10)):
                self.tcp(target, request_octets, answer_octets)
            self.tcp(target, 10, 1000, reset=True)
            self.udp(target, requests=1, answers=0)
            self.udp(target, requests=3, answers=2, octets=500)
            self.ping(target, count=3)
            self.ping(target, octets=3000)
        for target in PLAIN, PLAIN_V6, MASQUERADED, MASQUERADED_V6:
            self.tcp_refused(target)
            self.raw(target, GRE, GRE_PACKET)
            self.raw(target, GRE, GRE_PPTP_PACKET)
            self.raw(target, OSPF, b"hello")
            self.raw(target, SCTP, SCTP_INIT)
        self.removed()

    def removed(self):
        """Connections that conntrack(8) removes while they live."""
        delete = self.lab.router.run
        source_port = self.udp(PLAIN, requests=1, answers=1, octets=77)
        delete("conntrack", "-D", "-p", "udp", "--orig-port-src", source_port)
        client, server = self.tcp_open(PLAIN_V6)
        delete("conntrack", "-D", "-f", "ipv6", "-p", "tcp", "--orig-port-src", client.getsockname()[1])
        client.close()
        server.close()


def receive(connection, octets):
    while octets > 0:
        received = len(connection.recv(min(octets, 65536)))
        if received == 0:
            raise AssertionError(f"connection ended {octets} octets early")
        octets -= received
