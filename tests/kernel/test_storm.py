# SPDX-License-Identifier: GPL-2.0-or-later
"""200,000 connections flushed at once: every one becomes a record, exactly once."""

import json
import signal
import unittest

from ctflow9 import Ctflow9
from lab import PROGRAMS, SLOW, Lab, packets_on_their_way, wait_until

COUNT = 200000 // SLOW


class Storm(unittest.TestCase):
    def storm(self, *options, stopped=False):
        with Lab() as lab:
            sink = lab.start(lab.collector, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.2", "--unique")
            sink.wait_log("listening")
            exporter = Ctflow9(lab, "-c", "10.3.0.2", *options)
            lab.make_flows(COUNT)
            if stopped:
                exporter.send(signal.SIGSTOP)
            lab.flush()
            exporter.send(signal.SIGCONT)
            exporter.wait_flows(COUNT, limit_s=120)
            totals = exporter.finish()
            sent = exporter.totals("10.3.0.2:2055")
            self.assertEqual((totals["events"], totals["flows"], totals["records"]), (COUNT, COUNT, COUNT))
            self.assertEqual((totals["lost"], totals["malformed"], totals["truncated"]), (0, 0, 0))
            self.assertEqual((sent["records"], sent["records_dropped"]), (COUNT, 0))

            # What has come to its socket the sink takes before it ends.
            wait_until(lambda: packets_on_their_way() == 0, "everything comes to the sink's socket")
            self.assertEqual(sink.stop(), 0)
            counted = json.loads(sink.output())
            nothing = ("dropped", "unknown_sets", "malformed", "wrong_counts", "sequence_gaps", "duplicates")
            self.assertEqual({name: counted[name] for name in nothing}, dict.fromkeys(nothing, 0))
            self.assertEqual((counted["records"], counted["unique"]), (COUNT, COUNT))
            return totals

    def test_default(self):
        self.storm()

    def test_workers(self):
        self.storm("--workers", 4)

    def test_small_receive_buffer(self):
        """What does not fit is deferred by the kernel, not lost, whether it reads too slowly or not at all."""
        self.storm("--rcvbuf", "256K")

    def test_stopped(self):
        totals = self.storm("--rcvbuf", "256K", stopped=True)
        self.assertGreater(totals["deferred"], 0)

    def test_end(self):
        """At the end, too, what the kernel has deferred is waited for: it would throw it away."""
        for options in ("--active-timeout", 0), ("--active-timeout", 60), ("--workers", 2):
            with self.subTest(options=options), Lab() as lab:
                exporter = Ctflow9(lab, "--rcvbuf", "64K", *options)
                lab.make_flows(5000)
                lab.flush()
                totals = exporter.finish()
                self.assertGreater(totals["deferred"], 0)
                self.assertEqual((totals["flows"], totals["lost"]), (5000, 0))

    def test_unreliable(self):
        """Then it is lost, and counted."""
        with Lab() as lab:
            exporter = Ctflow9(lab, "--no-reliable", "--rcvbuf", "64K")
            lab.make_flows(COUNT)
            lab.flush()
            totals = exporter.finish()
            self.assertGreater(totals["lost"], 0)
            self.assertEqual(totals["flows"] + totals["lost"], COUNT)


if __name__ == "__main__":
    unittest.main()
