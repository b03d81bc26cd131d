# SPDX-License-Identifier: GPL-2.0-or-later
"""Named counters: what is reported of each adds up to what the kernel has counted."""

import datetime
import json
import os
import re
import signal
import socket
import struct
import unittest
from collections import Counter, defaultdict

from collectors import Nfacctd, Nfcapd, Tshark
from ctflow9 import Ctflow9
from lab import BINARY, Lab, poll, run, wait_until
from netflow import SCOPE_SYSTEM

PACKETS, OCTETS, SOURCE, APPLICATION, NAME = 2, 1, 8, 95, 96
ACCT_NEW, ACCT_DEL = 7 << 8 | 0, 7 << 8 | 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE = 1, 4, 0x400
USER_DEFINED = 6 << 32


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


class Counters(unittest.TestCase):
    """What sources of named counters have in common."""

    def setUp(self):
        self.lab = self.enterContext(Lab())

    def send(self, port, count):
        opened = self.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(count):
            opened.sendto(bytes(100), ("10.2.0.2", port))
        opened.close()

    @staticmethod
    def reports(exporter):
        return [json.loads(line) for line in exporter.output().splitlines()]

    def sums(self, exporter):
        """{name: (packets, octets)}; spans of one counter follow on each other."""
        sums, ended = defaultdict(lambda: [0, 0]), {}
        for report in self.reports(exporter):
            self.assertEqual(report["kind"], "counter")
            self.assertLess(report["start"], report["stop"])
            self.assertGreater(report["packets"], 0)
            self.assertLessEqual(ended.get(report["number"], ""), report["start"])
            ended[report["number"]] = report["stop"]
            sums[report["name"]][0] += report["packets"]
            sums[report["name"]][1] += report["octets"]
        return {name: tuple(of) for name, of in sums.items()}

    def wait_counted(self, exporter, name, packets):
        wait_until(lambda: self.sums(exporter).get(name, (0,))[0] >= packets, f"{packets} packets of {name} are told")


