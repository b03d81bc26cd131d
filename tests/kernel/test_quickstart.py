# SPDX-License-Identifier: GPL-2.0-or-later
"""The one command of the README: what it shows, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import tempfile
import time
import unittest
from collections import Counter

from lab import Lab, run, wait_until
from traffic import PLAIN, Traffic

QUICKSTART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../quickstart")


class Demo:
    """quickstart --demo, running, with a directory of its own for its files."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.output = tempfile.TemporaryFile("w+")
        self.popen = subprocess.Popen([QUICKSTART, "--demo"], env=os.environ | {"TMPDIR": self.directory.name},
                                      stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.terminate()
        self.popen.wait()
        self.directory.cleanup()
        self.output.close()

    def text(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode()

    def left_behind(self):
        """Its namespaces are named after its process."""
        spaces = [name for name in run("ip", "netns", "list").splitlines() if f"-{self.popen.pid}-" in name]
        return spaces + os.listdir(self.directory.name)


class Quickstart(unittest.TestCase):
    def test_demo(self):
        """ctflow9's lines and nfdump's show the same octets; all in less than 40 s."""
        begin = time.monotonic()
        with Demo() as demo:
            self.assertEqual(demo.popen.wait(60), 0, demo.text())
            self.assertLess(time.monotonic() - begin, 40)
            self.assertEqual(demo.left_behind(), [])
            ours, theirs = demo.text().split("# nfdump")
        printed = re.findall(r"^20.* (?:tcp|udp|icmp6?) .*$", ours, re.MULTILINE)
        self.assertGreaterEqual(len(printed), 8)
        octets = Counter(count for line in printed for count in re.findall(r" (\d+) B\b", line))
        collected = re.findall(r"^20.* (?:TCP|UDP|ICMP6?) .* (\d+)$", theirs, re.MULTILINE)
        self.assertEqual(Counter(collected), octets)
        for shown in "snat", "dnat", "icmp6", "[", "closed", "idle":
            self.assertIn(shown, ours)

    def test_demo_interrupted(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with self.subTest(signal=number.name), Demo() as demo:
                wait_until(lambda: "# ctflow9" in demo.text(), "the demo runs")
                demo.popen.send_signal(number)
                self.assertNotEqual(demo.popen.wait(30), 0)
                wait_until(lambda: demo.left_behind() == [], "nothing is left behind")

    def test_live(self):
        """Where nothing makes the kernel track, it adds a rule, and removes it at the end."""
        with Lab() as lab:
            lab.router.nft("flush ruleset")
            lab.router.sysctl({"net.netfilter.nf_conntrack_acct": 0})
            process = lab.start(lab.router, "quickstart", QUICKSTART)
            wait_until(lambda: lab.router.listeners() > 0, "ctflow9 listens")
            self.assertIn("inet ctflow9_quickstart", lab.router.run("nft", "list", "tables"))
            self.assertEqual(lab.router.run("sysctl", "-n", "net.netfilter.nf_conntrack_acct"), "1\n")
            traffic = Traffic(lab)
            traffic.udp(PLAIN, requests=1, answers=1)
            lab.flush()
            wait_until(lambda: "10.2.0.2:7000" in process.output(), "a line is printed")
            process.stop(signal.SIGINT)
            self.assertEqual(lab.router.run("nft", "list", "tables"), "")
            self.assertIn("totals: ", process.log())

    def test_live_where_rules_track(self):
        with Lab() as lab:
            process = lab.start(lab.router, "quickstart", QUICKSTART, "-c", "10.3.0.2")
            wait_until(lambda: lab.router.listeners() > 0, "ctflow9 listens")
            self.assertNotIn("ctflow9_quickstart", lab.router.run("nft", "list", "tables"))
            process.stop()
            self.assertIn("totals of 10.3.0.2:2055", process.log())

    def test_bad_arguments(self):
        with Lab() as lab:
            process = lab.start(lab.router, "quickstart", QUICKSTART, "--bogus")
            self.assertEqual(process.wait(), 2)
            self.assertRegex(process.log(), r"\Actflow9: .*\n\Z")


if __name__ == "__main__":
    unittest.main()
