# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's sink, which other tests believe: what it takes for a loss."""

import json
import socket
import struct
import unittest

from lab import PROGRAMS, Lab


class Sink(unittest.TestCase):
    def gaps(self, datagrams):
        with Lab() as lab:
            sink = lab.start(lab.router, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.1")
            sink.wait_log("listening")
            sender = lab.collector.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for datagram in datagrams:
                sender.sendto(datagram, ("10.3.0.1", 2055))
            self.assertEqual(sink.stop(), 0)
            counted = json.loads(sink.output())
            self.assertEqual((counted["datagrams"], counted["malformed"]), (len(datagrams), 0))
            return counted["sequence_gaps"]

    def test_netflow(self):
        """Datagrams that come in another order are not missing, nor is what was before the first."""
        for sequences, gaps in (((7, 8, 9), 0), ((7, 9, 8, 10), 0), ((8, 7, 9), 0), ((7, 9, 10), 1), ((10, 7), 2),
                                ((2**32 - 1, 0, 1), 0), ((0, 2**32 - 2), 1)):
            with self.subTest(sequences=sequences):
                self.assertEqual(self.gaps([struct.pack("!HHIIII", 9, 0, 0, 0, number, 0) for number in sequences]), gaps)

    def test_ipfix(self):
        """There data records are counted: of two octets here, two in each message."""
        template = struct.pack("!HHHHHH", 2, 12, 256, 1, 4, 2)
        data = struct.pack("!HHHH", 256, 8, 1, 2)

        def message(sequence, *sets):
            body = b"".join(sets)
            return struct.pack("!HHIII", 10, 16 + len(body), 0, sequence, 0) + body

        for sequences, gaps in ((2, 4, 6), 0), ((4, 2, 6), 0), ((2, 6), 2):
            with self.subTest(sequences=sequences):
                messages = [message(0, template, data), *(message(number, data) for number in sequences)]
                self.assertEqual(self.gaps(messages), gaps)


if __name__ == "__main__":
    unittest.main()
