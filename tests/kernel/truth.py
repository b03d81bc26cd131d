# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of connections that end, told by conntrack(8), and the records that must follow."""

import xml.etree.ElementTree as ElementTree
from collections import Counter, namedtuple

from lab import poll, wait_until

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
IDLE, DETECTED, FORCED = 1, 3, 4
CLOSING = {"FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"}

# One direction of a connection, as every collector shows it: addresses as text, times in milliseconds since
# 1970. ICMP has 0 and type << 8 | code as its ports. What a collector does not tell is None.
Record = namedtuple("Record", """
    protocol source source_port destination destination_port
    nat_source nat_source_port nat_destination nat_destination_port
    packets octets first_ms last_ms end_reason mark zone""")

Tuple = namedtuple("Tuple", "source source_port destination destination_port packets octets")

# An echo request and its answer: the only ICMP that is sent here, and the XML does not tell.
ECHO = {ICMP: (8 << 8, 0 << 8), ICMPV6: (128 << 8, 129 << 8)}


class Flow:
    """One destroyed connection, from conntrack's XML."""

    def __init__(self, line):
        # What stands after the element tells that a program, not the kernel, removed the connection.
        text, end, after = line.partition("</flow>")
        element = ElementTree.fromstring(text + end)
        meta = {meta.get("direction"): meta for meta in element.iter("meta")}
        self.protocol = int(meta["original"].find("layer4").get("protonum"))
        self.original = self.tuple(meta["original"])
        self.reply = self.tuple(meta["reply"])
        rest = meta["independent"]
        self.id = int(rest.findtext("id"))
        self.state = rest.findtext("state") if self.protocol == TCP else None
        self.requested = "portid" in after
        self.time_left_s = int(rest.findtext("timeout", "0"))
        self.mark = int(rest.findtext("mark", "0"))
        self.zone = int(rest.findtext("zone", "0"))
        self.start_ns = int(rest.findtext("timestamp/start", "0"))
        self.stop_ns = int(rest.findtext("timestamp/stop", "0"))

    @staticmethod
    def tuple(meta):
        def number(name, absent):
            return int(meta.findtext(name, absent), 0)

        layer3, layer4 = meta.find("layer3"), meta.find("layer4")
        source_port, destination_port = (
            int(layer4.findtext(port) or layer4.findtext(key) or "0", 0)
            for port, key in (("sport", "srckey"), ("dport", "dstkey")))
        return Tuple(layer3.findtext("src"), source_port, layer3.findtext("dst"), destination_port,
                     number("counters/packets", "0"), number("counters/bytes", "0"))

    def end_reason(self):
        if self.requested:
            return FORCED
        if self.state in CLOSING:
            return DETECTED
        return FORCED if self.time_left_s > 0 else IDLE

    def translated(self):
        return self.original[:4] != (self.reply.destination, self.reply.destination_port,
                                     self.reply.source, self.reply.source_port)

    def records(self):
        """The mirror rule: two directions are two records, and the reply's is the original's mirror."""
        sides = (self.original.source, self.original.source_port,
                 self.original.destination, self.original.destination_port)
        nat = (None,) * 4
        if self.translated():
            nat = (self.reply.destination, self.reply.destination_port,
                   self.reply.source, self.reply.source_port)
        rest = (self.start_ns // 1000000, self.stop_ns // 1000000, self.end_reason(), self.mark, self.zone)
        records = []
        for turned, counted in ((False, self.original), (True, self.reply)):
            if counted.packets == 0:
                continue
            ends, nat_ends = (sides[2:] + sides[:2], nat[2:] + nat[:2]) if turned else (sides, nat)
            record = Record(self.protocol, *ends, *nat_ends, counted.packets, counted.octets, *rest)
            if self.protocol in ECHO:
                record = record._replace(source_port=0, destination_port=ECHO[self.protocol][turned])
            records.append(record)
        return records


class Truth:
    """conntrack(8), listening in the router from now on."""

    def __init__(self, lab):
        listeners = lab.router.listeners()
        self.process = lab.start(lab.router, "conntrack", "conntrack", "-E", "-e", "DESTROY",
                                 "-o", "xml,ktimestamp,id", "-b", 32 << 20)
        wait_until(lambda: lab.router.listeners() > listeners, "conntrack -E listens")

    def flows(self):
        return [Flow(line) for line in self.process.output().splitlines()
                if line.startswith("<flow ") and "</flow>" in line]

    def wait_flows(self, count):
        """Waits until so many connections have ended; fails if it is not exactly so many, and shows which."""
        poll(lambda: self.process.output().count("</flow>") >= count)
        flows = self.flows()
        if len(flows) != count:
            ends = Counter((flow.protocol, flow.original.destination, flow.original.destination_port) for flow in flows)
            raise AssertionError(f"{len(flows)} connections ended, {count} were made: {sorted(ends.items())}")
        return flows


def assert_same(expected, got):
    """Compares multisets; says what is missing and what is too much, similar records beside each other."""
    expected, got = Counter(expected), Counter(got)
    lines = [(short(record), f"missing {count} x") for record, count in (expected - got).items()]
    lines += [(short(record), f"too much {count} x") for record, count in (got - expected).items()]
    if lines:
        raise AssertionError("\n" + "\n".join(f"{verdict:14} {record}" for record, verdict in sorted(lines)))


def short(record):
    return " ".join(f"{name}={value}" for name, value in record._asdict().items() if value is not None)
