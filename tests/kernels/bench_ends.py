# SPDX-License-Identifier: GPL-2.0-or-later
"""What the whole machine's CPU takes for a connection's end: nobody listening, and each way to read. Run it in one of
tests/kernels:

    tests/kernels/machine boot 6.12
    tests/kernels/machine run 6.12 python3 tests/kernels/bench_ends.py

Each run flushes the table and waits a while, less what an idle time took. The ways take turns, and the fastest run of
each counts: whatever else the machine does makes runs slower only."""

import os
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kernel"))

import ctflow9  # noqa: E402
from lab import Lab, run  # noqa: E402
from netflow import Port  # noqa: E402

WAYS = "nobody", "fentry", "bpf", "recvmmsg"
FLOWS, ROUNDS, SPAN_S = 20000, 3, 4


def busy_s():
    """All that the processors did since the machine started."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, *_ = map(int, stat.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def busy_during(what):
    """How long the processors were busy, and how long it took; a while afterwards included, in which what is read on an
    interval is read."""
    began_s, before_s = time.monotonic(), busy_s()
    what()
    time.sleep(SPAN_S)
    return busy_s() - before_s, time.monotonic() - began_s


def measure(way):
    with Lab() as lab:
        lab.router.sysctl({"net.netfilter.nf_conntrack_events": int(way not in ("nobody", "fentry"))})
        exporter = None
        if way != "nobody":
            ctflow9.RX = way
            port = Port(lab.collector, 2057)  # not read: what does not fit is dropped
            exporter = ctflow9.Ctflow9(lab, "-c", "10.3.0.2:2057", "--active-timeout", 0)
        lab.make_flows(FLOWS)
        time.sleep(1)
        idle_busy_s, idle_s = busy_during(lambda: None)
        flush_busy_s, flush_s = busy_during(lab.flush)
        if exporter:
            totals = exporter.finish()
            if (totals["flows"], totals["lost"]) != (FLOWS, 0):
                sys.exit(f"bench_ends: {way}: {totals}")
            port.close()
        return (flush_busy_s - idle_busy_s / idle_s * flush_s) / FLOWS * 1e6


def main():
    rounds = [{way: measure(way) for way in WAYS} for _ in range(ROUNDS)]
    took_us = {way: min(took[way] for took in rounds) for way in WAYS}
    print(run("uname", "-r").strip())
    for way, took in took_us.items():
        print(f"{way:10} {took:6.1f} us an end, {took / took_us['nobody']:4.2f} x nobody listening")


main()
