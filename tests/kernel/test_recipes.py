# SPDX-License-Identifier: GPL-2.0-or-later
"""The set-ups of ctflow9-recipes(7), as they stand there, each in a network made for it."""

import os
import re
import signal
import socket
import struct
import unittest
from ipaddress import ip_address

from lab import BINARY, PROGRAMS, Lab, Process, many, poll, run, wait_until
from netflow import Port

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../man/ctflow9-recipes.7")
COLLECTOR = "192.0.2.10"
SHARED = "Four pmacct that share, and one PostgreSQL"
# A million, when they are asked for.
SHARED_FLOWS, ROUND = int(os.environ.get("CTFLOW9_TEST_SHARED_FLOWS", many(20000))), 100000
SOURCE, DESTINATION, SOURCE6, PACKETS = 8, 12, 27, 2
SOURCE_PORT, DESTINATION_PORT, TRANSLATED_SOURCE, MILLISECONDS = 7, 11, 225, 152


def displays(name):
    """The commands of a subsection, of each display."""
    with open(MANUAL) as file:
        text = re.search(rf"^\.Ss {name}\n(.*?)(?=^\.S[sh] )", file.read(), re.M | re.S)[1]
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)
    return [display.replace("\\e\n", "\\\n") for display in found]


def recipe(name):
    return "".join(displays(name))


class Scene(Lab):
    """A machine that the recipe is for, with a collector beside it; what else there is is linked to it later."""

    def build(self):
        Lab.count += 1
        self.machine, self.collector = map(self.namespace, ("machine", "collector"))
        self.machine.sysctl({"net.ipv4.ip_forward": 1})
        self.neighbour(self.collector, "uplink0", ["192.0.2.1/24", "2001:db8::1/64"],
                       [f"{COLLECTOR}/24", "2001:db8::10/64"])

    def neighbour(self, host, device, machine_addresses, host_addresses):
        """Links another host to this device of the machine's."""
        host.ip("link", "add", "eth0", "type", "veth", "peer", device, "netns", self.machine.name)
        for namespace, name, addresses in (self.machine, device, machine_addresses), (host, "eth0", host_addresses):
            for address in addresses:
                namespace.ip("address", "add", address, "dev", name)
            namespace.ip("link", "set", name, "up")
        for address in machine_addresses[:1]:
            host.ip("route", "add", "default", "via", address.split("/")[0])

    def host(self, name, device, machine_addresses, host_addresses):
        host = self.namespace(name)
        self.neighbour(host, device, machine_addresses, host_addresses)
        return host

    def paste(self, commands):
        """Runs them on the machine, whose network namespaces and names of programs are its own."""
        script = "mkdir -p /run/netns\nmount -t tmpfs tmpfs /run/netns\n" + commands
        path = f"PATH={os.path.dirname(os.path.abspath(BINARY))}:{os.environ['PATH']}"
        self.recipe = Process(self, "recipe", self.machine.command(
            "unshare", "--mount", "--propagation", "private", "env", path, "bash", "-euc", script))

    def flush(self, *within):
        """Ends every connection, as the time would."""
        self.machine.run("nsenter", f"--mount=/proc/{self.recipe.pid}/ns/mnt", *within, "conntrack", "-F")


# A cluster of its own, all of it in memory, where Debian's is. Whoever may enter /run may enter it.
POSTGRESQL = """
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/postgresql
chown postgres /run/postgresql
cd /run/postgresql
programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
runuser -u postgres -- "$programs/initdb" -D data --auth-local=peer --auth-host=scram-sha-256 --locale=C --no-sync
exec runuser -u postgres -- "$programs/postgres" -D data -c listen_addresses=127.0.0.1 -c fsync=off \
    -c unix_socket_directories=/run/postgresql
"""


class Database:
    """PostgreSQL on a host of the scene's."""

    def __init__(self, scene, host):
        self.host = host
        self.process = scene.start(host, "postgres", "unshare", "--mount", "--propagation", "private",
                                   "sh", "-euc", POSTGRESQL)
        self.process.wait_log("ready to accept connections", limit_s=120)

    def beside(self, *command):
        """A command that sees its directories."""
        return "nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "--wd=/run", *command

    def ask(self, query):
        """The values of the only row."""
        answer = self.host.run(*self.beside("runuser", "-u", "postgres", "--", "psql", "-qtA", "-c", query))
        return answer.strip().split("|")

    def end(self):
        """All that runs there."""
        for pid in run("ip", "netns", "pids", self.host.name).split():
            os.kill(int(pid), signal.SIGKILL)


