# SPDX-License-Identifier: GPL-2.0-or-later
"""What ctflow9 tells Prometheus, in a file and on SIGUSR1, while connections end by the thousand."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import unittest
import urllib.parse

from ctflow9 import Ctflow9
from lab import BINARY, PROGRAMS, Lab, many, run, wait_until
from netflow import Port
from traffic import PLAIN, PLAIN_V6, Traffic

COUNT = 100000
PORT = 9469
GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


# What is asked over the loopback device is no part of the traffic.
UNTRACKED = """
table inet metrics {
    chain output { type filter hook output priority raw; oifname "lo" meta l4proto tcp notrack; }
    chain prerouting { type filter hook prerouting priority raw; iifname "lo" meta l4proto tcp notrack; }
}
"""


@contextlib.contextmanager
def metrics_lab():
    with Lab() as lab:
        lab.router.nft(UNTRACKED)
        yield lab


def dial(lab):
    """A connection to the router's own port."""
    client = lab.router.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(60)
    client.connect(("127.0.0.1", PORT))
    return client


def ask(lab, request=GET):
    """The whole answer."""
    with dial(lab) as client:
        client.sendall(request)
        answer = b""
        while part := client.recv(65536):
            answer += part
    return answer.decode()


def scrape(lab):
    """The metrics, by name with labels."""
    head, text = ask(lab).split("\r\n\r\n", 1)
    if " 200 OK" not in head:
        raise AssertionError(head)
    return values(text)


def values(text):
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:{.*})?) (\S+)$", text, re.M)}


def flows_of(metrics):
    return sum(value for name, value in metrics.items() if name.startswith("ctflow9_flows_total{"))


