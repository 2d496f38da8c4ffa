#!/usr/bin/env python3
"""engine_changes.py PROGRAM [FLAPS [RELOADS [SWITCHES]]]: whether anybody notices changes to the kernel's engine.

In three network namespaces, with two backends: wrk makes short connections without a pause, 500 sessions of 100
clients send a line every half second and expect it back, and four streams send random bytes that come back and are
compared. Meanwhile backends fail and return FLAPS times (1000), the file is reloaded with other backends RELOADS times
(200), and the engine is switched from `kernel` to `user` or back SWITCHES times (100), all in a random order. Then the
rules are removed every two seconds for a minute (`nft flush ruleset`); then the process is killed and begun again ten
times, every second time two seconds after its helper. Nobody may be refused, reset or sent a wrong
byte. Needs root, nft, nginx and wrk.
"""
import asyncio
import ctypes
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from engines import ROLES, lay_two, network, within
from flood_network import ip

SERVERS = ("198.51.100.1", "198.51.100.2")
# <sched.h>
CLONE_NEWNET = 0x40000000
PAUSE = 0.05
ECHO = """
import asyncio
async def serve(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    servers = [await asyncio.start_server(serve, at, 7, backlog=1000) for at in {servers}]
    await asyncio.gather(*(it.serve_forever() for it in servers))
asyncio.run(main())
"""


def enter(role):
    descriptor = os.open(f"/var/run/netns/{ROLES[role]}", os.O_RDONLY)
    if ctypes.CDLL(None).setns(descriptor, CLONE_NEWNET):
        sys.exit("setns")
    os.close(descriptor)


class Clients:
    """Sessions in a thread of their own, in the namespace of the client."""

    def __init__(self, sessions, streams):
        self.sessions, self.streams = sessions, streams
        self.over, self.failed, self.longest, self.lines, self.bytes = False, [], 0, 0, 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            enter("client")
            asyncio.run(self.main())
        except BaseException as error:
            self.failed.append(repr(error))
        self.ready.set()

    async def main(self):
        pairs = []
        for _ in range(self.sessions + self.streams):
            pairs.append(await asyncio.open_connection("192.0.2.254", 7))
        self.ready.set()
        tasks = [self.talk(*pair) for pair in pairs[self.streams:]] + [self.stream(*pair) for pair in pairs[:self.streams]]
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if outcome is not None:
                self.failed.append(repr(outcome))

    async def talk(self, reader, writer):
        await asyncio.sleep(random.random() / 2)
        while not self.over:
            line, begun = random.randbytes(20).hex().encode() + b"\n", time.monotonic()
            writer.write(line)
            answer = await asyncio.wait_for(reader.readline(), 30)
            if answer != line:
                raise ValueError(f"{answer!r} instead of {line!r}")
            self.longest = max(self.longest, time.monotonic() - begun)
            self.lines += 1
            await asyncio.sleep(0.5)

    async def stream(self, reader, writer):
        text = random.randbytes(1 << 19)
        while not self.over:
            begin = random.randrange(1 << 18)
            data = text[begin:begin + (1 << 18)]
            _, back = await asyncio.wait_for(asyncio.gather(self.send(writer, data), reader.readexactly(len(data))), 30)
            if back != data:
                raise ValueError("other bytes have come back")
            self.bytes += len(data)
            await asyncio.sleep(0.05)

    async def send(self, writer, data):
        writer.write(data)
        await writer.drain()


