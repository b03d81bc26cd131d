# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left of root's privileges, as the kernel tells it of every thread, and that it is enough."""

import os
import re
import signal
import socket
import time
import unittest

from ctflow9 import Ctflow9
from lab import BINARY, PROGRAMS, Lab, Process, wait_until
from netflow import Port
from test_names import WITH_FILE, NameServer
from test_reload import Configured
from traffic import PLAIN, PLAIN_V6, Traffic

NET_ADMIN, SYS_PTRACE, SYS_ADMIN, SYS_NICE, BPF = (1 << number for number in (12, 19, 21, 23, 39))
NEEDED = NET_ADMIN | SYS_NICE
NOBODY = 65534


def statuses(pid):
    """What the kernel says of each thread: {name: words}."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            yield {name: words.split() for name, words in (line.split(":", 1) for line in file)}


class Privileges(unittest.TestCase):
    def assert_left(self, process, capabilities=NEEDED, uid=NOBODY, gid=NOBODY):
        for status in statuses(process.pid):
            self.assertEqual(status["Uid"], [str(uid)] * 4)
            self.assertEqual(status["Gid"], [str(gid)] * 4)
            for name, value in (("CapPrm", capabilities), ("CapEff", capabilities), ("CapInh", 0), ("CapAmb", 0),
                                ("CapBnd", 0)):
                self.assertEqual(int(status[name][0], 16), value, name)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), (["1"], ["2"]))

    def test_every_thread(self):
        """However events are received; connections that end, and those that last, are reported."""
        for rx in "bpf", "uring", "recvmmsg":
            with self.subTest(rx=rx), Lab() as lab:
                port = Port(lab.collector, 2057)
                exporter = Ctflow9(lab, "--rx", rx, "--workers", "2", "-c", "10.3.0.2:2057", "--active-timeout", "1")
                traffic = Traffic(lab)
                lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})
                traffic.udp(PLAIN, requests=1, answers=0)
                wait_until(lambda: len(port.records()) == 1, "one that lasts is reported")
                # Two workers, the dump's, and those of interfaces and of routes.
                self.assertEqual(len(list(statuses(exporter.pid))), 5)
                self.assert_left(exporter)
                traffic.udp(PLAIN_V6, requests=1, answers=1)
                lab.flush()
                wait_until(lambda: len(port.records()) >= 3, "one that ended is reported")
                self.assert_left(exporter)
                self.assertEqual(exporter.finish()["lost"], 0)
                self.assertEqual(exporter.totals("10.3.0.2:2057")["send_errors"], 0)

    def test_other_users(self):
        with open("/etc/passwd", encoding="utf-8") as file:
            uid, gid = next(line.split(":")[2:4] for line in file if line.startswith("daemon:"))
        for user, ids in (("daemon", (uid, gid)), (uid, (uid, gid)), ("4711", (4711, 4711)), ("root", (0, 0))):
            with self.subTest(user=user), Lab() as lab:
                exporter = Ctflow9(lab, "--user", user)
                Traffic(lab).udp(PLAIN, requests=1, answers=1)
                lab.flush()
                exporter.wait_flows(1)
                self.assert_left(exporter, NEEDED, *ids)

    def test_no_drop(self):
        with Lab() as lab:
            exporter = Ctflow9(lab, "--no-drop", "--user", "not-there")
            for status in statuses(exporter.pid):
                self.assertEqual(status["Uid"], ["0"] * 4)
                self.assertTrue(int(status["CapEff"][0], 16) & BPF)
                self.assertEqual(status["NoNewPrivs"], ["0"])

    def refused(self, lab, *command):
        """It ends with one line, which is returned."""
        process = Process(lab, "ctflow9", lab.router.command(*command))
        self.assertEqual(process.wait(), 1)
        errors = re.findall(r"^ctflow9: error: (.*)$", process.log(), re.MULTILINE)
        self.assertEqual(len(errors), 1, process.log())
        self.assertEqual(process.output(), "")
        return errors[0]

    def test_refusals(self):
        with Lab() as lab:
            self.assertIn("no user not-there", self.refused(lab, BINARY, "--user", "not-there"))
            limits = [f"--{name}=-setuid" for name in ("bounding-set", "inh-caps")]
            self.assertIn("become another user", self.refused(lab, "setpriv", *limits, BINARY))
            os.mkdir(os.path.join(lab.directory, "closed"), 0o700)
            link = os.path.join(lab.directory, "closed/link")
            os.symlink(lab.router.path, link)
            self.assertIn(link, self.refused(lab, BINARY, "--netns", link))
            for folder in lab.directory, os.path.join(lab.directory, "closed"):  # where root alone makes files
                self.assertIn("Permission denied for user 4711, who has to be able to make files in that folder",
                              self.refused(lab, BINARY, "--user", "4711", "--metrics-file", f"{folder}/a.prom"))
            self.assertEqual(os.listdir(os.path.join(lab.directory, "closed")), ["link"])

    def test_started_as_another(self):
        """As the service is: there is no user to become, and no more capabilities to keep than were given."""
        with Lab() as lab:
            exporter = Ctflow9(lab, "--user", "not-there", within=(
                "setpriv", "--reuid=4711", "--regid=4712", "--clear-groups", "--bounding-set=-all,+net_admin",
                "--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin"))
            Traffic(lab).udp(PLAIN, requests=1, answers=1)
            lab.flush()
            exporter.wait_flows(1)
            for status in statuses(exporter.pid):
                self.assertEqual((status["Uid"][0], status["Gid"][0]), ("4711", "4712"))
                self.assertEqual([int(status[name][0], 16) for name in ("CapPrm", "CapInh", "CapAmb")],
                                 [NET_ADMIN, 0, 0])
                self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), (["1"], ["2"]))

    def test_name_known_later(self):
        """It is looked up, and its collector's socket opened, long after."""
        with Lab() as lab:
            path = os.path.join(lab.directory, "resolv.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write("nameserver 10.3.0.2\n")
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "collector.example:2057",
                               within=(*WITH_FILE, path, "/etc/resolv.conf"))
            exporter.wait_log("collector.example")
            self.assert_left(exporter)
            server = NameServer(lab)
            Traffic(lab).udp(PLAIN, requests=1, answers=1)
            lab.flush()

            def arrived():
                server.answer()
                return len(port.records()) == 2
            wait_until(arrived, "the records arrive")

    def test_namespace_made_anew(self):
        """All that opening takes is left for the next one, the BPF ring included."""
        with Lab() as lab:
            inner = self.make_inner(lab, "inner")
            exporter = Process(lab, "ctflow9", [BINARY, "--verbose", "--set-sysctls", "--json", "--netns", inner.name,
                                                "--rx", "bpf"])
            self.is_read(inner, exporter, 100)
            self.assert_left(exporter, NEEDED | SYS_ADMIN)
            lab.namespaces.remove(inner)
            inner.remove()
            exporter.wait_log("was removed")
            self.is_read(self.make_inner(lab, "inner"), exporter, 200)
            self.assertEqual(exporter.log().count("receiving with a BPF ring buffer"), 2)
            self.assertNotIn("warning: cannot", exporter.log())
            self.assert_left(exporter, NEEDED | SYS_ADMIN)
            self.assertEqual(exporter.stop(), 0)

    def test_namespace_of_a_process(self):
        """Whose process goes over to another one, while others may not look at what root's processes do."""
        with Lab() as lab:
            first, second = (self.make_inner(lab, name) for name in ("first", "second"))
            owner = lab.start(first, "owner", "sh", "-c",
                              f"trap 'exec nsenter --net={second.path} sleep 600' USR1; while :; do sleep 0.1; done")
            exporter = Process(lab, "ctflow9", [BINARY, "--json", "--set-sysctls", "--netns",
                                                f"/proc/{owner.pid}/ns/net"])
            self.is_read(first, exporter, 100)
            self.assert_left(exporter, NEEDED | SYS_ADMIN | SYS_PTRACE)
            self.assertNotIn("removed", exporter.log())
            owner.send(signal.SIGUSR1)
            self.is_read(second, exporter, 200)
            self.assertEqual(exporter.stop(), 0)

    @staticmethod
    def make_inner(lab, name):
        inner = lab.namespace(name)
        inner.nft("table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }")
        return inner

    @staticmethod
    def is_read(namespace, exporter, count):
        wait_until(lambda: namespace.listeners() == 1, "ctflow9 listens")
        namespace.run(f"{PROGRAMS}/make_flows", "--flows", 100)
        namespace.run("conntrack", "-F")
        wait_until(lambda: exporter.output().count("\n") >= count, f"{count} lines are there")

    def test_configuration_read_again(self):
        """By a user who may, with a collector that is new; by one who may not, who is told so at the start."""
        with Lab() as lab:
            ports = [Port(lab.collector, port) for port in (2057, 2058)]
            exporter = Configured(lab, {"collector": "10.3.0.2:2057", "max-delay": 0})
            self.assertNotIn("SIGHUP", exporter.log())
            self.assertIn("changed is --collector", exporter.reload({"collector": ["10.3.0.2:2057", "10.3.0.2:2058"],
                                                                     "max-delay": 0}))
            Traffic(lab).udp(PLAIN, requests=1, answers=1)
            lab.flush()
            for port in ports:
                wait_until(lambda: len(port.records()) == 2, "both get it")
            self.assert_left(exporter)
            exporter.finish()

            os.chmod(exporter.path, 0o600)
            exporter = Ctflow9(lab, "--config", "ctflow9.json", within=lab.in_folder())
            self.assertIn("user nobody may not read ctflow9.json, so SIGHUP will change nothing", exporter.log())
            exporter.send(signal.SIGHUP)
            exporter.wait_log("the old one goes on: ctflow9.json: Permission denied for user 65534")
            os.chmod(os.path.join(lab.directory, "ctflow9.json"), 0o644)
            exporter.send(signal.SIGHUP)
            exporter.wait_log("nothing has changed")
            exporter.finish()

    def test_watchdog(self):
        """The service manager's socket is written to while it runs."""
        with Lab() as lab:
            manager = lab.router.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            manager.bind("\0manager")
            manager.settimeout(30)
            exporter = Ctflow9(lab, within=("env", "NOTIFY_SOCKET=@manager", "WATCHDOG_USEC=800000"))
            said = ""
            deadline = time.monotonic() + 30
            while said.count("WATCHDOG=1") < 3 and time.monotonic() < deadline:
                said += manager.recv(4096).decode()
            self.assertIn("READY=1", said)
            self.assertGreaterEqual(said.count("WATCHDOG=1"), 3)
            self.assert_left(exporter)


if __name__ == "__main__":
    unittest.main()
