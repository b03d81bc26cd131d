# SPDX-License-Identifier: GPL-2.0-or-later
"""Real collectors. check(records) ends one, and fails unless it got exactly these as far as it can tell."""

import datetime
import json
import os
import re
import signal
import socket
import struct
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

from lab import poll, run, wait_until
from netflow import Port
from truth import ICMP, ICMPV6, Record, assert_same

UTC = datetime.timezone.utc


def milliseconds(text):
    """An ISO 8601 time in UTC."""
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def wait_listening(lab, process, port):
    def listening():
        if not process.running():
            raise AssertionError(f"{process.name} ended ({process.popen.returncode})")
        return f":{port} " in lab.collector.run("ss", "-lunH")
    wait_until(listening, f"{process.name} listens on port {port}")


class Nfcapd:
    """nfdump's collector. It knows of no flowEndReason, mark or zone."""

    def __init__(self, lab, port=2055):
        self.directory = os.path.join(lab.directory, f"nfcapd.{port}")
        os.mkdir(self.directory)
        self.port = port
        self.process = lab.start(lab.collector, "nfcapd", "nfcapd", "-p", port, "-b", "10.3.0.2",
                                 "-w", self.directory, "-t", 3600)
        wait_listening(lab, self.process, port)

    def check(self, records):
        if self.process.stop() != 0:
            raise AssertionError("nfcapd failed")
        # Once for each file that it wrote: it begins a new one at each full hour.
        errors = re.findall(r"Sequence Errors: (\d+), Bad Packets: (\d+)", self.process.log())
        if set(errors) != {("0", "0")}:
            raise AssertionError(f"nfcapd counts (sequence errors, bad packets) {errors}")
        expected = [record._replace(end_reason=None, mark=None, zone=None) for record in records]
        flows = json.loads(run("nfdump", "-R", self.directory, "-o", "json"))
        assert_same(expected, [self.record(flow) for flow in flows])

    @staticmethod
    def record(flow):
        family = "4" if "src4_addr" in flow else "6"
        if flow["proto"] in (ICMP, ICMPV6):
            ports = (0, flow["icmp_type"] << 8 | flow["icmp_code"])
        else:
            ports = (flow["src_port"], flow["dst_port"])
        nat = (None,) * 4
        if f"src{family}_xlt_ip" in flow:
            nat = (flow[f"src{family}_xlt_ip"], int(flow["src_xlt_port"]),
                   flow[f"dst{family}_xlt_ip"], int(flow["dst_xlt_port"]))
        return Record(flow["proto"], flow[f"src{family}_addr"], ports[0], flow[f"dst{family}_addr"], ports[1],
                      *nat, flow["in_packets"], flow["in_bytes"],
                      milliseconds(flow["first"]), milliseconds(flow["last"]), None, None, None)


