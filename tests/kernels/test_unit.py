# SPDX-License-Identifier: GPL-2.0-or-later
"""The service unit under the machine's own systemd. It changes the machine: run it in one of tests/kernels."""

import os
import shutil
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../kernel"))

from lab import BINARY, PROGRAMS, Namespace, run, wait_until  # noqa: E402
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


def show(name, unit="ctflow9"):
    return run("systemctl", "show", "--value", "--property", name, unit).strip()


def journal():
    return run("journalctl", "--quiet", "--unit", "ctflow9", "--output", "cat")


def unit_file(name):
    return os.path.join(HERE, "../../systemd", name)


def modules():
    with open("/proc/modules") as file:
        return {line.split()[0] for line in file}


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def listens():
    """Whether someone hears of destroyed connections: netfilter is 12, their group bit 4."""
    with open("/proc/net/netlink") as file:
        return any(line.split()[1] == "12" and int(line.split()[3], 16) & 4 for line in list(file)[1:])


class Unit(unittest.TestCase):
    def setUp(self):
        shutil.copy(BINARY, "/usr/sbin/ctflow9")
        for name in "ctflow9.service", "ctflow9@.service":
            shutil.copy(unit_file("ctflow9.service"), os.path.join("/etc/systemd/system", name))
        run("systemctl", "daemon-reload")
        run("nft", "-f", "-", text=RULES)

    def test_unit(self):
        run("systemctl", "start", "ctflow9")
        self.assertEqual(show("ActiveState"), "inactive", "neither running nor failed: it has no options yet")

        with open("/etc/default/ctflow9", "w") as file:
            file.write('CTFLOW9_OPTIONS="-c 127.0.0.1 -c nobody.invalid --set-sysctls"\n')
        port = Port(Machine, 2055, "127.0.0.1")
        self.addCleanup(port.close)
        run("systemctl", "enable", "--now", "ctflow9")
        self.assertEqual(run("systemctl", "is-enabled", "ctflow9"), "enabled\n")
        self.assertEqual((show("ActiveState"), show("SubState")), ("active", "running"))
        self.assertTrue(listens(), "it is ready, whatever becomes of a collector's name")
        self.assertEqual(run("sysctl", "-n", "net.netfilter.nf_conntrack_acct"), "1\n")

        self.flows(port, COUNT)
        wait_until(lambda: "flows/s, events lost: 0" in show("StatusText"), "the status is told")
        before = journal()
        run("systemctl", "kill", "--signal", "USR1", "ctflow9")
        wait_until(lambda: f"flows {COUNT}," in journal()[len(before):], "SIGUSR1 is answered")

        run("systemctl", "stop", "ctflow9")
        self.assertEqual((show("ActiveState"), show("Result"), show("ExecMainStatus")), ("inactive", "success", "0"))
        self.assertEqual(len(port.records()), COUNT)

    def flows(self, port, wanted):
        """Connections end, until so many have come to the port."""
        run(f"{PROGRAMS}/make_flows", "--flows", COUNT)
        run("conntrack", "-F")
        wait_until(lambda: len(port.records()) >= wanted, f"the collector has {wanted} flows")

    def test_stopped_and_crashed(self):
        os.makedirs("/run/systemd/system/ctflow9.service.d", exist_ok=True)
        with open("/run/systemd/system/ctflow9.service.d/test.conf", "w") as file:
            file.write("[Service]\nWatchdogSec=6\nTimeoutAbortSec=2\nRestartSec=1\n")
        with open("/etc/default/ctflow9", "w") as file:
            file.write('CTFLOW9_OPTIONS="-c 127.0.0.1 --set-sysctls --workers 2"\n')
        self.addCleanup(os.remove, "/etc/default/ctflow9")
        run("systemctl", "daemon-reload")
        port = Port(Machine, 2055, "127.0.0.1")
        self.addCleanup(port.close)
        run("systemctl", "start", "ctflow9")
        self.addCleanup(run, "systemctl", "stop", "ctflow9")
        restarts = int(show("NRestarts"))
        started = time.monotonic()
        wait_until(lambda: time.monotonic() > started + 15, "the watchdog's time has gone by twice")
        self.assertEqual(int(show("NRestarts")), restarts, "it is at rest, not stuck")

        for signal, why in ("STOP", "Watchdog timeout"), ("SEGV", "status=11/SEGV"):
            pid = show("MainPID")
            run("kill", f"-{signal}", pid)
            restarts += 1
            wait_until(lambda: int(show("NRestarts")) == restarts and show("SubState") == "running",
                       f"it is started again after SIG{signal}")
            self.assertNotEqual(show("MainPID"), pid)
            self.assertIn(why, journal())
            self.flows(port, len(port.records()) + COUNT)

    def test_boot_order(self):
        """Started before there is a module, a network or a name: it is ready, says what is missing, and catches up."""
        with open("/etc/default/ctflow9", "w") as file:
            file.write('CTFLOW9_OPTIONS="-c 10.9.0.2 -c late.collector.example --set-sysctls"\n')
        self.addCleanup(os.remove, "/etc/default/ctflow9")
        run("modprobe", "-r", "nf_conntrack_netlink")
        self.assertNotIn("nf_conntrack_netlink", modules())
        run("systemctl", "start", "ctflow9")
        self.addCleanup(run, "systemctl", "stop", "ctflow9")
        self.assertEqual(show("SubState"), "running")
        self.assertIn("nf_conntrack_netlink", modules())
        run(f"{PROGRAMS}/make_flows", "--flows", COUNT)
        run("conntrack", "-F")
        for trouble in ("10.9.0.2:2055: cannot send, trying again every second",
                        "late.collector.example:2055: the name does not resolve, trying again every 5 seconds"):
            wait_until(lambda: trouble in journal(), f"the log says {trouble!r}")

        late = Namespace("late")
        self.addCleanup(late.remove)
        run("ip", "link", "add", "late", "type", "veth", "peer", "near", "netns", late.name)
        for address in "10.9.0.2/24", "10.9.0.3/24":
            late.ip("address", "add", address, "dev", "near")
        late.ip("link", "set", "near", "up")
        run("ip", "address", "add", "10.9.0.1/24", "dev", "late")
        ports = [Port(late, 2055, address) for address in ("10.9.0.2", "10.9.0.3")]
        run("ip", "link", "set", "late", "up")
        with open("/etc/hosts", "r+") as file:
            before = file.read()
            self.addCleanup(write, "/etc/hosts", before)
            file.write("10.9.0.3 late.collector.example\n")
        for port in ports:
            wait_until(lambda: len(port.records()) >= COUNT, "what waited arrives")

    def test_instance(self):
        """A configuration of its own; modules and sysctls as at boot."""
        run("/usr/lib/systemd/systemd-modules-load", os.path.abspath(unit_file("ctflow9.modules-load.conf")))
        run("sysctl", "-w", "net.netfilter.nf_conntrack_acct=0")
        run("sysctl", "-p", unit_file("ctflow9.sysctl.conf"))
        port = Port(Machine, 2055, "127.0.0.1")
        self.addCleanup(port.close)
        unit = "ctflow9@edge-1"
        run("systemctl", "start", unit)
        self.assertEqual(show("ActiveState", unit), "inactive", "it has no configuration yet")
        with open(f"/etc/{unit}.json", "w") as file:
            file.write('{"collector": ["127.0.0.1"]}')
        run("systemctl", "start", unit)
        self.addCleanup(run, "systemctl", "stop", unit)
        self.assertEqual(show("SubState", unit), "running")
        self.flows(port, COUNT)
        self.assertTrue(all(record[1] > 0 for record in port.records()))

        other = Port(Machine, 2056, "127.0.0.1")
        self.addCleanup(other.close)
        pid = show("MainPID", unit)
        with open(f"/etc/{unit}.json", "w") as file:
            file.write('{"collector": ["127.0.0.1", "127.0.0.1:2056"]}')
        run("systemctl", "reload", unit)
        wait_until(other.read, "it has read its configuration again")
        self.assertEqual((show("SubState", unit), show("MainPID", unit)), ("running", pid))
        self.flows(other, COUNT)
        self.flows(port, 3 * COUNT)


if __name__ == "__main__":
    unittest.main()
