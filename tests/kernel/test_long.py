# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that last: reported in parts that add up to what the kernel counted."""

import ipaddress
import json
import os
import signal
import socket
import time
import unittest
from collections import Counter, defaultdict

from ctflow9 import Ctflow9
from lab import Lab, many, wait_until
from netflow import Port
from traffic import PLAIN, PLAIN_V6, TARGETS, Traffic
from truth import Truth

OCTETS, PACKETS, PROTOCOL, END_REASON, START_MS, STOP_MS = 1, 2, 4, 136, 152, 153
SOURCE = {4: 8, 6: 27}
DESTINATION = {4: 12, 6: 28}
SOURCE_PORT, DESTINATION_PORT, IP_VERSION = 7, 11, 60
ACTIVE_TIMEOUT, FORCED = 2, 4
ADDRESS = "10.3.0.2:2057"
# Whether the kernel's events tell the state of TCP and the time that was left.
TELLS_ENDS = tuple(map(int, os.uname().release.split(".")[:2])) >= (5, 12)


def direction(record):
    """What tells the directions of all connections apart; as the truth's records begin."""
    version = record[IP_VERSION]
    address = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return (record[PROTOCOL], str(address(record[SOURCE[version]])), record[SOURCE_PORT],
            str(address(record[DESTINATION[version]])), record[DESTINATION_PORT])


def parts_of(port):
    parts = defaultdict(list)
    for record in port.records():
        parts[direction(record)].append(record)
    return parts


def totals(records):
    return sum(record[PACKETS] for record in records), sum(record[OCTETS] for record in records)


def do_not_time_out(lab):
    """The lab's 2 s are too short for connections that are to last however slow the machine is."""
    lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 60,
                       "net.netfilter.nf_conntrack_udp_timeout_stream": 60})


