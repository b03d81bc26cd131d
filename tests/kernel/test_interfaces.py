# SPDX-License-Identifier: GPL-2.0-or-later
"""Where connections came in and went out, as rules have written it into their marks, and what that is called."""

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
NAME, DESCRIPTION = 82, 83
FLOWS, SOURCE_PORT, DESTINATION_PORT, IP_VERSION = 3, 7, 11, 60

# What the manual's rules give their interfaces, and which of them lead out.
LAN, WAN = 1, 2
BITS = ("--mark-interface", "0xff,0xff00", "--mark-direction", "0x10000")
NAMES = ("--interface-index", f"client={LAN}", "--interface-index", f"server={WAN}")


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

    def test_names_in_lines(self):
        exporter = Ctflow9(self.lab, "--print", *BITS, *NAMES)
        self.traffic()
        self.finish(exporter)
        lines = exporter.output()
        self.assertRegex(lines, r":30002 .* via client>server snat 10\.2\.0\.1:2\d{4}")
        self.assertRegex(lines, r":30006 .* via 0>server")

    def test_names_in_json(self):
        exporter = Ctflow9(self.lab, "--json", *BITS, *NAMES)
        self.traffic()
        self.finish(exporter)
        flows = {flow["src_port"]: flow for flow in map(json.loads, exporter.output().splitlines())}
        self.assertEqual((flows[30004]["in_interface_name"], flows[30004]["out_interface_name"]), ("server", "client"))
        self.assertEqual(flows[30005]["in_interface_name"], "client")
        self.assertNotIn("out_interface_name", flows[30005])


class Names(unittest.TestCase):
    """Options data 271."""

    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.lab.router.ip("link", "set", "server", "alias", "the uplink")

    @staticmethod
    def told(port):
        """The latest of each number."""
        def text(value):
            return value.to_bytes(64, "big").strip(b"\0").decode()
        return {row[IN]: (text(row[NAME]), text(row[DESCRIPTION]))
                for datagram in port.read() for row in datagram.records if NAME in row}

    def test_numbers_that_are_given_and_the_kernel_s(self):
        port = Port(self.lab.collector, 2055)
        Ctflow9(self.lab, "-c", "10.3.0.2:2055", "--interface-index", "tunnel=1000", "--interface-index", "server=1")
        index = {link["ifname"]: link["ifindex"] for link in json.loads(self.lab.router.run("ip", "-j", "link"))}
        expected = {1: ("server", "the uplink"), 1000: ("tunnel", "tunnel"), 1 << 31 | 1: ("lo", "lo"),
                    index["client"]: ("client", "client"), index["collector"]: ("collector", "collector")}
        wait_until(lambda: self.told(port) == expected, f"{expected} are told")

        # One that comes, and one that gets another name; the number that is given stays.
        for index in 200, 300:
            self.lab.router.ip("link", "add", "tunnel", "index", index, "type", "veth", "peer", "other", "index", 900)
            self.lab.router.ip("link", "set", "tunnel", "up", "alias", f"tunnel {index}")
            self.lab.router.ip("link", "set", "client", "name", f"lan{index}")
            wait_until(lambda: self.told(port)[1000] == ("tunnel", f"tunnel {index}") and
                       (f"lan{index}",) * 2 in self.told(port).values(), "the change is told")
            self.assertEqual(self.told(port)[900], ("other", "other"))
            self.assertNotIn(index, self.told(port))
            self.lab.router.ip("link", "delete", "tunnel")
            self.lab.router.ip("link", "set", "lan%d" % index, "name", "client")
        self.assertEqual(port.sequence_gap(), 0)

    def test_more_than_a_datagram_holds(self):
        self.lab.router.run("ip", "-batch", "-", text="".join(
            f"link add many{i} index {1000 + i} type veth peer more{i} index {2000 + i}\n" for i in range(30)))
        port = Port(self.lab.collector, 2055)
        Ctflow9(self.lab, "-c", "10.3.0.2:2055", "--interface-index", "server=1")
        wait_until(lambda: len(self.told(port)) == 64, "all are told")
        self.assertEqual(self.told(port)[2029], ("more29", "more29"))
        self.assertLessEqual(max(len(datagram.octets) for datagram in port.datagrams), 1400)

    def test_collectors(self):
        self.lab.router.nft(rules())
        primitives = os.path.join(self.lab.directory, "primitives")
        with open(primitives, "w") as file:
            file.write("name=interface_name field_type=82 len=32 semantics=str\n")
        nfcapd, tshark = Nfcapd(self.lab), Tshark(self.lab)
        nfacctd = Nfacctd(self.lab, aggregate="in_iface,interface_name",
                          more=f"aggregate_primitives: {primitives}\nnfacctd_account_options: true")
        exporter = Ctflow9(self.lab, *(word for collector in (nfcapd, nfacctd, tshark)
                                       for word in ("-c", f"10.3.0.2:{collector.port}")), *BITS, *NAMES)
        sender = self.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind(("10.1.0.2", 30001))
        sender.sendto(b"question", ("10.2.0.2", 7000))
        wait_until(lambda: self.lab.entries() >= 1, "it is tracked")
        self.lab.flush()
        exporter.wait_flows(1)

        def seen_by_nfacctd():
            try:
                with open(nfacctd.output) as file:
                    return {(row["iface_in"], row["interface_name"])
                            for row in map(json.loads, file) if row["interface_name"]}
            except (FileNotFoundError, json.JSONDecodeError):
                return set()
        wait_until(lambda: seen_by_nfacctd() == {(LAN, "client"), (WAN, "server")}, "nfacctd has the names", 20)
        nfacctd.process.stop(signal.SIGINT)

        exporter.finish()
        wait_until(lambda: len(tshark.inbox.records()) == 1, "the record comes")
        shown = [field.get("show") for field in tshark.decode().iter("field")
                 if field.get("name") in ("cflow.if_name", "cflow.if_descr")]
        self.assertEqual(set(shown), {"client", "server", "the uplink"})

        self.assertEqual(nfcapd.process.stop(), 0)
        text = run("nfdump", "-q", "-R", nfcapd.directory, "-o", "fmt:%sp|%in|%inam|%out|%onam")
        self.assertEqual([cell.strip() for cell in text.strip().split("|")],
                         ["30001", str(LAN), "client", str(WAN), "the uplink"])


if __name__ == "__main__":
    unittest.main()
