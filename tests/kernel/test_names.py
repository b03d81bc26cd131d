# SPDX-License-Identifier: GPL-2.0-or-later
"""Collectors given by name: /etc/hosts and DNS, without the C library's name service."""

import os
import socket
import struct
import unittest

from ctflow9 import Ctflow9
from lab import Lab, wait_until
from netflow import Port
from traffic import PLAIN, Traffic

# Runs a command with a file of its own in an /etc that holds nothing else.
WITH_FILE = ("unshare", "--mount", "bash", "-ec", 'mount -t tmpfs tmpfs /etc && cp "$0" "$1" && exec "${@:2}"')


class NameServer:
    """Says that every name is 10.3.0.2, and has no IPv6 address."""

    def __init__(self, lab):
        self.socket = lab.collector.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("10.3.0.2", 53))
        self.socket.setblocking(False)

    def answer(self):
        """Answers what has been asked."""
        while True:
            try:
                query, source = self.socket.recvfrom(512)
            except BlockingIOError:
                return
            question = query[12:query.index(0, 12) + 5]
            is_address = question[-4:] == struct.pack("!HH", 1, 1)
            # RFC 1035 4.1: a response, with one answer that points at the name of the question.
            answer = struct.pack("!HHHIH4s", 0xc00c, 1, 1, 1, 4, bytes([10, 3, 0, 2])) if is_address else b""
            header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(is_address), 0, 0)
            self.socket.sendto(header + question + answer, source)


class Names(unittest.TestCase):
    def check(self, lab, port, name, *options, name_server=None, **start):
        """One connection must arrive at the port, for a collector of that name."""
        exporter = Ctflow9(lab, "-c", f"{name}:{port.address[1]}", *options, **start)
        traffic = Traffic(lab)
        traffic.udp(PLAIN, requests=1, answers=1)
        lab.flush()

        def arrived():
            if name_server:
                name_server.answer()
            return len(port.records()) == 2
        wait_until(arrived, "the records arrive")
        with open(f"/proc/{exporter.pid}/maps") as maps:
            self.assertNotIn("libnss", maps.read())
        totals = exporter.finish()
        self.assertEqual(totals["records"], 2)
        self.assertEqual(port.sequence_gap(), 0)

    def file(self, lab, name, text):
        path = os.path.join(lab.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_localhost(self):
        with Lab() as lab:
            with open("/etc/hosts") as hosts:
                address = next(line.split()[0] for line in hosts if "localhost" in line.split()[1:])
            self.check(lab, Port(lab.collector, 2057, address), "localhost",
                       "--netns", lab.router.name, namespace=lab.collector)

    def test_hosts_file(self):
        with Lab() as lab:
            hosts = self.file(lab, "hosts", "127.0.0.1 localhost\n10.3.0.2 collector.example\n")
            self.check(lab, Port(lab.collector, 2057), "collector.example",
                       within=(*WITH_FILE, hosts, "/etc/hosts"))

    def test_dns(self):
        with Lab() as lab:
            resolv_conf = self.file(lab, "resolv.conf", "nameserver 10.3.0.2\n")
            self.check(lab, Port(lab.collector, 2057), "collector.example",
                       name_server=NameServer(lab), within=(*WITH_FILE, resolv_conf, "/etc/resolv.conf"))


if __name__ == "__main__":
    unittest.main()
