# SPDX-License-Identifier: GPL-2.0-or-later
"""Real traffic over a NAT router, into real collectors: every record must be what the kernel said."""

import unittest

from collectors import Nfacctd, Nfcapd, Tshark
from ctflow9 import Ctflow9
from lab import Lab, wait_until
from traffic import Traffic
from truth import Truth

MARKS_AND_ZONES = """
table inet marks_and_zones {
    chain zones {
        type filter hook prerouting priority raw
        iifname { "client", "server" } ct zone set 5
    }
    chain marks {
        type filter hook forward priority filter
        meta l4proto tcp ct mark set 0x89abcdef
        meta l4proto udp ct mark set 7
    }
}
"""


class EndToEnd(unittest.TestCase):
    def test_default_fields(self):
        with Lab() as lab:
            self.compare(lab, [Nfcapd(lab), Nfacctd(lab), Tshark(lab)])

    def test_all_fields(self):
        with Lab() as lab:
            lab.router.nft(MARKS_AND_ZONES)
            self.compare(lab, [Nfcapd(lab), Nfacctd(lab), Tshark(lab, fields=("mark", "zone"))],
                         "--fields", "mark,zone,times")

    def compare(self, lab, collectors, *options):
        addresses = [f"10.3.0.2:{collector.port}" for collector in collectors]
        exporter = Ctflow9(lab, *(word for address in addresses for word in ("-c", address)), *options)
        truth = Truth(lab)
        traffic = Traffic(lab)
        traffic.everything()
        lab.expire()
        flows = truth.wait_flows(traffic.connections)
        records = [record for flow in flows for record in flow.records()]

        totals = exporter.finish()
        self.assertEqual((totals["events"], totals["flows"], totals["records"]),
                         (len(flows), len(flows), len(records)))
        sent = [exporter.totals(address) for address in addresses]
        self.assertEqual([counters["records"] for counters in sent], [len(records)] * len(collectors))

        tshark = collectors[-1]

        def received():
            tshark.inbox.read()
            return lab.collector.udp_received() >= sum(counters["datagrams"] for counters in sent)
        wait_until(received, "every collector takes what was sent")

        for collector in collectors:
            with self.subTest(collector=type(collector).__name__):
                collector.check(records)


if __name__ == "__main__":
    unittest.main()
