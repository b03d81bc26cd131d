# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs in ctflow9-json(7), taken from the page, with real connections."""

import collections
import json
import os
import re
import unittest

from ctflow9 import Ctflow9
from lab import Lab, run, wait_until
from traffic import Traffic

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/ctflow9-json.7")
GO, RUST = "/usr/bin/go", "/usr/bin/rustc"


def example(section):
    """The program in a section of the page."""
    with open(PAGE) as page:
        text = re.search(rf"^\.Sh {section}\n.*?^\.Bd -literal\n(.*?)^\.Ed\n", page.read(), re.M | re.S).group(1)
    return text.replace("\\e", "\\")


def octets_of(flow):
    return flow["octets"] + flow["reply_octets"]


class Consumers(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())

    def write(self, section, name):
        path = f"{self.lab.directory}/{name}"
        with open(path, "w") as file:
            file.write(example(section))
        return path

    def consume(self, *command):
        """What the program says of connections of all kinds, and these as --json has them."""
        path = f"{self.lab.directory}/flows.sock"
        exporter = Ctflow9(self.lab, "--json", "--json-socket", path)
        consumer = self.lab.start(self.lab.client, "consumer", *command, path)
        wait_until(lambda: exporter.ask()["readers"] == 1, "it is let in")
        traffic = Traffic(self.lab)
        traffic.everything()
        self.lab.expire()
        exporter.wait_flows(traffic.connections)
        totals = exporter.finish()
        self.assertEqual(consumer.wait(), 0)
        flows = [json.loads(line) for line in exporter.output().splitlines()]
        self.assertGreaterEqual(len(flows), traffic.connections)
        self.assertEqual((totals["reader_lines"], totals["reader_lines_lost"]), (len(flows), 0))
        return [line.split() for line in consumer.output().splitlines()], flows

    def test_jq(self):
        lines, flows = self.consume("sh", self.write("JQ", "translated.sh"))
        expected = [[flow[key] for key in ("stop", "src_address", "reply_dst_address", "dst_address")]
                    for flow in flows if flow["translated"]]
        self.assertTrue(expected)
        self.assertEqual(lines, expected)

    def test_python(self):
        lines, flows = self.consume("python3", self.write("PYTHON", "talkers.py"))
        expected, got = collections.Counter(), collections.Counter()
        for flow in flows:
            expected[flow["src_address"]] += octets_of(flow)
        for count, host in filter(None, lines):  # of one time or several
            got[host] += int(count)
        self.assertEqual(got, expected)

    def test_go(self):
        program = f"{self.lab.directory}/ports"
        run("env", f"HOME={self.lab.directory}", "GOFLAGS=-mod=mod", "GOPROXY=off", GO, "build", "-o", program,
            self.write("GO", "ports.go"))
        lines, flows = self.consume(program)
        expected = collections.Counter()
        for flow in flows:
            expected[flow["protocol"], flow.get("dst_port", 0)] += octets_of(flow)
        self.assertEqual({(int(line[1]), int(line[3])): int(line[5]) for line in lines}, expected)

    def test_rust(self):
        program = f"{self.lab.directory}/totals"
        run(RUST, "--edition=2021", "-D", "warnings", "-o", program, self.write("RUST", "totals.rs"))
        lines, flows = self.consume(program)
        packets = sum(flow["packets"] + flow["reply_packets"] for flow in flows)
        self.assertEqual(lines, [["flows", str(len(flows)), "packets", str(packets), "octets",
                                  str(sum(map(octets_of, flows)))]])


if __name__ == "__main__":
    unittest.main()
