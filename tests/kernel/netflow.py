# SPDX-License-Identifier: GPL-2.0-or-later
"""A UDP port that takes and keeps NetFlow v9 datagrams (RFC 3954), and decodes just enough to count with."""

import socket
import struct

SO_RCVBUFFORCE = 33
HEADER_OCTETS = 20
SCOPE_SYSTEM = "scope"


class Datagram:
    """One datagram, decoded with the templates of its source, which it adds to."""

    def __init__(self, octets, templates):
        self.octets = octets
        version, self.count, self.uptime_ms, self.unix_s, self.sequence, self.source_id = struct.unpack_from(
            "!HHIIII", octets)
        if version != 9:
            raise AssertionError(f"version {version}")
        self.templates = []  # the ids
        self.records = []  # {element: value}, options data included
        offset = HEADER_OCTETS
        while offset < len(octets):
            set_id, length = struct.unpack_from("!HH", octets, offset)
            if length < 4 or offset + length > len(octets):
                raise AssertionError(f"set {set_id} at {offset}: length {length}")
            self.read_set(set_id, octets[offset + 4:offset + length], templates)
            offset += length
        if self.count != len(self.templates) + len(self.records):
            raise AssertionError(f"count {self.count}, but {len(self.templates)} templates and "
                                 f"{len(self.records)} records")

    def read_set(self, set_id, body, templates):
        if set_id in (0, 1):
            self.read_templates(body, templates, options=set_id == 1)
            return
        if set_id not in templates:
            raise AssertionError(f"data before template {set_id}")
        layout = templates[set_id]
        size = sum(length for _, length in layout)
        for start in range(0, len(body) - size + 1, size):
            values, at = {}, start
            for element, length in layout:
                values[element] = int.from_bytes(body[at:at + length], "big")
                at += length
            self.records.append(values)

    def read_templates(self, body, templates, options):
        offset = 0
        while offset + 4 < len(body):
            template, first, second = struct.unpack_from("!HHH", body, offset)
            # An options template gives the octets of its scopes and of its options, another its fields.
            fields = (first + second) // 4 if options else first
            offset += 6 if options else 4
            layout = [struct.unpack_from("!HH", body, offset + 4 * i) for i in range(fields)]
            if options:
                layout[0] = (SCOPE_SYSTEM, layout[0][1])
            offset += 4 * fields
            templates[template] = layout
            self.templates.append(template)


def force_rcvbuf(opened, octets):
    """A receive buffer larger than net.core.rmem_max permits; in a user namespace no larger than that."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


class Port:
    """A collector that keeps every datagram. Nothing is read before it is asked for."""

    def __init__(self, namespace, port, address="10.3.0.2"):
        self.address = (address, port)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = namespace.socket(family, socket.SOCK_DGRAM)
        force_rcvbuf(self.socket, 64 << 20)
        self.socket.bind(self.address)
        self.socket.setblocking(False)
        self.datagrams = []
        self.sources = set()
        self.templates = {}

    def close(self):
        self.socket.close()

    def read(self):
        """Takes what has come; returns all datagrams so far."""
        while True:
            try:
                octets, source = self.socket.recvfrom(65536)
            except BlockingIOError:
                return self.datagrams
            self.sources.add(source[:2])
            self.datagrams.append(Datagram(octets, self.templates))

    def records(self):
        """The flow records so far, each a dictionary by element number."""
        return [values for datagram in self.read() for values in datagram.records
                if SCOPE_SYSTEM not in values]

    def sequence_gap(self):
        """How many datagrams are missing between the first and the last that came."""
        sequences = sorted(datagram.sequence for datagram in self.read())
        if len(sequences) != len(set(sequences)):
            raise AssertionError(f"sequence numbers that came twice: {sequences}")
        return sequences[-1] - sequences[0] + 1 - len(sequences) if sequences else 0
