#!/usr/bin/env python3
"""engine_load.py PROGRAM [SECONDS]: whether the kernel's engine keeps up with many short connections, and with a dead host.

In three network namespaces. First wrk makes short connections for SECONDS (600) without a pause. Prints how many there
were a second, and how many entries the kernel's table of connections had, which must be bounded: by what comes within
two seconds, and an eighth of the table (docs/engines.md). Then one of four backends becomes a black hole. 200 clients a
second connect, send a line and expect it back: all must be served, in 3.2 seconds at the 99th percentile, and nobody may
be late any more once probes have found it. Needs root, nft, nginx and wrk.
"""
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

from engine_changes import enter, serve
from engines import lay_two, network, within

BACKENDS = [f"198.51.100.{host}" for host in range(1, 5)]
TO = "192.0.2.254"
RATE = 200


def tracked(name):
    with open(f"/proc/sys/net/netfilter/nf_conntrack_{name}") as file:
        return int(file.read())


def watch(seconds, samples):
    """The number of entries in each second, from a thread in the balancer's namespace."""
    enter("balancer")
    for _ in range(seconds):
        time.sleep(1)
        samples.append(tracked("count"))


def many(seconds):
    samples = []
    watcher = threading.Thread(target=watch, args=(seconds, samples))
    watcher.start()
    counts, errors = [], []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 1:
        length = min(5, int(left))
        command = ["wrk", "-t1", "-c50", f"-d{length}s", "-H", "Connection: close", f"http://{TO}/"]
        text = within("client", *command, stdout=subprocess.PIPE, text=True).communicate()[0]
        counts.append(int(re.search(r"(\d+) requests in", text)[1]) / length)
        errors += re.findall(r"Socket errors.*|Non-2xx.*", text)
    watcher.join()
    bound = 2 * max(counts) + tracked("max") / 8
    print(f"{sum(counts) / len(counts):.0f} connections a second in {seconds} s, at least {min(counts):.0f} in five "
          f"seconds, {len(errors)} runs with errors {errors[:3]}; at most {max(samples)} entries of {tracked('max')}, "
          f"{samples[-1]} at the end; the bound is {bound:.0f}", flush=True)
    return errors or max(samples) > bound or min(counts) < max(counts) / 10


class Clients:
    def __init__(self):
        self.times, self.failed, self.over = [], [], False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        enter("client")
        asyncio.run(self.main())

    async def main(self):
        begun, tasks, number = time.monotonic(), set(), 0
        while not self.over:
            while number < (time.monotonic() - begun) * RATE:
                task = asyncio.ensure_future(self.one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)

    async def one(self):
        begun = time.monotonic()
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(TO, 7), 30)
            writer.write(b"line\n")
            if await asyncio.wait_for(reader.readline(), 30) != b"line\n":
                self.failed.append("another line")
            writer.close()
        except (OSError, asyncio.TimeoutError) as error:
            self.failed.append(repr(error))
        self.times.append((begun, time.monotonic() - begun))


def one_dead(log):
    clients = Clients()
    clients.thread.start()
    time.sleep(3)
    died = time.monotonic()
    within("backend", "nft", f"add table ip dead; add chain ip dead in {{ type filter hook input priority 0; }};"
           f"add rule ip dead in ip daddr {BACKENDS[1]} drop").wait()
    found = None
    while time.monotonic() < died + 15:
        with open(log) as lines:
            if found is None and "backend down" in lines.read():
                found = time.monotonic()
        time.sleep(0.02)
    clients.over = True
    clients.thread.join()
    if found is None:
        sys.exit("probes have not found it")
    # The rules follow the probes within a tenth of a second.
    at_once = sorted(time for begun, time in clients.times if died <= begun < found + 0.1)
    later = [time for begun, time in clients.times if begun >= found + 0.1]
    late = sum(time > 0.9 for time in later)
    p99 = at_once[len(at_once) * 99 // 100]
    print(f"black hole: found after {found - died:.1f} s; until then {len(at_once)} clients, p99 {p99:.2f} s, at most "
          f"{at_once[-1]:.2f} s; after it {len(later)}, {late} of them late; {len(clients.failed)} failed "
          f"{clients.failed[:3]}", flush=True)
    return late or p99 > 3.2 or clients.failed


def main():
    program, seconds = os.path.abspath(sys.argv[1]), int((sys.argv[2:] or ["600"])[0])
    with tempfile.TemporaryDirectory() as folder, network(lay_two) as started:
        started += serve(BACKENDS, folder)
        os.environ["EVENKEEL_RUNTIME_DIR"] = folder
        words = []
        for port, options in ((80, []), (7, ["--probe", "tcp", "--probe-interval", "2s"])):
            words += ["--", f"{TO}:{port}", *(f"{at}:{port}" for at in BACKENDS), "--engine", "kernel", *options]
        with open(f"{folder}/log", "w") as log:
            started.append(within("balancer", program, "--log-sessions", "none", *words[1:],
                                  stdout=subprocess.DEVNULL, stderr=log))
        time.sleep(2)
        failed = [name for name, is_bad in (("many", many(seconds)), ("dead", one_dead(f"{folder}/log"))) if is_bad]
        sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
