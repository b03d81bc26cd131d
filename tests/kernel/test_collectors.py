# SPDX-License-Identifier: GPL-2.0-or-later
"""Collectors that come and go, are slow, or are reached in other ways; none is ever held up by another."""

import time
import unittest

from ctflow9 import Ctflow9
from lab import Lab, wait_until
from netflow import Port
from traffic import PLAIN, Traffic


class Collectors(unittest.TestCase):
    def one_flow(self, lab, traffic):
        """Two records."""
        traffic.udp(PLAIN, requests=1, answers=1)
        lab.flush()

    def test_closed_and_reopened(self):
        """Only what is sent while a port is closed is lost; then templates come anew, from the same port."""
        with Lab() as lab:
            traffic = Traffic(lab)
            steady, port = Port(lab.collector, 2056), Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2056", "-c", "10.3.0.2:2057", "--max-delay", "0.05")
            self.one_flow(lab, traffic)
            wait_until(lambda: len(port.records()) == 2, "records arrive before")
            sources = port.sources

            port.close()
            self.one_flow(lab, traffic)
            wait_until(lambda: len(steady.records()) == 4, "the other collector gets records meanwhile")

            # The first datagram may be used up by the news of the port that was closed; the next may not.
            port = Port(lab.collector, 2057)
            self.one_flow(lab, traffic)
            wait_until(lambda: len(port.records()) == 2, "records arrive again")
            self.assertEqual(port.sources, sources)
            wait_until(lambda: len(steady.records()) == 6, "the other collector gets all")
            self.assertEqual(steady.sequence_gap(), 0)
            exporter.finish()
            self.assertEqual(len(port.records()), 2)
            totals = exporter.totals("10.3.0.2:2057")
            self.assertGreaterEqual(totals["unreachable"], 1)
            self.assertEqual(exporter.totals("10.3.0.2:2056")["unreachable"], 0)

    def test_source_address(self):
        with Lab() as lab:
            for address in "10.3.0.77/24", "fd03::77/64":
                lab.router.ip("address", "add", address, "dev", "collector")
            for source, destination, collector in (("10.3.0.77", "10.3.0.2", "10.3.0.2:2057"),
                                                   ("fd03::77", "fd03::2", "[fd03::2]:2057")):
                port = Port(lab.collector, 2057, destination)
                exporter = Ctflow9(lab, "-c", collector, "--source-address", source)
                lab.make_flows(100)
                lab.flush()
                wait_until(lambda: len(port.records()) == 100, "100 records arrive")
                self.assertEqual({address for address, _ in port.sources}, {source})
                exporter.finish()
                port.close()

    def test_link_local(self):
        with Lab() as lab:
            addresses = lab.collector.ip("-6", "-o", "address", "show", "dev", "router", "scope", "link")
            address = addresses.split()[3].split("/")[0]
            port = Port(lab.collector, 2057, "::")
            exporter = Ctflow9(lab, "-c", f"[{address}%collector]:2057")
            lab.make_flows(100)
            lab.flush()
            wait_until(lambda: len(port.records()) == 100, "100 records arrive")
            exporter.finish()

    def test_small_mtu(self):
        """Segmentation offload refuses what does not fit; plain datagrams are fragmented."""
        count = 10000
        with Lab() as lab:
            lab.router.ip("link", "set", "collector", "mtu", "1280")
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057")
            lab.make_flows(count)
            lab.flush()
            wait_until(lambda: len(port.records()) == count, "all records arrive")
            self.assertEqual(port.sequence_gap(), 0)
            exporter.finish()
            self.assertEqual(exporter.totals("10.3.0.2:2057")["records_dropped"], 0)

    def test_source_id_and_datagram_size(self):
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "-i", "4711", "--max-datagram", "600",
                               "--template-datagrams", "5")
            lab.make_flows(1000)
            lab.flush()
            wait_until(lambda: len(port.records()) == 1000, "1000 records arrive")
            self.assertEqual({datagram.source_id for datagram in port.datagrams}, {4711})
            self.assertLessEqual(max(len(datagram.octets) for datagram in port.datagrams), 600)
            since_templates = 0
            for datagram in port.datagrams:
                since_templates = 0 if datagram.templates else since_templates + 1
                self.assertLessEqual(since_templates, 5)
            exporter.finish()

    def test_templates_when_idle(self):
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--template-refresh", "1")
            wait_until(lambda: sum(256 in datagram.templates for datagram in port.read()) >= 3,
                       "templates come three times")
            exporter.finish()

    def test_max_rate(self):
        """Paced, and nothing is lost when the queue is large enough."""
        # The flush may end, and what it flushed be sent, before this process runs again.
        count, rate, slack_s = 6000, 2000, 0.5
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--max-rate", rate, "--queue", count)
            lab.make_flows(count)
            lab.flush()
            begin = time.monotonic()
            while len(port.records()) < count:
                arrived = len(port.records())
                elapsed_s = time.monotonic() - begin
                self.assertLessEqual(arrived, rate * (elapsed_s + slack_s))
                self.assertLess(elapsed_s, 30)
                time.sleep(0.02)
            self.assertEqual(port.sequence_gap(), 0)
            exporter.finish()
            self.assertEqual(exporter.totals("10.3.0.2:2057")["records_dropped"], 0)

    def test_full_queue(self):
        """A collector that cannot keep up loses its oldest records: counted, and seen as a gap."""
        name = "10.3.0.2:2057"
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", name, "--max-rate", 20000, "--queue", 2000, "--max-delay", "0.05")
            # The last flow comes through whatever was lost before it: no gap is after the last datagram.
            total = 0
            for count in 20000, 1:
                lab.make_flows(count)
                lab.flush()
                total += count

                def settled():
                    totals = exporter.ask(name)
                    return totals["records"] + totals["records_dropped"] == total
                wait_until(settled, "all records are sent or dropped")
            totals = exporter.totals(name)
            self.assertGreater(totals["records_dropped"], 0)
            wait_until(lambda: len(port.records()) == totals["records"], "what was sent arrives")
            self.assertEqual(port.sequence_gap(), totals["datagrams_dropped"])
            exporter.finish()


if __name__ == "__main__":
    unittest.main()