class Recipes(unittest.TestCase):
    def setUp(self):
        self.scene = self.enterContext(Scene())
        self.trouble = None
        self.port = Port(self.scene.collector, 2055, COLLECTOR)

    def outside(self):
        """Beyond wan0, where nobody knows the way back to private addresses."""
        outside = self.scene.host("outside", "wan0", ["203.0.113.5/24"], ["203.0.113.80/24"])
        outside.ip("route", "del", "default")
        outside.ip("route", "add", "198.51.100.0/24", "via", "203.0.113.5")
        return outside

    def exchange(self, client, server, address, port=53):
        """A datagram there and one back, if any gets there."""
        with client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            with server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering:
                answering.bind((address, port))
                for opened in asking, answering:
                    opened.settimeout(2)
                asking.sendto(b"question", (address, port))
                _, source = answering.recvfrom(100)
                answering.sendto(b"answer", source)
                asking.recv(100)

    def wait_record(self, act, *within, **wanted):
        """Acts, and ends the connections, until such a record comes; the recipe's commands take their time."""
        def seen():
            if not self.scene.recipe.running():
                raise AssertionError(f"the recipe ended: {self.scene.recipe.log()}")
            try:
                act()
                self.scene.flush(*within)
            except (OSError, AssertionError) as error:
                self.trouble = error  # not that far yet
            return self.find(**wanted)
        if not poll(seen):
            raise AssertionError(f"no record of {wanted}; {self.trouble}")
        return self.find(**wanted)

    def find(self, source, **_):
        wanted = int(ip_address(source))
        return next((record for record in self.port.records() if wanted in (record.get(SOURCE), record.get(SOURCE6))),
                    None)

    def test_translation(self):
        client = self.scene.host("client", "lan0", ["10.9.0.1/24"], ["10.9.0.2/24"])
        outside = self.outside()
        self.scene.paste(recipe("A router that translates addresses"))
        record = self.wait_record(lambda: self.exchange(client, outside, "203.0.113.80"), source="10.9.0.2")
        self.assertEqual(ip_address(record[DESTINATION]), ip_address("203.0.113.80"))
        self.assertEqual(ip_address(record[TRANSLATED_SOURCE]), ip_address("203.0.113.5"))

    def test_customers(self):
        client = self.scene.host("client", "lan0", ["100.64.0.1/10"], ["100.64.0.2/10"])
        outside = self.outside()
        self.scene.paste(recipe("Many customers behind a few addresses"))
        record = self.wait_record(lambda: self.exchange(client, outside, "203.0.113.80"), source="100.64.0.2")
        self.assertRegex(str(ip_address(record[TRANSLATED_SOURCE])), r"^198\.51\.100\.[1-4]$")
        self.assertIn(MILLISECONDS, record)

    def test_containers(self):
        machine = self.scene.machine
        machine.ip("link", "add", "docker0", "type", "bridge")
        machine.ip("address", "add", "172.17.0.1/16", "dev", "docker0")
        machine.ip("link", "set", "docker0", "up")
        container = self.scene.namespace("container")
        container.ip("link", "add", "eth0", "type", "veth", "peer", "veth1", "netns", machine.name)
        machine.ip("link", "set", "veth1", "master", "docker0", "up")
        container.ip("address", "add", "172.17.0.2/16", "dev", "eth0")
        container.ip("link", "set", "eth0", "up")
        container.ip("route", "add", "default", "via", "172.17.0.1")
        machine.nft("""
            table ip docker {
                chain postrouting {
                    type nat hook postrouting priority srcnat
                    ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
                }
            }""")
        outside = self.outside()
        self.scene.paste(recipe("A host of containers"))
        record = self.wait_record(lambda: self.exchange(container, outside, "203.0.113.80"), source="172.17.0.2")
        self.assertEqual(ip_address(record[TRANSLATED_SOURCE]), ip_address("203.0.113.5"))

    def test_vpn(self):
        """What goes through the tunnel is reported, the tunnel itself and other traffic is not."""
        far = self.scene.host("far", "wg0", ["10.8.0.1/24"], ["10.8.0.2/24"])
        near = self.scene.host("near", "lan0", ["10.9.0.1/24"], ["10.9.0.2/24"])
        outside = self.scene.host("outside", "wan0", ["203.0.113.5/24"], ["203.0.113.80/24"])

        def traffic():
            self.exchange(near, outside, "203.0.113.80")
            self.exchange(outside, self.scene.machine, "203.0.113.5", 51820)
            self.exchange(far, near, "10.9.0.2")
        self.scene.paste(recipe("A VPN gateway"))
        self.wait_record(traffic, source="10.8.0.2")
        for record in self.port.records():
            self.assertEqual({str(ip_address(record[end])) for end in (SOURCE, DESTINATION)}, {"10.8.0.2", "10.9.0.2"})

    def test_monitor(self):
        """Frames to other stations, IPv4 and IPv6, in both directions."""
        switch = self.scene.namespace("switch")
        switch.ip("link", "add", "eth0", "type", "veth", "peer", "mon0", "netns", self.scene.machine.name)
        switch.ip("link", "set", "eth0", "up")
        mirror = switch.socket(socket.AF_PACKET, socket.SOCK_RAW)
        mirror.bind(("eth0", 0))

        def traffic():
            for ends, family in ((("10.5.0.2", "10.6.0.2"), socket.AF_INET), (("fd05::2", "fd06::2"), socket.AF_INET6)):
                mirror.send(frame(family, *ends, 4000, 53, b"question"))
                mirror.send(frame(family, *reversed(ends), 53, 4000, b"answer"))
        self.scene.paste(recipe("A monitor port"))
        for source in "10.5.0.2", "10.6.0.2", "fd05::2", "fd06::2":
            record = self.wait_record(traffic, "ip", "netns", "exec", "monitor", source=source)
            self.assertEqual({record[SOURCE_PORT], record[DESTINATION_PORT]}, {4000, 53})
            self.assertEqual(record[PACKETS], 1)

    def test_several_collectors(self):
        other = Port(self.scene.collector, 9995, "2001:db8::10")
        self.scene.machine.nft("table inet t { chain c { type filter hook output priority 0; ct state new; }; }")
        near = self.scene.host("near", "lan0", ["10.9.0.1/24"], ["10.9.0.2/24"])
        self.scene.paste(recipe("Several"))
        self.wait_record(lambda: self.exchange(self.scene.machine, near, "10.9.0.2"), source="10.9.0.1")
        wait_until(lambda: any(record.get(SOURCE) == int(ip_address("10.9.0.1")) for record in other.records()), "the other one has it")

    def test_shared_database(self):
        """Every flow is in the table once, whichever of the four got it, and all four got some."""
        router, collector = self.scene.machine, self.scene.collector
        self.port.close()
        router.nft("table inet t { chain c { type filter hook output priority 0; ct state new; }; }")
        database = Database(self.scene, collector)
        self.addCleanup(database.end)
        names = re.search(r"-c \\\n *(\S+)", displays(SHARED)[1])[1].split(",")
        nfacctds = self.scene.start(collector, "nfacctds", *database.beside("bash", "-euc", displays(SHARED)[0] + "wait"))
        wait_until(lambda: all(f":{name.split(':')[1]} " in collector.run("ss", "-lunH") for name in names),
                   "all four listen", limit_s=120)
        self.scene.paste(displays(SHARED)[1])
        wait_until(lambda: router.listeners() > 0, "ctflow9 listens")

        for done in range(0, SHARED_FLOWS, ROUND):
            count = min(ROUND, SHARED_FLOWS - done)
            router.run(f"{PROGRAMS}/make_flows", "--skip", done, "--flows", count, "--addresses", 200)
            router.run("conntrack", "-F")

        def there():
            self.assertTrue(nfacctds.running() and self.scene.recipe.running())
            return int(database.ask("SELECT count(*) FROM flows WHERE port_dst = 9")[0]) >= SHARED_FLOWS
        wait_until(there, f"{SHARED_FLOWS} flows are in the table", limit_s=120 + SHARED_FLOWS / 5000)
        sums = database.ask("SELECT count(*), count(DISTINCT (ip_src, port_src, ip_dst)), sum(packets), sum(bytes),"
                            " count(DISTINCT ip_src) FROM flows WHERE port_dst = 9")
        self.assertEqual(list(map(int, sums)),
                         [SHARED_FLOWS, SHARED_FLOWS, SHARED_FLOWS, 60 * SHARED_FLOWS, 200])
        log = self.end_recipe()
        shares = [int(re.search(rf"totals of {name}: records (\d+)", log)[1]) for name in names]
        self.assertGreaterEqual(sum(shares), SHARED_FLOWS)
        for share in shares:
            self.assertGreater(share, SHARED_FLOWS / 8)

    def end_recipe(self):
        """The program in it, as an operator would; returns what it said."""
        pids = run("ip", "netns", "pids", self.scene.machine.name).split()
        for pid in pids:
            with open(f"/proc/{pid}/comm") as file:
                if file.read() == "ctflow9\n":
                    os.kill(int(pid), signal.SIGTERM)
        self.scene.recipe.wait()
        return self.scene.recipe.log()


def frame(family, source, destination, source_port, destination_port, payload):
    """Ethernet, IP, UDP without a checksum."""
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    datagram = struct.pack("!4H", source_port, destination_port, 8 + len(payload), 0) + payload
    if family == socket.AF_INET:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, socket.IPPROTO_UDP, 0)
        words = struct.unpack("!10H", header + ends)
        total = sum(words)
        total = (total & 0xffff) + (total >> 16)
        header = header[:10] + struct.pack("!H", 0xffff & ~((total & 0xffff) + (total >> 16)))
    else:
        header = struct.pack("!IHBB", 0x60000000, len(datagram), socket.IPPROTO_UDP, 64)
    kind = 0x0800 if family == socket.AF_INET else 0x86dd
    return b"\x02\0\0\0\0\x01" + b"\x02\0\0\0\0\x02" + struct.pack("!H", kind) + header + ends + datagram


if __name__ == "__main__":
    unittest.main()
