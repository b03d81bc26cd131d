# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that rules queue: they go on, and their flows have the packets and octets that the rules counted."""

import json
import os
import re
import signal
import socket
import threading
import unittest

from ctflow9 import Ctflow9
from lab import BINARY, wait_until
from packets import PacketTest

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/ctflow9.8")
SO_RCVBUFFORCE = 33
UDP4 = {"udp4": "-s 10.1.0.2 -p udp --dport 7000"}


class Nfqueue(PacketTest):
    def start(self, *options):
        return Ctflow9(self.lab, "--no-conntrack", "--nfqueue", *options)

    def queue(self, rules, target="--queue-num 3 --queue-bypass"):
        """{name of its counter: match}: what comes by the router, for IPv6 when the name ends so."""
        for name, match in rules.items():
            command = "ip6tables" if name.endswith("6") else "iptables"
            self.lab.router.run(command, "-t", "mangle", "-A", "PREROUTING", *match.split(), "-m", "comment",
                                "--comment", name, "-j", "NFQUEUE", *target.split())

    def counted(self):
        """{name: (packets, octets)}, those of nothing left out."""
        listed = "".join(self.lab.router.run(f"{command}-save", "-c", "-t", "mangle")
                         for command in ("iptables", "ip6tables"))
        counters = re.findall(r"^\[(\d+):(\d+)\] .*--comment (\w+)", listed, re.MULTILINE)
        return {name: (int(packets), int(octets)) for packets, octets, name in counters if packets != "0"}

    def wait_read(self, exporter):
        def is_read():
            totals = exporter.ask()
            return totals["packets"] + totals["packets_lost"] == sum(packets for packets, _ in self.counted().values())
        wait_until(is_read, "every packet is read")

    def receiver(self, port=7000):
        opened = self.lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        opened.bind(("10.2.0.2", port))
        opened.setblocking(False)
        return opened

    @staticmethod
    def arrived(receiver):
        """How many datagrams have come since the last time."""
        count = 0
        try:
            while receiver.recv(2048) is not None:
                count += 1
        except BlockingIOError:
            return count

    def wait_arrived(self, receiver, count):
        arrived = self.arrived(receiver)

        def have_arrived():
            nonlocal arrived
            arrived += self.arrived(receiver)
            return arrived >= count
        wait_until(have_arrived, f"{count} datagrams arrive")
        self.assertEqual(arrived, count)

    KINDS = {
        "udp4": "-s 10.1.0.2 -p udp --dport 7000",
        "udp6": "-s fd01::2 -p udp --dport 7000",
        "tcp4": "-s 10.1.0.2 -p tcp --dport 7001",
        "tcp6": "-s fd01::2 -p tcp --dport 7001",
        "ack4": "-d 10.1.0.2 -p tcp --sport 7001",
        "ack6": "-d fd01::2 -p tcp --sport 7001",
        "segments4": "-s 10.1.0.2 -p udp --dport 7002",
        "segments6": "-s fd01::2 -p udp --dport 7002",
        "fragments4": "-s 10.1.0.2 -d 10.2.0.3",
        "fragments6": "-s fd01::2 -d fd02::3",
        "options4": "-s 10.1.0.2 -p udp --dport 7003",
        "extensions6": "-s fd01::2 -p udp --dport 7003",
        "icmp4": "-s 10.1.0.2 -p icmp --icmp-type echo-request",
        "icmp6": "-s fd01::2 -p icmpv6 --icmpv6-type echo-request",
    }

    @staticmethod
    def freeze(exporter):
        """Returns when no thread of it runs any more."""
        exporter.send(signal.SIGSTOP)

        def state(thread):
            with open(f"/proc/{exporter.pid}/task/{thread}/stat") as file:
                return file.read().rpartition(")")[2].split()[0]
        wait_until(lambda: {state(thread) for thread in os.listdir(f"/proc/{exporter.pid}/task")} == {"T"}, "it stops")

    def test_flows_are_what_the_rules_counted(self):
        """What was put together for offloading as one packet."""
        self.queue(self.KINDS)
        exporter = self.start("3", "--json", "--fields", "mac")
        self.traffic()
        self.wait_read(exporter)
        totals = exporter.finish()
        flows = self.flows(exporter)
        self.assertEqual(self.sums(flows, self.kind_of), self.counted())
        self.assertEqual(set(self.counted()), set(self.KINDS))
        self.assertEqual([totals[name] for name in ("packets_lost", "packets_malformed", "packets_unsized")], [0] * 3)
        self.assertEqual(len(flows), totals["flows"])
        tcp = [flow for flow in flows if flow.get("dst_port") == 7001]
        self.assertTrue(all(flow["octets"] / flow["packets"] > 1500 for flow in tcp))
        self.assertEqual({flow["in_interface"] for flow in flows}, {self.number("client"), self.number("server")})
        client = json.loads(self.lab.client.run("ip", "-j", "link", "show", "router"))[0]["address"]
        self.assertEqual({flow["src_mac"] for flow in tcp}, {client})
        self.assertEqual({flow.get("dst_mac") for flow in tcp}, {None})

    def test_queues_share_the_flow_cache_and_the_workers(self):
        """Beside connection tracking, which reports its own."""
        self.queue(UDP4, "--queue-balance 3:6 --queue-bypass")
        exporter = Ctflow9(self.lab, "--nfqueue", "3-6", "--json", "--workers", 2)
        receiver = self.receiver()
        for _ in range(20):
            self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=50)
        self.wait_arrived(receiver, 1000)
        self.wait_read(exporter)
        self.lab.flush()
        exporter.wait_flows(20)
        exporter.finish()
        flows = [flow for flow in self.flows(exporter) if flow.get("kind") == "packets"]
        self.assertEqual(self.sums(flows, self.kind_of), self.counted())
        self.assertEqual(len(flows), 20)
        self.assertEqual(len(self.flows(exporter)), 40)

    def test_a_stop_loses_no_packet(self):
        """In mid-traffic: all that was sent arrives, and what was queued is reported."""
        count = 20000
        self.queue(UDP4)
        receiver = self.receiver()
        exporter = self.start("3", "--json")
        sender = threading.Thread(target=self.send, args=(self.lab.client, "10.1.0.2", "10.2.0.2"),
                                  kwargs={"count": count})
        sender.start()
        wait_until(lambda: self.counted().get("udp4", (0, 0))[0] > 1000, "packets come")
        exporter.send(signal.SIGTERM)
        sender.join()
        self.assertEqual(exporter.wait(), 0)
        self.assertNotIn(3, self.lab.router.queues())
        self.wait_arrived(receiver, count)
        read = sum(flow["packets"] for flow in self.flows(exporter))
        self.assertEqual(read, exporter.totals()["packets"])
        self.assertGreater(read, 1000)

    def test_a_stop_takes_what_waits(self):
        count = 500
        self.queue(UDP4)
        receiver = self.receiver()
        exporter = self.start("3", "--json")
        self.freeze(exporter)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=count)
        wait_until(lambda: self.counted()["udp4"][0] == count, "all are queued")
        self.assertEqual(self.arrived(receiver), 0)
        exporter.send(signal.SIGTERM)
        exporter.send(signal.SIGCONT)
        self.assertEqual(exporter.wait(), 0)
        self.wait_arrived(receiver, count)
        self.assertEqual(self.sums(self.flows(exporter), self.kind_of), self.counted())

    def test_killed(self):
        """The kernel drops what waits, also with bypass; what comes later passes."""
        self.queue(UDP4)
        receiver = self.receiver()
        exporter = self.start("3", "--json")
        self.freeze(exporter)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=100)
        wait_until(lambda: self.counted()["udp4"][0] == 100, "all are queued")
        exporter.send(signal.SIGKILL)
        exporter.wait()
        wait_until(lambda: 3 not in self.lab.router.queues(), "the kernel knows")
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=7)
        self.wait_arrived(receiver, 7)
        self.assertEqual(self.counted()["udp4"][0], 107)

    def stop_and_overrun(self, count):
        """More packets than fit into a small buffer, while nobody reads; what does not fit has arrived."""
        self.queue(UDP4)
        receiver = self.receiver()
        exporter = self.start("3", "--json", "--rcvbuf", "64K")
        self.freeze(exporter)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=count)
        wait_until(lambda: self.counted()["udp4"][0] == count, "all are sent")
        return exporter, receiver

    def test_what_passes_unseen_is_counted(self):
        count = 3000
        exporter, receiver = self.stop_and_overrun(count)
        exporter.send(signal.SIGCONT)
        self.wait_arrived(receiver, count)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2")
        self.wait_read(exporter)
        totals = exporter.finish()
        self.assertGreater(totals["packets_lost"], 0)
        self.assertGreater(totals["packets"], 1)
        self.assertEqual(sum(flow["packets"] for flow in self.flows(exporter)), totals["packets"])
        self.assertIn("packets passed NFQUEUE queue 3 without being counted", exporter.log())

    def test_what_passes_unseen_at_the_end_is_counted(self):
        """With no packet after it."""
        count = 3000
        exporter, receiver = self.stop_and_overrun(count)
        exporter.send(signal.SIGTERM)
        exporter.send(signal.SIGCONT)
        self.assertEqual(exporter.wait(), 0)
        self.wait_arrived(receiver, count)
        totals = exporter.totals()
        self.assertGreater(totals["packets_lost"], 0)
        self.assertEqual(totals["packets"] + totals["packets_lost"], count)

    def test_marks_and_another_round(self):
        """Each packet keeps the bits of its mark that the mask leaves out, and meets the rules of the hook again."""
        mangle = ("iptables", "-t", "mangle", "-A", "PREROUTING", "-s", "10.1.0.2", "-p", "udp")
        for port, mark in ((7000, "0x5"), (7002, "0x7")):
            self.lab.router.run(*mangle, "--dport", port, "-m", "mark", "--mark", "0/0x10", "-j", "MARK", "--set-mark",
                                mark)
        self.queue({"udp4": "-s 10.1.0.2 -p udp -m mark --mark 0/0x10"})
        for name, mark in (("five", "0x15"), ("seven", "0x17")):
            self.lab.router.run(*mangle, "-m", "mark", "--mark", mark, "-m", "comment", "--comment", name)
        exporter = self.start("3", "--json", "--nfqueue-verdict", "repeat", "--nfqueue-mark", "0x10/0x10")
        receivers = [self.receiver(port) for port in (7000, 7002)]
        opened = self.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for i in range(400):
            opened.sendto(bytes(100), ("10.2.0.2", 7002 if i % 4 else 7000))
        for receiver, count in zip(receivers, (100, 300)):
            self.wait_arrived(receiver, count)
        octets = 128
        self.assertEqual(self.counted(), {"udp4": (400, 400 * octets), "five": (100, 100 * octets),
                                          "seven": (300, 300 * octets)})
        wait_until(lambda: exporter.ask()["packets"] == 400, "each is read once")
        exporter.finish()

    def test_a_mark_with_the_verdict(self):
        mangle = ("iptables", "-t", "mangle", "-A", "FORWARD", "-s", "10.1.0.2")
        self.queue(UDP4)
        self.lab.router.run(*mangle, "-m", "mark", "--mark", "0x99", "-m", "comment", "--comment", "marked")
        exporter = self.start("3", "--json", "--nfqueue-mark", "0x99")
        receiver = self.receiver()
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=100)
        self.wait_arrived(receiver, 100)
        self.assertEqual(self.counted()["marked"], self.counted()["udp4"])
        exporter.finish()

    def test_the_rules_of_the_manual(self):
        """Those of iptables, and with the last one the options that go with it."""
        with open(MANUAL) as file:
            text = file.read()
        rules = [line.replace("ppp0", "server").split() for line in re.findall(r"^iptables .*$", text, re.MULTILINE)]
        options = re.search(r"^ctflow9 --nfqueue 3 (.*)$", text, re.MULTILINE)[1].split()
        rules = [rule for rule in rules if "NFQUEUE" in rule]
        self.assertEqual(len(rules), 2)
        receiver = self.receiver()
        for rule, given in zip(rules, ([], options)):
            self.lab.router.run("iptables", "-t", "mangle", "-F")
            self.lab.router.run(*rule, "-m", "comment", "--comment", "manual")
            exporter = self.start("3", "--json", *given)
            self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=10)
            self.wait_arrived(receiver, 10)
            wait_until(lambda: exporter.ask()["packets"] >= 10, "they are read")
            exporter.finish()
            self.assertEqual([flow["packets"] for flow in self.flows(exporter)], [10])

    def test_a_queue_that_another_program_holds(self):
        self.queue(UDP4)
        holder = self.start("3-4")
        exporter = self.start("3", "--json")
        wait_until(lambda: "NFQUEUE queue 3 is held by another program" in exporter.log(), "that is told")
        holder.finish()
        wait_until(lambda: "NFQUEUE queue 3 is read now" in exporter.log(), "it is taken")
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=10)
        self.wait_read(exporter)
        exporter.finish()
        self.assertEqual(self.sums(self.flows(exporter), self.kind_of), self.counted())

    def test_without_privileges(self):
        exporter = self.lab.start(self.lab.router, "ctflow9", "setpriv", "--bounding-set", "-net_admin",
                                  "--inh-caps", "-net_admin", BINARY, "--no-conntrack", "--nfqueue", "3")
        self.assertEqual(exporter.wait(), 1)
        self.assertIn("reading NFQUEUE queue 3 needs CAP_NET_ADMIN", exporter.log())

    def test_flows_end_faster_than_they_are_taken(self):
        """A cache of one flow, so that nearly each packet ends one: they go on all the same."""
        self.queue(UDP4)
        receiver = self.receiver()
        exporter = self.start("3", "--json", "--flow-cache", 1)
        senders = [self.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for i in range(10000):
            senders[i % 2].sendto(bytes(100), ("10.2.0.2", 7000))
        self.wait_arrived(receiver, 10000)
        self.wait_read(exporter)
        totals = exporter.finish()
        self.assertEqual(sum(flow["packets"] for flow in self.flows(exporter)), totals["packets"])
        self.assertGreater(totals["cache_full"], 1000)


if __name__ == "__main__":
    unittest.main()
