# SPDX-License-Identifier: GPL-2.0-or-later
"""--interfaces=bpf: what its program notes of connections' first packets, beside a capture on every interface."""

import json
import re
import socket
import subprocess
import unittest

from ctflow9 import Ctflow9
from lab import BINARY, Lab, wait_until
from traffic import Traffic

CONNECTIONS = 200
PORT = 7000
ETH_P_ALL, OUTGOING = 3, 4
MINIMUM = "setpriv", "--bounding-set=-perfmon,-sys_admin"

# Behind two balanced ways out, as such and with both ends translated.
BALANCED = "192.0.2.1", "2001:db8::1", "10.1.0.7", "fd01::7"
TRANSLATE = """
table inet balanced {
    chain destination_nat {
        type nat hook prerouting priority dstnat
        ip daddr 10.1.0.7 dnat ip to 192.0.2.1
        ip6 daddr fd01::7 dnat ip6 to 2001:db8::1
    }
    chain source_nat {
        type nat hook postrouting priority srcnat
        ct original ip daddr 10.1.0.7 masquerade
        ct original ip6 daddr fd01::7 masquerade
    }
}
"""


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Capture:
    """By which interface of the router each way of each connection came in and went out, as its payload tells."""

    def __init__(self, router):
        self.socket = router.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.settimeout(0)
        self.ways = {}

    def read(self):
        try:
            while True:
                octets, (device, _, kind, *_) = self.socket.recvfrom(2048)
                if tagged := re.search(rb"(there|back) (\d+)$", octets):
                    way = self.ways.setdefault((tagged[1].decode(), int(tagged[2])), {})
                    way.setdefault("out" if kind == OUTGOING else "in", device)
        except BlockingIOError:
            pass


