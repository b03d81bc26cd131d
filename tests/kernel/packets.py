# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of each kind, sent through the lab, and what flows tell of them."""

import json
import socket
import unittest
from collections import defaultdict

from lab import Lab, wait_until

UDP_SEGMENT, SOL_UDP, IPV6_HOPOPTS, IPV6_DSTOPTS, IP_OPTIONS = 103, 17, 54, 59, 4


class PacketTest(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())

    def send(self, namespace, source, destination, octets=100, count=1, options=(), port=7000):
        """UDP from a port of its own; returns that."""
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        opened = namespace.socket(family, socket.SOCK_DGRAM)
        opened.bind((source, 0))
        for level, name, value in options:
            opened.setsockopt(level, name, value)
        for _ in range(count):
            opened.sendto(bytes(octets), (destination, port))
        return opened.getsockname()[1]

    def transfer(self, source, destination, octets):
        """TCP, to the server and back no more than acknowledgements."""
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        listener = self.lab.server.socket(family, socket.SOCK_STREAM)
        listener.bind((destination, 7001))
        listener.listen()
        sender = self.lab.client.socket(family, socket.SOCK_STREAM)
        sender.bind((source, 0))
        sender.connect((destination, 7001))
        receiver, _ = listener.accept()
        sender.setblocking(False)
        sent = received = 0
        while received < octets:
            if sent < octets:
                try:
                    sent += sender.send(bytes(min(octets - sent, 1 << 18)))
                except BlockingIOError:
                    pass
            received += len(receiver.recv(1 << 20))
        sender.close()
        wait_until(lambda: receiver.recv(1) == b"", "the end comes")
        receiver.close()
        listener.close()

    @staticmethod
    def flows(exporter):
        return [json.loads(line) for line in exporter.output().splitlines()]

    @staticmethod
    def sums(flows, name_of):
        """{name: (packets, octets)} of the flows that name_of() gives a name."""
        sums = defaultdict(lambda: [0, 0])
        for flow in flows:
            name = name_of(flow)
            if name:
                sums[name][0] += flow["packets"]
                sums[name][1] += flow["octets"]
        return {name: tuple(of) for name, of in sums.items()}

    @staticmethod
    def kind_of(flow):
        family = flow["ip_version"]
        if flow["dst_address"] in ("10.2.0.3", "fd02::3"):
            return f"fragments{family}"
        if flow.get("icmp_type") in (8, 128):
            return f"icmp{family}"
        names = {7000: "udp", 7001: "tcp", 7002: "segments", 7003: "options" if family == 4 else "extensions"}
        if flow.get("src_port") == 7001:
            return f"ack{family}"
        return f"{names[flow['dst_port']]}{family}" if flow.get("dst_port") in names else None

    def traffic(self):
        lab = self.lab
        segments = [(SOL_UDP, UDP_SEGMENT, 1000)]
        for source, destination in (("10.1.0.2", "10.2.0.2"), ("fd01::2", "fd02::2")):
            self.send(lab.client, source, destination, count=50)
            self.transfer(source, destination, 3000000)
            self.send(lab.client, source, destination, octets=20500, count=3, options=segments, port=7002)
            self.send(lab.client, source, destination[:-1] + "3", octets=5000, count=4, port=7004)
            lab.client.run("ping", "-c", 3, "-i", "0.01", destination)
        self.send(lab.client, "10.1.0.2", "10.2.0.2", count=5, port=7003,
                  options=[(socket.IPPROTO_IP, IP_OPTIONS, b"\x01" * 8)])
        # PadN in a hop-by-hop and in a destination header.
        options = bytes([0, 0, 1, 4]) + bytes(4)
        self.send(lab.client, "fd01::2", "fd02::2", count=5, port=7003,
                  options=[(socket.IPPROTO_IPV6, IPV6_HOPOPTS, options), (socket.IPPROTO_IPV6, IPV6_DSTOPTS, options)])

    def number(self, device):
        return json.loads(self.lab.router.run("ip", "-j", "link", "show", device))[0]["ifindex"]
