#!/usr/bin/env python3
"""probes.py BINARY [ENDPOINTS [SECONDS]]: what it costs to probe very many backends, and whether verdicts are right.

ENDPOINTS (20,000) addresses of 127.0.0.0/8 are probed every 5 s by `tcp`, with a time-out of 2 s and `fall` 3: nine in
ten answer, one in ten is a black hole. Two processes keep two cores busy all the while. After SECONDS (40), a part of
those that answer (500) begins to refuse. Prints the processor time of the thread that probes, in percent of a core;
verdicts against those that answer, and how long it took to find the others; and how evenly probes came, in tenths of a
second.
"""
import collections
import multiprocessing
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime

EVERY, TIMEOUT, FALL = 5, 2, 3


def listen(backlog):
    it = socket.socket()
    it.bind(("0.0.0.0", 0))
    it.listen(backlog)
    return it


def serve(port, counts):
    """Accepts and closes, counting in tenths of a second. The socket is nobody else's."""
    listener = listen(4096)
    port.send(listener.getsockname()[1])
    seen = collections.Counter()
    while True:
        client, _ = listener.accept()
        seen[int(time.time() * 10)] += 1
        client.close()
        if counts is not None and time.time() % 1 < 0.001:
            counts.update(seen)


def burn():
    while True:
        pass


def ticks(pid):
    """Of the thread that probes, and of all."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as stat:
            name, rest = stat.read().split("(", 1)[1].rsplit(")", 1)
        fields = rest.split()
        found[name] = found.get(name, 0) + int(fields[11]) + int(fields[12])
    return found.get("prober", 0), sum(found.values())


def address(number, port):
    return f"127.{1 + number // 62500}.{number // 250 % 250 + 1}.{number % 250 + 1}:{port}"


def lines(log, what):
    """The times of log lines about backends, by their ports."""
    found = collections.defaultdict(list)
    with open(log) as text:
        for line in text:
            if f" {what} " in line and (port := re.search(r"backend=[0-9.]+:(\d+)", line)):
                when = datetime.fromisoformat(line.split(" ", 1)[0].replace("Z", "+00:00"))
                found[int(port[1])].append(when.timestamp())
    return found


def main():
    binary = sys.argv[1]
    endpoints = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    hole = listen(0)
    hole_port = hole.getsockname()[1]
    waiting = []  # fills the queue of the black hole
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", hole_port))
        waiting.append(client)
    holes, fail = endpoints // 10, min(500, endpoints // 10)
    with multiprocessing.Manager() as manager, tempfile.TemporaryDirectory() as runtime:
        counts = manager.dict()
        ours, its = multiprocessing.Pipe()
        helpers = [multiprocessing.Process(target=serve, args=(its, it), daemon=True) for it in (counts, None)]
        helpers += [multiprocessing.Process(target=burn, daemon=True) for _ in range(2)]
        ports = []
        for it in helpers:
            it.start()
            if len(ports) < 2:
                ports.append(ours.recv())
        ports.append(hole_port)
        kinds = [2] * holes + [1] * fail + [0] * (endpoints - holes - fail)
        backends = ", ".join(f'"{address(number, ports[kind])}"' for number, kind in enumerate(kinds))
        with open(f"{runtime}/many.toml", "w") as file:
            file.write(f'[listeners.l]\nbind = "unix:{runtime}/socket"\npool = "p"\n[pools.p]\n'
                       f'policy = "two"\nprobe = "tcp"\nprobe-interval = "{EVERY}s"\n'
                       f'probe-timeout = "{TIMEOUT}s"\nfall = {FALL}\nbackends = [{backends}]\n')
        log = f"{runtime}/log"
        with open(log, "w") as errors:
            environment = {**os.environ, "EVENKEEL_RUNTIME_DIR": runtime}
            command = [binary, "run", f"{runtime}/many.toml"]
            process = subprocess.Popen(command, stderr=errors, env=environment)
        began = time.time()
        time.sleep(15)
        before, since = ticks(process.pid), time.time()
        time.sleep(max(1, began + seconds - time.time()))
        after, now = ticks(process.pid), time.time()
        helpers[1].terminate()
        failed = time.time()
        time.sleep(FALL * EVERY + TIMEOUT + 3)
        rate = dict(counts)
        process.terminate()
        process.wait()
        for it in helpers:
            it.terminate()
        down = lines(log, "backend down")
        share = [100 * (b - a) / os.sysconf("SC_CLK_TCK") / (now - since) for a, b in zip(before, after)]
        print(f"{endpoints} endpoints every {EVERY} s, {holes} black holes, two cores busy")
        print(f"processor time: thread that probes {share[0]:.1f} %, whole process {share[1]:.1f} % of a core")
        print(f"verdicts against those that answer: {len(down[ports[0]])}")
        early = [it for it in down[ports[1]] if it < failed]
        print(f"and against those that will fail, before they do: {len(early)}")
        last = max(down[ports[2]], default=began) - began
        print(f"black holes found: {len(down[ports[2]])} of {holes}, the last {last:.1f} s after the start")
        late = [it - failed for it in down[ports[1]] if it >= failed]
        print(f"failures found: {len(late)} of {fail}, median {statistics.median(late or [0]):.1f} s, "
              f"last {max(late, default=0):.1f} s (at most {FALL * EVERY + TIMEOUT} s)")
        steady = [count for tenth, count in rate.items() if since + 1 < tenth / 10 < now - 1]
        if steady:
            mean = statistics.mean(steady)
            print(f"probes in a tenth of a second: mean {mean:.0f}, from {min(steady)} to {max(steady)}")
        del waiting


if __name__ == "__main__":
    main()
