# SPDX-License-Identifier: GPL-2.0-or-later
"""Collectors that share the flows: -c A,B,C and --balance."""

import collections
import contextlib
import socket
import unittest

from ctflow9 import Ctflow9
from lab import Lab, wait_until
from netflow import Port
from test_reload import Configured

SRC_PORT, SRC, DST_PORT, DST, START_MS = 7, 8, 11, 12, 152
PORTS = (2055, 2056, 2057)
GROUP = ",".join(f"10.3.0.2:{port}" for port in PORTS)
HOSTS = [f"127.2.{i >> 8}.{i & 255}" for i in range(1, 301)]


def number(address):
    return int.from_bytes(socket.inet_aton(address), "big")


def host(record, server_port):
    """Whose connection it is, whatever the direction."""
    return record[SRC] if record[DST_PORT] == server_port else record[DST]


def key(record):
    return record[SRC], record[SRC_PORT], record[DST], record[DST_PORT]


class Balance(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.made = 0
        self.members = [Port(self.lab.collector, port) for port in PORTS]

    def udp(self):
        return contextlib.closing(self.lab.router.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def make_flows(self, server_port, each=1, hosts=HOSTS):
        """Answered UDP connections of each host, which end at once."""
        with self.udp() as server:
            server.bind(("127.0.0.1", server_port))
            for name in hosts:
                for i in range(each):
                    with self.udp() as client:
                        client.bind((name, 20000 + i))
                        client.sendto(b"question", server.getsockname())
                        server.sendto(b"answer", server.recvfrom(100)[1])
        self.made += each * len(hosts)
        self.lab.flush()

    def records(self, server_port):
        """Of each member, the records of the connections to a port of the server's."""
        return [[record for record in member.records() if server_port in (record[SRC_PORT], record[DST_PORT])]
                for member in self.members]

    def share(self, server_port, count):
        """The same, as soon as there are count of them."""
        wait_until(lambda: sum(map(len, self.records(server_port))) >= count, f"{count} records are there")
        shares = self.records(server_port)
        self.assertEqual(sum(map(len, shares)), count)
        return shares

    def owners(self, shares, server_port):
        """Which member each host's records are at: one alone."""
        owners = {host(record, server_port): index for index, share in enumerate(shares) for record in share}
        for index, share in enumerate(shares):
            self.assertEqual({owners[host(record, server_port)] for record in share} - {index}, set())
        return owners

    def hash(self, *flags):
        """And a collector beside them gets everything."""
        everything = Port(self.lab.collector, 2058)
        exporter = Ctflow9(self.lab, "-c", GROUP, "-c", "10.3.0.2:2058", "--max-delay", 0.1, *flags)
        self.make_flows(7000, each=3)
        shares = self.share(7000, 6 * len(HOSTS))
        wait_until(lambda: len(everything.records()) >= 6 * len(HOSTS), "the other one has everything")
        self.assertEqual(collections.Counter(key(record) for share in shares for record in share),
                         collections.Counter(key(record) for record in everything.records()))
        owners = self.owners(shares, 7000)
        self.assertEqual(set(owners), {number(name) for name in HOSTS})
        for hosts in collections.Counter(owners.values()).values():
            self.assertGreater(hosts, len(HOSTS) / 5)
        totals = exporter.finish()
        self.assertEqual((totals["flows"], totals["records"]), (3 * len(HOSTS), 12 * len(HOSTS)))
        self.assertEqual([member.sequence_gap() for member in self.members], [0, 0, 0])

    def test_hash(self):
        self.hash()

    def test_hash_workers(self):
        self.hash("--workers", 2)

    def test_roundrobin(self):
        exporter = Ctflow9(self.lab, "-c", GROUP, "--balance", "roundrobin", "--max-delay", 0.1)
        self.make_flows(7000, each=2)
        self.assertEqual(list(map(len, self.share(7000, 4 * len(HOSTS)))), [4 * len(HOSTS) // 3] * 3)
        exporter.finish()

    def test_down(self):
        """A member goes: the others get its hosts. It comes back: it gets them again, and what waited for it."""
        exporter = Ctflow9(self.lab, "-c", GROUP, "--max-delay", 0.1)
        self.make_flows(7000)
        before = self.owners(self.share(7000, 2 * len(HOSTS)), 7000)
        its_own = {name for name in HOSTS if before[number(name)] == 1}

        self.members[1].close()

        def passed_over():
            self.make_flows(7001, hosts=list(its_own)[:5])
            return "10.3.0.2:2056: unreachable for 3 seconds" in exporter.log()
        wait_until(passed_over, "it is passed over")
        exporter.wait_flows(self.made)
        passed_over = exporter.ask("10.3.0.2:2056")["flows_passed_over"]
        self.members[1].read = lambda: self.members[1].datagrams
        self.make_flows(7002)
        during = self.owners(self.share(7002, 2 * len(HOSTS)), 7002)
        self.assertEqual({name for name in HOSTS if during[number(name)] != before[number(name)]}, its_own)
        self.assertEqual({during[number(name)] for name in its_own}, {0, 2})
        self.assertEqual(exporter.ask("10.3.0.2:2056")["flows_passed_over"], passed_over + len(its_own))

        self.members[1] = Port(self.lab.collector, 2056)
        exporter.wait_log("10.3.0.2:2056: reachable again")
        self.make_flows(7003)
        self.assertEqual(self.owners(self.share(7003, 2 * len(HOSTS)), 7003), before)
        self.assertGreater(len(self.records(7001)[1]), 0)
        exporter.finish()
        self.assertEqual(exporter.totals("10.3.0.2:2056")["records_dropped"], 0)

    def test_reload(self):
        """Beside a group collectors come and fields change; the group itself stays as it is."""
        options = {"collector": [GROUP], "max-delay": 0.1}
        everything = Port(self.lab.collector, 2058)
        exporter = Configured(self.lab, options)
        self.make_flows(7000)
        before = self.owners(self.share(7000, 2 * len(HOSTS)), 7000)
        options = {"collector": [GROUP, "10.3.0.2:2058"], "max-delay": 0.1, "fields": "times"}
        self.assertIn("changed is --collector, --fields\n", exporter.reload(options))
        self.make_flows(7001)
        shares = self.share(7001, 2 * len(HOSTS))
        self.assertEqual(self.owners(shares, 7001), before)
        self.assertTrue(all(START_MS in record for share in shares for record in share))
        wait_until(lambda: len(everything.records()) >= 2 * len(HOSTS), "the other one has everything")

        said = exporter.reload(options | {"collector": ["10.3.0.2:2055,10.3.0.2:2056", "10.3.0.2:2058"]})
        self.assertIn("--collector takes a restart to change", said)
        self.assertIn("nothing has changed", said)
        self.make_flows(7002)
        self.assertEqual(self.owners(self.share(7002, 2 * len(HOSTS)), 7002), before)
        totals = exporter.finish()
        self.assertEqual(totals["records"], 10 * len(HOSTS))
        self.assertEqual([member.sequence_gap() for member in self.members], [0, 0, 0])


if __name__ == "__main__":
    unittest.main()
