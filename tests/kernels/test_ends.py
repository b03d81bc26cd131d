# SPDX-License-Identifier: GPL-2.0-or-later
"""Why connections ended, as far as the kernel tells: its events do since 5.12, and the table's rows always. Run it
in one of tests/kernels."""

import json
import os
import socket
import sys
import time
import unittest
from collections import Counter

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kernel"))

from ctflow9 import Ctflow9  # noqa: E402
from lab import Lab, wait_until  # noqa: E402
from traffic import MASQUERADED, MASQUERADED_V6, PLAIN, PLAIN_V6, Traffic, receive  # noqa: E402

VERSION = tuple(map(int, os.uname().release.split(".")[:2]))
TOLD = VERSION >= (5, 12)


def lines(exporter):
    return [json.loads(line) for line in exporter.output().splitlines()]


def set_timeouts(lab, seconds):
    names = "udp_timeout", "udp_timeout_stream", "tcp_timeout_established", "tcp_timeout_time_wait"
    lab.router.sysctl({f"net.netfilter.nf_conntrack_{name}": seconds for name in names})


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
            reasons = {line["dst_address"]: line["end_reason_name"] for line in lines(exporter)}
        self.assertEqual(reasons,
                         {PLAIN.address: "end_detected" if TOLD else "unknown",
                          MASQUERADED.address: "idle_timeout" if TOLD else "unknown",
                          PLAIN_V6.address: "forced_end"})

    def test_long(self):
        """TCP that closes, TCP and UDP that fall silent, TCP that a program removes: what the event does not tell,
        the last row did. The table is looked at every quarter of the active timeout."""
        with Lab() as lab:
            set_timeouts(lab, 600)
            exporter = Ctflow9(lab, "--json", "--active-timeout", 20)
            traffic = Traffic(lab)
            targets = PLAIN, MASQUERADED, PLAIN_V6
            closed, silent, removed = (traffic.tcp_open(target) for target in targets)
            datagrams = traffic.open(lab.client, socket.SOCK_DGRAM,
                                     connect_to=(MASQUERADED_V6.address, MASQUERADED_V6.port))
            datagrams.send(b"1")
            exporter.wait_flows(4)

            # The second parts: as long as they last no look reports them, but it sees them.
            set_timeouts(lab, 12)
            for client, server in closed, silent, removed:
                client.sendall(b"2")
                receive(server, 1)
            datagrams.send(b"2")
            for connection in closed:
                connection.close()
            lab.router.run("conntrack", "-D", "-f", "ipv6", "-p", "tcp", "--orig-port-src",
                           removed[0].getsockname()[1])
            wait_until(lambda: lab.entries() == 0 and exporter.ask()["events"] == 4, "all end")
            exporter.finish()
            reported = lines(exporter)
            for opened in *silent, *removed:
                opened.close()
        self.assertEqual(Counter((line["dst_address"], line["end_reason_name"]) for line in reported),
                         Counter([(target.address, "active_timeout") for target in (*targets, MASQUERADED_V6)] +
                                 [(PLAIN.address, "end_detected"), (MASQUERADED.address, "idle_timeout"),
                                  (MASQUERADED_V6.address, "idle_timeout"), (PLAIN_V6.address, "forced_end")]))

    def kept(self, end_all):
        """What ctflow9 reports of connections that have ended, and whose events the kernel has kept until it starts."""
        with Lab() as lab:
            with lab.stuck_listener():
                lab.make_flows(200)
                end_all(lab)
                self.assertEqual(lab.entries(), 0)
                count = int(lab.router.run("sysctl", "-n", "net.netfilter.nf_conntrack_count"))
                self.assertGreater(count, 100)
                time.sleep(2.5)  # the router's time-out is 2 s: an event that comes again then tells of no time left
                exporter = Ctflow9(lab, "--json")
                # The first of them is sent again and again, the others when it is taken.
                wait_until(lambda: exporter.ask()["events"] > 0, "one comes again")
            exporter.wait_flows(count)
            wait_until(lambda: int(lab.router.run("sysctl", "-n", "net.netfilter.nf_conntrack_count")) == 0,
                       "every event is delivered")
            self.assertEqual(exporter.finish()["adopted"], 0)
            return Counter(line["end_reason_name"] for line in lines(exporter)), count

    def test_kept(self):
        """What a program had removed before the start is nobody's but ours."""
        reasons, count = self.kept(lambda lab: lab.flush())
        self.assertEqual(reasons, {"forced_end": count})

    @unittest.skipIf(TOLD, "what timed out before the start is taken as reported")
    def test_kept_and_not_told(self):
        """Whether they timed out is not told: they are reported rather than dropped."""
        reasons, count = self.kept(lambda lab: lab.expire())
        self.assertEqual(reasons, {"unknown": count})


if __name__ == "__main__":
    unittest.main()