class Talk:
    """UDP connections that go on: each turn carries something both ways."""

    def __init__(self, lab, targets=TARGETS, traffic=None):
        self.traffic = traffic or Traffic(lab)
        self.connections = []
        for target in targets:
            client = self.traffic.open(lab.client, socket.SOCK_DGRAM, connect_to=(target.address, target.port))
            self.connections.append((client, self.traffic.ports[target.server]))

    def turn(self, octets=100):
        for client, server in self.connections:
            client.send(bytes(octets))
            _, source = server.recvfrom(65536)
            server.sendto(bytes(3 * octets), source)
            client.recv(65536)

    def last(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()
            time.sleep(0.05)


class Long(unittest.TestCase):
    def check(self, lab, port, flows, least_parts):
        """Sums are the final counters, spans follow each other, the last one has the reason of the end."""
        expected = {record[:5]: record for flow in flows for record in flow.records()}

        def arrived():
            parts = parts_of(port)
            return all(totals(parts[key])[0] >= record.packets for key, record in expected.items())
        wait_until(arrived, "all that the kernel counted is reported")
        parts = parts_of(port)
        self.assertEqual(set(parts), set(expected))
        for key, record in expected.items():
            with self.subTest(direction=key):
                spans = sorted(parts[key], key=lambda part: part[START_MS])
                self.assertEqual(totals(spans), (record.packets, record.octets))
                self.assertGreaterEqual(len(spans), least_parts)
                self.assertEqual(spans[0][START_MS], record.first_ms)
                self.assertLessEqual(spans[-1][STOP_MS], record.last_ms)
                for before, after in zip(spans, spans[1:]):
                    self.assertGreaterEqual(after[START_MS], before[STOP_MS])
                    self.assertEqual(before[END_REASON], ACTIVE_TIMEOUT)
                # When the last part was just before the end, there is nothing left for the end to report.
                self.assertIn(spans[-1][END_REASON], (FORCED, ACTIVE_TIMEOUT))
                if spans[-1][END_REASON] == FORCED:
                    self.assertEqual(spans[-1][STOP_MS], record.last_ms)

    def parts_add_up(self, *options):
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "1", "--fields", "times", *options)
            truth = Truth(lab)
            talk = Talk(lab)
            talk.last(5)
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            counted = exporter.finish()
            self.assertEqual((counted["repeated"], counted["gone"], counted["table_full"]), (0, 0, 0))
            self.check(lab, port, flows, least_parts=3)

    def test_parts_add_up(self):
        self.parts_add_up()

    def test_parts_add_up_with_workers(self):
        self.parts_add_up("--workers", "3")

    def test_switched_off(self):
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "0", "--fields", "times")
            truth = Truth(lab)
            Talk(lab).last(2)
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            exporter.finish()
            self.check(lab, port, flows, least_parts=1)
            self.assertEqual(len(port.records()), 2 * len(TARGETS))

    def test_full_table(self):
        """What finds no place is reported at its end, with everything."""
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "1", "--fields", "times",
                               "--table-size", "2")
            truth = Truth(lab)
            Talk(lab).last(4)
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            self.assertGreater(exporter.finish()["table_full"], 0)
            self.assertIn("raise --table-size", exporter.log())
            self.check(lab, port, flows, least_parts=1)
            self.assertGreater(len(port.records()), 2 * len(TARGETS))

    def test_restart_counts_nothing_twice(self):
        """What connections carried before the start is taken as reported; their first record begins then."""
        with Lab() as lab:
            truth = Truth(lab)
            talk = Talk(lab)
            talk.last(1)
            port = Port(lab.collector, 2057)
            begin_ms = int(time.time() * 1000)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "1", "--fields", "times")
            wait_until(lambda: exporter.ask()["adopted"] == len(TARGETS), "connections are adopted")
            for _ in range(7):
                talk.turn(1000)
            lab.flush()
            truth.wait_flows(len(TARGETS))
            exporter.finish()
            wait_until(lambda: totals(port.records())[0] >= 14 * len(TARGETS), "all arrives")
            parts = parts_of(port)
            self.assertEqual({totals(spans)[0] for spans in parts.values()}, {7})
            self.assertTrue(all(record[START_MS] >= begin_ms for record in port.records()))

    def test_restart_finds_what_timed_out(self):
        """What timed out while nobody listened is found by the next look at the table: it was reported before."""
        for _ in range(10):
            with Lab() as lab:
                port = Port(lab.collector, 2057)
                exporter = Ctflow9(lab, "-c", ADDRESS)
                Talk(lab).turn()
                exporter.finish()
                time.sleep(2.5)  # the router's time-out is 2 s
                exporter = Ctflow9(lab, "-c", ADDRESS)
                wait_until(lambda: int(lab.router.run("sysctl", "-n", "net.netfilter.nf_conntrack_count")) == 0,
                           "the kernel finds them")
                counted = exporter.finish()
                # Before 5.12 the event does not tell that they timed out: they may be kept ones, as far as is known.
                again = 0 if TELLS_ENDS else counted["events"]
                self.assertEqual(counted["adopted"], counted["events"] - again)
                wait_until(lambda: len(port.records()) >= 2 * (len(TARGETS) + again), "the records arrive")
                self.assertEqual(Counter(totals(spans)[0] for spans in parts_of(port).values()),
                                 Counter({1: 2 * (len(TARGETS) - again), 2: 2 * again}))
            if counted["events"] > 0:  # else the kernel had found them in between
                return
        self.fail("the kernel was always faster")

    def test_adopt_full(self):
        with Lab() as lab:
            truth = Truth(lab)
            talk = Talk(lab)
            talk.turn()
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "1", "--fields", "times",
                               "--adopt", "full")
            talk.last(2)
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            exporter.finish()
            self.check(lab, port, flows, least_parts=2)

    def test_the_end_tells_all(self):
        """A last look shows what connections have carried until now, old ones and young ones."""
        for workers in "1", "3":
            with self.subTest(workers=workers), Lab() as lab:
                do_not_time_out(lab)
                old = Talk(lab)
                old.turn()
                port = Port(lab.collector, 2057)
                exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "3600", "--adopt", "full",
                                   "--workers", workers)
                wait_until(lambda: exporter.ask()["adopted"] == len(TARGETS), "connections are adopted")
                young = Talk(lab, traffic=old.traffic)
                for _ in range(4):
                    old.turn()
                    young.turn()
                self.assertEqual(exporter.finish()["records"], 4 * len(TARGETS))
                wait_until(lambda: len(port.records()) == 4 * len(TARGETS), "the records arrive")
                packets = sorted(totals(spans)[0] for spans in parts_of(port).values())
                self.assertEqual(packets, 2 * len(TARGETS) * [4] + 2 * len(TARGETS) * [5])
                self.assertEqual({record[END_REASON] for record in port.records()}, {ACTIVE_TIMEOUT})

    def test_restart_loses_nothing(self):
        """What two of them report, one after the other, is what the kernel counted."""
        with Lab() as lab:
            do_not_time_out(lab)
            port = Port(lab.collector, 2057)

            def start():
                return Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "2", "--fields", "times")
            exporter = start()
            truth = Truth(lab)
            talk = Talk(lab)
            talk.turn()
            for _ in range(3):
                exporter.finish()
                exporter = start()
                wait_until(lambda: exporter.ask()["adopted"] == len(TARGETS), "connections are adopted")
                talk.turn()
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            exporter.finish()
            self.check(lab, port, flows, least_parts=4)

    def test_full_table_and_restart(self):
        """Neither the last look nor the next start needs a place that --table-size does not give."""
        with Lab() as lab:
            do_not_time_out(lab)
            port = Port(lab.collector, 2057)

            def start():
                return Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "2", "--fields", "times",
                               "--table-size", "2")
            exporter = start()
            truth = Truth(lab)
            talk = Talk(lab)
            for _ in range(3):
                talk.turn()
                exporter.finish()
                exporter = start()

                def are_seen():
                    counted = exporter.ask()
                    return counted["adopted"] + counted["table_full"] >= len(TARGETS)
                wait_until(are_seen, "a look has shown the connections")
            talk.turn()
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            exporter.finish()
            self.check(lab, port, flows, least_parts=4)

    def test_sums_do_not_depend_on_the_table(self):
        """Each packet since the first start is reported once, whatever found a place."""
        older, count = 90, 300
        with Lab() as lab:
            do_not_time_out(lab)
            lab.make_flows(older)
            packets = Counter()
            for _ in range(2):
                exporter = Ctflow9(lab, "--json", "--table-size", "100")
                wait_until(lambda: sum(exporter.ask()[name] for name in ("adopted", "table_full")) >= older,
                           "those that are older are adopted")
                lab.make_flows(count)  # the older ones get another packet
                if older == count:
                    lab.flush()
                exporter.finish()
                for flow in map(json.loads, exporter.output().splitlines()):
                    packets[flow["src_port"], flow["dst_address"]] += flow["packets"]
                older = count
            self.assertEqual(Counter(packets.values()), {2: count})

    def test_counters_set_to_0(self):
        """What another program takes away cannot be reported, but it is said."""
        with Lab() as lab:
            do_not_time_out(lab)
            exporter = Ctflow9(lab, "--print", "--active-timeout", "1")
            talk = Talk(lab)
            for _ in range(9):
                talk.turn()
            wait_until(lambda: exporter.ask()["flows"] >= len(TARGETS), "a look has shown all")
            self.assertEqual(exporter.ask()["counters_reset"], 0)
            lab.router.run("conntrack", "-L", "-z")
            talk.turn()
            wait_until(lambda: exporter.ask()["counters_reset"] == len(TARGETS), "the next one shows less")
            exporter.wait_log("sets the counters of connections to 0")
            lab.router.run("conntrack", "-L", "-z")
            lab.flush()
            wait_until(lambda: exporter.ask()["empty"] == len(TARGETS), "the end shows even less")
            self.assertEqual(exporter.finish()["counters_reset"], 2 * len(TARGETS))

    def test_without_packets(self):
        """A connection that no packet belonged to is not reported, be it short or long."""
        with Lab() as lab:
            exporter = Ctflow9(lab, "--json", "--active-timeout", "1")

            def conntrack(command, port, *options):
                lab.router.run("conntrack", command, "-p", "udp", "-s", "10.1.0.2", "-d", "10.2.0.2",
                               "--sport", port, "--dport", 7, *options)
            conntrack("-I", 1, "-t", 60)
            conntrack("-D", 1)
            wait_until(lambda: exporter.ask()["empty"] == 1, "the short one has ended")
            conntrack("-I", 2, "-t", 60)
            talk = Talk(lab, [PLAIN])

            def is_reported_twice():
                talk.turn()
                return exporter.ask()["flows"] >= 2
            wait_until(is_reported_twice, "looks have shown the long one")
            conntrack("-D", 2)
            wait_until(lambda: exporter.ask()["empty"] == 2, "the long one has ended")
            exporter.finish()
            lines = [json.loads(line) for line in exporter.output().splitlines()]
            self.assertGreaterEqual(len(lines), 2)
            self.assertTrue(all(line["packets"] + line["reply_packets"] > 0 for line in lines))

    def test_end_without_an_event(self):
        """Entries made while events were off never tell of their end: they are noticed missing, and closed."""
        with Lab() as lab:
            lab.router.sysctl({"net.netfilter.nf_conntrack_events": 0,
                               "net.netfilter.nf_conntrack_udp_timeout": 4,
                               "net.netfilter.nf_conntrack_udp_timeout_stream": 4})
            talk = Talk(lab, [PLAIN, PLAIN_V6])
            talk.turn()
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", ADDRESS, "--active-timeout", "1")
            wait_until(lambda: exporter.ask()["adopted"] == 2, "connections are adopted")
            talk.turn(1000)
            wait_until(lambda: exporter.ask()["gone"] == 2, "their end is noticed")
            counted = exporter.finish()
            self.assertEqual(counted["events"], 0)
            wait_until(lambda: totals(port.records())[0] >= 4, "the records arrive")
            self.assertEqual({totals(spans)[0] for spans in parts_of(port).values()}, {1})

    def test_stuck_listener(self):
        """Another reliable listener that takes nothing makes the kernel send events again: they count once."""
        self.beside_a_stuck_listener(lambda lab: lab.flush())

    def test_stuck_listener_of_timeouts(self):
        """What times out has ended some time before the kernel finds it, so that its events come in any order."""
        self.beside_a_stuck_listener(lambda lab: lab.expire())

    def beside_a_stuck_listener(self, end_all):
        with Lab() as lab:
            count = many(100000)
            exporter = Ctflow9(lab, "--active-timeout", "0", "--table-size", "1000", "--print")
            with lab.stuck_listener():
                lab.make_flows(count)
                end_all(lab)
                wait_until(lambda: exporter.ask()["repeated"] > 0, "events come again")
                exporter.wait_flows(count, limit_s=120)
            wait_until(lambda: exporter.ask()["repeated"] > count / 2, "all that it did not take come again", 120)
            wait_until(lambda: lab.entries() == 0, "every event is delivered", 120)
            counted = exporter.finish()
            self.assertEqual(counted["flows"], count)
            self.assertEqual(counted["events"], count + counted["repeated"])

    def test_lost_events(self):
        """After events were lost a dump finds out which connections ended, long before its turn."""
        with Lab() as lab:
            count = many(20000)
            do_not_time_out(lab)
            lab.make_flows(count)
            exporter = Ctflow9(lab, "--no-reliable", "--rcvbuf", "4K", "--active-timeout", "3600", "--print")
            wait_until(lambda: exporter.ask()["adopted"] == count, "all are adopted", 60)
            lab.flush()
            wait_until(lambda: lab.entries() == 0, "all have ended")
            wait_until(lambda: exporter.ask()["gone"] + exporter.ask()["events"] >= count, "their end is noticed", 60)
            counted = exporter.finish()
            self.assertGreater(counted["lost"], 0)
            self.assertEqual(counted["gone"], counted["lost"])
            self.assertEqual(counted["events"], count - counted["lost"])


