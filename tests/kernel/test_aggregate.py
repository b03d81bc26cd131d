# SPDX-License-Identifier: GPL-2.0-or-later
"""Merged flows: few records, and their sums are what the kernel counted."""

import ipaddress
import unittest
from collections import Counter, defaultdict

from collectors import Nfacctd, Nfcapd, Tshark
from ctflow9 import Ctflow9
from lab import Lab, many, wait_until
from netflow import Port
from test_end_to_end import MARKS_AND_ZONES
from test_long import Talk
from traffic import TARGETS, Traffic
from truth import ICMP, ICMPV6, Truth

OCTETS, PACKETS, FLOWS, PROTOCOL, DESTINATION, IP_VERSION, END_REASON = 1, 2, 3, 4, 12, 60, 136
START_MS, STOP_MS = 152, 153
ACTIVE_TIMEOUT, FORCED, LACK_OF_RESOURCES = 2, 4, 5
SUMS = (OCTETS, PACKETS, FLOWS)

# By IP version: the elements of source and destination, of what they are translated to, of their prefixes.
ADDRESSES = {4: (8, 12, 225, 226, 9, 13), 6: (27, 28, 281, 282, 29, 30)}
BITS = {4: 32, 6: 128}
PORTS = (7, 11, 227, 228)

KEYS = [
    "src,dst,proto",
    "src,dst,sport,dport,proto,nat,mark,zone",
    "src4/24,dst4/16,src6/24,dst6,dport,nat",
    "src4,proto",
    "dport",
    "sport,zone",
]


def prefixes(keys):
    """{IP version: [bits of the source, bits of the destination]}; 0 = no key."""
    bits = {4: [0, 0], 6: [0, 0]}
    for key in keys.split(","):
        name, _, length = key.partition("/")
        for end, names in enumerate(("src", "dst")):
            for version in bits:
                if name in (names, f"{names}{version}"):
                    bits[version][end] = int(length or BITS[version])
    return bits


def key_elements(record, keys):
    """What is sent of one of the truth's records, as {element: value}, but for what is summed up."""
    version = 6 if ":" in record.source else 4
    names = keys.split(",")
    values = {IP_VERSION: version}
    addresses = [record.source, record.destination, record.nat_source, record.nat_destination]
    ports = [record.source_port, record.destination_port, record.nat_source_port, record.nat_destination_port]
    for end in range(4 if "nat" in names and record.nat_source else 2):
        bits = prefixes(keys)[version][end % 2]
        if bits:
            whole = int(ipaddress.ip_address(addresses[end]))
            values[ADDRESSES[version][end]] = whole >> (BITS[version] - bits) << (BITS[version] - bits)
        if 0 < bits < BITS[version]:
            values[ADDRESSES[version][4 + end % 2]] = bits
        if ("sport", "dport")[end % 2] in names:
            values[PORTS[end]] = ports[end]
    if "dport" in names and record.protocol == ICMP:
        values[32] = record.destination_port
    if "dport" in names and record.protocol == ICMPV6:
        values |= {178: record.destination_port >> 8, 179: record.destination_port & 255}
    for name, element, value in (("proto", PROTOCOL, record.protocol), ("mark", 137, record.mark),
                                 ("zone", 234, record.zone)):
        if name in names:
            values[element] = value
    return values


def merge(records, keys):
    """What must be sent, each as a sorted tuple of (element, value)."""
    groups = defaultdict(list)
    for record in records:
        groups[tuple(sorted(key_elements(record, keys).items()))].append(record)
    return Counter(tuple(sorted((*key, (OCTETS, sum(record.octets for record in group)),
                                 (PACKETS, sum(record.packets for record in group)), (FLOWS, len(group)),
                                 (START_MS, min(record.first_ms for record in group)),
                                 (STOP_MS, max(record.last_ms for record in group)))))
                   for key, group in groups.items())


def sent(records):
    """What was sent, likewise; without what is 0 in all of them, and what --fields times tells as well."""
    constant = (61, 10, 14, END_REASON, 21, 22)
    return Counter(tuple(sorted(item for item in record.items() if item[0] not in constant))
                   for record in records)


def total(records):
    return {element: sum(record[element] for record in records) for element in SUMS}


class MergedTshark(Tshark):
    """A record as far as it is there."""

    @staticmethod
    def record(flow, times):
        return Tshark.record({"srcport": 0, "dstport": 0} | flow, times)._replace(end_reason=None)