class Instance:
    def __init__(self, program, folder):
        self.program, self.folder, self.file = program, folder, f"{folder}/changes.toml"
        self.engine, self.extra = "kernel", False
        self.write()
        self.start()

    def start(self):
        """Begins the process, and waits until the kernel forwards."""
        with open(f"{self.folder}/log", "w") as log:
            self.process = within("balancer", self.program, "run", self.file, stdout=subprocess.DEVNULL, stderr=log)
        for _ in range(200):
            with open(f"{self.folder}/log") as log:
                if log.read().count("the kernel forwards") == 2:
                    return
            time.sleep(0.05)
        sys.exit("the kernel does not forward")

    def kill_helper(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        for child in map(int, children):
            with open(f"/proc/{child}/comm") as name:
                if name.read().strip() == "evenkeel-kernel":
                    os.kill(child, signal.SIGKILL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def write(self):
        lines = [f"[process]\nadmin = '{self.folder}/admin.sock'\nlog-sessions = 'none'\n"]
        for name, port in (("web", 80), ("echo", 7)):
            # A third one that is the first by another name.
            backends = [f"{at}:{port}" for at in (*SERVERS, *SERVERS[: int(self.extra)])]
            lines.append(f"[listeners.{name}]\nbind = '192.0.2.254:{port}'\npool = '{name}'\n"
                         f"[pools.{name}]\nengine = '{self.engine}'\nbackends = {json.dumps(backends)}\n")
        with open(self.file, "w") as file:
            file.writelines(lines)

    def ctl(self, *words):
        command = [self.program, "ctl", "--admin", f"{self.folder}/admin.sock", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"ctl {' '.join(words)}: {done.stderr}")

    def flap(self):
        pool, server = random.choice(("web", "echo")), random.randrange(2)
        self.ctl("quarantine", f"{pool}/0.{server}", "60s")
        time.sleep(random.random() / 50)
        self.ctl("quarantine", f"{pool}/0.{server}", "0s")

    def reload(self):
        self.extra = not self.extra
        self.write()
        self.ctl("reload")

    def switch(self):
        self.engine = "user" if self.engine == "kernel" else "kernel"
        self.write()
        self.ctl("reload")


def wrk(seconds):
    command = ["wrk", "-t1", "-c20", f"-d{seconds}s", "--timeout", "30s", "-H", "Connection: close", "http://192.0.2.254/"]
    return within("client", *command, stdout=subprocess.PIPE, text=True)


def told(process):
    text = process.communicate()[0]
    count, seconds = re.search(r"(\d+) requests in ([\d.]+)(m?)", text).group(1, 2)
    errors = re.search(r"Socket errors.*|Non-2xx.*", text)
    return int(count), f"{count} short connections, {errors[0] if errors else 'no errors'}"


def trial(name, change, instance):
    clients = Clients(500, 4)
    clients.thread.start()
    clients.ready.wait()
    short, begun = [], time.monotonic()
    done = threading.Event()

    def connect():
        while not done.is_set():
            short.append(told(wrk(5)))

    thread = threading.Thread(target=connect)
    thread.start()
    changes = change(instance)
    done.set()
    thread.join()
    clients.over = True
    clients.thread.join()
    seconds = time.monotonic() - begun
    errors = [text for _, text in short if "no errors" not in text]
    print(f"{name}: {changes} in {seconds:.0f} s; {sum(count for count, _ in short) / seconds:.0f} short connections a second, "
          f"{len(errors)} of {len(short)} runs with errors {errors[:3]}; {clients.lines} lines of 500 sessions, longest "
          f"{clients.longest * 1e3:.0f} ms, {len(clients.failed)} ended {clients.failed[:3]}; {clients.bytes >> 20} MB in four "
          "streams", flush=True)
    return errors or clients.failed


def change_all(counts):
    def run(instance):
        steps = [step for step, count in zip((instance.flap, instance.reload, instance.switch), counts) for _ in range(count)]
        random.shuffle(steps)
        for step in steps:
            step()
            time.sleep(PAUSE)
        if instance.engine == "user":
            instance.switch()
        return "{} flaps, {} reloads, {} switches".format(*counts)
    return run


def kill_all(instance):
    for helper_first in (False, True) * 5:
        if helper_first:
            instance.kill_helper()
            time.sleep(2)
        instance.kill()
        time.sleep(1)
        instance.start()
        time.sleep(2)
    return "10 kills of the process, 5 of them after its helper"


def flush(_):
    for _ in range(30):
        time.sleep(2)
        within("balancer", "nft", "flush", "ruleset").wait()
    return "30 flushes of all rules"


def serve(servers, folder):
    """Web servers and echo servers at these addresses, the first of which the backend has."""
    for at in servers[1:]:
        ip(f"-n {ROLES['backend']} address add {at}/24 dev balancer")
    with open(f"{folder}/nginx.conf", "w") as conf:
        conf.write(f"daemon off; pid {folder}/pid; error_log /dev/null; worker_processes 1; events {{}}\n"
                   "http { access_log off; server { listen 80 backlog=4096; location / { return 200 'hello'; } } }\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [within("backend", "nginx", "-c", f"{folder}/nginx.conf", **quiet),
               within("backend", sys.executable, "-c", ECHO.format(servers=list(servers)), **quiet)]
    for _ in range(200):
        listening = within("backend", "ss", "-ltnH", "( sport = 7 or sport = 80 )", stdout=subprocess.PIPE, text=True)
        if len(listening.communicate()[0].splitlines()) == len(servers) + 1:
            break
        time.sleep(0.05)
    return started


def main():
    program = os.path.abspath(sys.argv[1])
    counts = [int(it) for it in sys.argv[2:5]]
    counts += [1000, 200, 100][len(counts):]
    with tempfile.TemporaryDirectory() as folder, network(lay_two) as started:
        started += serve(SERVERS, folder)
        os.environ["EVENKEEL_RUNTIME_DIR"] = folder
        instance = Instance(program, folder)
        trials = {"changes": change_all(counts), "flushes": flush, "kills": kill_all}
        try:
            failed = [name for name, change in trials.items() if trial(name, change, instance)]
        finally:
            started.append(instance.process)
        with open(f"{folder}/log") as log:
            words = (line.split(" ", 2) for line in log)
            said = [word[2].strip() for word in words if len(word) > 2 and word[1] in ("warn", "error")]
        print(f"{len(said)} warnings", *sorted({line for line in said if "quarantined" not in line})[:20], sep="\n  ")
        sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