class Workers(unittest.TestCase):
    def test_storm(self):
        """Together they hear every event once."""
        with Lab() as lab:
            count = many(100000)
            exporter = Ctflow9(lab, "--workers", "4", "-j", "--active-timeout", "0")
            lab.make_flows(count)
            lab.flush()
            exporter.wait_flows(count, limit_s=120)
            counted = exporter.finish()
            self.assertEqual((counted["events"], counted["flows"], counted["lost"]), (count, count, 0))
            # Standard output is a file here, which takes every line.
            self.assertEqual((counted["lines"], counted["lines_lost"]), (count, 0))
            self.assertEqual(len(exporter.output().splitlines()), count)

    def test_mark_and_end(self):
        """Each socket filters marks too; the end drains all of them."""
        with Lab() as lab:
            lab.router.nft("table inet marks { chain f { type filter hook forward priority filter; "
                           "udp dport 7000 ct mark set 5; }; }")
            exporter = Ctflow9(lab, "--workers", "2", "--mark", "5")
            traffic = Traffic(lab)
            for _ in range(10):
                traffic.udp(PLAIN, requests=1, answers=1)
                traffic.ping(PLAIN)
            lab.flush()
            self.assertEqual(exporter.stop(signal.SIGTERM), 0)
            self.assertEqual(exporter.totals()["flows"], 10)


if __name__ == "__main__":
    unittest.main()