class Prometheus:
    """The real one, in the router's namespace."""

    def __init__(self, lab):
        config = os.path.join(lab.directory, "prometheus.yml")
        with open(config, "w") as file:
            file.write("global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                       f"scrape_configs: [{{job_name: ctflow9, static_configs: [{{targets: ['127.0.0.1:{PORT}']}}]}}]\n")
        self.lab = lab
        self.process = lab.start(lab.router, "prometheus", "prometheus", f"--config.file={config}",
                                 f"--storage.tsdb.path={lab.directory}/data", "--web.listen-address=127.0.0.1:9090")
        wait_until(lambda: self.query("up") == [1], "Prometheus has scraped")

    def query(self, expression):
        """The values of all series."""
        request = f"GET /api/v1/query?query={urllib.parse.quote(expression)} HTTP/1.0\r\n\r\n".encode()
        with self.lab.router.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(60)
            with contextlib.suppress(ConnectionError):
                client.connect(("127.0.0.1", 9090))
                client.sendall(request)
                answer = b""
                while part := client.recv(65536):
                    answer += part
                body = answer.split(b"\r\n\r\n", 1)[1]
                if answer.startswith(b"HTTP/1.0 200"):
                    return [float(series["value"][1]) for series in json.loads(body)["data"]["result"]]
        return []


class Metrics(unittest.TestCase):
    def test_prometheus(self):
        """Under a storm: each scrape succeeds, and nothing is lost by it."""
        with metrics_lab() as lab:
            count = many(COUNT)
            lab.router.sysctl({"net.netfilter.nf_conntrack_udp_timeout": 600})  # the flush ends them, however late
            sink = lab.start(lab.collector, "sink", f"{PROGRAMS}/sink", "--address", "10.3.0.2", "--unique")
            sink.wait_log("listening")
            exporter = Ctflow9(lab, "-c", "10.3.0.2", "--metrics", PORT, "--workers", 2)
            prometheus = Prometheus(lab)
            lab.make_flows(count)
            lab.flush()
            exporter.wait_flows(count, limit_s=120)
            flows = exporter.ask()["flows"]
            wait_until(lambda: prometheus.query("sum(ctflow9_flows_total)") == [flows], "Prometheus has them all")
            self.assertEqual(prometheus.query('ctflow9_flows_total{protocol="udp",end_reason="forced"}'), [flows])
            self.assertEqual(prometheus.query("ctflow9_events_lost_total"), [0])
            self.assertEqual(prometheus.query("ctflow9_collector_up"), [1])
            self.assertEqual(prometheus.query("min_over_time(up[10m])"), [1])
            wait_until(lambda: prometheus.query("ctflow9_collector_records_total") == [flows], "all are sent")
            self.assertGreater(prometheus.query("ctflow9_drain_seconds_count")[0], 0)
            prometheus.process.stop()
            self.assertEqual(exporter.finish()["lost"], 0)

    def test_the_same_everywhere(self):
        """By HTTP, in the file, on SIGUSR1 and in the totals; and promtool has nothing to say about it."""
        with metrics_lab() as lab:
            port = Port(lab.collector, 2055)
            path = os.path.join(lab.directory, "ctflow9.prom")
            exporter = Ctflow9(lab, "-c", "10.3.0.2", "--json", "--metrics", f"127.0.0.1:{PORT}",
                               "--metrics-file", "ctflow9.prom", within=lab.in_folder())
            traffic = Traffic(lab)
            traffic.udp(PLAIN, requests=1, answers=1)
            traffic.tcp(PLAIN_V6, 10, 10)
            traffic.ping(PLAIN)
            lab.expire()
            exporter.wait_flows(3)
            wait_until(lambda: len(port.records()) == 6, "the records arrive")
            wait_until(lambda: scrape(lab)["ctflow9_flows_total{protocol=\"icmp\",end_reason=\"idle\"}"] == 1,
                       "they are counted")
            metrics = scrape(lab)
            self.assertEqual(flows_of(metrics), 3)
            self.assertEqual(metrics["ctflow9_flows_total{protocol=\"tcp\",end_reason=\"end\"}"], 1)
            self.assertEqual(metrics["ctflow9_collector_records_total{collector=\"10.3.0.2:2055\"}"], 6)
            self.assertEqual(metrics["ctflow9_lines_total"], 3)
            promtool = subprocess.run(["promtool", "check", "metrics"], text=True, capture_output=True,
                                      input=ask(lab).split("\r\n\r\n", 1)[1])
            self.assertEqual((promtool.returncode, promtool.stdout, promtool.stderr), (0, "", ""))

            def in_file():
                with open(path) as file:
                    return values(file.read())
            wait_until(lambda: flows_of(in_file()) == 3, "the file is written again")
            self.assertEqual(set(in_file()), set(metrics))
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)

            exporter.ask()
            exporter.wait_log("metrics: {")
            wait_until(lambda: exporter.log().endswith("}\n"), "the object is whole")
            told = json.loads(re.findall(r"metrics: ({.*})\n", exporter.log())[-1])
            self.assertEqual(set(told), {re.sub(r"{.*|(_bucket|_sum|_count)({.*)?$", "", name) for name in metrics})
            self.assertEqual(sum(row["value"] for row in told["ctflow9_flows_total"]), 3)
            totals = exporter.finish()
            self.assertEqual(totals["records"], 6)
            self.assertFalse(os.path.exists(path))

    def test_another_namespace(self):
        """The reading goes over to another namespace of that name: counters go on, and it is asked all the time."""
        with metrics_lab() as lab:
            read = lab.namespace("read")
            read.nft("table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }")
            exporter = lab.start(lab.router, "ctflow9", BINARY, "--netns", read.name, "-c", "10.3.0.2", "--metrics",
                                 PORT, "--set-sysctls", "--active-timeout", 1)
            wait_until(lambda: read.listeners() == 1, "ctflow9 listens")
            wait_until(lambda: scrape(lab)["ctflow9_looks_total"] > 0, "it looks")
            looks = scrape(lab)["ctflow9_looks_total"]
            run("ip", "netns", "del", read.name)
            exporter.wait_log("was removed")
            self.assertGreaterEqual(scrape(lab)["ctflow9_looks_total"], looks)
            run("ip", "netns", "add", read.name)
            exporter.wait_log("going over to it")
            wait_until(lambda: scrape(lab)["ctflow9_tracked_connections_limit"] > 0, "it reads again")
            self.assertGreaterEqual(scrape(lab)["ctflow9_looks_total"], looks)
            self.assertEqual(exporter.stop(), 0)

    def test_abuse(self):
        """Nobody who misuses the port has anything lost, or keeps others from being answered."""
        with metrics_lab() as lab:
            count = many(COUNT)
            exporter = Ctflow9(lab, "-c", "10.3.0.2", "--metrics", PORT)
            over = threading.Event()
            asked = []

            def hammer():
                while not over.is_set():
                    with contextlib.suppress(OSError):
                        asked.append(ask(lab))

            def hold():
                held = []
                while not over.is_set():
                    with contextlib.suppress(OSError):
                        held.append(dial(lab))
                        held[-1].sendall(b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * (len(held) % 100))
                    if len(held) > 200:
                        held.pop(0).close()
            attackers = [threading.Thread(target=attack) for attack in (hammer, hammer, hold)]
            for attacker in attackers:
                attacker.start()
            lab.make_flows(count)
            lab.flush()
            exporter.wait_flows(count, limit_s=120)
            over.set()
            for attacker in attackers:
                attacker.join()
            self.assertTrue(any(" 200 OK" in answer for answer in asked))
            wait_until(lambda: flows_of(scrape(lab)) >= count, "it is told")
            totals = exporter.finish()
            self.assertEqual((totals["lost"], totals["deferred"]), (0, 0))

    def test_no_descriptors(self):
        """It has none left for who asks: he waits, and nothing spins."""
        with metrics_lab() as lab:
            exporter = Ctflow9(lab, "--print", "--metrics", PORT, "--user", "root")  # its limits are set from outside
            scrape(lab)
            run("prlimit", f"--pid={exporter.pid}", "--nofile=3:")
            client = dial(lab)
            client.sendall(GET)
            before = self.cpu(exporter)
            with self.assertRaises(TimeoutError):
                client.settimeout(2)
                client.recv(1)
            self.assertLess(self.cpu(exporter) - before, 0.2)  # of two seconds
            run("prlimit", f"--pid={exporter.pid}", "--nofile=1024:")
            client.settimeout(60)
            self.assertIn(b" 200 OK", client.recv(1000))
            exporter.finish()

    @staticmethod
    def cpu(process):
        """Seconds, of the thread for metrics."""
        threads = map(int, os.listdir(f"/proc/{process.pid}/task"))
        metrics = next(thread for thread in threads if process.thread_name(thread) == "metrics")
        with open(f"/proc/{process.pid}/task/{metrics}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_stopped(self):
        """Reading that does not go on is told so, by Prometheus' own measure of it."""
        with metrics_lab() as lab:
            exporter = Ctflow9(lab, "-c", "10.3.0.2", "--metrics", PORT)
            prometheus = Prometheus(lab)
            exporter.send(signal.SIGSTOP)
            wait_until(lambda: prometheus.query("up") == [0], "Prometheus notices")
            exporter.send(signal.SIGCONT)
            wait_until(lambda: prometheus.query("up") == [1], "it goes on")
            prometheus.process.stop()
            exporter.finish()


if __name__ == "__main__":
    unittest.main()