class Nfacctd:
    """pmacct's collector. It has no flowEndReason, mark or zone, and no IPv6 address behind a NAT. No NAT is
    shown as port 0. Times are whole seconds, rounded up, and records that it cannot tell apart are added up."""

    AGGREGATE = ("src_host,dst_host,src_port,dst_port,proto,in_iface,out_iface,timestamp_start,timestamp_end,"
                 "post_nat_src_host,post_nat_dst_host,post_nat_src_port,post_nat_dst_port")

    def __init__(self, lab, port=2056, aggregate=AGGREGATE, more=""):
        """more: further lines of its configuration."""
        self.port = port
        self.output = os.path.join(lab.directory, "nfacctd.json")
        configuration = os.path.join(lab.directory, "nfacctd.conf")
        with open(configuration, "w") as file:
            file.write(f"""
                daemonize: false
                nfacctd_ip: 10.3.0.2
                nfacctd_port: {port}
                aggregate: {aggregate}
                plugins: print
                print_output: json
                print_num_protos: true
                print_output_file: {self.output}
                print_output_file_append: true
                print_refresh_time: 1
                {more}
                """.replace(" " * 16, ""))
        self.process = lab.start(lab.collector, "nfacctd", "nfacctd", "-f", configuration)
        wait_listening(lab, self.process, port)

    def check(self, records):
        expected = self.add_up([self.seen(record) for record in records])
        # It writes once a second; when it ends, what is on the way to its plugin may be lost.
        poll(lambda: sorted(self.records()) == sorted(expected), limit_s=20)
        self.process.stop(signal.SIGINT)
        assert_same(expected, self.records())

    @staticmethod
    def seen(record):
        def seconds_up(time_ms):
            return -(-time_ms // 1000) * 1000

        if record.nat_source is None:
            record = record._replace(nat_source="", nat_source_port=0,
                                     nat_destination="", nat_destination_port=0)
        elif ":" in record.source:
            record = record._replace(nat_source="", nat_destination="")
        return record._replace(first_ms=seconds_up(record.first_ms), last_ms=seconds_up(record.last_ms),
                               end_reason=None, mark=None, zone=None)

    @staticmethod
    def add_up(records):
        counted = defaultdict(lambda: [0, 0])
        for record in records:
            counters = counted[record._replace(packets=0, octets=0)]
            counters[0] += record.packets
            counters[1] += record.octets
        return [key._replace(packets=packets, octets=octets) for key, (packets, octets) in counted.items()]

    def records(self):
        try:
            with open(self.output) as file:
                return self.add_up([self.record(json.loads(line)) for line in file if line.endswith("\n")])
        except FileNotFoundError:
            return []

    @staticmethod
    def record(flow):
        return Record(int(flow["ip_proto"]),
                      flow["ip_src"], flow["port_src"], flow["ip_dst"], flow["port_dst"],
                      flow["post_nat_ip_src"], flow["post_nat_port_src"],
                      flow["post_nat_ip_dst"], flow["post_nat_port_dst"],
                      flow["packets"], flow["bytes"],
                      milliseconds(flow["timestamp_start"]), milliseconds(flow["timestamp_end"]),
                      None, None, None)


class Tshark:
    """Wireshark's decoder, given every datagram that came to a port."""

    def __init__(self, lab, port=2057, fields=()):
        self.lab = lab
        self.fields = fields
        self.port = port
        self.inbox = Port(lab.collector, port)

    def check(self, records):
        self.inbox.read()
        if self.inbox.sequence_gap() != 0:
            raise AssertionError("datagrams are missing")
        untold = {name: None for name in ("mark", "zone") if name not in self.fields}
        expected = [record._replace(**untold) for record in records]
        assert_same(expected, [self.record(flow, epoch_ms) for flow, epoch_ms in self.flows()])

    def decode(self):
        path = os.path.join(self.lab.directory, f"{self.port}.pcap")
        write_pcap(path, [datagram.octets for datagram in self.inbox.datagrams])
        text = run("tshark", "-r", path, "-d", f"udp.port=={PCAP_PORT},cflow", "-T", "pdml", "-O", "cflow")
        document = ElementTree.fromstring(text)
        for element in document.iter():
            # _ws.malformed, _ws.expert, ...
            if element.get("name", "").startswith("_ws."):
                raise AssertionError(f"tshark: {element.get('showname') or element.get('show')}")
        return document

    def flows(self):
        """Each flow as {tshark's name: integer or address}, with the epoch of its datagram's stamps."""
        for packet in self.decode().iter("packet"):
            header = {field.get("name"): field for field in packet.find("proto[@name='cflow']").iter("field")}
            epoch_ms = value(header["cflow.unix_secs"]) * 1000 - value(header["cflow.sysuptime"])
            for flow in packet.iter("field"):
                if re.fullmatch(r"Flow \d+", flow.get("show", "")):
                    values = {field.get("name")[len("cflow."):]: value(field)
                              for field in flow.iter("field") if field.get("name") and field.get("value")}
                    if "scope_system" not in values:
                        yield values, epoch_ms

    @staticmethod
    def record(flow, epoch_ms):
        def get(*names):
            return next((flow[name] for name in names if name in flow), None)

        return Record(flow["protocol"], get("srcaddr", "srcaddrv6"), flow["srcport"],
                      get("dstaddr", "dstaddrv6"), flow["dstport"],
                      get("post_natsource_ipv4_address", "post_nat_source_ipv6_address"),
                      get("post_naptsource_transport_port"),
                      get("post_natdestination_ipv4_address", "post_nat_destination_ipv6_address"),
                      get("post_naptdestination_transport_port"),
                      get("packets"), get("octets"),
                      flow.get("abstimestart", epoch_ms + flow["timestart"]),
                      flow.get("abstimeend", epoch_ms + flow["timeend"]),
                      flow["flow_end_reason"], get("common_properties_id"), get("ingress_vrfid"))


def value(field):
    return field.get("show") if "addr" in field.get("name") else int(field.get("value"), 16)


PCAP_PORT = 2055


def write_pcap(path, datagrams):
    """UDP datagrams, with IPv4 headers made up, as a pcap file (LINKTYPE_IPV4)."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 228))
        for datagram in datagrams:
            udp = struct.pack("!HHHH", 40000, PCAP_PORT, 8 + len(datagram), 0) + datagram
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                             bytes([10, 3, 0, 1]), bytes([10, 3, 0, 2])) + udp
            file.write(struct.pack("<IIII", 0, 0, len(ip), len(ip)) + ip)
