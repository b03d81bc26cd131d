# SPDX-License-Identifier: GPL-2.0-or-later
"""ctflow9 running in the lab."""

import os
import re
import signal

from lab import BINARY, Process, wait_until

# How each ctflow9 receives, unless a test says otherwise.
RX = os.environ.get("CTFLOW9_RX", "auto")


class Ctflow9(Process):
    """Started in the lab's router, and listening. within: a command that runs it, such as setpriv."""

    def __init__(self, lab, *options, namespace=None, within=(), stdout=None):
        workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 1
        if RX == "fentry":
            workers = 0  # nobody listens
        wanted = lab.router.listeners() + (0 if "--no-conntrack" in options else workers)
        groups = set(str(options[options.index("--nflog") + 1]).split(",")) if "--nflog" in options else set()
        queues = str(options[options.index("--nfqueue") + 1]).split("-") if "--nfqueue" in options else []
        queues = set(range(int(queues[0]), int(queues[-1]) + 1)) if queues else set()
        command = (namespace or lab.router).command(*within, BINARY, "--rx", RX, *options)
        super().__init__(lab, "ctflow9", command, stdout)

        def listening():
            if not self.running():
                raise AssertionError(f"ctflow9 ended ({self.popen.returncode})")
            return (lab.router.listeners() >= wanted and (not groups or groups <= lab.router.nflog_groups())
                    and (not queues or queues <= lab.router.queues() and self.takes_signals()))
        wait_until(listening, "ctflow9 listens")
        if RX == "fentry" and "--no-conntrack" not in options:
            self.wait_log("with --rx=fentry the kernel keeps nothing")
        if queues:
            self.ask()  # packets pass them by until all is set up

    def takes_signals(self):
        """SIGUSR1 is no end of it any more."""
        with open(f"/proc/{self.pid}/status") as file:
            blocked = re.search(r"^SigBlk:\s*(\w+)$", file.read(), re.MULTILINE)[1]
        return int(blocked, 16) >> (signal.SIGUSR1 - 1) & 1 == 1

    def finish(self, limit_s=30):
        """Ends it as an operator would; returns its totals."""
        code = self.stop(limit_s=limit_s)
        if code != 0:
            raise AssertionError(f"ctflow9: exit {code}")
        return self.totals()

    def ask(self, name=None):
        """Its totals up to now, or those of a collector."""
        shown = len(self.said(name))
        self.send(signal.SIGUSR1)
        wait_until(lambda: len(self.said(name)) > shown, "SIGUSR1 is answered")
        return self.totals(name)

    def wait_flows(self, count, limit_s=60):
        wait_until(lambda: self.ask()["flows"] >= count, f"{count} flows are counted", limit_s)

    def dump_thread(self):
        """The thread that looks through the table: it alone is nice, but for that of the metrics."""
        threads = map(int, os.listdir(f"/proc/{self.pid}/task"))
        return next(thread for thread in threads
                    if os.getpriority(os.PRIO_PROCESS, thread) > 0 and self.thread_name(thread) != "metrics")

    def thread_name(self, thread):
        with open(f"/proc/{self.pid}/task/{thread}/comm") as file:
            return file.read().strip()

    def totals(self, name=None):
        """The latest totals, or those of a collector, by counter."""
        return {counter: int(value) for counter, value in re.findall(r"(\w+) (\d+)", self.said(name)[-1])}

    def said(self, name):
        return re.findall(rf"totals of {re.escape(name)}: (.*)\n" if name else r"totals: (.*)\n", self.log())
