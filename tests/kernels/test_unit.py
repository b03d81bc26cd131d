# SPDX-License-Identifier: GPL-2.0-or-later
"""The service unit under the machine's own systemd. It changes the machine: run it in one of tests/kernels."""

import os
import shutil
import socket
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../kernel"))

from lab import BINARY, PROGRAMS, run, wait_until  # noqa: E402
from netflow import Port  # noqa: E402

COUNT = 500
RULES = """
table inet track {
    chain track { type filter hook prerouting priority 0; ct state new; }
    chain own { type filter hook output priority raw; udp dport 2055 notrack; }
}
"""


class Machine:
    """Where this runs, for a Port."""

    @staticmethod
    def socket(family, kind):
        return socket.socket(family, kind)


def show(name):
    return run("systemctl", "show", "--value", "--property", name, "ctflow9").strip()


def journal():
    return run("journalctl", "--quiet", "--unit", "ctflow9", "--output", "cat")


def listens():
    """Whether someone hears of destroyed connections: netfilter is 12, their group bit 4."""
    with open("/proc/net/netlink") as file:
        return any(line.split()[1] == "12" and int(line.split()[3], 16) & 4 for line in list(file)[1:])


class Unit(unittest.TestCase):
    def setUp(self):
        shutil.copy(BINARY, "/usr/sbin/ctflow9")
        shutil.copy(os.path.join(HERE, "../../systemd/ctflow9.service"), "/etc/systemd/system")
        run("systemctl", "daemon-reload")
        run("nft", "-f", "-", text=RULES)

    def test_unit(self):
        run("systemctl", "start", "ctflow9")
        self.assertEqual((show("ActiveState"), show("ConditionResult")), ("inactive", "no"), "it has no options yet")

        with open("/etc/default/ctflow9", "w") as file:
            file.write('CTFLOW9_OPTIONS="-c 127.0.0.1 --set-sysctls"\n')
        port = Port(Machine, 2055, "127.0.0.1")
        self.addCleanup(port.close)
        run("systemctl", "enable", "--now", "ctflow9")
        self.assertEqual(run("systemctl", "is-enabled", "ctflow9"), "enabled\n")
        wait_until(listens, "ctflow9 listens")
        self.assertEqual(run("sysctl", "-n", "net.netfilter.nf_conntrack_acct"), "1\n")

        run(f"{PROGRAMS}/make_flows", "--flows", COUNT)
        run("conntrack", "-F")
        wait_until(lambda: len(port.records()) >= COUNT, f"the collector has {COUNT} flows")
        run("systemctl", "kill", "--signal", "USR1", "ctflow9")
        wait_until(lambda: f"flows {COUNT}," in journal(), "SIGUSR1 is answered")

        run("systemctl", "stop", "ctflow9")
        self.assertEqual((show("ActiveState"), show("Result"), show("ExecMainStatus")), ("inactive", "success", "0"))
        self.assertEqual(len(port.records()), COUNT)


if __name__ == "__main__":
    unittest.main()