class Nfacct(Counters):
    def start(self, *options):
        return Ctflow9(self.lab, "--no-conntrack", "--nfacct", 1, *options)

    def add(self, name, port):
        self.lab.router.run("nfacct", "add", name)
        self.lab.router.run("iptables-legacy", *self.rule("-A", name, port))

    def remove(self, name, port):
        self.lab.router.run("iptables-legacy", *self.rule("-D", name, port))
        self.lab.router.run("nfacct", "delete", name)

    @staticmethod
    def rule(how, name, port):
        return how, "FORWARD", "-p", "udp", "--dport", port, "-m", "nfacct", "--nfacct-name", name

    def counted(self):
        """{name: (packets, octets)}."""
        lines = re.findall(r"pkts = (\d+), bytes = (\d+).* = (.*);", self.lab.router.run(
            "sh", "-c", "nfacct list | iconv -c -f utf-8 -t utf-8"))
        return {name: (int(packets), int(octets)) for packets, octets, name in lines}

    def wait_read(self, exporter):
        """Until all were read once more: in which one that counts all the time is told of."""
        begin = datetime.datetime.now(datetime.timezone.utc).isoformat()

        def is_read():
            self.send(7999, 1)
            return any(report["name"] == "tick" and report["stop"] > begin for report in self.reports(exporter))
        wait_until(is_read, "all are read")

    def test_reports_add_up_to_what_the_kernel_counted(self):
        """What was counted before is left out; one that comes, goes and comes back, and one that is set to 0."""
        self.add("tick", 7999)
        self.add("old", 7000)
        self.add("reset", 7001)
        self.send(7000, 3)
        self.send(7001, 50)
        exporter = self.start("--json")
        self.wait_read(exporter)
        self.send(7000, 5)
        self.send(7001, 7)
        self.wait_read(exporter)
        self.add("fresh", 7002)
        self.send(7002, 9)
        self.lab.router.run("nfacct", "get", "reset", "reset")
        self.send(7001, 4)
        self.wait_read(exporter)
        self.remove("fresh", 7002)
        self.add("fresh", 7002)
        self.send(7002, 2)
        self.wait_read(exporter)
        # What comes in the last moment is read at the end.
        self.send(7000, 6)
        self.send(7002, 1)
        totals = exporter.finish()
        octets = self.counted()["old"][1] // self.counted()["old"][0]
        told = self.sums(exporter)
        del told["tick"]
        self.assertEqual(told, {name: (packets, packets * octets) for name, packets in
                                {"old": 11, "reset": 11, "fresh": 12}.items()})
        self.assertEqual(self.counted()["old"][0], 14)
        self.assertEqual(totals["named_counters_anew"], 2)
        self.assertEqual(totals["named_counters"], len(self.reports(exporter)))
        self.assertEqual((totals["flows"], totals["named_counters_lost"]), (0, 0))

    def test_quotas_are_left_alone(self):
        self.lab.router.run("nfacct", "add", "quota", "packet", 10)
        self.lab.router.run("iptables-legacy", *self.rule("-A", "quota", 7000))
        self.add("tick", 7999)
        exporter = self.start("--json")
        self.wait_read(exporter)
        self.send(7000, 25)
        self.wait_read(exporter)
        exporter.finish()
        self.assertEqual(self.sums(exporter)["quota"], self.counted()["quota"])
        self.assertIn("overquota", self.lab.router.run("nfacct", "list"))

    def objects(self, kind, names):
        """Makes or removes many, and may have names of any octets."""
        with self.lab.router:
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.getprotobyname("ip") + 12)
        for name in names:
            body = struct.pack("=BBH", 0, 0, 0) + attribute(1, name + b"\0")
            flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE if kind == ACCT_NEW else 0)
            opened.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body)
            error = struct.unpack_from("=i", opened.recv(4096), 16)[0]
            self.assertEqual(error, 0)
        opened.close()

    def test_many(self):
        """More than fit between the reading thread and its worker, most of which have counted nothing; and then all."""
        count = 5000
        self.objects(ACCT_NEW, (b"object %d" % i for i in range(count)))
        rules = "".join(f"-A FORWARD -p udp --dport 7000 -m nfacct --nfacct-name \"object {i}\"\n" for i in range(count))
        self.lab.router.run("iptables-legacy-restore", "--noflush", text=f"*filter\n{rules}COMMIT\n")
        self.add("tick", 7999)
        exporter = self.start("--json", "--workers", 2)
        self.wait_read(exporter)
        self.send(7000, 2)
        exporter.finish()
        told = self.sums(exporter)
        self.assertEqual(len(told), count + 1)
        self.assertEqual({**told, "tick": None}, {**self.counted(), "tick": None})

    def test_collectors(self):
        """Every element and name, as nfdump, pmacct and tshark see them; none is merged."""
        names = {b"plain": "plain", b'quote" \\ ,;': 'quote" \\ ,;', b"escape \x1b[31m": "escape ?[31m",
                 b"latin \xe4": "latin ?", "utf8 \u00e4\u20ac".encode(): "utf8 \u00e4\u20ac", b"x" * 31: "x" * 31}
        self.objects(ACCT_NEW, names)
        for port, name in enumerate(names, 7000):
            self.lab.router.run("iptables-legacy", *self.rule("-A", os.fsdecode(name), port))
        nfcapd, tshark = Nfcapd(self.lab), Tshark(self.lab)
        nfacctd = Nfacctd(self.lab, aggregate="class,src_host,timestamp_start")
        to = [word for collector in (nfcapd, nfacctd, tshark) for word in ("-c", f"10.3.0.2:{collector.port}")]
        exporter = self.start("--json", "--aggregate", "src,proto", "--max-delay", 0, *to)
        self.add("tick", 7999)
        self.wait_read(exporter)
        for port in range(7000, 7000 + len(names)):
            self.send(port, port - 6990)
        self.wait_read(exporter)
        told = {name: packets for name, (packets, _) in self.sums(exporter).items() if name != "tick"}
        self.assertEqual(told, {name: packets for packets, name in enumerate(names.values(), 10)})
        number = {report["name"]: report["number"] for report in self.reports(exporter)}

        def named():
            return {row[APPLICATION] - USER_DEFINED: row[NAME].to_bytes(64, "big").rstrip(b"\0").decode()
                    for datagram in tshark.inbox.read() for row in datagram.records if NAME in row}
        wait_until(lambda: len(named()) == len(number), "every name is told")
        self.assertEqual(named(), {value: name for name, value in number.items()})
        exporter.finish()

        reports = self.reports(exporter)
        expected = sorted((report["number"], report["packets"], report["octets"]) for report in reports)
        wait_until(lambda: len(tshark.inbox.records()) == len(reports), "all records come")
        tshark.decode()
        self.assertEqual(expected, sorted((record[APPLICATION] - USER_DEFINED, record[PACKETS], record[OCTETS])
                                          for record in tshark.inbox.records()))
        self.assertTrue(all(record[SOURCE] == record[APPLICATION] - USER_DEFINED for record in tshark.inbox.records()))

        self.assertEqual(nfcapd.process.stop(), 0)
        self.assertIn("Sequence Errors: 0, Bad Packets: 0", nfcapd.process.log())
        self.assertNotRegex(nfcapd.process.log(), "(?i)error: |malformed|skip")
        dumped = json.loads(run("nfdump", "-R", nfcapd.directory, "-o", "json"))
        self.assertEqual(sorted((int(flow["src4_addr"].split(".")[-1]), flow["in_packets"], flow["in_bytes"])
                                for flow in dumped), expected)
        seen = run("nfdump", "-R", nfcapd.directory, "-q", "-o", "fmt:%nbnam;%pkt")
        self.assertEqual({line.rsplit(";", 1)[0].strip() for line in seen.splitlines()}, set(number), seen)

        def taken():
            """{(name, number): packets}."""
            packets = Counter()
            with open(nfacctd.output) as file:
                for line in file:
                    seen = json.loads(line)
                    packets[seen["class"], int(seen["ip_src"].split(".")[-1])] += seen["packets"]
            return packets
        expected = Counter()
        for report in reports:
            expected[report["name"], report["number"]] += report["packets"]
        poll(lambda: taken() == expected, limit_s=20)
        nfacctd.process.stop(signal.SIGINT)
        self.assertEqual(taken(), expected)

    def test_what_it_takes(self):
        exporter = self.lab.start(self.lab.router, "ctflow9", "setpriv", "--bounding-set", "-net_admin",
                                  "--inh-caps", "-net_admin", BINARY, "--no-conntrack", "--nfacct", "1")
        self.assertEqual(exporter.wait(), 1)
        self.assertIn("reading nfacct's counters needs CAP_NET_ADMIN", exporter.log())


if __name__ == "__main__":
    unittest.main()
