#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real packets for the oracle, over lo of the network namespace that it is started in.

oracle_traffic.py rules     addresses, translations, zones and marks; once, before the traffic
oracle_traffic.py traffic   connections of every protocol, IPv4 and IPv6, translated and not, in zones and not

Addresses: .1 is a client and .2 a server; .3 is translated to .6 as a destination, .4 to .5 as a source. A
packet's mark chooses: bits 8 and 9 the kind of zone, the low octet becomes the connection's mark.
"""

import socket
import struct
import subprocess
import sys

ADDRESSES = {socket.AF_INET: "10.9.0.%d", socket.AF_INET6: "fd09::%d"}
RULES = """
table inet oracle {
    chain zones {
        type filter hook output priority raw
        meta mark & 0x300 == 0x100 ct zone set 77
        meta mark & 0x300 == 0x200 ct original zone set 300
        meta mark & 0x300 == 0x300 ct reply zone set 65000
    }
    chain marks {
        type filter hook output priority filter
        meta mark & 0xff != 0 ct mark set meta mark & 0xff
    }
    chain destinations {
        type nat hook output priority -100
        ip daddr 10.9.0.3 dnat ip to 10.9.0.6
        ip6 daddr fd09::3 dnat ip6 to fd09::6
    }
    chain sources {
        type nat hook postrouting priority 100
        ip saddr 10.9.0.4 snat ip to 10.9.0.5
        ip6 saddr fd09::4 snat ip6 to fd09::5
    }
}
"""
SYSCTLS = {"ipv4/ping_group_range": "0 0", "ipv4/fwmark_reflect": "1", "ipv6/fwmark_reflect": "1"}

# Client, the server that it speaks to, the server that hears it.
ENDS = [(1, 2, 2), (1, 3, 6), (4, 2, 2), (4, 3, 6)]
ZONES = [0, 0x100, 0x200, 0x300]
ROUNDS = 3


def rules():
    if subprocess.run(["ip", "link", "show", "up"], check=True, capture_output=True).stdout:
        sys.exit("oracle_traffic.py: this network namespace is in use, refused; start the oracle instead")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for host in range(1, 7):
        for family, prefix, extra in (socket.AF_INET, "/24", []), (socket.AF_INET6, "/64", ["nodad"]):
            address = ADDRESSES[family] % host + prefix
            subprocess.run(["ip", "addr", "add", address, "dev", "lo"] + extra, check=True)
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
    for name, value in SYSCTLS.items():
        with open("/proc/sys/net/" + name, "w", encoding="ascii") as sysctl:
            sysctl.write(value)


def open_socket(family, kind, protocol, host, mark):
    one = socket.socket(family, kind, protocol)
    one.settimeout(10)
    one.bind((ADDRESSES[family] % host, 0))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    return one


def tcp(family, client, server, hearer, mark, turn):
    """Ends in TIME_WAIT, by reset, or not at all before the caller ends."""
    listener = open_socket(family, socket.SOCK_STREAM, 0, hearer, mark)
    listener.listen()
    one = open_socket(family, socket.SOCK_STREAM, 0, client, mark)
    one.connect((ADDRESSES[family] % server, listener.getsockname()[1]))
    other = listener.accept()[0]
    one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark + 1)
    one.sendall(b"request")
    other.recv(100)
    other.sendall(b"a longer reply")
    one.recv(100)
    if turn == 1:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if turn == 2:
        return [one, other]
    one.close()
    other.close()
    return []


def udp(family, client, server, hearer, mark):
    service = open_socket(family, socket.SOCK_DGRAM, 0, hearer, mark)
    one = open_socket(family, socket.SOCK_DGRAM, 0, client, mark)
    for turn in range(2):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark + turn)
        one.sendto(b"request", (ADDRESSES[family] % server, service.getsockname()[1]))
        service.sendto(b"a longer reply", service.recvfrom(100)[1])
        one.recv(100)


def ping(family, client, server, mark):
    ipv4 = family == socket.AF_INET
    protocol = socket.IPPROTO_ICMP if ipv4 else socket.IPPROTO_ICMPV6
    one = open_socket(family, socket.SOCK_DGRAM, protocol, client, mark)
    for turn in range(2):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark + turn)
        one.sendto(bytes([8 if ipv4 else 128]) + bytes(20), (ADDRESSES[family] % server, 0))
        one.recv(100)


def raw(family, client, server, mark, protocol, payload):
    """Nobody answers but the kernel, by ICMP."""
    one = open_socket(family, socket.SOCK_RAW, protocol, client, mark)
    for turn in range(2):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark + turn)
        try:
            one.sendto(payload, (ADDRESSES[family] % server, 0))
        except PermissionError:
            pass  # without ports, two connections may clash in one direction's zone: the kernel drops one


def raw_payloads(port):
    """What conntrack looks at before it makes an entry."""
    yield 136, struct.pack("!4H", port, 4002, 0, 1)  # UDPlite, all of it covered
    yield 132, struct.pack("!HHII", port, 4004, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
    yield 47, struct.pack("!HH", 0, 0x0800)  # GRE without a key
    yield 47, struct.pack("!HHHHI", 0x3001, 0x880B, 4, port, 1) + bytes(4)  # PPTP, port is its call id
    yield 33, bytes(16)
    yield 89, bytes(24)
    yield 253, b"other"


def traffic():
    held = []
    port = 5000
    for turn in range(ROUNDS):
        for family in ADDRESSES:
            for client, server, hearer in ENDS:
                for zone in ZONES:
                    mark = zone + 2 * turn
                    port += 1
                    held += tcp(family, client, server, hearer, mark, turn)
                    udp(family, client, server, hearer, mark)
                    ping(family, client, server, mark)
                    for protocol, payload in raw_payloads(port):
                        raw(family, client, server, mark, protocol, payload)


{"rules": rules, "traffic": traffic}[sys.argv[1]]()
