# SPDX-License-Identifier: GPL-2.0-or-later
"""A router in network namespaces, with a client, a server and a collector around it.

    client 10.1.0.2 --- 10.1.0.1 router 10.2.0.1 --- 10.2.0.2 server
           fd01::2      fd01::1         fd02::1      fd02::2
                                 10.3.0.1
                                 fd03::1
                                    |
                                 10.3.0.2 collector
                                 fd03::2

The router tracks what it forwards, with accounting, time stamps and short time-outs, and translates what
goes to these addresses:

    10.2.0.3   fd02::3   masquerade: the client appears as the router, with a port of 20000-29999
    10.1.0.8   fd01::8   destination NAT to 10.2.0.2 and fd02::2; port 8000 becomes 7000
    10.1.0.9   fd01::9   both

Everything made here ends with the lab: processes (by their ids), namespaces, files.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Every program here shows times in UTC.
os.environ["TZ"] = "UTC"

BUILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build")
# The program under test, and where the benchmark's make_flows and sink are.
BINARY = os.environ.get("CTFLOW9", f"{BUILD}/release/ctflow9")
PROGRAMS = os.environ.get("CTFLOW9_PROGRAMS", f"{BUILD}/dev/tests")
PREFIX = os.environ.get("CTFLOW9_TEST_PREFIX", f"kt{os.getpid()}")
# A slow machine is given so many times the time, and the storms so many times fewer connections.
SLOW = int(os.environ.get("CTFLOW9_TEST_SLOW", 1))
CLONE_NEWNET = 0x40000000

# linux/netlink.h, linux/netfilter/nfnetlink_compat.h
NETLINK_NETFILTER, SOL_NETLINK, NETLINK_BROADCAST_ERROR, DESTROY_GROUP = 12, 270, 4, 1 << 2

SYSCTLS = {
    "nf_conntrack_acct": 1,
    "nf_conntrack_timestamp": 1,
    "nf_conntrack_events": 1,
    "nf_conntrack_checksum": 0,
    "nf_conntrack_tcp_loose": 0,
    "nf_conntrack_udp_timeout": 2,
    "nf_conntrack_udp_timeout_stream": 2,
    "nf_conntrack_icmp_timeout": 2,
    "nf_conntrack_icmpv6_timeout": 2,
    "nf_conntrack_generic_timeout": 2,
    "nf_conntrack_gre_timeout": 2,
    "nf_conntrack_sctp_timeout_closed": 2,
    "nf_conntrack_tcp_timeout_time_wait": 1,
    "nf_conntrack_tcp_timeout_close": 1,
}

# Exported datagrams are no part of the traffic: they are not tracked.
RULES = """
table inet lab {
    chain prerouting_raw {
        type filter hook prerouting priority raw
        iifname "collector" notrack
    }
    chain output_raw {
        type filter hook output priority raw
        oifname "collector" notrack
    }
    chain forward {
        type filter hook forward priority filter
        ct state established accept
    }
    chain destination_nat {
        type nat hook prerouting priority dstnat
        ip daddr { 10.1.0.8, 10.1.0.9 } tcp dport 8000 dnat ip to 10.2.0.2:7000
        ip daddr { 10.1.0.8, 10.1.0.9 } udp dport 8000 dnat ip to 10.2.0.2:7000
        ip daddr { 10.1.0.8, 10.1.0.9 } dnat ip to 10.2.0.2
        ip6 daddr { fd01::8, fd01::9 } tcp dport 8000 dnat ip6 to [fd02::2]:7000
        ip6 daddr { fd01::8, fd01::9 } udp dport 8000 dnat ip6 to [fd02::2]:7000
        ip6 daddr { fd01::8, fd01::9 } dnat ip6 to fd02::2
    }
    chain source_nat {
        type nat hook postrouting priority srcnat
        ct original ip daddr { 10.2.0.3, 10.1.0.9 } meta l4proto { tcp, udp } masquerade to :20000-29999
        ct original ip daddr { 10.2.0.3, 10.1.0.9 } masquerade
        ct original ip6 daddr { fd02::3, fd01::9 } meta l4proto { tcp, udp } masquerade to :20000-29999
        ct original ip6 daddr { fd02::3, fd01::9 } masquerade
    }
}
"""


def poll(condition, limit_s=60):
    """The first true value of condition(), or its last one after limit_s seconds, times SLOW."""
    deadline = time.monotonic() + limit_s * SLOW
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def wait_until(condition, what, limit_s=60):
    """Waits for condition(); fails with what did not happen."""
    if not poll(condition, limit_s):
        raise AssertionError(f"{what}: not within {limit_s * SLOW} s")


def many(count):
    """So many connections, or as many as a slow machine makes in the time and the kernel's table holds with ease."""
    with open("/proc/sys/net/netfilter/nf_conntrack_max") as file:
        return min(count // SLOW, int(file.read()) * 4 // 5)


def run(*command, text=None):
    """Runs a command to its end and returns its output; fails with its error output."""
    result = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        words = " ".join(map(str, command))
        raise AssertionError(f"{words}: exit {result.returncode}\n{result.stderr}{result.stdout}")
    return result.stdout


def packets_on_their_way():
    """What the processors have yet to deliver, in any namespace."""
    with open("/proc/net/softnet_stat") as file:
        return sum(int(line.split()[11], 16) for line in file)


@contextlib.contextmanager
def stopped_thread(thread):
    """Stops one thread of a program, as a debugger does, and has it go on at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request):
        if libc.ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    attach, detach, threads_too = 16, 17, 0x40000000
    ptrace(attach)
    os.waitpid(thread, threads_too)
    try:
        yield
    finally:
        ptrace(detach)


class Namespace:
    """A network namespace. Inside "with namespace:" this thread is in it, and so are the sockets it opens."""

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, name):
        self.name = name
        self.path = f"/run/netns/{name}"
        self.sockets = []
        run("ip", "netns", "add", name)
        # Addresses that can be used at once.
        self.sysctl({"net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0})
        self.ip("link", "set", "lo", "up")

    def remove(self):
        for opened in self.sockets:
            opened.close()
        run("ip", "netns", "del", self.name)

    def __enter__(self):
        self.left = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        entered = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.switch(entered)
        return self

    def __exit__(self, *_):
        self.switch(self.left)

    def switch(self, descriptor):
        failed = self.libc.setns(descriptor, CLONE_NEWNET)
        os.close(descriptor)
        if failed:
            raise OSError(ctypes.get_errno(), "setns")

    def command(self, *words):
        return ["nsenter", f"--net={self.path}", *map(str, words)]

    def run(self, *words, text=None):
        return run(*self.command(*words), text=text)

    def ip(self, *words):
        return run("ip", "-n", self.name, *words)

    def nft(self, rules):
        self.run("nft", "-f", "-", text=rules)

    def sysctl(self, values):
        self.run("sysctl", "-q", "-w", *(f"{name}={value}" for name, value in values.items()))

    def socket(self, family, kind, protocol=0):
        """A socket that lives as long as the namespace at most."""
        with self:
            opened = socket.socket(family, kind, protocol)
        self.sockets.append(opened)
        return opened

    def read(self, path):
        return self.run("cat", path)

    def listeners(self):
        """How many sockets hear of destroyed connections."""
        sockets = [line.split() for line in self.read("/proc/net/netlink").splitlines()[1:]]
        return sum(int(protocol) == NETLINK_NETFILTER and int(groups, 16) & DESTROY_GROUP != 0
                   for _, protocol, _, groups, *_ in sockets)

    def nflog_groups(self):
        """The NFLOG groups that programs read."""
        return {line.split()[0] for line in self.read("/proc/net/netfilter/nfnetlink_log").splitlines()}

    def queues(self):
        """The NFQUEUE queues that programs have."""
        return {int(line.split()[0]) for line in self.read("/proc/net/netfilter/nfnetlink_queue").splitlines()}

    def udp_received(self):
        """Datagrams that programs have taken, IPv4 and IPv6."""
        ipv4 = self.read("/proc/net/snmp").splitlines()
        names, values = (line.split() for line in ipv4 if line.startswith("Udp:"))
        ipv6 = dict(line.split() for line in self.read("/proc/net/snmp6").splitlines())
        return int(values[names.index("InDatagrams")]) + int(ipv6["Udp6InDatagrams"])


class Process:
    """A running program, with its standard error, and its output unless stdout is given, in files."""

    def __init__(self, lab, name, command, stdout=None):
        self.name = name
        self.log_path = os.path.join(lab.directory, f"{name}.{len(lab.processes)}.log")
        self.output_path = self.log_path[:-3] + "out"
        with open(self.log_path, "wb") as log, open(self.output_path, "wb") as output:
            self.popen = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                          stdout=output if stdout is None else stdout, stderr=log)
        self.pid = self.popen.pid
        lab.processes.append(self)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def output(self):
        with open(self.output_path, errors="replace") as output:
            return output.read()

    def send(self, number):
        self.popen.send_signal(number)

    def running(self):
        return self.popen.poll() is None

    def wait(self, limit_s=30):
        try:
            return self.popen.wait(limit_s * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {limit_s * SLOW} s") from None

    def wait_log(self, text, limit_s=30):
        def said():
            if text in self.log():
                return True
            if not self.running():
                raise AssertionError(f"{self.name} ended ({self.popen.returncode}) without saying {text!r}")
            return False
        wait_until(said, f"{self.name} says {text!r}", limit_s)

    def stop(self, number=signal.SIGTERM, limit_s=30):
        """Ends it and returns its exit code."""
        if self.running():
            self.send(number)
        return self.wait(limit_s)

    def kill(self):
        if not self.running():
            return
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            children = file.read().split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.popen.kill()
        self.popen.wait()


class Lab:
    """with Lab() as lab: the namespaces are lab.client, lab.router, lab.server and lab.collector."""

    count = 0

    def __init__(self):
        self.processes = []
        self.namespaces = []

    def __enter__(self):
        # A test that is asked to end still cleans up: KeyboardInterrupt is what unittest lets through. And
        # what it starts must not ignore SIGINT, as it would when all this runs in a script's background.
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        self.directory = tempfile.mkdtemp(prefix="ctflow9-lab.")
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.show_logs()
        self.close()

    def show_logs(self):
        for process in self.processes:
            for what, text in (("log", process.log()), ("output", process.output())):
                if text:
                    print(f"--- {process.name}: last of its {what}\n{text[-4000:]}", file=sys.stderr)

    def close(self):
        for process in reversed(self.processes):
            process.kill()
        for namespace in self.namespaces:
            namespace.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def namespace(self, role):
        namespace = Namespace(f"{PREFIX}-{Lab.count}-{role}")
        self.namespaces.append(namespace)
        return namespace

    def build(self):
        Lab.count += 1
        self.client, self.router, self.server, self.collector = map(
            self.namespace, ("client", "router", "server", "collector"))
        self.link(self.client, 1, ["10.1.0.2/24", "fd01::2/64"], ["10.1.0.1/24", "fd01::1/64"])
        self.link(self.server, 2, ["10.2.0.2/24", "10.2.0.3/24", "fd02::2/64", "fd02::3/64"],
                  ["10.2.0.1/24", "fd02::1/64"])
        self.link(self.collector, 3, ["10.3.0.2/24", "fd03::2/64"], ["10.3.0.1/24", "fd03::1/64"])
        for address in ("10.1.0.8/24", "10.1.0.9/24", "fd01::8/64", "fd01::9/64"):
            self.router.ip("address", "add", address, "dev", "client")
        self.router.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        self.router.nft(RULES)
        self.router.sysctl({f"net.netfilter.{name}": value for name, value in SYSCTLS.items()})

    def link(self, host, subnet, host_addresses, router_addresses):
        """A veth pair, called "router" in the host and by the host's role in the router."""
        role = host.name.rsplit("-", 1)[1]
        host.ip("link", "add", "router", "type", "veth", "peer", role, "netns", self.router.name)
        ends = ((host, "router", host_addresses), (self.router, role, router_addresses))
        for namespace, device, addresses in ends:
            for address in addresses:
                namespace.ip("address", "add", address, "dev", device)
            namespace.ip("link", "set", device, "up")
        host.ip("route", "add", "default", "via", f"10.{subnet}.0.1")
        host.ip("route", "add", "default", "via", f"fd0{subnet}::1")

    def in_folder(self):
        """What a command begins with that runs in the lab's directory, where any user may make files. Others may not
        be let into the folders above it: only a name without a folder leads there for sure."""
        os.chmod(self.directory, 0o777)
        return "env", f"--chdir={self.directory}"

    def start(self, namespace, name, *command, stdout=None):
        return Process(self, name, namespace.command(*command), stdout)

    def entries(self):
        """How many connections the router has; asking makes the kernel remove those that have expired."""
        return len(self.router.run("conntrack", "-L", "-o", "id").splitlines())

    def make_flows(self, count):
        """UDP connections of one datagram each over the router's loopback device, quickly."""
        self.router.run(f"{PROGRAMS}/make_flows", "--flows", count)

    @contextlib.contextmanager
    def stuck_listener(self):
        """Another reliable listener of the router's, that takes nothing: the kernel keeps the events and sends them
        again, to all."""
        listeners = self.router.listeners()
        stuck = self.router.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setsockopt(SOL_NETLINK, NETLINK_BROADCAST_ERROR, 1)
        stuck.bind((0, DESTROY_GROUP))
        wait_until(lambda: self.router.listeners() > listeners, "the other one listens")
        yield
        stuck.close()

    def flush(self):
        self.router.run("conntrack", "-F")

    def expire(self):
        wait_until(lambda: self.entries() == 0, "every connection expires")
