# SPDX-License-Identifier: GPL-2.0-or-later
"""What ctflow9 reads: other namespaces, marks, kernels without accounting, and what it says at start."""

import os
import re
import signal
import time
import unittest

from ctflow9 import Ctflow9
from lab import BINARY, PROGRAMS, Lab, Process, wait_until
from netflow import Port
from traffic import MASQUERADED, MASQUERADED_V6, PLAIN, PLAIN_V6, TARGETS, Traffic
from truth import Truth

OCTETS, PACKETS, LAST, FIRST, SOURCE_PORT, DESTINATION_PORT, START_MS, STOP_MS = 1, 2, 21, 22, 7, 11, 152, 153

# Connections of these server ports are marked; the others have no mark.
MARKS = """
table inet marks {
    chain forward {
        type filter hook forward priority filter
        tcp dport 7000 ct mark set 0x105
        udp dport 7000 ct mark set 0x205
    }
}
"""


class Reading(unittest.TestCase):
    def test_other_namespace(self):
        """Connections are read in one namespace, and told from the one that ctflow9 was started in."""
        for name in (lambda namespace: namespace.name), (lambda namespace: namespace.path):
            with Lab() as lab:
                port = Port(lab.collector, 2057, "127.0.0.1")
                exporter = Ctflow9(lab, "-c", "127.0.0.1:2057", "--netns", name(lab.router),
                                   namespace=lab.collector)
                traffic = Traffic(lab)
                traffic.udp(MASQUERADED, requests=1, answers=1)
                traffic.tcp(MASQUERADED_V6, 10, 10)
                lab.flush()
                self.assertEqual(exporter.finish()["flows"], 2)
                wait_until(lambda: len(port.records()) == 4, "four records arrive")

    def test_mark(self):
        for mark, connections in (("0x105", 1), ("5/0xff", 2), ("0", 1), ("0/0x100", 2), ("7", 0)):
            with self.subTest(mark=mark), Lab() as lab:
                lab.router.nft(MARKS)
                port = Port(lab.collector, 2057)
                exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--mark", mark)
                traffic = Traffic(lab)
                traffic.tcp(PLAIN, 10, 10)
                traffic.udp(PLAIN_V6, requests=1, answers=1)
                traffic.ping(PLAIN)
                lab.flush()
                totals = exporter.finish()
                self.assertEqual((totals["events"], totals["flows"]), (connections, connections))
                wait_until(lambda: len(port.records()) == 2 * connections, "the records arrive")

    def test_without_accounting_and_stamps(self):
        """Flows without counters have templates without; they start and end when their event is read."""
        with Lab() as lab:
            lab.router.sysctl({"net.netfilter.nf_conntrack_acct": 0,
                               "net.netfilter.nf_conntrack_timestamp": 0})
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--fields", "times")
            for sysctl in "nf_conntrack_acct", "nf_conntrack_timestamp":
                self.assertRegex(exporter.log(), f"{sysctl}.*(sysctl -w|--set-sysctls)")
            begin_ms = int(time.time() * 1000)
            traffic = Traffic(lab)
            for target in TARGETS:
                traffic.udp(target, requests=1, answers=0)
                traffic.tcp(target, 10, 10)
            lab.flush()
            totals = exporter.finish()
            end_ms = int(time.time() * 1000) + 1
            self.assertEqual(totals["flows"], 2 * len(TARGETS))
            self.assertEqual(totals["flows_no_counters"], 2 * len(TARGETS))
            # One direction of each UDP connection, both of each TCP one.
            wait_until(lambda: len(port.records()) == 3 * len(TARGETS), "the records arrive")
            for record in port.records():
                self.assertFalse({OCTETS, PACKETS} & record.keys())
                self.assertEqual(record[FIRST], record[LAST])
                self.assertEqual(record[START_MS], record[STOP_MS])
                self.assertTrue(begin_ms <= record[STOP_MS] <= end_ms)

    def test_set_sysctls(self):
        sysctls = {f"net.netfilter.nf_conntrack_{name}": 0 for name in ("acct", "timestamp", "events")}
        with Lab() as lab:
            lab.router.sysctl(sysctls)
            exporter = Ctflow9(lab, "--set-sysctls")
            self.assertEqual(lab.router.run("sysctl", "-n", *sysctls).split(), ["1", "1", "1"])
            exporter.finish()
            self.assertNotIn("nf_conntrack_", exporter.log())

    def test_nothing_to_complain_of(self):
        with Lab() as lab:
            exporter = Ctflow9(lab)
            self.assertEqual(exporter.log(), "")

    def test_nothing_tracks(self):
        """The line names a command that helps, just as it stands there."""
        with Lab() as lab:
            lab.router.nft("flush ruleset")
            exporter = Ctflow9(lab)
            said = re.fullmatch(r"ctflow9: warning: no rule .* for example: (nft .*)\n", exporter.log())
            self.assertTrue(said, exporter.log())
            lab.router.run("sh", "-c", said[1])
            traffic = Traffic(lab)
            traffic.udp(PLAIN, requests=1, answers=1)
            lab.flush()
            exporter.wait_flows(1)

    def test_no_capability(self):
        with Lab() as lab:
            process = Process(lab, "ctflow9", lab.router.command(
                "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", BINARY))
            self.assertEqual(process.wait(), 1)
            self.assertRegex(process.log(), r"\A[^\n]*CAP_NET_ADMIN[^\n]*\n\Z")

    def test_capabilities_of_the_service(self):
        """What is used at the start only is given up; what is missing is made up for, which is said."""
        net_admin = 1 << 12
        for capabilities, said in (("net_admin,+bpf,+perfmon", r""),
                                   ("net_admin,+bpf", r"ctflow9: what a program.*CAP_PERFMON.*\n"),
                                   ("net_admin", r"ctflow9: receiving without a BPF ring buffer.*CAP_BPF.*\n")):
            with self.subTest(capabilities=capabilities), Lab() as lab:
                limits = [f"--{name}=-all,+{capabilities}" for name in ("bounding-set", "inh-caps", "ambient-caps")]
                exporter = Ctflow9(lab, "--rx", "auto", within=("setpriv", "--reuid=4711", "--clear-groups", *limits))
                with open(f"/proc/{exporter.popen.pid}/status", encoding="ascii") as status:
                    permitted = re.search(r"CapPrm:\s*(\w+)", status.read())[1]
                self.assertEqual(int(permitted, 16), net_admin)
                self.assertRegex(exporter.log(), rf"\A{said}\Z")
                Traffic(lab).udp(PLAIN, requests=1, answers=1)
                lab.flush()
                exporter.wait_flows(1)

    def test_flush_is_heard(self):
        """These are removed by a program's request, and reported like others."""
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057")
            truth = Truth(lab)
            traffic = Traffic(lab)
            for target in TARGETS:
                traffic.udp(target, requests=2, answers=1)
            lab.flush()
            flows = truth.wait_flows(len(TARGETS))
            self.assertTrue(all(flow.requested for flow in flows))
            exporter.finish()
            wait_until(lambda: len(port.records()) == 2 * len(TARGETS), "the records arrive")
            self.assertEqual({record[136] for record in port.records()}, {4})

    def test_signals(self):
        """SIGUSR1 logs the totals, and all goes on; SIGINT ends it as SIGTERM does."""
        with Lab() as lab:
            exporter = Ctflow9(lab)
            traffic = Traffic(lab)
            for count in 1, 2:
                traffic.udp(PLAIN, requests=1, answers=1)
                lab.flush()
                exporter.wait_flows(count)
            traffic.udp(PLAIN, requests=1, answers=1)
            lab.flush()
            self.assertEqual(exporter.stop(signal.SIGINT), 0)
            self.assertEqual(exporter.totals()["flows"], 3)

    def test_hangup(self):
        """It is ignored under nohup."""
        with Lab() as lab:
            traffic = Traffic(lab)
            exporter = Ctflow9(lab, within=("nohup",))
            exporter.send(signal.SIGHUP)
            traffic.udp(PLAIN, requests=1, answers=1)
            lab.flush()
            exporter.wait_flows(1)
            exporter.finish()

    def test_namespace_made_anew(self):
        """It has another with the same name: what is left of the old one is reported, then the new one is read."""
        for options, flows in ((), 2500), (("--active-timeout", 0), 2000):
            with self.subTest(options=options), Lab() as lab:
                inner = self.make_inner(lab)
                exporter = Process(lab, "ctflow9", [BINARY, "--json", "--set-sysctls", "--netns", inner.name, *options])

                def is_read(count):
                    wait_until(lambda: inner.listeners() == 1, "ctflow9 listens")
                    inner.run(f"{PROGRAMS}/make_flows", "--flows", 1000)
                    inner.run("conntrack", "-F")
                    wait_until(lambda: exporter.output().count("\n") >= count, f"{count} lines are there")

                is_read(1000)
                # Nothing but a look at the table tells of these.
                inner.run(f"{PROGRAMS}/make_flows", "--flows", 500, "--skip", 5000)
                lab.namespaces.remove(inner)
                inner.remove()
                exporter.wait_log("was removed")
                inner = self.make_inner(lab)
                exporter.wait_log("is another one now")
                is_read(flows)
                self.assertEqual(exporter.stop(), 0)
                self.assertEqual(re.findall(r"totals: .* flows (\d+)", exporter.log()), [str(flows)])
                self.assertEqual(exporter.output().count("\n"), flows)

    def test_namespace_gone_again(self):
        """It vanishes while ctflow9 still takes what is left of the one before: the next one is waited for."""
        with Lab() as lab:
            first = self.make_inner(lab)
            second = self.make_inner(lab, "second")
            link = os.path.join(lab.directory, "link")
            os.symlink(first.path, link)
            exporter = Process(lab, "ctflow9", [*lab.in_folder(), BINARY, "--json", "--set-sysctls", "--netns",
                                                "./link", "--rcvbuf", "4K", "--active-timeout", 0])
            wait_until(lambda: first.listeners() == 1, "ctflow9 listens")
            first.run(f"{PROGRAMS}/make_flows", "--flows", 2000)
            exporter.send(signal.SIGSTOP)
            first.run("conntrack", "-F")  # does not fit, so that going over takes seconds
            os.symlink(second.path, link + "2")
            os.rename(link + "2", link)
            exporter.send(signal.SIGCONT)
            exporter.wait_log("is another one now")
            os.unlink(link)
            exporter.wait_log("is gone again")
            os.symlink(second.path, link)
            wait_until(lambda: second.listeners() == 1, "ctflow9 listens")
            second.run(f"{PROGRAMS}/make_flows", "--flows", 1000)
            second.run("conntrack", "-F")
            wait_until(lambda: exporter.output().count("\n") == 3000, "3000 lines are there")
            self.assertEqual(exporter.stop(), 0)

    def make_inner(self, lab, name="inner"):
        inner = lab.namespace(name)
        inner.nft("table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }")
        return inner

    def test_end_drains(self):
        """What the kernel has sent when SIGTERM comes is still read, and what is held is sent."""
        count = 20000
        with Lab() as lab:
            port = Port(lab.collector, 2057)
            exporter = Ctflow9(lab, "-c", "10.3.0.2:2057", "--max-delay", "600")
            lab.make_flows(count)
            lab.flush()
            self.assertEqual(exporter.finish()["flows"], count)
            wait_until(lambda: len(port.records()) == count, "all records arrive")


if __name__ == "__main__":
    unittest.main()
