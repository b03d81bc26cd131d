# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of --json-socket: as they come and go, when one is slow, and when ctflow9 comes and goes."""

import json
import os
import signal
import socket
import stat
import subprocess
import threading
import unittest

from ctflow9 import Ctflow9
from lab import BINARY, Lab, many, wait_until
from netflow import Port

COLLECTOR = "10.3.0.2:2057"


class Reader(threading.Thread):
    """Reads until the other side closes, or it is told to stop."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.text = b""
        self.start()

    def run(self):
        while chunk := self.socket.recv(1 << 20):
            self.text += chunk

    def leave(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self.socket.close()

    def flows(self):
        """To the end; every line is whole."""
        self.join()
        self.socket.close()
        return parse(self.text)


def parse(text):
    assert not text or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


class JsonSocket(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.path = f"{self.lab.directory}/flows.sock"

    def start(self, *options, **more):
        return Ctflow9(self.lab, "--json-socket", self.path, *options, **more)

    def read(self, exporter):
        """A reader that has been let in."""
        before = exporter.ask()["readers"]
        reader = Reader(self.path)
        wait_until(lambda: exporter.ask()["readers"] > before, "the reader is let in")
        return reader

    def make(self, exporter, count):
        """So many connections more, all of which are reported."""
        before = exporter.ask()["flows"]
        self.lab.make_flows(count)
        self.lab.flush()
        exporter.wait_flows(before + count)

    def test_readers(self):
        """One reads, one stops reading, one leaves amid: each gets what it can take, and what is sent is the same."""
        for workers in 1, 2:
            with self.subTest(workers=workers):
                self.readers(workers)

    def readers(self, workers):
        count = many(60000)
        port = Port(self.lab.collector, 2057)
        exporter = self.start("-c", COLLECTOR, "--workers", workers, "--interfaces", "none")  # as many as fit
        good, leaving = self.read(exporter), self.read(exporter)
        stuck = socket.socket(socket.AF_UNIX)
        stuck.connect(self.path)
        wait_until(lambda: exporter.ask()["readers"] == 3, "it is let in")
        self.make(exporter, count // 2)
        wait_until(lambda: leaving.text.count(b"\n") > 100, "lines come")
        leaving.leave()
        self.make(exporter, count // 2)
        late = self.read(exporter)
        self.make(exporter, 100)
        exporter.wait_log("too slow, for that reader alone")
        wait_until(lambda: good.text.count(b"\n") == count + 100, "every line arrives")
        self.assertEqual(exporter.output(), "")

        exporter.send(signal.SIGTERM)
        held = b""
        while chunk := stuck.recv(1 << 20):  # it has two seconds, and takes what there still is
            held += chunk
        stuck.close()
        totals = exporter.finish()
        flows = good.flows()
        self.assertEqual(len(flows), count + 100)
        records = port.records()
        for key, element in ("packets", 2), ("octets", 1):
            self.assertEqual(sum(flow[key] + flow[f"reply_{key}"] for flow in flows),
                             sum(record[element] for record in records))
        self.assertEqual(len(late.flows()), 100)
        kept = parse(held)
        self.assertEqual(kept[-1], flows[-1])
        self.assertGreater(totals["reader_lines_lost"], 0)
        self.assertEqual(len(kept) + totals["reader_lines_lost"], count + 100)
        port.socket.close()

    def test_restart(self):
        """What one that was killed left is replaced; one in use is not; it is gone at the end."""
        killed = self.start()
        killed.send(signal.SIGKILL)
        killed.wait()
        self.assertTrue(stat.S_ISSOCK(os.stat(self.path).st_mode))
        exporter = Ctflow9(self.lab, "--json-socket", "flows.sock", within=self.lab.in_folder())
        reader = self.read(exporter)
        second = self.lab.start(self.lab.client, "second", BINARY, "--json-socket", self.path)
        self.assertEqual(second.wait(), 1)
        self.assertIn(f"another program listens at {self.path}: give another --json-socket", second.log())
        self.make(exporter, 10)
        exporter.finish()
        self.assertEqual(len(reader.flows()), 10)
        self.assertFalse(os.path.exists(self.path))

    def test_stays(self):
        """Where the user that it goes on as may not remove it: that is said, and the next one begins with it."""
        os.chmod(self.lab.directory, 0o755)
        for _ in range(2):
            exporter = Ctflow9(self.lab, "--json-socket", "flows.sock",
                               within=("env", f"--chdir={self.lab.directory}"))
            exporter.finish()
            self.assertIn("flows.sock stays (Permission denied): user 65534 may not remove it", exporter.log())

    def test_permissions(self):
        """Who may write to the file may connect."""
        os.chmod(self.lab.directory, 0o711)
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({os.path.basename(self.path)!r})"
        for mask, group, allowed in ("022", 0, False), ("007", 0, True), ("007", 65534, False):
            with self.subTest(mask=mask, group=group):
                exporter = self.start(within=["sh", "-c", f'umask {mask}; exec "$@"', "-"])
                # From within, for the folders above it may be closed to others.
                tried = subprocess.run(["setpriv", "--reuid=65534", f"--regid={group}", "--clear-groups", "python3", "-c",
                                        connect], cwd=self.lab.directory, capture_output=True, text=True)
                self.assertEqual(tried.returncode == 0, allowed, tried.stderr)
                exporter.finish()

    def test_socat(self):
        """As the manual has it."""
        exporter = self.start()
        listener = self.lab.start(self.lab.client, "socat", "socat", "-u", f"UNIX-CONNECT:{self.path}", "-")
        wait_until(lambda: exporter.ask()["readers"] == 1, "it is let in")
        self.make(exporter, 10)
        wait_until(lambda: len(parse(listener.output().encode())) == 10, "every line arrives")
        exporter.finish()
        self.assertEqual(listener.wait(), 0)


if __name__ == "__main__":
    unittest.main()
