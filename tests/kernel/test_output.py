# SPDX-License-Identifier: GPL-2.0-or-later
"""What ctflow9 prints: lines for people, JSON objects, and what happens when nobody reads them."""

import datetime
import fcntl
import json
import os
import re
import unittest

from ctflow9 import Ctflow9
from lab import BINARY, Lab, run, wait_until
from netflow import Port
from traffic import Traffic
from truth import Truth

F_SETPIPE_SZ = 1031


def nanoseconds(text):
    """RFC 3339 in UTC, nine digits after the second."""
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

    def accounted(self, exporter, flows):
        """Every flow is in one of both counters, once it has ended."""
        totals = exporter.totals()
        self.assertEqual(totals["flows"], flows)
        self.assertEqual(totals["lines"] + totals["lines_lost"], flows)
        return totals

    def given_up(self, exporter, why):
        """It has ended by itself, with one line that says why."""
        self.assertEqual(exporter.wait(), 1)
        self.assertEqual(re.findall(r"error: (.*)\n", exporter.log()),
                         [f"standard output takes no more lines ({why}), and there is no other output: ending"])

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
                    self.given_up(exporter, "its reader is gone")
                else:
                    exporter.wait_flows(10)
                    exporter.finish()
                    self.assertIn("takes no more lines (its reader is gone), going on without", exporter.log())
                    self.assertEqual(self.accounted(exporter, 10)["lines"], 0)

    def test_reader_leaves_amid(self):
        """As | head -1 does: what was on its way is lost, and counted."""
        for workers in "1", "2":
            reader, writer = os.pipe()
            with self.subTest(workers=workers), Lab() as lab:
                exporter = Ctflow9(lab, "-j", "--workers", workers, stdout=writer)
                os.close(writer)
                lab.make_flows(20000)
                flushing = lab.start(lab.router, "conntrack", "conntrack", "-F")
                os.read(reader, 100)
                os.close(reader)
                self.given_up(exporter, "its reader is gone")
                flushing.wait()
                self.accounted(exporter, exporter.totals()["flows"])

    def test_terminal_closed(self):
        """setsid: the end of the session's terminal is another thing, a signal."""
        terminal, program = os.openpty()
        with Lab() as lab:
            exporter = Ctflow9(lab, "-p", within=["setsid"], stdout=program)
            os.close(program)
            os.close(terminal)
            lab.make_flows(10)
            lab.flush()
            self.given_up(exporter, "Input/output error")
            totals = self.accounted(exporter, exporter.totals()["flows"])
            self.assertEqual(totals["lines"], 0)

    def test_closed(self):
        """>&- is seen at the start."""
        with Lab() as lab:
            process = lab.start(lab.router, "ctflow9", "sh", "-c", 'exec "$@" >&-', "-", BINARY)
            self.assertEqual(process.wait(), 1)
            self.assertEqual(re.findall("error: (.*): give a collector", process.log()),
                             ["standard output is closed"])

    def test_disk_full(self):
        """It begins, it ends, and what was lost is counted."""
        with Lab() as lab:
            mounts = lab.start(lab.router, "mounts", "unshare", "--mount", "sh", "-c",
                               'mount -t tmpfs -o size=64k tmpfs "$0" && echo ready && exec sleep 1000',
                               lab.directory)
            wait_until(lambda: mounts.output(), "a small file system is there")
            directory = f"/proc/{mounts.pid}/root{lab.directory}"
            with open(f"{directory}/filler", "wb") as filler:
                filler.write(bytes(60 << 10))
            with open(f"{directory}/lines", "wb") as file:
                exporter = Ctflow9(lab, "-j", stdout=file)
            lab.make_flows(1000)
            lab.flush()
            exporter.wait_log("standard output takes no lines, trying again every second: No space left on device")
            exporter.wait_flows(1000)
            self.assertNotIn("takes lines again", exporter.log())
            self.assertEqual(exporter.ask()["lines_lost"], 0)  # they wait
            run("nsenter", "-t", mounts.pid, "-m", "mount", "-o", "remount,size=4m", lab.directory)
            exporter.wait_log("standard output takes lines again")
            exporter.finish()
            self.assertEqual(self.accounted(exporter, 1000)["lines"], 1000)
            with open(f"{directory}/lines", "rb") as file:
                self.assertEqual(sum(1 for line in file if json.loads(line)), 1000)

    def test_disk_stays_full(self):
        """Or the file is as large as it may be, which is another errno and a signal."""
        for limited, why in (False, "No space left on device"), (True, "File too large"):
            with self.subTest(why=why), Lab() as lab:
                with open(f"{lab.directory}/lines" if limited else "/dev/full", "wb") as file:
                    exporter = Ctflow9(lab, "-j", "--user", "root", stdout=file)  # its limits are set from outside
                if limited:  # what it says goes to a file too, a shorter one
                    run("prlimit", "--pid", exporter.pid, "--fsize=50000:")
                lab.make_flows(5000)
                lab.flush()
                exporter.wait_log(f"standard output takes no lines, trying again every second: {why}")
                exporter.wait_log(f"did not take them in time ({why})")
                exporter.wait_flows(5000)
                exporter.finish()
                self.assertEqual(self.accounted(exporter, 5000)["lines"] > 0, limited)

    @staticmethod
    def read_rest(reader):
        os.set_blocking(reader, False)
        taken = b""
        while chunk := os.read(reader, 65536):
            taken += chunk
        return taken


if __name__ == "__main__":
    unittest.main()
