# SPDX-License-Identifier: GPL-2.0-or-later
"""Where connections came in and went out, as rules have written it into their marks."""

import json
import os
import re
import signal
import socket
import unittest
from collections import Counter

from collectors import Nfacctd, Nfcapd, Tshark
from ctflow9 import Ctflow9
from lab import Lab, run, wait_until
from netflow import Port

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/ctflow9.8")
IN, OUT, DIRECTION = 10, 14, 61
FLOWS, SOURCE_PORT, DESTINATION_PORT, IP_VERSION = 3, 7, 11, 60

# What the manual's rules give their interfaces, and which of them lead out.
LAN, WAN = 1, 2
BITS = ("--mark-interface", "0xff,0xff00", "--mark-direction", "0x10000")


def rules():
    """The manual's rule set, with the lab's interfaces instead of lan0 and ppp0."""
    with open(MANUAL) as file:
        text = re.search(r"table inet interfaces {.*?^}$", file.read(), re.DOTALL | re.MULTILINE)[0]
    return text.replace("lan0", "client").replace("ppp0", "server")


class Marks(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.lab.router.nft(rules())
        for namespace, address in ((self.lab.server, "10.2.0.2"), (self.lab.router, "10.1.0.1"),
                                   (self.lab.client, "10.1.0.2"), (self.lab.server, "fd02::2")):
            self.bind(namespace, address, 7000)

    @staticmethod
    def bind(namespace, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = namespace.socket(family, socket.SOCK_DGRAM)
        opened.bind((address, port))
        return opened

    def send(self, namespace, source, port, destination):
        opened = self.bind(namespace, source, port)
        opened.sendto(b"question", (destination, 7000))

    def answer(self, namespace, address, port, to):
        """From the port that was asked, so that it is the connection's reply."""
        for opened in namespace.sockets:
            if opened.getsockname()[:2] == (address, port):
                opened.sendto(b"answer", to)

    def traffic(self):
        """A connection of each kind. Returns {port of who began it: (in, out, leaves)}."""
        lab = self.lab
        self.send(lab.client, "10.1.0.2", 30001, "10.2.0.2")
        self.send(lab.client, "10.1.0.2", 30002, "10.2.0.3")  # masqueraded
        self.send(lab.client, "10.1.0.2", 30003, "10.1.0.8")  # destination NAT, and out to the server
        self.send(lab.server, "10.2.0.2", 30004, "10.1.0.2")
        self.send(lab.client, "10.1.0.2", 30005, "10.1.0.1")  # to the router itself
        self.send(lab.router, "10.2.0.1", 30006, "10.2.0.2")  # from the router
        self.send(lab.client, "fd01::2", 30007, "fd02::2")
        wait_until(lambda: lab.entries() >= 7, "all are tracked")
        self.answer(lab.server, "10.2.0.2", 7000, ("10.1.0.2", 30001))
        wait_until(lambda: "UNREPLIED" not in next(
            line for line in lab.router.run("conntrack", "-L", "-p", "udp").splitlines() if "sport=30001 " in line),
            "the answer is seen")
        return {30001: (LAN, WAN, True), 30002: (LAN, WAN, True), 30003: (LAN, WAN, True),
                30004: (WAN, LAN, False), 30005: (LAN, 0, False), 30006: (0, WAN, True),
                30007: (LAN, WAN, True)}

    def finish(self, exporter):
        self.lab.flush()
        exporter.wait_flows(7)
        return exporter.finish()

    def test_records_of_one_worker(self):
        self.compare("--workers", 1)

    def test_records_of_two_workers(self):
        self.compare("--workers", 2)

    def compare(self, *options):
        port = Port(self.lab.collector, 2055)
        exporter = Ctflow9(self.lab, "-c", "10.3.0.2:2055", *options, *BITS)
        expected = self.traffic()
        totals = self.finish(exporter)
        wait_until(lambda: len(port.records()) == totals["records"], "all records come")
        self.check(port.records(), expected)

    def test_aggregates(self):
        port = Port(self.lab.collector, 2055)
        exporter = Ctflow9(self.lab, "-c", "10.3.0.2:2055", "--aggregate", "in,proto", *BITS)
        expected = self.traffic()
        self.finish(exporter)
        ways = Counter((way[0], 4 if port < 30007 else 6, way[2]) for port, way in expected.items())
        ways[(WAN, 4, False)] += 1  # the answer
        wait_until(lambda: len(port.records()) == len(ways), "all records come")
        self.assertEqual({(record[IN], record[IP_VERSION], record[DIRECTION] == 1): record[FLOWS]
                          for record in port.records()}, ways)
        self.assertEqual({record[OUT] for record in port.records()}, {0})

    def check(self, records, expected):
        seen = {record[SOURCE_PORT]: (record[IN], record[OUT], record[DIRECTION] == 1)
                for record in records if record[SOURCE_PORT] in expected}
        self.assertEqual(seen, expected)
        replies = [(record[IN], record[OUT], record[DIRECTION])
                   for record in records if record[DESTINATION_PORT] == 30001]
        self.assertEqual(replies, [(WAN, LAN, 0)])

    def test_parts_of_a_connection_that_lasts(self):
        self.lab.router.sysctl({f"net.netfilter.nf_conntrack_{name}": 600
                                for name in ("udp_timeout", "udp_timeout_stream")})
        exporter = Ctflow9(self.lab, "--json", "--active-timeout", 1, *BITS)
        self.send(self.lab.client, "10.1.0.2", 30001, "10.2.0.2")
        exporter.wait_flows(1)
        exporter.finish()
        part = json.loads(exporter.output().splitlines()[0])
        self.assertEqual((part["end_reason_name"], part["in_interface"], part["out_interface"]),
                         ("active_timeout", LAN, WAN))
        self.assertNotIn("reply_in_interface", part)

    def test_lines(self):
        exporter = Ctflow9(self.lab, "--print", *BITS)
        self.traffic()
        self.finish(exporter)
        line = next(line for line in exporter.output().splitlines() if ":30002 " in line)
        self.assertRegex(line, rf"via {LAN}>{WAN} snat 10\.2\.0\.1:2\d{{4}}")

    def test_collectors(self):
        nfcapd, nfacctd, tshark = (kind(self.lab) for kind in (Nfcapd, Nfacctd, Tshark))
        exporter = Ctflow9(self.lab, *(word for collector in (nfcapd, nfacctd, tshark)
                                       for word in ("-c", f"10.3.0.2:{collector.port}")), *BITS)
        expected = self.traffic()
        self.finish(exporter)
        ways = {port: way[:2] for port, way in expected.items()}

        def seen_by_nfacctd():
            try:
                with open(nfacctd.output) as file:
                    flows = [json.loads(line) for line in file if line.endswith("\n")]
            except FileNotFoundError:
                return {}
            return {flow["port_src"]: (flow["iface_in"], flow["iface_out"])
                    for flow in flows if flow["port_src"] in ways}
        wait_until(lambda: seen_by_nfacctd() == ways, "nfacctd shows the interfaces", limit_s=20)
        nfacctd.process.stop(signal.SIGINT)

        wait_until(lambda: len(tshark.inbox.records()) == 8, "all records come")
        self.check(tshark.inbox.records(), expected)

        self.assertEqual(nfcapd.process.stop(), 0)
        flows = json.loads(run("nfdump", "-R", nfcapd.directory, "-o", "json"))
        self.assertEqual({flow["src_port"]: (flow["input_snmp"], flow["output_snmp"])
                          for flow in flows if flow["src_port"] in ways}, ways)
        directions = {flow["src_port"]: flow["flowdir"] if "flowdir" in flow else flow["direction"]
                      for flow in flows if flow["src_port"] in ways}
        self.assertEqual({port: bool(int(way)) for port, way in directions.items()},
                         {port: way[2] for port, way in expected.items()})


if __name__ == "__main__":
    unittest.main()
