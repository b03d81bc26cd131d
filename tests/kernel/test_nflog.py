# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that rules log: their flows have the packets and octets that the rules counted themselves."""

import ipaddress
import json
import os
import re
import signal
import socket
import struct
import time
import unittest
from collections import Counter, defaultdict

from collectors import Nfacctd, Nfcapd, Tshark
from ctflow9 import Ctflow9
from lab import BINARY, poll, run, wait_until
from netflow import Port
from packets import PacketTest

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/ctflow9.8")
TOS, TCP_FLAGS, IN, OUT, DIRECTION = 5, 6, 10, 14, 61
SOURCE_MAC, DESTINATION_MAC, VLAN, PACKETS, TTL_MIN, TTL_MAX = 56, 80, 58, 2, 52, 53
PREROUTING, POSTROUTING = "type filter hook prerouting priority -450", "type filter hook postrouting priority 0"


class Nflog(PacketTest):
    def start(self, *options):
        return Ctflow9(self.lab, "--no-conntrack", "--nflog", *options)

    def rules(self, hook, rules, family="inet"):
        """A chain with these rules, {name of its counter: (match, group)}."""
        counters = "\n".join(f"counter {name} {{ }}" for name in rules)
        lines = "\n".join(f"{match} counter name {name} log group {group}" for name, (match, group) in rules.items())
        self.lab.router.nft(f"table {family} logged {{\n{counters}\nchain logged {{\n{hook}\n{lines}\n}}\n}}")

    def counted(self, family="inet"):
        """{counter: (packets, octets)}, those of nothing left out."""
        listed = json.loads(self.lab.router.run("nft", "-j", "list", "counters", "table", family, "logged"))
        counters = (entry["counter"] for entry in listed["nftables"] if "counter" in entry)
        return {counter["name"]: (counter["packets"], counter["bytes"]) for counter in counters if counter["packets"]}

    def wait_read(self, exporter, family="inet"):
        """Until all that the rules have counted is read."""
        def is_read():
            totals = exporter.ask()
            return totals["packets"] + totals["packets_lost"] == sum(
                packets for packets, _ in self.counted(family).values())
        wait_until(is_read, "every packet is read")

    # Each kind of packet has a destination port, or an address, of its own.
    KINDS = {
        "udp4": "ip saddr 10.1.0.2 udp dport 7000",
        "udp6": "ip6 saddr fd01::2 udp dport 7000",
        "tcp4": "ip saddr 10.1.0.2 tcp dport 7001",
        "tcp6": "ip6 saddr fd01::2 tcp dport 7001",
        "ack4": "ip daddr 10.1.0.2 tcp sport 7001",
        "ack6": "ip6 daddr fd01::2 tcp sport 7001",
        "segments4": "ip saddr 10.1.0.2 udp dport 7002",
        "segments6": "ip6 saddr fd01::2 udp dport 7002",
        "fragments4": "ip saddr 10.1.0.2 ip daddr 10.2.0.3",
        "fragments6": "ip6 saddr fd01::2 ip6 daddr fd02::3",
        "options4": "ip saddr 10.1.0.2 udp dport 7003",
        "extensions6": "ip6 saddr fd01::2 udp dport 7003",
        "icmp4": "ip saddr 10.1.0.2 icmp type echo-request",
        "icmp6": "ip6 saddr fd01::2 icmpv6 type echo-request",
    }

    def test_flows_are_what_the_rules_counted(self):
        """Before fragments are put together."""
        self.rules(PREROUTING, {name: (match, 5) for name, match in self.KINDS.items()})
        exporter = self.start("5", "--json")
        self.traffic()
        self.wait_read(exporter)
        totals = exporter.finish()
        flows = self.flows(exporter)
        self.assertEqual(self.sums(flows, self.kind_of), self.counted())
        self.assertEqual(set(self.counted()), set(self.KINDS))
        self.assertEqual([totals[name] for name in ("packets_lost", "packets_malformed", "packets_unsized")], [0] * 3)
        self.assertEqual(len(flows), totals["flows"])
        # Segments of a transfer come as one packet, and fragments but the first have no ports.
        tcp = [flow for flow in flows if flow.get("dst_port") == 7001]
        self.assertTrue(all(flow["octets"] / flow["packets"] > 1500 for flow in tcp))
        self.assertEqual({flow["tcp_flags"] & 0x03 for flow in tcp}, {0x03})
        for destination in ("10.2.0.3", "fd02::3"):
            ports = {flow.get("dst_port"): flow["packets"] for flow in flows if flow["dst_address"] == destination}
            self.assertEqual(ports, {7004: 4, None: 12})
        self.assertEqual({flow["in_interface"] for flow in flows}, {self.number("client"), self.number("server")})

    def test_workers_share_groups(self):
        """And the hook tells the interfaces and the direction."""
        self.rules(POSTROUTING, {"udp4": ("ip saddr 10.1.0.2 udp dport 7000", 5),
                                 "udp6": ("ip6 saddr fd01::2 udp dport 7000", 6)})
        exporter = self.start("5,6,7", "--json", "--workers", 2)
        for source, destination in (("10.1.0.2", "10.2.0.2"), ("fd01::2", "fd02::2")):
            self.send(self.lab.client, source, destination, count=2000,
                      options=[(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 184) if ":" in source else
                               (socket.IPPROTO_IP, socket.IP_TOS, 184)])
        self.wait_read(exporter)
        exporter.finish()
        flows = self.flows(exporter)
        self.assertEqual(self.sums(flows, self.kind_of), self.counted())
        self.assertEqual({(flow["out_interface"], flow["egress"], flow["tos"]) for flow in flows},
                         {(self.number("server"), True, 184)})

    def frame(self, tags, payload, ethertype=0x0800, device="router"):
        """From the client, as a card gives it."""
        opened = self.lab.client.socket(socket.AF_PACKET, socket.SOCK_RAW)
        opened.bind((device, 0))
        header = bytes.fromhex("020000000002020000000001")
        header += b"".join(struct.pack("!HH", kind, tag) for kind, tag in tags) + struct.pack("!H", ethertype)
        opened.send(header + payload)

    @staticmethod
    def udp(destination_port, octets=100):
        udp = struct.pack("!HHHH", 9000, destination_port, 8 + octets, 0) + bytes(octets)
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton("10.1.0.2"),
                           socket.inet_aton("10.9.0.9")) + udp

    def test_frames_with_tags(self):
        """At netdev's ingress; octets are IP's, without tags and padding."""
        exporter = self.start("5", "--json", "--fields", "vlan,mac")
        # Only now: the client sends by itself as well (MLD), and what came before would be counted, but not read.
        self.rules('type filter hook ingress device "client" priority 0', {"every": ("", 5)}, "netdev")
        self.frame([], self.udp(1))
        self.frame([(0x8100, 0x6123)], self.udp(2))
        self.frame([(0x88a8, 0x0234), (0x8100, 0x0567)], self.udp(3))
        self.frame([], self.udp(4, 1) + bytes(17))
        self.frame([], bytes(28), 0x0806)
        self.frame([], bytes(40))
        wait_until(lambda: exporter.ask()["packets_other"] >= 1 and exporter.ask()["packets_malformed"] == 1,
                   "what is no IP is seen")
        self.wait_read(exporter, "netdev")
        totals = exporter.finish()
        flows = {flow["dst_port"]: flow for flow in self.flows(exporter) if flow["dst_address"] == "10.9.0.9"}
        self.assertEqual({port: (flow["octets"], flow.get("vlan")) for port, flow in flows.items()},
                         {1: (128, None), 2: (128, 0x123), 3: (128, 0x234), 4: (29, None)})
        self.assertEqual({(flow["src_mac"], flow["dst_mac"]) for flow in flows.values()},
                         {("02:00:00:00:00:01", "02:00:00:00:00:02")})
        self.assertEqual(totals["packets_malformed"], 1)

    def test_losses_are_counted(self):
        """What does not fit into a small buffer while nobody reads, to the packet."""
        count = 20000
        self.rules(PREROUTING, {"udp4": ("ip saddr 10.1.0.2 udp dport 7000", 5)})
        exporter = self.start("5", "--json", "--rcvbuf", "256K")
        exporter.send(signal.SIGSTOP)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=count)
        wait_until(lambda: self.counted()["udp4"][0] == count, "all are sent")
        exporter.send(signal.SIGCONT)
        wait_until(lambda: exporter.ask()["packets"] > 0, "what has come is read")
        # Losses are seen by what comes after them.
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2")
        self.wait_read(exporter)
        totals = exporter.finish()
        self.assertGreater(totals["packets_lost"], 0)
        self.assertGreater(totals["packets"], 1)
        self.assertEqual(totals["packets"] + totals["packets_lost"], count + 1)
        self.assertEqual(sum(flow["packets"] for flow in self.flows(exporter)), totals["packets"])
        self.assertIn("logged packets were lost", exporter.log())

    def test_nothing_is_lost_at_the_end(self):
        """What the kernel has not handed over yet either."""
        count = 500
        self.rules(PREROUTING, {"udp4": ("ip saddr 10.1.0.2 udp dport 7000", 5)})
        exporter = self.start("5", "--json")
        exporter.send(signal.SIGSTOP)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=count)
        wait_until(lambda: self.counted()["udp4"][0] == count, "all are sent")
        exporter.send(signal.SIGTERM)
        exporter.send(signal.SIGCONT)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=50)
        self.assertEqual(exporter.wait(), 0)
        flows = self.flows(exporter)
        self.assertEqual({flow["end_reason_name"] for flow in flows}, {"forced_end"})
        read = sum(flow["packets"] for flow in flows)
        self.assertEqual(read, exporter.totals()["packets"])
        self.assertGreaterEqual(read, count)
        self.assertNotIn("5", self.lab.router.nflog_groups())

    def test_a_group_that_another_program_holds(self):
        self.rules(PREROUTING, {"udp4": ("ip saddr 10.1.0.2 udp dport 7000", 5)})
        holder = self.start("5,6")
        exporter = self.start("5", "--json")
        wait_until(lambda: "NFLOG group 5 is held by another program" in exporter.log(), "that is told")
        holder.finish()
        wait_until(lambda: "NFLOG group 5 is read now" in exporter.log(), "it is taken")
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=10)
        self.wait_read(exporter)
        exporter.finish()
        self.assertEqual(self.sums(self.flows(exporter), self.kind_of), self.counted())

    def test_another_try_loses_no_packet(self):
        """Of the groups that are read, when more packets wait than one turn takes."""
        count = 20000
        self.rules(PREROUTING, {"udp4": ("ip saddr 10.1.0.2 udp dport 7000", 5)})
        holder = self.start("6")
        exporter = self.start("5,6", "--json")
        wait_until(lambda: "NFLOG group 6 is held by another program" in exporter.log(), "that is told")
        exporter.send(signal.SIGSTOP)
        begin = time.monotonic()
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=count)
        wait_until(lambda: self.counted()["udp4"][0] == count and time.monotonic() > begin + 2, "another try is due")
        exporter.send(signal.SIGCONT)
        self.wait_read(exporter)
        holder.finish()
        wait_until(lambda: "NFLOG group 6 is read now" in exporter.log(), "it is taken")
        self.assertEqual(exporter.finish()["packets_lost"], 0)
        self.assertEqual(self.sums(self.flows(exporter), self.kind_of), self.counted())

    def test_rules_of_iptables(self):
        """With a counter of their own, before and after what the router does."""
        def rule(chain, name, *match):
            command = "ip6tables" if name.endswith("6") else "iptables"
            self.lab.router.run(command, "-t", "mangle", "-A", chain, "-p", "udp", "--dport", 7000, *match, "-m",
                                "comment", "--comment", name, "-j", "NFLOG", "--nflog-group", 5, "--nflog-prefix", name)
        for name in "in4", "in6":
            rule("PREROUTING", name)
        for name in "out4", "out6":
            rule("POSTROUTING", name)
        exporter = self.start("5", "--json")
        for source, destination in (("10.1.0.2", "10.2.0.2"), ("fd01::2", "fd02::2")):
            self.send(self.lab.client, source, destination, count=25, octets=300)
        listed = "".join(self.lab.router.run(f"{command}-save", "-c", "-t", "mangle")
                         for command in ("iptables", "ip6tables"))
        counted = {name: (int(packets), int(octets)) for packets, octets, name in
                   re.findall(r"^\[(\d+):(\d+)\] .*--comment (\w+)", listed, re.MULTILINE)}
        self.assertEqual({name: packets for name, (packets, _) in counted.items()},
                         {name: 25 for name in ("in4", "in6", "out4", "out6")})
        wait_until(lambda: exporter.ask()["packets"] == 100, "every packet is read")
        exporter.finish()
        self.assertEqual(self.sums(self.flows(exporter), lambda flow: f"{'out' if flow.get('egress') else 'in'}"
                                                                      f"{flow['ip_version']}"), counted)

    def test_a_bridge(self):
        """The interfaces are its ports; what is not IP is left out, and a tag is told."""
        router = self.lab.router
        router.ip("link", "add", "bridge", "type", "bridge")
        for host, address in ((self.lab.client, "10.9.0.2"), (self.lab.server, "10.9.0.3")):
            port = f"port{address[-1]}"
            host.ip("link", "add", "bridged", "type", "veth", "peer", port, "netns", router.name)
            host.ip("address", "add", f"{address}/24", "dev", "bridged")
            host.ip("link", "set", "bridged", "up")
            router.ip("link", "set", port, "master", "bridge", "up")
        router.ip("link", "set", "bridge", "up")
        self.rules("type filter hook forward priority 0", {"every": ('iifname "port2"', 5)}, "bridge")
        exporter = self.start("5", "--json", "--fields", "mac,vlan")
        self.lab.client.run("ping", "-c", 1, "-w", 20, "10.9.0.3")
        self.send(self.lab.client, "10.9.0.2", "10.9.0.3", count=30)
        self.frame([(0x8100, 0x0234)], self.udp(2), device="bridged")
        self.wait_read(exporter, "bridge")
        totals = exporter.finish()
        flows = [flow for flow in self.flows(exporter) if flow["dst_address"] in ("10.9.0.3", "10.9.0.9")]
        self.assertEqual({(flow["protocol_name"], flow.get("dst_port"), flow.get("vlan")): (flow["packets"],
                                                                                            flow["octets"])
                          for flow in flows if flow["protocol_name"] == "udp"},
                         {("udp", 7000, None): (30, 30 * 128), ("udp", 2, 0x234): (1, 128)})
        self.assertEqual({(flow["in_interface"], flow["out_interface"]) for flow in flows
                          if flow["dst_address"] == "10.9.0.3"}, {(self.number("port2"), self.number("port3"))})
        client, server = (json.loads(host.run("ip", "-j", "link", "show", "bridged"))[0]["address"]
                          for host in (self.lab.client, self.lab.server))
        self.assertEqual({(flow["src_mac"], flow["dst_mac"]) for flow in flows if flow.get("dst_port") == 7000},
                         {(client, server)})
        self.assertGreater(totals["packets_other"], 0)  # ARP

    def test_without_privileges(self):
        exporter = self.lab.start(self.lab.router, "ctflow9", "setpriv", "--bounding-set", "-net_admin",
                                  "--inh-caps", "-net_admin", BINARY, "--no-conntrack", "--nflog", "5")
        self.assertEqual(exporter.wait(), 1)
        self.assertIn("reading NFLOG group 5 needs CAP_NET_ADMIN", exporter.log())

    def test_timeouts(self):
        """Idle flows end by themselves, busy ones are told of in parts, those that closed after a moment."""
        self.rules(PREROUTING, {name: (self.KINDS[name], 5) for name in ("udp4", "tcp4", "icmp4")})
        exporter = self.start("5", "--json", "--inactive-timeout", 2, "--active-timeout", 3)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=3)
        self.transfer("10.1.0.2", "10.2.0.2", 100000)
        self.lab.client.run("ping", "-c", 50, "-i", "0.1", "10.2.0.2")
        reasons = defaultdict(set)

        def have_ended():
            reasons.clear()
            for flow in self.flows(exporter):
                reasons[flow["protocol_name"]].add(flow["end_reason_name"])
            return reasons == {"udp": {"idle_timeout"}, "tcp": {"end_detected"},
                               "icmp": {"active_timeout"}}
        wait_until(have_ended, "each flow ends in its way")
        exporter.finish()
        self.assertEqual(self.sums(self.flows(exporter), self.kind_of), self.counted())

    def test_a_cache_that_is_full(self):
        self.rules(PREROUTING, {"udp4": ("ip saddr 10.1.0.2 udp dport 7000", 5)})
        exporter = self.start("5", "--json", "--flow-cache", 10)
        for _ in range(30):
            self.send(self.lab.client, "10.1.0.2", "10.2.0.2")
        self.wait_read(exporter)
        totals = exporter.finish()
        self.assertEqual(totals["cache_full"], 20)
        reasons = Counter(flow["end_reason_name"] for flow in self.flows(exporter))
        self.assertEqual(reasons, {"lack_of_resources": 20, "forced_end": 10})

    def test_beside_connections(self):
        """The manual's rules, and each thing once."""
        with open(MANUAL) as file:
            rules = re.search(r"table inet packets {.*?^}$", file.read(), re.DOTALL | re.MULTILINE)[0]
        self.lab.router.nft(rules.replace("ppp0", "server"))
        exporter = Ctflow9(self.lab, "--nflog", "5", "--json", "--workers", 2)
        self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=3)
        self.send(self.lab.server, "10.2.0.2", "10.1.0.1", count=4, port=23)
        wait_until(lambda: exporter.ask()["packets"] == 4, "the dropped ones are read")
        self.lab.flush()
        exporter.wait_flows(1)
        exporter.finish()
        flows = [(flow.get("kind"), flow["src_address"], flow["packets"]) for flow in self.flows(exporter)]
        self.assertCountEqual(flows, [(None, "10.1.0.2", 3), ("packets", "10.2.0.2", 4)])

    def test_collectors(self):
        """Every element, as nfdump, pmacct and tshark see it; and merged."""
        self.rules(PREROUTING, {name: (self.KINDS[name], 5) for name in ("udp4", "udp6", "tcp4", "icmp4", "icmp6")})
        nfcapd, nfacctd, tshark = (kind(self.lab) for kind in (Nfcapd, Nfacctd, Tshark))
        merged = Port(self.lab.collector, 2060)
        to = [word for collector in (nfcapd, nfacctd, tshark) for word in ("-c", f"10.3.0.2:{collector.port}")]
        exporter = self.start("5", "--json", "--fields", "mac,vlan,ttl,times,mark", *to)
        for source, destination in (("10.1.0.2", "10.2.0.2"), ("fd01::2", "fd02::2")):
            self.send(self.lab.client, source, destination, count=7,
                      options=[(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 96) if ":" in source else
                               (socket.IPPROTO_IP, socket.IP_TOS, 96),
                               (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 61) if ":" in source else
                               (socket.IPPROTO_IP, socket.IP_TTL, 62)])
            self.lab.client.run("ping", "-c", 2, "-i", "0.01", destination)
        self.transfer("10.1.0.2", "10.2.0.2", 10000)
        self.wait_read(exporter)
        totals = exporter.finish()
        self.assertEqual(totals["records"], totals["flows"])
        flows = self.flows(exporter)
        self.assertEqual(len(flows), 5)
        self.assertEqual({(flow["ttl_min"], flow["ttl_max"]) for flow in flows}, {(61, 61), (62, 62), (64, 64)})

        wait_until(lambda: len(tshark.inbox.records()) == 5, "all records come")
        tshark.decode()
        client = json.loads(self.lab.client.run("ip", "-j", "link", "show", "router"))[0]["address"]
        router = json.loads(self.lab.router.run("ip", "-j", "link", "show", "client"))[0]["address"]
        seen = Counter((record[TOS], record[TCP_FLAGS], record[IN], record[OUT], record[DIRECTION],
                        f"{record[SOURCE_MAC]:012x}", f"{record[DESTINATION_MAC]:012x}", record[VLAN],
                        record[TTL_MIN], record[TTL_MAX], record[PACKETS]) for record in tshark.inbox.records())
        self.assertEqual(seen, Counter((flow["tos"], flow.get("tcp_flags", 0), self.number("client"), 0, 0,
                                        client.replace(":", ""), router.replace(":", ""), 0, flow["ttl_min"],
                                        flow["ttl_max"], flow["packets"])
                                       for flow in flows))

        self.assertEqual(nfcapd.process.stop(), 0)
        self.assertIn("Sequence Errors: 0, Bad Packets: 0", nfcapd.process.log())
        dumped = json.loads(run("nfdump", "-R", nfcapd.directory, "-o", "json"))
        self.assertEqual(Counter((flow["in_packets"], flow["in_bytes"], flow["src_tos"]) for flow in dumped),
                         Counter((flow["packets"], flow["octets"], flow["tos"]) for flow in flows))
        poll(lambda: len(nfacctd.records()) == 5, limit_s=20)
        nfacctd.process.stop(signal.SIGINT)
        self.assertEqual(Counter((record.packets, record.octets) for record in nfacctd.records()),
                         Counter((flow["packets"], flow["octets"]) for flow in flows))

        exporter = self.start("5", "-c", "10.3.0.2:2060", "--aggregate", "src,proto")
        for _ in range(5):
            self.send(self.lab.client, "10.1.0.2", "10.2.0.2", count=2)
        wait_until(lambda: exporter.ask()["packets"] == 10, "every packet is read")
        exporter.finish()
        wait_until(lambda: merged.records(), "the aggregate comes")
        self.assertEqual([(str(ipaddress.IPv4Address(record[8])), record[PACKETS], record[3])
                          for record in merged.records()], [("10.1.0.2", 10, 5)])


if __name__ == "__main__":
    unittest.main()
