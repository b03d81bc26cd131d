# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGHUP: the configuration is read again while it runs. Nothing is lost by that, and nothing comes twice."""

import json
import os
import pty
import signal
import socket
import threading
import unittest

from ctflow9 import Ctflow9
from lab import PROGRAMS, Lab, many, packets_on_their_way, wait_until
from netflow import Port
from traffic import PLAIN, Traffic

PACKETS, TOS = 2, 5
STAYS, COMES, GOES = "10.3.0.2:2055", "10.3.0.2:2056", "10.3.0.2:2057"
DONE = ("was read again", "is refused", "cannot be")


class Configured(Ctflow9):
    """With a configuration file that a test writes."""

    def __init__(self, lab, options, *flags, within=()):
        self.path = os.path.join(lab.directory, "ctflow9.json")
        self.write(options)
        super().__init__(lab, "--config", "ctflow9.json", *flags, within=(*within, *lab.in_folder()))

    def write(self, options):
        with open(f"{self.path}.new", "w") as file:
            file.write(options if isinstance(options, str) else json.dumps(options, indent=1))
        os.chmod(file.name, 0o644)
        os.rename(f"{self.path}.new", self.path)

    def reloads(self):
        return sum(self.log().count(words) for words in DONE)

    def reload(self, options=None):
        """Returns what it said to it."""
        if options is not None:
            self.write(options)
        said, before = len(self.log()), self.reloads()
        self.send(signal.SIGHUP)
        wait_until(lambda: self.reloads() > before, "it reads its configuration again")
        return self.log()[said:]