class FirstPackets(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())

    def number(self, name):
        return int(self.lab.router.run("ip", "-o", "link", "show", "dev", name).split(":")[0])

    def start(self, *options):
        return Ctflow9(self.lab, "--json", "--interfaces", "bpf", *options)

    def finish(self, exporter):
        """Its flows; each has what was noted."""
        self.lab.flush()
        totals = exporter.finish()
        flows = [json.loads(line) for line in exporter.output().splitlines()]
        self.assertEqual((totals["interfaces_noted"], totals["notes_evicted"]), (len(flows), 0))
        self.assertEqual((totals["interfaces_known"], totals["interfaces_asked"], totals["interfaces_unknown"]),
                         (0, 0, 0))
        return flows

    @staticmethod
    def ways(flow):
        return tuple(flow.get(f"{direction}{end}_interface_name")
                     for direction in ("", "reply_") for end in ("in", "out"))

    def test_everything(self):
        """All protocols, IPv4 and IPv6, every translation, by one worker and by two, each way of receiving."""
        traffic = Traffic(self.lab)
        for options in ("--rx", "recvmmsg"), ("--workers", "2"):
            with self.subTest(options=options):
                exporter, before = self.start(*options), traffic.connections
                traffic.everything()
                flows = self.finish(exporter)
                self.assertEqual(len(flows), traffic.connections - before)
                for flow in flows:
                    there, back = self.ways(flow)[:2], self.ways(flow)[2:]
                    self.assertEqual(there, ("client", "server"))
                    self.assertIn(back, (("server", "client"), (None, None)))
                    self.assertEqual(back == (None, None), flow.get("reply_packets", 0) == 0, flow)

    def test_own(self):
        """What is this machine's own has no interface at that end. TOS and sender's address are the first packet's."""
        exporter = self.start()
        self.lab.client.run("ping", "-nqc1", "-Q", "0xb8", "10.1.0.1")
        self.lab.router.run("ping", "-nqc1", "fd01::2")
        self.lab.router.run("ping", "-nqc1", "127.0.0.1")
        client, lo = self.number("client"), self.number("lo")
        flows = {flow["dst_address"]: flow for flow in self.finish(exporter)}
        [link] = json.loads(self.lab.client.run("ip", "-j", "link", "show", "dev", "router"))
        self.assertEqual((flows["10.1.0.1"]["tos"], flows["10.1.0.1"]["src_mac"]), (0xb8, link["address"]))
        self.assertNotIn("src_mac", flows["fd01::2"])
        for address, ways in (("10.1.0.1", (client, 0, 0, client)), ("fd01::2", (0, client, client, 0)),
                              ("127.0.0.1", (lo, lo, lo, lo))):
            self.assertEqual(tuple(flows[address][f"{direction}{end}_interface"]
                                   for direction in ("", "reply_") for end in ("in", "out")), ways)

    def balance(self):
        """Two ways out; what the server behind one of them answers comes back by a third."""
        router, server, second = self.lab.router, self.lab.server, self.lab.namespace("second")
        self.lab.link(second, 4, ["10.4.0.2/24", "fd04::2/64"], ["10.4.0.1/24", "fd04::1/64"])
        server.ip("link", "add", "back", "type", "veth", "peer", "back", "netns", router.name)
        for namespace, end in (server, 2), (router, 1):
            namespace.ip("address", "add", f"10.5.0.{end}/24", "dev", "back")
            namespace.ip("address", "add", f"fd05::{end}/64", "dev", "back", "nodad")
            namespace.ip("link", "set", "back", "up")
        server.ip("route", "add", "10.1.0.0/24", "via", "10.5.0.1")
        server.ip("route", "add", "fd01::/64", "via", "fd05::1")
        for host in server, second:
            host.ip("address", "add", "192.0.2.1/32", "dev", "lo")
            host.ip("address", "add", "2001:db8::1/128", "dev", "lo")
        router.sysctl({"net.ipv4.fib_multipath_hash_policy": 1, "net.ipv6.fib_multipath_hash_policy": 1,
                       "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.back.rp_filter": 0})
        router.ip("route", "add", "192.0.2.1", "nexthop", "via", "10.2.0.2", "nexthop", "via", "10.4.0.2")
        router.ip("route", "add", "2001:db8::1", "nexthop", "via", "fd02::2", "nexthop", "via", "fd04::2")
        for address in "10.1.0.7/24", "fd01::7/64":
            router.ip("address", "add", address, "dev", "client")
        router.nft(TRANSLATE)
        return server, second

    def exchange(self, servers, capture):
        """One datagram each way. Which connection has which source port: its number, and its way."""
        listening = []
        for host in servers:
            for address in BALANCED[:2]:
                listening.append(host.socket(family(address), socket.SOCK_DGRAM))
                listening[-1].bind((address, PORT))
                listening[-1].settimeout(0)
        for number in range(20000, 20000 + CONNECTIONS):
            address = BALANCED[number % len(BALANCED)]
            with self.lab.client.socket(family(address), socket.SOCK_DGRAM) as client:
                client.bind(("::" if ":" in address else "0.0.0.0", number))
                client.settimeout(30)
                client.sendto(b"there %d" % number, (address, PORT))
                wait_until(lambda: any([self.answer(server, number) for server in listening]), "a server gets it")
                client.recv(100)
            capture.read()
        for server in listening:
            server.close()

    @staticmethod
    def answer(server, number):
        try:
            server.sendto(b"back %d" % number, server.recvfrom(100)[1])
            return True
        except BlockingIOError:
            return False

    def test_balanced(self):
        """Of two ways out the one that each connection took, and of its answer the way that it came."""
        servers = self.balance()
        capture = Capture(self.lab.router)
        exporter = self.start()
        self.exchange(servers, capture)
        seen = {flow["src_port"]: self.ways(flow) for flow in self.finish(exporter) if flow["src_port"] >= 20000}
        truth = {number: tuple(capture.ways[(direction, number)][end]
                               for direction in ("there", "back") for end in ("in", "out"))
                 for number in range(20000, 20000 + CONNECTIONS)}
        self.assertEqual({ways[1:3] for ways in truth.values()},
                         {("server", "server"), ("server", "back"), ("second", "second")})
        self.assertEqual(seen, truth)

    def test_part_of_what_lasts(self):
        """Each part of a long connection has them, and the last one; beside another ctflow9 that notes as well."""
        other = self.start()
        exporter = self.start("--active-timeout", "1")
        self.lab.client.run("ping", "-nqc15", "-i0.2", "10.2.0.2")
        wait_until(lambda: exporter.ask()["flows"] >= 2, "there are parts")
        for flow in self.finish(exporter):
            self.assertEqual(self.ways(flow)[:2], ("client", "server"))
        self.assertIn(("client", "server", "server", "client"), map(self.ways, self.finish(other)))

    def test_from_before(self):
        """What was there before is left to routing."""
        self.lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
        with (self.lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
              self.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as client):
            server.bind(("10.2.0.2", PORT))
            client.connect(server.getsockname())
            client.send(b"before")
            exporter = self.start("--adopt", "full")
        self.lab.flush()
        wait_until(lambda: exporter.ask()["flows"] == 1, "it is reported")
        totals = exporter.finish()
        self.assertEqual((totals["interfaces_noted"], totals["interfaces_asked"]), (0, 1))
        self.assertEqual(self.ways(json.loads(exporter.output()))[:2], ("client", "server"))

    def test_without_privileges(self):
        command = self.lab.router.command(*MINIMUM, BINARY, "--print", "--interfaces", "bpf")
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "BPF program note interfaces: .*CAP_PERFMON.*--interfaces=route")


if __name__ == "__main__":
    unittest.main()
