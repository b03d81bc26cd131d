# SPDX-License-Identifier: GPL-2.0-or-later
"""200,000 connections flushed at once, where the kernel holds as many: every one becomes a record, exactly once."""

import json
import signal
import subprocess
import time
import unittest

from ctflow9 import Ctflow9
from lab import PROGRAMS, Lab, many, packets_on_their_way, stopped_thread, wait_until

COUNT = 200000


class Storm(unittest.TestCase):
    def storm(self, *options, stopped=False):
        with Lab() as lab:
            count = many(COUNT)
            sink = lab.start(lab.collector, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.2", "--unique")
            sink.wait_log("listening")
            exporter = Ctflow9(lab, "-c", "10.3.0.2", *options)
            lab.make_flows(count)
            if stopped:
                exporter.send(signal.SIGSTOP)
            lab.flush()
            exporter.send(signal.SIGCONT)
            exporter.wait_flows(count, limit_s=120)
            totals = exporter.finish()
            sent = exporter.totals("10.3.0.2:2055")
            self.assertEqual((totals["events"], totals["flows"], totals["records"]), (count, count, count))
            self.assertEqual((totals["lost"], totals["malformed"], totals["truncated"]), (0, 0, 0))
            self.assertEqual((sent["records"], sent["records_dropped"]), (count, 0))

            # What has come to its socket the sink takes before it ends.
            wait_until(lambda: packets_on_their_way() == 0, "everything comes to the sink's socket")
            self.assertEqual(sink.stop(), 0)
            counted = json.loads(sink.output())
            nothing = ("dropped", "unknown_sets", "malformed", "wrong_counts", "sequence_gaps", "duplicates")
            self.assertEqual({name: counted[name] for name in nothing}, dict.fromkeys(nothing, 0))
            self.assertEqual((counted["records"], counted["unique"]), (count, count))
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
                # It would read beside the flush.
                exporter.send(signal.SIGSTOP)
                lab.flush()
                exporter.send(signal.SIGCONT)
                totals = exporter.finish()
                self.assertGreater(totals["deferred"], 0)
                self.assertEqual((totals["flows"], totals["lost"]), (5000, 0))

    def flush_soon(self, lab):
        """A process that flushes the table at once when it is sent a line."""
        return subprocess.Popen(lab.router.command("sh", "-c", "read go; exec conntrack -F"),
                                stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def test_deferred_while_it_ends(self):
        """Connections end while the table is looked through for the last time."""
        for options in (), ("--workers", 2):
            with self.subTest(options=options), Lab() as lab:
                lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
                exporter = Ctflow9(lab, "--json", "--rcvbuf", "1M", *options)
                count = many(COUNT)
                lab.make_flows(count)
                with self.flush_soon(lab) as flush:
                    exporter.send(signal.SIGTERM)
                    flush.communicate(b"go\n")
                # Another signal, more than a second later, would cut the end short.
                self.assertEqual(exporter.wait(60), 0)
                totals = exporter.totals()
                self.assertEqual((totals["flows"], totals["lost"]), (count, 0))
                self.assertEqual(exporter.output().count("\n"), count)

    def test_deferred_while_the_look_is_cut_short(self):
        """A look that takes too long is ended, and what does not fit until it has ended is awaited."""
        with Lab() as lab:
            lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
            exporter = Ctflow9(lab, "--rcvbuf", "64K")
            lab.make_flows(5000)
            with stopped_thread(exporter.dump_thread()):
                exporter.send(signal.SIGTERM)
                exporter.wait_log("cut short")
                lab.flush()
            self.assertEqual(exporter.wait(60), 0)
            totals = exporter.totals()
            self.assertGreater(totals["deferred"], 0)
            self.assertEqual((totals["flows"], totals["left_behind"]), (5000, 0))

    def test_left_behind(self):
        """What there was no time for is counted, and said. A busy machine may have time for what a quick one has not,
        for the signals come late there: then there are more."""
        with Lab() as lab:
            lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
            for count in 20000, 50000, 100000, 200000:
                exporter = Ctflow9(lab, "--rcvbuf", "4K", "--active-timeout", 0)
                lab.make_flows(count)
                lab.flush()
                exporter.send(signal.SIGTERM)
                time.sleep(1.1)  # a signal that comes sooner is taken for the first
                totals = exporter.finish()
                if totals["left_behind"] > 0:
                    break
            self.assertGreater(totals["left_behind"], 0)
            self.assertLess(totals["flows"], count)
            told = totals["flows"] + totals["left_behind"]
            self.assertLess(told, count * 1.1)
            if "at least" not in exporter.log():  # the kernel's list was read to its end
                self.assertGreater(told, count * 0.9)
            self.assertRegex(exporter.log(), rf"warning: the end came .* {totals['left_behind']} ended")

    def test_one_wish_to_end(self):
        """A terminal's signal and a script's, or any number of them at once, cut nothing short."""
        with Lab() as lab:
            lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
            exporter = Ctflow9(lab)
            count = many(20000)
            lab.make_flows(count)
            for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM:
                exporter.send(number)
            totals = exporter.finish()
            self.assertEqual(totals["flows"], count)
            self.assertNotIn("warning", exporter.log())

    def test_pace_of_workers(self):
        """One worker exports for all, but not for ever, and goes by the clock: what is slower than the pace is not
        dropped, and the totals are told meanwhile."""
        with Lab() as lab:
            lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
            sink = lab.start(lab.collector, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.2")
            sink.wait_log("listening")
            exporter = Ctflow9(lab, "-c", "10.3.0.2", "--json", "--workers", 2, "--max-rate", 1000000,
                               "--queue", 16384)
            count = many(COUNT)
            lab.make_flows(count)
            with self.flush_soon(lab) as flush:
                flush.communicate(b"go\n")
            exporter.ask()
            exporter.wait_flows(count)
            exporter.finish()
            sent = exporter.totals("10.3.0.2:2055")
            self.assertEqual((sent["records"], sent["records_dropped"]), (count, 0))

    def test_unreliable(self):
        """Then it is lost, and counted."""
        with Lab() as lab:
            count = many(COUNT)
            exporter = Ctflow9(lab, "--no-reliable", "--rcvbuf", "64K")
            lab.make_flows(count)
            lab.flush()
            totals = exporter.finish()
            self.assertGreater(totals["lost"], 0)
            self.assertEqual(totals["flows"] + totals["lost"], count)


if __name__ == "__main__":
    unittest.main()
