# SPDX-License-Identifier: GPL-2.0-or-later
"""What ctflow9 prints: lines for people, JSON objects, and what happens when nobody reads them."""

import datetime
import fcntl
import json
import os
import unittest

from ctflow9 import Ctflow9
from lab import Lab, wait_until
from netflow import Port
from traffic import Traffic
from truth import Truth

F_SETPIPE_SZ = 1031


def nanoseconds(text):
    """RFC 3339 in UTC, nine digits behind the second."""
    second, fraction = text.removesuffix("Z").split(".")
    moment = datetime.datetime.fromisoformat(second).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp()) * 10**9 + int(fraction)


def has_ports(flow):
    """For GRE they are its keys, if there are any."""
    return any(tuple.source_port or tuple.destination_port for tuple in (flow.original, flow.reply))


def from_truth(flow):
    """The keys of a JSON line that conntrack(8) tells of too."""
    expected = {
        "start": flow.start_ns,
        "stop": flow.stop_ns,
        "protocol": flow.protocol,
        "src_address": flow.original.source,
        "dst_address": flow.original.destination,
        "packets": flow.original.packets,
        "octets": flow.original.octets,
        "reply_src_address": flow.reply.source,
        "reply_dst_address": flow.reply.destination,
        "reply_packets": flow.reply.packets,
        "reply_octets": flow.reply.octets,
        "translated": flow.translated(),
        "end_reason": flow.end_reason(),
        "requested": flow.requested,
        "mark": flow.mark,
        "zone": flow.zone,
        "id": flow.id,
    }
    if has_ports(flow):
        expected |= {
            "src_port": flow.original.source_port,
            "dst_port": flow.original.destination_port,
            "reply_src_port": flow.reply.source_port,
            "reply_dst_port": flow.reply.destination_port,
        }
    return expected


class Output(unittest.TestCase):
    def everything(self, lab, option):
        """All kinds of connections; returns what the kernel said and the lines printed."""
        exporter = Ctflow9(lab, option)
        truth = Truth(lab)
        traffic = Traffic(lab)
        traffic.everything()
        lab.expire()
        flows = truth.wait_flows(traffic.connections)
        totals = exporter.finish()
        self.assertEqual((totals["lines"], totals["lines_lost"]), (len(flows), 0))
        return flows, exporter.output().splitlines()

    def test_json(self):
        with Lab() as lab:
            flows, lines = self.everything(lab, "-j")
        expected = {flow.id: from_truth(flow) for flow in flows}
        got = {}
        for line in lines:
            known = json.loads(line)
            known |= {"start": nanoseconds(known["start"]), "stop": nanoseconds(known["stop"])}
            got[known["id"]] = known
        self.assertEqual(len(lines), len(flows))
        self.assertEqual(got.keys(), expected.keys())
        for identity, values in expected.items():
            known = got[identity]
            self.assertEqual({name: known.get(name) for name in values}, values)
            self.assertEqual("src_port" in known, "src_port" in values)

    def test_print(self):
        with Lab() as lab:
            flows, lines = self.everything(lab, "-p")
        self.assertEqual(len(lines), len(flows))
        words = [set(line.replace("[", "").replace("]", "").split()) for line in lines]
        for flow in flows:
            ends = {self.end(flow.original.source, flow.original.source_port, flow),
                    self.end(flow.original.destination, flow.original.destination_port, flow)}
            self.assertTrue(any(ends <= line for line in words), f"no line has {ends}")

    @staticmethod
    def end(address, port, flow):
        return f"{address}:{port}" if has_ports(flow) else address

    def test_stuck_pipe(self):
        """Lines that nobody takes are lost and counted; the records and the reading never wait for them."""
        count = 20000
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-j", "-c", "10.3.0.2:2057", stdout=writer)
            os.close(writer)
            lab.make_flows(count)
            lab.flush()
            wait_until(lambda: len(port.records()) >= count, "all records arrive")
            totals = exporter.finish()
            self.assertEqual(totals["flows"], count)
            self.assertEqual(totals["lines"] + totals["lines_lost"], count)
            self.assertGreater(totals["lines_lost"], 0)
            self.assertEqual(len(port.records()), count)
            lines = self.read_rest(reader).splitlines(keepends=True)
            self.assertTrue(all(line.endswith(b"\n") and json.loads(line) for line in lines[:-1]))
        os.close(reader)

    def test_reader_leaves(self):
        """Without collectors there is nobody left to tell, and it ends; with one it goes on."""
        for options, ends in (["-p"], True), (["-p", "-c", "10.3.0.2:2057"], False):
            reader, writer = os.pipe()
            with self.subTest(options=options), Lab() as lab:
                exporter = Ctflow9(lab, *options, stdout=writer)
                os.close(writer)
                os.close(reader)
                lab.make_flows(10)
                lab.flush()
                if ends:
                    self.assertEqual(exporter.wait(), 0)
                else:
                    exporter.wait_flows(10)
                    totals = exporter.finish()
                    self.assertEqual((totals["lines"], totals["lines_lost"] > 0), (0, True))

    @staticmethod
    def read_rest(reader):
        os.set_blocking(reader, False)
        taken = b""
        while chunk := os.read(reader, 65536):
            taken += chunk
        return taken


if __name__ == "__main__":
    unittest.main()