class Aggregate(unittest.TestCase):
    def test_keys(self):
        """All kinds of connections."""
        for number, keys in enumerate(KEYS):
            with self.subTest(keys=keys), Lab() as lab:
                lab.router.nft(MARKS_AND_ZONES)
                port = Port(lab.collector, 2057)
                exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--aggregate", keys, "--fields", "times",
                                   "--workers", str(1 + number % 2))
                truth = Truth(lab)
                traffic = Traffic(lab)
                traffic.everything()
                lab.expire()
                flows = truth.wait_flows(traffic.connections)
                counted = exporter.finish()
                self.assertEqual((counted["flows"], counted["aggregates_early"]), (len(flows), 0))
                expected = merge([record for flow in flows for record in flow.records()], keys)
                wait_until(lambda: len(port.records()) >= expected.total(), "all records arrive")
                self.assertEqual(counted["records"], expected.total())
                self.assertEqual(port.sequence_gap(), 0)
                self.assertEqual({record[END_REASON] for record in port.records()}, {FORCED})
                got = sent(port.records())
                self.assertEqual((expected - got, got - expected), (Counter(), Counter()))

    def test_collectors(self):
        """Real ones take records without ports, with FLOWS and with prefixes."""
        for keys in "src,dst,proto", "src4/24,src6/64,dst,proto":
            with self.subTest(keys=keys), Lab() as lab:
                collectors = [Nfcapd(lab), Nfacctd(lab), MergedTshark(lab)]
                addresses = [f"10.3.0.2:{collector.port}" for collector in collectors]
                exporter = Ctflow9(lab, *(word for address in addresses for word in ("-c", address)),
                                   "--aggregate", keys)
                truth = Truth(lab)
                traffic = Traffic(lab)
                traffic.everything()
                lab.expire()
                flows = truth.wait_flows(traffic.connections)
                exporter.finish()
                datagrams = sum(exporter.totals(address)["datagrams"] for address in addresses)
                self.receive(lab, collectors[-1].inbox, datagrams)
                records = self.as_records([record for flow in flows for record in flow.records()], keys)
                for collector in collectors:
                    with self.subTest(collector=type(collector).__name__):
                        collector.check(records)

    @staticmethod
    def receive(lab, port, datagrams):
        def received():
            port.read()
            return lab.collector.udp_received() >= datagrams
        wait_until(received, "every collector takes what was sent")

    @staticmethod
    def as_records(records, keys):
        """The merged records as collectors show them: no ports, cut sources."""
        groups = defaultdict(list)
        for record in records:
            bits = prefixes(keys)[6 if ":" in record.source else 4][0]
            network = ipaddress.ip_network(f"{record.source}/{bits}", strict=False)
            groups[record.protocol, str(network.network_address), record.destination].append(record)
        return [group[0]._replace(source=source, source_port=0, destination_port=0,
                                  nat_source=None, nat_source_port=None, nat_destination=None,
                                  nat_destination_port=None,
                                  packets=sum(record.packets for record in group),
                                  octets=sum(record.octets for record in group),
                                  first_ms=min(record.first_ms for record in group),
                                  last_ms=max(record.last_ms for record in group),
                                  end_reason=None, mark=None, zone=None)
                for (_, source, _), group in groups.items()]

    def test_storm(self):
        """Many like DNS queries: to 64 addresses from each of 256 ports, then to 64 further ones."""
        for workers in "1", "3":
            with self.subTest(workers=workers), Lab() as lab:
                count = many(100000)
                addresses = -(-count // (64 * 256)) * 64
                port = Port(lab.collector, 2057)
                exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--aggregate", "src,dst,proto",
                                   "--workers", workers)
                lab.make_flows(count)
                lab.flush()
                exporter.wait_flows(count)
                self.assertEqual(port.records(), [])
                counted = exporter.finish()
                self.assertEqual((counted["flows"], counted["lost"], counted["records"]), (count, 0, addresses))
                wait_until(lambda: len(port.records()) >= addresses, "all records arrive")
                self.assertEqual(total(port.records()), {OCTETS: 60 * count, PACKETS: count, FLOWS: count})
                self.assertEqual(len({record[DESTINATION] for record in port.records()}), addresses)

    def test_interval(self):
        """Nothing leaves before its interval is over; then everything does."""
        count = 1000
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--aggregate", "dst", "--aggregate-interval", "2",
                               "--max-delay", "0.1", "--fields", "times")
            for turn in 1, 2:
                lab.make_flows(count)
                lab.flush()
                wait_until(lambda: total(port.records())[FLOWS] == turn * count, "what is due leaves")
            exporter.finish()
            self.assertEqual({record[END_REASON] for record in port.records()}, {ACTIVE_TIMEOUT})
            for datagram in port.read():
                for record in datagram.records:
                    if FLOWS in record:
                        self.assertGreaterEqual(datagram.unix_s * 1000, record[STOP_MS] + 2000)

    def test_full(self):
        """The oldest leave early, and nothing is lost."""
        count = 20000
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--aggregate", "src,sport,dst",
                               "--table-size", "100", "--active-timeout", "0")
            lab.make_flows(count)
            lab.flush()
            exporter.wait_flows(count)
            counted = exporter.finish()
            self.assertGreater(counted["aggregates_early"], 0)
            wait_until(lambda: len(port.records()) >= counted["records"], "all records arrive")
            self.assertEqual(total(port.records())[FLOWS], count)
            self.assertEqual(Counter(record[END_REASON] for record in port.records()),
                             {LACK_OF_RESOURCES: counted["aggregates_early"], FORCED: 100})

    def test_connections_that_last(self):
        """Their parts are merged too: packets and octets are the final counters, FLOWS counts the parts."""
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--aggregate", "src,dst,proto",
                               "--active-timeout", "1", "--workers", "2")
            truth = Truth(lab)
            Talk(lab).last(4)
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            counted = exporter.finish()
            wait_until(lambda: len(port.records()) >= counted["records"], "all records arrive")
            records = [record for flow in flows for record in flow.records()]
            got = total(port.records())
            self.assertEqual((got[PACKETS], got[OCTETS]), (sum(record.packets for record in records),
                                                           sum(record.octets for record in records)))
            self.assertGreater(got[FLOWS], 2 * len(records))
            ends = {(record.source, record.destination) for record in records}
            self.assertEqual(len(port.records()), len(ends))


if __name__ == "__main__":
    unittest.main()