class Reload(unittest.TestCase):
    def storm(self, *flags):
        """A hundred reloads: a collector that stays gets every flow once, others come and go beside it."""
        with Lab() as lab:
            count = many(100000)
            sink = lab.start(lab.collector, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.2", "--unique")
            sink.wait_log("listening")
            others = [Port(lab.collector, port) for port in (2056, 2057)]
            exporter = Configured(lab, {"collector": [STAYS]}, *flags)
            lab.make_flows(count)
            flush = threading.Thread(target=lab.flush)
            flush.start()
            for turn in range(100):
                present = [STAYS] + [name for bit, name in enumerate((COMES, GOES)) if turn >> bit & 1]
                said = exporter.reload({"collector": present, "max-delay": 0.1 + turn % 3 / 10,
                                        "fields": [["mark"], ["zone", "times"], []][turn // 2 % 3],
                                        "template-refresh": 60 + turn % 5})
                self.assertIn("changed is ", said)
            exporter.reload({"collector": [STAYS]})
            flush.join()
            exporter.wait_flows(count, limit_s=120)
            totals = exporter.finish()
            sent = exporter.totals(STAYS)
            self.assertEqual((totals["events"], totals["flows"], totals["records"]), (count, count, count))
            self.assertEqual((totals["lost"], totals["malformed"]), (0, 0))
            self.assertEqual((sent["records"], sent["records_dropped"], sent["reconnects"]), (count, 0, 0))

            wait_until(lambda: packets_on_their_way() == 0, "everything comes to the sink's socket")
            self.assertEqual(sink.stop(), 0)
            counted = json.loads(sink.output())
            nothing = ("dropped", "unknown_sets", "malformed", "wrong_counts", "sequence_gaps", "duplicates")
            self.assertEqual({name: counted[name] for name in nothing}, dict.fromkeys(nothing, 0))
            self.assertEqual((counted["records"], counted["unique"], counted["exporters"]), (count, count, 1))
            for port, name in zip(others, (COMES, GOES)):

                # Port checks that each time templates come before data.
                self.assertEqual(len(port.records()), sum(
                    int(said.split("records ")[1].split(",")[0]) for said in exporter.said(name)))

    def test_storm(self):
        self.storm()

    def test_storm_workers(self):
        self.storm("--workers", 3)

    def test_aggregates(self):
        """What was merged until then is sent as it was to be."""
        with Lab() as lab:
            port, gone = Port(lab.collector, 2055), Port(lab.collector, 2056)
            exporter = Configured(lab, {"collector": [STAYS, COMES], "aggregate": ["proto"], "aggregate-interval": 3600})
            total = 0
            for options in ({"collector": [STAYS, COMES], "aggregate": ["src", "dport"], "aggregate-interval": 3600},
                            {"collector": [STAYS]}):
                lab.make_flows(1000)
                lab.flush()
                total += 1000
                exporter.wait_flows(total)
                exporter.reload(options)
            lab.make_flows(10)
            lab.flush()
            wait_until(lambda: sum(record[2] for record in port.records()) == 2010, "all packets are reported")
            self.assertEqual(port.sequence_gap(), 0)
            # Up to its removal.
            self.assertEqual(sum(record[2] for record in gone.records()), 2000)
            exporter.finish()

    def test_packets(self):
        """Flows of packets that are held while fields change: every packet is reported, in records of their own kind."""
        options = {"collector": STAYS, "inactive-timeout": 1, "max-delay": 0}
        with Lab() as lab:
            port = Port(lab.collector, 2055)
            lab.router.nft("table inet logged { chain logged { type filter hook prerouting priority -450\n"
                           "ip daddr 10.2.0.2 udp dport 7000 log group 7\n}\n}")
            exporter = Configured(lab, options, "--no-conntrack", "--nflog", 7)
            total = 0
            for fields in ["mac"], ["mac", "vlan", "times"], ["times"], []:
                sender = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for _ in range(10):
                    sender.sendto(b"packet", ("10.2.0.2", 7000))
                total += 10
                wait_until(lambda: exporter.ask()["packets"] == total, "the packets are read")
                self.assertIn("changed is --fields\n", exporter.reload({**options, "fields": fields}))
            wait_until(lambda: sum(record[PACKETS] for record in port.records()) == total, "all packets are reported")
            self.assertEqual(port.sequence_gap(), 0)
            self.assertTrue(all(TOS in record for record in port.records()))
            exporter.finish()

    def test_timeouts(self):
        """They hold for what there is already: connections and flows of packets that were to be reported in an hour."""
        options = {"collector": STAYS, "active-timeout": 3600, "inactive-timeout": 3600, "max-delay": 0}
        with Lab() as lab:
            port = Port(lab.collector, 2055)
            lab.router.nft("table inet logged { chain logged { type filter hook prerouting priority -450\n"
                           "ip daddr 10.2.0.2 udp dport 7000 log group 7\n}\n}")
            exporter = Configured(lab, options, "--nflog", 7, "--workers", 2)

            def sum_of(is_packets):
                return sum(record[PACKETS] for record in port.records() if (TOS in record) == is_packets)

            receiver = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind(("10.2.0.2", 7000))
            sender = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.connect(("10.2.0.2", 7000))
            for _ in range(10):
                sender.send(b"packet")
            wait_until(lambda: exporter.ask()["packets"] == 10, "the packets are read")
            wait_until(lambda: exporter.ask()["looks"] > 0, "it has looked at the table")
            self.assertEqual(port.records(), [])
            options.update({"active-timeout": 1, "inactive-timeout": 1})
            self.assertIn("changed is --active-timeout, --inactive-timeout\n", exporter.reload(options))
            wait_until(lambda: sum_of(False) == 10, "the connection is reported")
            wait_until(lambda: sum_of(True) == 10, "the flow of packets is reported")

            options["active-timeout"] = 3600
            self.assertIn("changed is --active-timeout\n", exporter.reload(options))
            for _ in range(5):
                sender.send(b"packet")
            lab.flush()
            wait_until(lambda: sum_of(False) == 15, "the rest is reported at the end, and nothing twice")
            options["active-timeout"] = 0
            self.assertIn("--active-timeout takes a restart to change: 3600 goes on, not 0", exporter.reload(options))
            exporter.finish()
            self.assertEqual((sum_of(False), sum_of(True)), (15, 15))

    def test_collectors_beside_lines(self):
        """None at first: flows are printed, and go on being."""
        with Lab() as lab:
            traffic = Traffic(lab)
            port = Port(lab.collector, 2055)
            exporter = Configured(lab, {})
            for options in {"collector": STAYS, "max-delay": 0}, {}:
                self.assertIn("changed is --collector", exporter.reload(options))
                traffic.udp(PLAIN, requests=1, answers=1)
                lab.flush()
            wait_until(lambda: exporter.output().count("\n") == 2, "both are printed")
            self.assertEqual(len(port.records()), 2)
            exporter.finish()

    def test_refused(self):
        """A broken file, or one that leaves nobody to export to: its line is told, the old one goes on."""
        with Lab() as lab:
            port = Port(lab.collector, 2055)
            exporter = Configured(lab, {"collector": STAYS, "max-delay": 0})
            for broken, why in ((f'{{\n "collector": "{STAYS}",\n "queue": 0\n}}', "ctflow9.json:3: queue: "),
                                ("{", "ctflow9.json:1:"), ({"colector": STAYS}, "did you mean collector?"),
                                ({}, "give a collector")):
                said = exporter.reload(broken)
                self.assertIn("is refused, the old one goes on: ", said)
                self.assertIn(why, said)
            os.remove(exporter.path)
            self.assertIn("No such file", exporter.reload())
            lab.make_flows(100)
            lab.flush()
            wait_until(lambda: len(port.records()) == 100, "100 records arrive")
            self.assertIn("nothing has changed", exporter.reload({"collector": STAYS, "max-delay": 0}))
            exporter.finish()

    def test_restart_needed(self):
        """What cannot change is named and kept, what can changes; the command line wins again."""
        with Lab() as lab:
            port = Port(lab.collector, 2055)
            exporter = Configured(lab, {"collector": STAYS, "max-delay": 3600}, "--source-id", 7)
            said = exporter.reload({"collector": STAYS, "max-delay": 0, "queue": 1000, "workers": "auto", "source-id": 9})
            self.assertIn("--queue takes a restart to change: 65536 goes on, not 1000", said)
            self.assertIn('--workers takes a restart to change: 1 goes on, not "auto"', said)
            self.assertNotIn("source-id", said)
            self.assertIn("changed is --max-delay\n", said)
            lab.make_flows(1)
            lab.flush()
            wait_until(lambda: len(port.records()) == 1, "the record does not wait")
            self.assertEqual({datagram.source_id for datagram in port.datagrams}, {7})
            exporter.finish()

    def test_removed_collector_is_dead(self):
        """One that takes nothing is waited for two seconds; another reload and the reading go on meanwhile."""
        with Lab() as lab:
            port = Port(lab.collector, 2055)
            dead = "no-such-host.invalid:2055"
            exporter = Configured(lab, {"collector": [STAYS, dead], "max-delay": 0})
            lab.make_flows(1000)
            lab.flush()
            exporter.wait_flows(1000)
            exporter.reload({"collector": [STAYS], "max-delay": 0})
            exporter.wait_log(f"collector {dead}: removed")
            totals = exporter.totals(dead)
            self.assertEqual((totals["records"], totals["records_dropped"]), (0, 1000))
            lab.make_flows(1000)
            lab.flush()
            wait_until(lambda: len(port.records()) == 2000, "the other one gets all")
            exporter.finish()

    def test_terminal_closed(self):
        """Then the signal tells that, and it ends with a report, whatever file there is."""
        with Lab() as lab:
            master, slave = pty.openpty()
            run_on = ("sh", "-c", 'exec setsid --ctty "$@" <"$0"', os.ttyname(slave))
            exporter = Configured(lab, {}, within=run_on)
            os.close(slave)
            Traffic(lab).udp(PLAIN, requests=1, answers=1)
            self.assertIn("nothing has changed", exporter.reload())
            os.close(master)
            self.assertEqual(exporter.wait(), 0)
            self.assertEqual(exporter.totals()["flows"], 1)


if __name__ == "__main__":
    unittest.main()
