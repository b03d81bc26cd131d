# SPDX-License-Identifier: GPL-2.0-or-later
"""The wall clock is set while connections live. It sets the machine's clock: run it in one of tests/kernels."""

import json
import os
import sys
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kernel"))

from ctflow9 import Ctflow9  # noqa: E402
from lab import Lab, wait_until  # noqa: E402
from netflow import Port  # noqa: E402
from test_long import ADDRESS, PACKETS, TARGETS, Talk, do_not_time_out  # noqa: E402

LAST_SWITCHED, FIRST_SWITCHED = 21, 22  # milliseconds of the exporter's uptime
HOUR_S = 3600
# Longer than any of these connections, shorter than any step.
LONG_S = 1800


def set_clock(seconds):
    time.clock_settime(time.CLOCK_REALTIME, seconds)


class Clock(unittest.TestCase):
    def setUp(self):
        right = time.time() - time.monotonic()
        self.addCleanup(lambda: set_clock(right + time.monotonic()))

    def check(self, lab, exporter, port, packets):
        """Each packet is reported once, and nothing lasts longer than it did."""
        counted = exporter.finish()
        self.assertEqual((counted["lost"], counted["gone"], counted["repeated"]), (0, 0, 0))
        wait_until(lambda: len(port.records()) >= counted["records"], "the records arrive")
        self.assertEqual(sum(record[PACKETS] for record in port.records()), packets)
        for record in port.records():
            self.assertLess((record[LAST_SWITCHED] - record[FIRST_SWITCHED]) % (1 << 32), LONG_S * 1000)
        lines = [json.loads(line) for line in exporter.output().splitlines()]
        self.assertEqual(sum(line["packets"] + line["reply_packets"] for line in lines), packets)
        for line in lines:
            self.assertLess(line["duration_ns"], LONG_S * 10**9, line)
            self.assertLessEqual(line["start"], line["stop"])

    def steps(self, before_s, after_s, end):
        """What lived before a step, and what begins after it, goes on being reported, up to the end."""
        with Lab() as lab:
            do_not_time_out(lab)
            set_clock(before_s)
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", 3, "--json")
            old = Talk(lab)
            turns = 0

            def talk(*talks):
                nonlocal turns
                for each in talks:
                    each.turn()
                    turns += 1

            def parts_come(*talks):
                reported = exporter.ask()["flows"]

                def reported_again():
                    talk(*talks)
                    return exporter.ask()["flows"] >= reported + 2 * len(talks) * len(TARGETS)
                wait_until(reported_again, "the active timeout goes on", limit_s=20)
            parts_come(old)
            set_clock(after_s)
            young = Talk(lab, traffic=old.traffic)
            parts_come(old, young)
            talk(old, young)
            end(lab)
            self.check(lab, exporter, port, 2 * len(TARGETS) * turns)

    def test_set_back(self):
        """By an hour; the last look misses nothing."""
        now_s = time.time()
        self.steps(now_s, now_s - HOUR_S, end=lambda lab: None)

    def test_set_back_and_ended(self):
        now_s = time.time()
        self.steps(now_s, now_s - HOUR_S, end=Lab.flush)

    def test_set_forward(self):
        """From 1970, as machines without a clock of their own begin."""
        self.steps(1000, time.time(), end=lambda lab: None)

    def test_set_forward_and_ended(self):
        self.steps(1000, time.time(), end=Lab.flush)


if __name__ == "__main__":
    unittest.main()
