# SPDX-License-Identifier: GPL-2.0-or-later
"""Short of anything, it either runs or ends with one line that says why; with closed descriptors, too."""

import os
import re
import resource
import signal
import subprocess
import tempfile
import unittest

from ctflow9 import RX
from lab import BINARY, Lab, poll, wait_until

MIB = 1 << 20
OUTPUTS = (["--print"], ["-c", "10.3.0.2:2057"], ["--json", "-c", "10.3.0.2:2057", "-c", "localhost:2058"])
AGGREGATES = ["-c", "10.3.0.2:2057", "--aggregate", "src,dst"]


def limited(limit, value):
    return lambda: resource.setrlimit(limit, (value, value))


def starts_at(limit, values):
    """The first of the values with which the program can be loaded: what comes before it is not its own."""
    return next(value for value in values
                if subprocess.run([BINARY, "--version"], capture_output=True, check=False,
                                  preexec_fn=limited(limit, value)).returncode == 0)


class Start(unittest.TestCase):
    def attempt(self, lab, options, prepare):
        """Runs it until it listens, or ends by itself; whether it ran, and what it said."""
        with tempfile.TemporaryFile("w+") as log, lab.router:
            process = subprocess.Popen([BINARY, "--rx", RX, *options], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=log, preexec_fn=prepare)
            poll(lambda: self.is_listening() or process.poll() is not None)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(30)
            log.seek(0)
            said = log.read()
        errors = re.findall(r"^ctflow9: error: (.*)$", said, re.MULTILINE)
        self.assertIn((code, len(errors)), ((0, 0), (1, 1)), f"exit {code}: {said}")
        return errors[0] if errors else None

    @staticmethod
    def is_listening():
        """Whether anybody hears of destroyed connections, in the namespace of this thread."""
        netfilter, destroy_group = 12, 1 << 2
        with open("/proc/thread-self/net/netlink") as file:
            sockets = [line.split() for line in file.readlines()[1:]]
        return any(int(protocol) == netfilter and int(groups, 16) & destroy_group != 0
                   for _, protocol, _, groups, *_ in sockets)

    def attempts(self, options, limit, values):
        """What it said with each of the values, from the smallest on, until it has run with three of them."""
        said = []
        runs = 0
        with Lab() as lab:
            for value in values:
                with self.subTest(options=options, value=value):
                    why = self.attempt(lab, options, limited(limit, value))
                    runs += why is None
                    said += [why] if why else []
                if runs == 3:
                    break
        self.assertEqual(runs, 3, f"it never runs: {said}")
        return said

    def test_few_descriptors(self):
        values = range(starts_at(resource.RLIMIT_NOFILE, range(3, 100)), 100)
        for output in OUTPUTS:
            for workers in "1", "2", "4":
                said = self.attempts([*output, "--workers", workers], resource.RLIMIT_NOFILE, values)
                self.assertTrue(said)
                for why in said:
                    self.assertIn("Too many open files", why)
                    self.assertIn("raise the limit", why)
                    self.assertNotIn("modprobe", why)

    def test_little_memory(self):
        first = starts_at(resource.RLIMIT_AS, range(MIB, 100 * MIB, MIB // 4))
        for options in (OUTPUTS[0], [*OUTPUTS[2], "--workers", "4"], AGGREGATES):
            said = self.attempts(options, resource.RLIMIT_AS, range(first, 2048 * MIB, 3 * MIB))
            self.assertTrue(said)

    def test_closed_descriptors(self):
        """Nothing that it opens becomes standard input, output or error."""
        for closed in [0], [1], [2], [0, 1, 2]:
            with self.subTest(closed=closed), Lab() as lab, lab.router:
                process = subprocess.Popen([BINARY, "--rx", RX, "-c", "10.3.0.2:2057"],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL,
                                           preexec_fn=lambda: [os.close(descriptor) for descriptor in closed])
                wait_until(lambda: self.is_listening(), "it listens")
                opened = [os.readlink(f"/proc/{process.pid}/fd/{descriptor}") for descriptor in range(3)]
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(30), 0)
                self.assertEqual(opened, ["/" if n in closed else "/dev/null" for n in range(3)])


if __name__ == "__main__":
    unittest.main()
