# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator's machine does to a program that runs. Faults of collectors are in test_collectors and
check_udp_recovery, of the start in test_start, of a kill in test_manual, of a set clock in kernels/test_clock."""

import json
import os
import signal
import time
import unittest

from ctflow9 import Ctflow9
from lab import PROGRAMS, Lab, many, packets_on_their_way, run, wait_until
from netflow import Port

COLLECTOR = "10.3.0.2:2055"


class Faults(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())

    def flows(self, count):
        self.lab.make_flows(count)
        self.lab.flush()

    def sink(self):
        sink = self.lab.start(self.lab.collector, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.2", "--unique")
        sink.wait_log("listening")
        return sink

    def counted(self, sink):
        """What came to it, when nothing is on its way any more: records, and those that differ."""
        wait_until(lambda: packets_on_their_way() == 0, "everything comes to the sink's socket")
        self.assertEqual(sink.stop(), 0)
        counted = json.loads(sink.output())
        nothing = ("dropped", "unknown_sets", "malformed", "wrong_counts", "sequence_gaps", "duplicates")
        self.assertEqual({name: counted[name] for name in nothing}, dict.fromkeys(nothing, 0))
        return counted["records"], counted["unique"]

    @staticmethod
    def cpu(process):
        """Seconds, of all its threads."""
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_no_descriptors(self):
        """The limit is lowered below what it waits for, which the kernel then refuses: it goes on, and does not spin."""
        port = Port(self.lab.collector, 2055)
        exporter = Ctflow9(self.lab, "-c", COLLECTOR, "--workers", 2, "--max-delay", 0, "--metrics", 9999,
                           "--json-socket", os.path.join(self.lab.directory, "flows"),
                           "--user", "root")  # its limits are set from outside
        total = 0
        for limit in 3, 0:
            run("prlimit", f"--pid={exporter.pid}", f"--nofile={limit}:")
            self.flows(500)
            total += 500
            wait_until(lambda: len(port.records()) == total, "what ends is reported")
            before, begin = self.cpu(exporter), time.monotonic()
            while time.monotonic() < begin + 2:
                time.sleep(0.1)
            self.assertLess(self.cpu(exporter) - before, 0.2, "of two seconds")
        run("prlimit", f"--pid={exporter.pid}", "--nofile=1024:")
        self.flows(500)
        self.assertEqual(exporter.finish()["flows"], total + 500)

    def test_stopped_for_long(self):
        """Nothing is read for 5 seconds amid a storm: the kernel keeps what does not fit, and sends it again."""
        count = many(50000)
        sink = self.sink()
        exporter = Ctflow9(self.lab, "-c", COLLECTOR, "--workers", 2, "--rcvbuf", "1M")
        self.lab.make_flows(count)
        exporter.send(signal.SIGSTOP)
        self.lab.flush()
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() >= begin + 5, "5 seconds go by")
        exporter.send(signal.SIGCONT)
        exporter.wait_flows(count, limit_s=120)
        totals = exporter.finish()
        self.assertEqual((totals["flows"], totals["lost"]), (count, 0))
        self.assertGreater(totals["deferred"], 0)
        self.assertEqual(self.counted(sink), (count, count))

    def test_killed_and_started_again(self):
        """In a storm: what the killed one had read is gone with it at most, and what the next one reads comes once."""
        count = many(50000)
        sink = self.sink()
        killed = Ctflow9(self.lab, "-c", COLLECTOR)
        self.lab.make_flows(count)
        killed.send(signal.SIGSTOP)
        self.lab.flush()
        killed.send(signal.SIGKILL)
        killed.wait()
        exporter = Ctflow9(self.lab, "-c", COLLECTOR, "--rcvbuf", "1M")
        self.flows(1000)
        exporter.wait_flows(1000)
        totals = exporter.finish()
        records, unique = self.counted(sink)
        self.assertEqual((records, unique), (totals["flows"], totals["flows"]))
        self.assertGreaterEqual(records, 1000)

    def test_network_gone_for_a_while(self):
        """Its own network goes down and comes back, while connections end: all of them are reported."""
        port = Port(self.lab.collector, 2055)
        exporter = Ctflow9(self.lab, "-c", COLLECTOR, "--max-delay", 0)
        device = json.loads(self.lab.router.run("ip", "-j", "route", "get", "10.3.0.2"))[0]["dev"]
        self.flows(500)
        wait_until(lambda: len(port.records()) == 500, "they are reported")
        self.lab.router.ip("link", "set", device, "down")
        self.flows(500)
        exporter.wait_flows(1000)
        self.lab.router.ip("link", "set", device, "up")
        wait_until(lambda: len(port.records()) == 1000, "the others are as well")
        self.assertEqual(port.sequence_gap(), 0)
        exporter.finish()


if __name__ == "__main__":
    unittest.main()
