#!/usr/bin/env python3
"""tcp_flood.py BINARY [COUNT]: what connections of very many clients cost, with and without limits of each.

Needs root, for two network namespaces that are removed at the end. COUNT clients (1,000,000), each with an address of
its own, connect to a listener of BINARY and reset the connection, while another client exchanges a byte on a session
that was there before. Prints the round-trip times on that session, the most memory that the process had, and what the
listener has counted: without clients, with COUNT/2 that connect to another instance (which takes the machine as much
time), with COUNT/2, and with COUNT and --client-limits.

BINARY has the last CPU for itself, with one worker. The others, on the first one, stand for other machines: the client
and the backend of the session do not wait there for the flood's clients.
"""
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from flood_network import BALANCER, CLIENT, ip, network, resident, start

FLOODERS = 2
AGE = 3  # seconds that the session is there before the flood
CPUS = os.sched_getaffinity(0)
FIRST, LAST = (["taskset", "-c", str(it)] for it in (min(CPUS), max(CPUS)))
AT_ONCE = ["chrt", "--fifo", "20"]
PYTHON = [sys.executable, "-c"]

BACKEND = """
import ctypes, os, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 5301))
s.listen(4096)
c, _ = s.accept()
if os.fork():  # two processes, so that neither waits for the other's interpreter
    while data := c.recv(10):
        c.send(data)
else:
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    c.close()
    while True:
        c, _ = s.accept()
        c.close()
"""

ESTABLISHED = """
import socket, sys, time
s = socket.create_connection(("192.0.2.254", 5300))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.send(b"e"); s.recv(1)
print("ready", flush=True)
while line := sys.stdin.readline():
    times, end = [], time.time() + float(line)
    while time.time() < end:
        before = time.perf_counter()
        s.send(b"e")
        s.recv(1)
        times.append(time.perf_counter() - before)
        time.sleep(0.002)
    times.sort()
    at = lambda share: times[int(len(times) * share)] * 1e6
    print(f"{len(times)} exchanges, p50 {at(0.5):.0f} us, p99 {at(0.99):.0f} us", flush=True)
"""

FLOOD = """
import socket, struct, sys, time
first, count = int(sys.argv[1]), int(sys.argv[2])
reset, start, failed = struct.pack("ii", 1, 0), time.time(), 0
for i in range(first, first + count):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    s.settimeout(1)
    s.bind((socket.inet_ntoa(struct.pack("!I", 0x0A000001 + i)), 0))
    try:
        s.connect(("192.0.2.254", int(sys.argv[3])))
    except OSError:
        failed += 1
    s.close()
print(f"{count} clients in {time.time() - start:.1f} s, {failed} not connected", flush=True)
"""


def refused(runtime):
    """What the listener has counted."""
    path = next(os.path.join(runtime, it) for it in os.listdir(runtime) if it.endswith(".sock"))
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(path)
        admin.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: admin.recv(65536), b""))
    listener = json.loads(answer.split(b"\r\n\r\n", 1)[1])["listeners"][0]
    return {key: listener[key] for key in listener if key.startswith(("refused_", "sessions_total"))}


def measure(binary, count, options, title, port=5300):
    running, runtime, times = [], tempfile.TemporaryDirectory(), []
    try:
        running.append(start(BALANCER, *FIRST, *AT_ONCE, *PYTHON, BACKEND))
        time.sleep(0.5)
        environment = dict(os.environ, EVENKEEL_RUNTIME_DIR=runtime.name)

        def balance(*words):
            command = [*LAST, binary, *words, "127.0.0.1:5301", "--workers", "1", "--log-sessions", "none"]
            running.append(start(BALANCER, *command, env=environment, stderr=subprocess.DEVNULL))
            return running[-1]

        evenkeel = balance("0.0.0.0:5300", *options)
        balance("0.0.0.0:5310", "--admin", runtime.name + "/other")
        time.sleep(1.5)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        established = start(CLIENT, *FIRST, *AT_ONCE, *PYTHON, ESTABLISHED, **pipes)
        running.append(established)
        established.stdout.readline()

        def exchange(seconds):
            print(seconds, file=established.stdin, flush=True)
            return [int(it) for it in re.findall(r"p[0-9]+ ([0-9]+) us", established.stdout.readline())]

        exchange(AGE)
        before = most = resident(evenkeel.pid)
        share = count // FLOODERS
        flood = [
            start(CLIENT, *FIRST, *PYTHON, FLOOD, str(it * share), str(share), str(port))
            for it in range(FLOODERS) if share
        ]
        running += flood
        while flood or not times:
            second = exchange(1 if flood else 5)
            most = max(most, resident(evenkeel.pid))
            if any(it.poll() is not None for it in flood):
                break
            times.append(second)
        if not times:
            sys.exit(f"{title}: over within a second, give a larger COUNT")
        middle, last = (statistics.median(it) for it in zip(*times))
        print(f"{title}: exchanges p50 {middle:.0f} us, p99 {last:.0f} us (medians of {len(times)} times)")
        print(f"{title}: resident kB {before} before, {most} at most; {refused(runtime.name)}", flush=True)
    finally:
        for process in running:
            process.kill()
            process.wait()
        runtime.cleanup()


def main(binary, count=1_000_000):
    with network():
        ip(f"-n {CLIENT} route add local 10.0.0.0/8 dev lo")  # every address is its own
        limits = ["--client-limits", "sessions=20,rate=20/s"]
        measure(binary, 0, [], "no clients")
        measure(binary, count // 2, [], "clients of another instance", 5310)
        measure(binary, count // 2, [], "clients, no limits")
        measure(binary, count, limits, "clients and limits")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
