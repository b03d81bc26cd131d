# SPDX-License-Identifier: GPL-2.0-or-later
"""What the manual says of marks that change, of a ctflow9 that is killed or stopped, and of its own datagrams."""

import json
import signal
import socket
import unittest

from ctflow9 import Ctflow9
from lab import Lab, wait_until
from netflow import Port

MARKS = """
table inet marks {
    map marks { type inet_service : mark; }
    chain forward {
        type filter hook forward priority 0
        ct mark set udp sport map @marks
    }
}
"""

# As the manual has it, but for the address.
OWN = """
add table inet ctflow9
add chain inet ctflow9 own { type filter hook output priority raw; }
add rule inet ctflow9 own ip daddr 10.3.0.2 udp dport 2055 notrack
"""

ACTIVE_TIMEOUT_S = 2


class Manual(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.timeout(600)
        self.lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("10.2.0.2", 7000))

    def timeout(self, udp_s):
        self.lab.router.sysctl({f"net.netfilter.nf_conntrack_{name}": udp_s
                                for name in ("udp_timeout", "udp_timeout_stream")})

    def start(self, *options):
        return Ctflow9(self.lab, "--json", "--active-timeout", ACTIVE_TIMEOUT_S, *options)

    def connection(self, port):
        """A socket that sends from this port of the client."""
        opened = self.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("10.1.0.2", port))
        opened.connect(("10.2.0.2", 7000))
        return opened

    def send(self, opened, packets):
        for _ in range(packets):
            opened.send(b"")
        port = opened.getsockname()[1]
        wait_until(lambda: f"sport={port} " in self.lab.router.run("conntrack", "-L", "-p", "udp"), "it is tracked")

    def set_marks(self, marks):
        elements = ", ".join(f"{port} : {mark}" for port, mark in marks.items())
        self.lab.router.nft(f"flush map inet marks marks\nadd element inet marks marks {{ {elements} }}")

    @staticmethod
    def parts(exporter, port, *keys):
        objects = [json.loads(line) for line in exporter.output().splitlines() if line.endswith("}")]
        return [tuple(part.get(key) for key in keys) for part in objects if part["src_port"] == port]

    def packets(self, exporter, port):
        return sum(packets for packets, in self.parts(exporter, port, "packets"))

    def wait_packets(self, exporter, port, packets):
        wait_until(lambda: self.packets(exporter, port) == packets, f"{packets} packets of {port} are reported")

    def test_mark_of_parts(self):
        """A part has the mark of its time, the end the last one."""
        self.lab.router.nft(MARKS)
        exporter = self.start()
        opened = self.connection(1001)
        for mark, packets in (5, 10), (6, 13):
            self.set_marks({1001: mark})
            self.send(opened, packets - self.packets(exporter, 1001))
            self.wait_packets(exporter, 1001, packets)
        self.set_marks({1001: 7})
        self.send(opened, 2)
        self.lab.flush()
        self.wait_packets(exporter, 1001, 15)
        exporter.finish()
        self.assertEqual(self.parts(exporter, 1001, "mark", "packets", "end_reason"), [(5, 10, 2), (6, 3, 2), (7, 2, 4)])

    def test_mark_filter(self):
        """What comes to match is reported whole, even if it is older; what does not match any longer is gone."""
        self.lab.router.nft(MARKS)
        older, leaving, never = map(self.connection, (1001, 1002, 1003))
        self.send(older, 10)
        exporter = self.start("--mark", "5")
        self.set_marks({1002: 5, 1003: 6})
        for opened in older, leaving, never:
            self.send(opened, 5)
        self.wait_packets(exporter, 1002, 5)
        self.assertEqual(self.packets(exporter, 1001), 0)
        self.set_marks({1001: 5, 1002: 6, 1003: 6})
        for opened in older, leaving, never:
            self.send(opened, 3)
        self.wait_packets(exporter, 1001, 18)
        self.lab.flush()
        wait_until(lambda: exporter.ask()["gone"] == 1, "it is noticed missing")
        exporter.finish()
        self.assertEqual([self.packets(exporter, port) for port in (1001, 1002, 1003)], [18, 5, 0])

    def test_killed(self):
        """What was carried since the last report is lost, or all of it is reported again."""
        for adopt, packets in ("baseline", 3), ("full", 10 + 5 + 3):
            with self.subTest(adopt=adopt):
                opened, ending = map(self.connection, (1001, 1002))
                killed = self.start()
                for each in opened, ending:
                    self.send(each, 10)
                for port in 1001, 1002:
                    self.wait_packets(killed, port, 10)
                killed.send(signal.SIGSTOP)
                for each in opened, ending:
                    self.send(each, 5)
                self.lab.router.run("conntrack", "-D", "-p", "udp", "--sport", 1002)
                killed.send(signal.SIGKILL)
                killed.wait()
                exporter = self.start("--adopt", adopt)
                wait_until(lambda: exporter.ask()["adopted"] > 0, "it is adopted")
                self.send(opened, 3)
                self.lab.flush()
                self.wait_packets(exporter, 1001, packets)
                exporter.finish()
                self.assertEqual(self.packets(exporter, 1002), 0)
                for each in opened, ending:
                    each.close()

    def test_stopped(self):
        """What does not fit stays in the table, until it is killed."""
        for options, stays in ((), True), (("--no-reliable",), False):
            with self.subTest(options=options):
                exporter = self.start("--rcvbuf", "64K", *options)
                exporter.send(signal.SIGSTOP)
                self.lab.make_flows(5000)
                self.lab.flush()
                left = int(self.lab.router.run("conntrack", "-C"))
                self.assertEqual(left > 2500, stays, left)
                exporter.send(signal.SIGKILL)
                exporter.wait()
                wait_until(lambda: int(self.lab.router.run("conntrack", "-C")) == 0, "the entries are removed")

    def test_own_datagrams(self):
        """They keep the export going, but for the rule."""
        self.lab.router.nft("flush ruleset")
        self.lab.router.nft("table inet t {\nchain c {\ntype filter hook prerouting priority 0\nct state new\n}\n}")
        self.timeout(1)
        collector = Port(self.lab.collector, 2055)
        exporter = Ctflow9(self.lab, "-c", "10.3.0.2")
        wait_until(lambda: sum(record[11] == 2055 for record in collector.records()) >= 3, "it reports itself")
        exporter.finish()
        self.lab.router.nft(OWN)
        self.lab.flush()
        exporter = Ctflow9(self.lab, "-c", "10.3.0.2")
        wait_until(lambda: exporter.ask("10.3.0.2:2055")["datagrams"] > 0, "datagrams are sent")
        self.assertEqual(self.lab.entries(), 0)
        exporter.finish()


if __name__ == "__main__":
    unittest.main()
