# SPDX-License-Identifier: GPL-2.0-or-later
"""Where connections come in and go out, as the kernel's routing tells, beside what was seen of their packets on every
interface."""

import errno
import json
import os
import re
import signal
import socket
import unittest

from collectors import Nfacctd, Nfcapd, Tshark
from ctflow9 import Ctflow9
from lab import Lab, run, wait_until
from netflow import Port, force_rcvbuf

IN, OUT, SOURCE_PORT, DESTINATION_PORT = 10, 14, 7, 11
ETH_P_ALL, PACKET_OUTGOING = 3, 4
PORT = 7000
MANY = 60

HAIRPIN = """
table ip hairpin {
    chain back { type nat hook postrouting priority srcnat; ip saddr 10.1.0.2 ip daddr 10.1.0.2 masquerade; }
    chain there { type nat hook prerouting priority -101; ip daddr 10.1.0.1 udp dport 7777 dnat to 10.1.0.2:7000; }
}
"""
MASQUERADE = """
table inet translated {
    chain nat {
        type nat hook postrouting priority srcnat;
        ip daddr 192.0.2.1 udp dport 7001 masquerade
        ip6 daddr 2001:db8::1 udp dport 7001 masquerade
    }
}
"""
MARKS = """
table inet marks {
    chain marks {
        type filter hook prerouting priority mangle;
        udp dport 7001 ct state new ct mark set 7
        meta mark set ct mark
    }
}
"""


class Capture:
    """Every packet on every interface of a namespace. What is sent in it says of which connection it is, and which
    way it goes: whatever is translated, that stays."""

    def __init__(self, namespace):
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        force_rcvbuf(self.socket, 16 << 20)
        self.socket.setblocking(False)
        self.namespace = namespace
        self.seen = {}

    def ways(self, without=()):
        """{port of who began: {"question" or "answer": (in, out)}}, with 0 for this machine itself."""
        links = {link["ifname"]: link["ifindex"] for link in json.loads(self.namespace.run("ip", "-j", "link"))}
        while True:
            try:
                octets, (name, _, kind, *_) = self.socket.recvfrom(2048)
            except BlockingIOError:
                return {port: {what: tuple(way) for what, way in ways.items()}
                        for port, ways in self.seen.items()}
            told = re.search(rb"<(\d+) (question|answer)>", octets)
            if told and name not in without:
                way = self.seen.setdefault(int(told[1]), {}).setdefault(told[2].decode(), [0, 0])
                leaves = kind == PACKET_OUTGOING
                way[leaves] = way[leaves] or links[name]  # later ones are quoted by ICMP


