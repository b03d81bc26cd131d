# SPDX-License-Identifier: GPL-2.0-or-later
"""Why short connections ended, as far as the kernel tells: its events do since 5.12. Run it in one of tests/kernels."""

import json
import os
import sys
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kernel"))

from ctflow9 import Ctflow9  # noqa: E402
from lab import Lab, wait_until  # noqa: E402
from traffic import MASQUERADED, PLAIN, PLAIN_V6, Traffic  # noqa: E402

VERSION = tuple(map(int, os.uname().release.split(".")[:2]))


class Ends(unittest.TestCase):
    def test_short(self):
        """TCP that closes, UDP that falls silent, UDP that a program removes."""
        with Lab() as lab:
            exporter = Ctflow9(lab, "--json", "--active-timeout", 0)
            traffic = Traffic(lab)
            traffic.tcp(PLAIN, 100, 100)
            traffic.udp(MASQUERADED, requests=1, answers=1)
            port = traffic.udp(PLAIN_V6, requests=1, answers=1)
            lab.router.run("conntrack", "-D", "-f", "ipv6", "-p", "udp", "--orig-port-src", port)
            wait_until(lambda: lab.entries() == 0 and exporter.ask()["events"] == 3, "all end")
            exporter.finish()
            lines = [json.loads(line) for line in exporter.output().splitlines()]
        told = VERSION >= (5, 12)
        self.assertEqual({line["dst_address"]: line["end_reason_name"] for line in lines},
                         {PLAIN.address: "end_detected" if told else "unknown",
                          MASQUERADED.address: "idle_timeout" if told else "unknown",
                          PLAIN_V6.address: "forced_end"})


if __name__ == "__main__":
    unittest.main()
