# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections in a flowtable, with and without counter. Not every kernel has flowtables: run it in one of
tests/kernels."""

import json
import os
import sys
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kernel"))

from ctflow9 import Ctflow9  # noqa: E402
from lab import Lab, wait_until  # noqa: E402
from test_long import Talk, do_not_time_out  # noqa: E402
from traffic import PLAIN  # noqa: E402

RULES = """
table inet flowtables {
    flowtable fast { hook ingress priority 0; devices = { client, server }; %s }
    chain forward {
        type filter hook forward priority filter + 1
        meta l4proto udp flow add @fast
    }
}
"""


class Way:
    """A connection through a router with a flowtable."""

    def __init__(self, lab, counter):
        self.lab = lab
        do_not_time_out(lab)
        lab.router.nft(RULES % counter)
        self.exporter = Ctflow9(lab, "--json", "--active-timeout", 5)
        self.talk = Talk(lab, [PLAIN])
        self.turns = 0

    def turn(self):
        self.talk.turn()
        self.turns += 1

    def end(self, test):
        """Returns how many packets were reported, and how many connections are told as not counted."""
        test.assertIn("[OFFLOAD]", self.lab.router.run("conntrack", "-L"))
        self.lab.flush()
        wait_until(lambda: self.exporter.ask()["events"] == 1, "it ends")
        counted = self.exporter.finish()
        lines = [json.loads(line) for line in self.exporter.output().splitlines()]
        return sum(line["packets"] + line["reply_packets"] for line in lines), counted["uncounted"]


class Flowtable(unittest.TestCase):
    def test_counter(self):
        """What a flowtable does not count cannot be reported, but it is said; what one counts is all reported."""
        with Lab() as first, Lab() as second:
            silent, counting = Way(first, ""), Way(second, "counter;")

            def is_noticed():
                silent.turn()
                counting.turn()
                return silent.exporter.ask()["uncounted"] > 0
            wait_until(is_noticed, "that packets are not counted is noticed", limit_s=120)
            silent.exporter.wait_log("add 'counter' to the flowtable")
            self.assertEqual(counting.end(self), (2 * counting.turns, 0))
            packets, uncounted = silent.end(self)
            self.assertLess(packets, silent.turns)
            self.assertEqual(uncounted, 1)


if __name__ == "__main__":
    unittest.main()
