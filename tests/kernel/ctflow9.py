# SPDX-License-Identifier: GPL-2.0-or-later
"""ctflow9 running in the lab."""

import re
import signal

from lab import BINARY, Process, wait_until


class Ctflow9(Process):
    """Started in the lab's router, and listening. within: a command that runs it, such as setpriv."""

    def __init__(self, lab, *options, namespace=None, within=(), stdout=None):
        sockets = len(lab.router.event_sockets())
        command = (namespace or lab.router).command(*within, BINARY, *options)
        super().__init__(lab, "ctflow9", command, stdout)

        def listening():
            if not self.running():
                raise AssertionError(f"ctflow9 ended ({self.popen.returncode})")
            return len(lab.router.event_sockets()) > sockets
        wait_until(listening, "ctflow9 listens")

    def finish(self, limit_s=30):
        """Ends it as an operator would; returns its totals."""
        code = self.stop(limit_s=limit_s)
        if code != 0:
            raise AssertionError(f"ctflow9: exit {code}")
        return self.totals()

    def ask(self):
        """Its totals up to now."""
        shown = len(self.all_totals())
        self.send(signal.SIGUSR1)
        wait_until(lambda: len(self.all_totals()) > shown, "SIGUSR1 is answered")
        return self.totals()

    def wait_flows(self, count, limit_s=60):
        wait_until(lambda: self.ask()["flows"] >= count, f"{count} flows are counted", limit_s)

    def totals(self):
        """The latest totals, by counter."""
        return counters(self.all_totals()[-1])

    def all_totals(self):
        return re.findall(r"totals: (.*)\n", self.log())

    def collector_totals(self, name):
        return counters(re.findall(rf"totals of {re.escape(name)}: (.*)\n", self.log())[-1])


def counters(text):
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", text)}
