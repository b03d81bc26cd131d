# SPDX-License-Identifier: GPL-2.0-or-later
"""The one command of the README: what it shows, and that it leaves nothing behind."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import subprocess
import tempfile
import termios
import time
import unittest
from collections import Counter

from lab import SLOW, Lab, run, wait_until
from netflow import Port
from traffic import PLAIN, Traffic

QUICKSTART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../quickstart")


class Demo:
    """quickstart --demo, running, with a directory of its own for its files."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.output = tempfile.TemporaryFile("w+")
        self.popen = subprocess.Popen([QUICKSTART, "--demo"], env=os.environ | {"TMPDIR": self.directory.name},
                                      stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.terminate()
        self.popen.wait()
        self.directory.cleanup()
        self.output.close()

    def text(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode()

    def left_behind(self):
        """Its namespaces are named after its process."""
        spaces = [name for name in run("ip", "netns", "list").splitlines() if f"-{self.popen.pid}-" in name]
        return spaces + os.listdir(self.directory.name)


class Terminal:
    """A command on a terminal of its own, and all that it prints there."""

    def __init__(self, *command, env=None):
        self.fd, slave = pty.openpty()
        self.popen = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                      env=os.environ | (env or {}))
        os.close(slave)
        os.set_blocking(self.fd, False)
        self.printed = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.terminate()
        self.popen.wait()
        self.close()

    def text(self):
        # When nobody has it open any more, reading is an error.
        with contextlib.suppress(OSError):
            while self.fd is not None and (octets := os.read(self.fd, 65536)):
                self.printed += octets
        return self.printed.decode()

    def press(self, key):
        os.write(self.fd, key)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
        self.fd = None

    def wait(self):
        """Its exit code."""
        wait_until(lambda: self.text() is not None and self.popen.poll() is not None, "the command ends")
        return self.popen.returncode


CTRL_C = b"\x03"


class Quickstart(unittest.TestCase):
    def test_demo(self):
        """ctflow9's lines and nfdump's show the same octets; all in less than 40 s, times SLOW."""
        begin = time.monotonic()
        with Demo() as demo:
            self.assertEqual(demo.popen.wait(60 * SLOW), 0, demo.text())
            self.assertLess(time.monotonic() - begin, 40 * SLOW)
            self.assertEqual(demo.left_behind(), [])
            ours, theirs = demo.text().split("# nfdump")
        printed = re.findall(r"^20.* (?:tcp|udp|icmp6?) .*$", ours, re.MULTILINE)
        self.assertGreaterEqual(len(printed), 8)
        octets = Counter(count for line in printed for count in re.findall(r" (\d+) B\b", line))
        collected = re.findall(r"^20.* (?:TCP|UDP|ICMP6?) .* (\d+)$", theirs, re.MULTILINE)
        self.assertEqual(Counter(collected), octets)
        for shown in "snat", "dnat", "icmp6", "[", "closed", "idle":
            self.assertIn(shown, ours)

    def test_demo_interrupted(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with self.subTest(signal=number.name), Demo() as demo:
                wait_until(lambda: "# ctflow9" in demo.text(), "the demo runs")
                demo.popen.send_signal(number)
                self.assertNotEqual(demo.popen.wait(30), 0)
                wait_until(lambda: demo.left_behind() == [], "nothing is left behind")

    def test_demo_ctrl_c(self):
        """On a terminal all programs of the demo hear of it; ctflow9 ends with its totals, without a warning."""
        with tempfile.TemporaryDirectory() as files, Terminal(QUICKSTART, "--demo", env={"TMPDIR": files}) as terminal:
            wait_until(lambda: " udp " in terminal.text(), "the demo's first connections are printed")
            terminal.press(CTRL_C)
            self.assertEqual(terminal.wait(), 130)
            self.assertNotIn("warning", terminal.text())
            self.assertIn("totals: ", terminal.text())
            self.assertNotIn(f"-{terminal.popen.pid}-", run("ip", "netns", "list"))
            self.assertEqual(os.listdir(files), [])

    def test_live(self):
        """Where nothing makes the kernel track, it adds a rule, and removes it at the end."""
        with Lab() as lab:
            lab.router.nft("flush ruleset")
            lab.router.sysctl({"net.netfilter.nf_conntrack_acct": 0})
            process = lab.start(lab.router, "quickstart", QUICKSTART)
            wait_until(lambda: "127.0.0.1:9 " in process.output(), "the script's own connection is printed", 15)
            self.assertIn("inet ctflow9_quickstart", lab.router.run("nft", "list", "tables"))
            self.assertEqual(lab.router.run("sysctl", "-n", "net.netfilter.nf_conntrack_acct"), "1\n")
            traffic = Traffic(lab)
            traffic.udp(PLAIN, requests=1, answers=1)
            lab.flush()
            wait_until(lambda: "10.2.0.2:7000" in process.output(), "a line is printed")
            process.stop(signal.SIGINT)
            self.assertEqual(lab.router.run("nft", "list", "tables"), "")
            self.assertIn("totals: ", process.log())

    def test_live_where_rules_track(self):
        with Lab() as lab:
            process = lab.start(lab.router, "quickstart", QUICKSTART, "-c", "10.3.0.2")
            wait_until(lambda: lab.router.listeners() > 0, "ctflow9 listens")
            self.assertNotIn("ctflow9_quickstart", lab.router.run("nft", "list", "tables"))
            process.stop()
            self.assertIn("totals of 10.3.0.2:2055", process.log())

    @contextlib.contextmanager
    def live(self):
        """The script on a terminal, with a connection that goes on, and a collector."""
        with Lab() as lab:
            lab.router.nft("flush ruleset")
            lab.router.sysctl({f"net.netfilter.nf_conntrack_{name}": 600
                               for name in ("udp_timeout", "udp_timeout_stream")})
            collector = Port(lab.collector, 2055)
            with Terminal(*lab.router.command(QUICKSTART, "-c", "10.3.0.2")) as terminal:
                wait_until(lambda: terminal.text() and lab.router.listeners() > 0, "ctflow9 listens")
                traffic = Traffic(lab)
                traffic.udp(PLAIN, requests=1, answers=1)
                yield lab, collector, terminal
                self.assertEqual(lab.router.listeners(), 0)
                self.assertEqual(lab.router.run("nft", "list", "tables"), "")

    def check_all_reported(self, collector):
        ports = Counter(record[7] for record in collector.records())
        self.assertEqual((ports[7000], ports[2055]), (1, 0), ports)

    def check_ended_well(self, collector, terminal):
        self.assertEqual(terminal.wait(), 0)
        self.assertNotIn("warning", terminal.text())
        self.assertEqual(terminal.text().count("ctflow9: totals: "), 1)
        self.assertRegex(terminal.text(), r"10\.2\.0\.2:7000 .* active")
        self.check_all_reported(collector)

    def test_ctrl_c(self):
        """Once or, in haste, several times: what connections have carried so far is reported."""
        for keys in CTRL_C, CTRL_C * 3:
            with self.subTest(keys=keys), self.live() as (_, collector, terminal):
                terminal.press(keys)
                self.check_ended_well(collector, terminal)

    def test_signals(self):
        """To the script alone, to its group, and two at a time as at a session's end."""
        for numbers in (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGTERM, signal.SIGHUP):
            for send in os.kill, os.killpg:
                with self.subTest(numbers=numbers, send=send), self.live() as (_, collector, terminal):
                    for number in numbers:
                        send(terminal.popen.pid, number)
                    self.check_ended_well(collector, terminal)

    def test_terminal_closed(self):
        with self.live() as (_, collector, terminal):
            terminal.close()
            terminal.wait()
            self.check_all_reported(collector)

    def test_killed(self):
        """What is left then is the rule, which the next run removes."""
        with self.live() as (lab, collector, terminal):
            terminal.popen.kill()
            wait_until(lambda: lab.router.listeners() == 0, "ctflow9 ends")
            self.check_all_reported(collector)
            lab.router.nft("delete table inet ctflow9_quickstart")

    def test_nohup(self):
        """It outlives its terminal, and ends with its totals."""
        with Lab() as lab, tempfile.TemporaryDirectory() as files:
            command = lab.router.command("sh", "-c", 'nohup "$0" >"$1/out" 2>&1 & echo $! >"$1/pid"; wait',
                                         QUICKSTART, files)
            with Terminal(*command) as terminal:
                wait_until(lambda: lab.router.listeners() > 0, "ctflow9 listens")
                terminal.close()
                terminal.wait()
            with open(f"{files}/pid") as file:
                script = int(file.read())
            self.assertEqual(lab.router.listeners(), 1)
            os.kill(script, signal.SIGTERM)
            wait_until(lambda: not os.path.exists(f"/proc/{script}"), "the script ends")
            with open(f"{files}/out") as file:
                said = file.read()
            self.assertIn("ctflow9: totals: ", said)
            self.assertNotIn("warning", said)

    def test_ctrl_c_while_building(self):
        with Lab() as lab, tempfile.TemporaryDirectory() as programs, tempfile.TemporaryDirectory() as files:
            with open(f"{programs}/cmake", "w") as cmake:
                cmake.write(f"#!/bin/sh\n: >{programs}/begun\nexec sleep 600\n")
            os.chmod(cmake.name, 0o755)
            with Terminal(*lab.router.command(QUICKSTART),
                          env={"TMPDIR": files, "PATH": f"{programs}:{os.environ['PATH']}", "CTFLOW9": ""}) as terminal:
                wait_until(lambda: os.path.exists(f"{programs}/begun"), "the build begins")
                terminal.press(CTRL_C)
                self.assertEqual(terminal.wait(), 130)
                self.assertEqual(os.listdir(files), [])

    def test_bad_arguments(self):
        with Lab() as lab:
            process = lab.start(lab.router, "quickstart", QUICKSTART, "--bogus")
            self.assertEqual(process.wait(), 2)
            self.assertRegex(process.log(), r"\Actflow9: .*\n\Z")


if __name__ == "__main__":
    unittest.main()