class Ways(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        for address in "10.2.0.2", "10.2.0.3", "fd02::2", "fd02::3":
            self.open(self.lab.server, address)
        self.lab.router.sysctl({f"net.netfilter.nf_conntrack_{name}": 600
                                for name in ("udp_timeout", "udp_timeout_stream")})
        self.servers = [self.lab.server, self.lab.router, self.lab.client]
        self.next_port = 30000
        self.first_port = 30001  # earlier ones are not compared
        self.expected = 0
        self.maxDiff = None
        self.capture = Capture(self.lab.router)
        self.port = Port(self.lab.collector, 2055)

    @staticmethod
    def open(namespace, address, port=PORT):
        opened = namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)

        def is_bound():  # an address of IPv6 can be used some time after it was given
            try:
                opened.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                return False
            return True
        wait_until(is_bound, f"{address} can be used")
        return opened

    def second_uplink(self):
        self.lab.second = self.lab.namespace("second")
        self.lab.link(self.lab.second, 4, ["10.4.0.2/24", "fd04::2/64"], ["10.4.0.1/24", "fd04::1/64"])
        for host in self.lab.server, self.lab.second:
            for address in "192.0.2.1/32", "2001:db8::1/128":
                host.ip("address", "add", address, "dev", "lo")
                for port in PORT, PORT + 1:
                    self.open(host, address.split("/")[0], port)
        self.servers.append(self.lab.second)

    def talk(self, namespace, source, destination, port=PORT, answered=True):
        """A connection of a question and its answer. Returns the port of who began it."""
        self.next_port += 1
        began = self.open(namespace, source, self.next_port)
        began.sendto(b"<%d question>" % self.next_port, (destination, port))
        self.expected += 2 if answered else 1

        def is_answered():
            for host in self.servers:
                for opened in host.sockets:
                    if opened.type == socket.SOCK_DGRAM and opened.getsockname()[1] in (PORT, PORT + 1):
                        self.answer(opened)
            try:
                return b"answer" in began.recv(100)
            except BlockingIOError:
                return False
        if answered:
            wait_until(is_answered, f"{destination} answers {source}")
        return self.next_port

    @staticmethod
    def answer(opened):
        try:
            text, sender = opened.recvfrom(100)
        except BlockingIOError:
            return
        opened.sendto(text.replace(b"question", b"answer"), sender)

    def start(self, *options):
        return Ctflow9(self.lab, "-c", "10.3.0.2:2055", "--interfaces", "route", *options)

    def records(self, exporter):
        """{port of who began: {"question" or "answer": (in, out)}} of what was exported since the last time."""
        self.lab.flush()
        wait_until(lambda: len(self.port.records()) >= self.expected, "all records come")
        ways = {}
        for record in self.port.records():
            for what, port in (("question", SOURCE_PORT), ("answer", DESTINATION_PORT)):
                if record[port] > 30000:
                    ways.setdefault(record[port], {})[what] = (record[IN], record[OUT])
        self.assertEqual(exporter.ask()["interfaces_unknown"], 0)
        return ways

    def check(self, exporter, without=()):
        truth, told = ({port: way for port, way in ways.items() if port >= self.first_port}
                       for ways in (self.capture.ways(without), self.records(exporter)))
        self.assertEqual(told, truth)
        return truth

    def follow(self, exporter, source, destination, port):
        """Waits until a change that decides where such a connection goes is followed: that takes some time, and what
        ends before it has taken effect is reported by the way that was."""
        def is_followed():
            began = self.talk(self.lab.client, source, destination, port)
            return self.records(exporter)[began] == self.capture.ways()[began]
        wait_until(is_followed, "it follows the change")
        self.first_port = self.next_port + 1

    def test_everything(self):
        """Forwarded, translated, hairpin, to and from and within this machine; by one worker and by two."""
        lab = self.lab
        for address in "10.1.0.1", "127.0.0.1", "fd01::1":
            self.open(lab.router, address)
        self.open(lab.client, "10.1.0.2")
        lab.router.nft(HAIRPIN)
        for workers in 1, 2:
            exporter = self.start("--workers", workers)
            for destination in "10.2.0.2", "10.2.0.3", "10.1.0.8", "10.1.0.9", "10.1.0.1":
                self.talk(lab.client, "10.1.0.2", destination)
            for destination in "fd02::2", "fd02::3", "fd01::8", "fd01::9", "fd01::1":
                self.talk(lab.client, "fd01::2", destination)
            self.talk(lab.client, "10.1.0.2", "10.1.0.1", 7777)
            self.talk(lab.router, "10.2.0.1", "10.2.0.2")
            self.talk(lab.router, "fd02::1", "fd02::2")
            self.talk(lab.router, "127.0.0.1", "127.0.0.1")
            self.talk(lab.server, "10.2.0.2", "10.1.0.2")
            self.talk(lab.client, "10.1.0.2", "10.2.0.2")
            truth = self.check(exporter)
            self.assertGreater(len(set(map(tuple, map(dict.values, truth.values())))), 5)
            totals = exporter.finish()
            self.assertEqual(totals["interfaces_known"] + totals["interfaces_asked"], totals["flows"])

    def test_balanced(self):
        """Of two uplinks the one that each connection took, translated or not. Hosts that make no flow labels send
        packets without a hash of their own, which would decide instead of the ports."""
        self.second_uplink()
        self.lab.client.sysctl({"net.ipv6.auto_flowlabels": 0})
        self.lab.router.sysctl({"net.ipv4.fib_multipath_hash_policy": 1, "net.ipv6.fib_multipath_hash_policy": 1})
        self.lab.router.ip("route", "add", "192.0.2.1", "nexthop", "via", "10.2.0.2", "nexthop", "via", "10.4.0.2")
        self.lab.router.ip("-6", "route", "add", "2001:db8::1", "nexthop", "via", "fd02::2", "nexthop", "via", "fd04::2")
        self.lab.router.nft(MASQUERADE)
        exporter = self.start()
        for _ in range(MANY // 4):
            for port in PORT, PORT + 1:
                self.talk(self.lab.client, "10.1.0.2", "192.0.2.1", port)
                self.talk(self.lab.client, "fd01::2", "2001:db8::1", port)
        truth = self.check(exporter)
        self.assertEqual(len({way["question"] for way in truth.values()}), 2)
        exporter.finish()

    def test_rules(self):
        """By mark, by source and by port: some leave by the second uplink. rp_filter is strict."""
        self.second_uplink()
        lab = self.lab
        lab.client.ip("address", "add", "10.1.0.3/24", "dev", "router")
        lab.router.sysctl({"net.ipv4.conf.all.rp_filter": 1, "net.ipv4.conf.all.src_valid_mark": 1})
        lab.router.ip("route", "add", "192.0.2.1", "via", "10.2.0.2")
        for table in 100, 101:
            lab.router.ip("route", "add", "10.1.0.0/24", "dev", "client", "table", table)
            lab.router.ip("route", "add", "default", "via", "10.4.0.2", "table", table)
        lab.router.nft(MARKS)
        for rule in (("fwmark", "7", "table", "100"), ("from", "10.1.0.3", "table", "101"),
                     ("ipproto", "udp", "dport", "7001", "table", "101")):
            exporter = self.start()
            lab.router.ip("rule", "add", *rule)
            self.follow(exporter, "10.1.0.3", "192.0.2.1", PORT + 1)
            for source in "10.1.0.2", "10.1.0.3":
                for port in PORT, PORT + 1:
                    self.talk(lab.client, source, "192.0.2.1", port)
            truth = self.check(exporter)
            self.assertEqual(len({way["question"] for way in truth.values()}), 2)
            exporter.finish()
            lab.router.ip("rule", "del", *rule)

    def test_bridge(self):
        """The bridge is the interface, whichever port it was."""
        lab = self.lab
        for index, name in enumerate(("first", "other")):
            host = lab.namespace(name)
            host.ip("link", "add", "router", "type", "veth", "peer", f"port{index}", "netns", lab.router.name)
            host.ip("address", "add", f"10.5.0.{index + 2}/24", "dev", "router")
            host.ip("link", "set", "router", "up")
            host.ip("route", "add", "default", "via", "10.5.0.1")
            setattr(lab, name, host)
        lab.router.ip("link", "add", "lan", "type", "bridge")
        for port in "port0", "port1":
            lab.router.ip("link", "set", port, "master", "lan", "up")
        lab.router.ip("address", "add", "10.5.0.1/24", "dev", "lan")
        lab.router.ip("link", "set", "lan", "up")
        exporter = self.start()
        self.talk(lab.first, "10.5.0.2", "10.2.0.2")
        self.talk(lab.other, "10.5.0.3", "10.2.0.2")
        self.check(exporter, without=("port0", "port1"))
        exporter.finish()

    def test_asymmetric(self):
        """What comes in by one way and is answered by another counts for that; which is where the answer goes."""
        self.second_uplink()
        lab = self.lab
        lab.second.ip("address", "add", "10.9.0.1/32", "dev", "lo")
        lab.server.ip("address", "add", "10.9.0.1/32", "dev", "lo")
        lab.router.ip("route", "add", "10.9.0.1", "via", "10.2.0.2")
        lab.router.sysctl({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", "second", "server")})
        self.open(lab.client, "10.1.0.2")
        self.servers = [lab.client]
        exporter = self.start()
        port = self.talk(lab.second, "10.9.0.1", "10.1.0.2", answered=False)
        self.expected += 1
        wait_until(lambda: lab.entries() > 0, "it is tracked")
        for opened in lab.client.sockets:
            opened.settimeout(30)
            self.answer(opened)
        truth = {}
        wait_until(lambda: truth.update(self.capture.ways()) or "answer" in truth.get(port, {}), "it is answered")
        seen = self.records(exporter)[port]
        self.assertEqual(seen["answer"], truth[port]["answer"])
        self.assertEqual(seen["question"], seen["answer"][::-1])
        exporter.finish()

    def test_new_number(self):
        """An uplink that goes and comes again has another index, and the number that is given to it."""
        lab = self.lab
        exporter = self.start("--interface-index", "ppp0=7", "--interface-index", "client=8")
        for index in 200, 300:
            peer = lab.namespace(f"peer{index}")
            peer.ip("link", "add", "router", "type", "veth", "peer", "ppp0", "index", index, "netns", lab.router.name)
            peer.ip("address", "add", "10.6.0.2/24", "dev", "router")
            peer.ip("link", "set", "router", "up")
            peer.ip("route", "add", "default", "via", "10.6.0.1")
            lab.router.ip("address", "add", "10.6.0.1/24", "dev", "ppp0")
            lab.router.ip("link", "set", "ppp0", "up")
            self.open(peer, "10.6.0.2")
            self.servers.append(peer)
            for _ in range(2):
                self.talk(lab.client, "10.1.0.2", "10.6.0.2")
            ways = self.records(exporter)
            self.assertEqual(len(ways), 2 if index == 200 else 4)
            self.assertEqual({(way["question"], way["answer"]) for way in ways.values()}, {((8, 7), (7, 8))})
            lab.router.ip("link", "delete", "ppp0")
            self.servers.pop()
        exporter.finish()

    def test_route_that_changes(self):
        """Parts of a connection that lasts go where it goes by then."""
        self.second_uplink()
        lab = self.lab
        lab.router.ip("route", "add", "192.0.2.1", "via", "10.2.0.2")
        exporter = self.start("--active-timeout", "1")
        began = self.open(lab.client, "10.1.0.2", 30001)
        client, server, second = (int(
            lab.router.run("ip", "-o", "link", "show", "dev", name).split(":")[0])
            for name in ("client", "server", "second"))

        def is_reported(way):
            began.sendto(b"more", ("192.0.2.1", PORT))
            return any((record[IN], record[OUT]) == way for record in self.port.records())
        wait_until(lambda: is_reported((client, server)), "parts go to the server")
        lab.router.ip("route", "replace", "192.0.2.1", "via", "10.4.0.2")
        wait_until(lambda: is_reported((client, second)), "parts go to the second one")
        exporter.finish()

    def test_no_route(self):
        """What goes nowhere any more is reported without, and counted; nothing waits for it."""
        exporter = self.start()
        self.talk(self.lab.client, "10.1.0.2", "10.2.0.2", answered=False)
        wait_until(lambda: self.lab.entries() > 0, "it is tracked")
        self.lab.router.ip("link", "set", "server", "down")
        self.lab.router.ip("link", "set", "client", "down")
        self.lab.flush()
        exporter.wait_flows(1)
        self.assertEqual(exporter.finish()["interfaces_unknown"], 1)

    def test_none(self):
        exporter = Ctflow9(self.lab, "-c", "10.3.0.2:2055", "--interfaces", "none")
        self.talk(self.lab.client, "10.1.0.2", "10.2.0.2")
        self.assertEqual(set(self.records(exporter)[30001].values()), {(0, 0)})
        totals = exporter.finish()
        self.assertEqual(totals["interfaces_known"] + totals["interfaces_asked"], 0)

    def test_collectors(self):
        """Numbers and names, as they are by default."""
        lab = self.lab
        lab.router.ip("link", "set", "server", "alias", "the uplink")
        nfcapd, nfacctd, tshark = Nfcapd(lab, 2065), Nfacctd(lab, 2066), Tshark(lab, 2067)
        exporter = Ctflow9(lab, "--print", *(word for port in (2055, 2065, 2066, 2067)
                                             for word in ("-c", f"10.3.0.2:{port}")))
        self.talk(lab.client, "10.1.0.2", "10.2.0.3")
        way = self.capture.ways()[30001]["question"]
        self.assertEqual(self.records(exporter)[30001], {"question": way, "answer": way[::-1]})

        def seen_by_nfacctd():
            try:
                with open(nfacctd.output) as file:
                    return {(flow["iface_in"], flow["iface_out"])
                            for flow in map(json.loads, file) if flow["port_src"] == 30001}
            except (FileNotFoundError, json.JSONDecodeError):
                return set()
        wait_until(lambda: seen_by_nfacctd() == {way}, "nfacctd shows the interfaces", limit_s=60)
        nfacctd.process.stop(signal.SIGINT)
        exporter.finish()
        self.assertIn("via client>server", exporter.output())
        wait_until(lambda: len(tshark.inbox.records()) == 2, "all records come")
        names = {field.get("show") for field in tshark.decode().iter("field")
                 if field.get("name") == "cflow.if_name"}
        self.assertLessEqual({"client", "server", "lo"}, names)
        self.assertEqual(nfcapd.process.stop(), 0)
        text = run("nfdump", "-q", "-R", nfcapd.directory, "-o", "fmt:%sp|%in|%inam|%out|%onam", "src port 30001")
        self.assertEqual([cell.strip() for cell in text.strip().split("|")],
                         ["30001", str(way[0]), "client", str(way[1]), "the uplink"])


if __name__ == "__main__":
    unittest.main()
