#!/usr/bin/env python3
"""engine_times.py PROGRAM: how long the kernel's engine takes to start and to follow, and what it costs at rest.

First, what this machine takes to wake a thread at rest and have it wake this one. Then, with 2 backends that are probed,
how long it takes from a backend's answer to a probe, good or bad, until the kernel has the new rules, sixteen times.
Then, with 2 and with 10,000 backends, and with 100 and 1000 of the policy `maglev`, how long it takes from the start
until the kernel forwards; how long it takes from a request to disable or enable a backend until the kernel has the new
rules, ten times; and the processor time of main process and helper in ten seconds without a client. Needs root and nft.
"""
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from engine_changes import enter
from engines import lay_two, network, within

POOLS = ((2, "round-robin"), (10_000, "round-robin"), (100, "maglev"), (1000, "maglev"))


def processor_time(pid):
    """Of a process and all that come from it, in seconds."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    with open(f"/proc/{pid}/stat") as stat:
        # Also of children that have ended.
        spent = sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:15]))
    return spent / os.sysconf("SC_CLK_TCK") + sum(map(processor_time, children))


def pool(count, policy):
    backends = [f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}:80" for host in range(count)]
    return f"policy = '{policy}'\nbackends = {backends}\n"


def begin(program, folder, pool):
    with open(f"{folder}/times.toml", "w") as file:
        file.write(f"[process]\nadmin = '{folder}/times.sock'\n[listeners.web]\nbind = '192.0.2.254:80'\npool = 'web'\n"
                   f"[pools.web]\nengine = 'kernel'\n{pool}")
    begun = time.monotonic()
    with open(f"{folder}/log", "w") as log:
        process = within("balancer", program, "run", f"{folder}/times.toml", stdout=subprocess.DEVNULL, stderr=log)
    with open(f"{folder}/log") as log:
        while "the kernel forwards" not in log.read():
            if time.monotonic() > begun + 60:
                sys.exit("the kernel does not forward")
            time.sleep(0.001)
    return process, time.monotonic() - begun


class Doors:
    """The chains that clients are led to, as netlink(7) says: nft(8) would take some milliseconds."""

    def __init__(self):
        chains = within("balancer", "nft", "list", "chains", stdout=subprocess.PIPE, text=True).communicate()[0].split()
        table = next(name for name in chains if name.startswith("evenkeel_"))
        attributes = b"".join(self.attribute(*it) for it in ((1, table), (2, "at4")))
        body = struct.pack("=BBH", 1, 0, 0) + attributes  # a `struct nfgenmsg`, of the family inet
        # NFT_MSG_GETSETELEM, as a request for a list
        self.request = struct.pack("=IHHII", 16 + len(body), 10 << 8 | 13, 0x301, 1, 0) + body
        with ThreadPoolExecutor(1) as other:
            self.socket = other.submit(self.open).result()

    def open(self):
        enter("balancer")
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER

    def attribute(self, kind, text):
        text = text.encode() + b"\0"
        return struct.pack("=HH", 4 + len(text), kind) + text + bytes(-len(text) % 4)

    def read(self):
        self.socket.send(self.request)
        found = []
        while True:
            rest = self.socket.recv(65536)
            while rest:
                length, kind = struct.unpack_from("=IH", rest)
                if kind == 3:  # NLMSG_DONE
                    return found
                # Without the number of the rule set, which changes with it.
                found.append(rest[20:length])
                rest = rest[length + -length % 4:]

    def wait_beyond(self, before):
        """Until they are others; when that was."""
        deadline = time.monotonic() + 60
        while self.read() == before:
            if time.monotonic() > deadline:
                sys.exit("the kernel does not follow")
            time.sleep(0.00002)
        return time.monotonic()


def follow(folder, doors, state):
    """How long it takes from a command until the kernel leads clients to another chain."""
    before = doors.read()
    command = json.dumps({"command": "set-admin-state", "backend": "web/0.1", "state": state})
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(f"{folder}/times.sock")
        begun = time.monotonic()
        admin.sendall(f"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {len(command)}\r\nConnection: close\r\n\r\n{command}".encode())
        took = doors.wait_beyond(before) - begun
        answer = b"".join(iter(lambda: admin.recv(65536), b""))
    if b" 200 " not in answer.split(b"\r\n")[0]:
        sys.exit(answer.decode())
    return took


def wakes():
    """How long a byte takes to another thread and back, when both have rested."""
    here, there = socket.socketpair()
    Thread(target=lambda: [there.send(byte) for byte in iter(lambda: there.recv(1), b"")]).start()
    times = []
    with here:
        for _ in range(8):
            time.sleep(2)
            begun = time.monotonic()
            here.send(b"x")
            here.recv(1)
            times.append(time.monotonic() - begun)
    return times


def open_backend(port):
    enter("backend")
    return socket.create_server(("198.51.100.1", port))


def answer(server, status):
    """The next probe; when that was."""
    probe, _ = server.accept()
    with probe:
        probe.recv(4096)
        begun = time.monotonic()
        probe.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    return begun


def health_changes(program, folder, started):
    """How long it takes from an answer to a probe until the kernel leads clients to another chain."""
    with ThreadPoolExecutor(1) as other:
        well, ill = (other.submit(open_backend, port).result() for port in (80, 81))

    def stay_well():
        while True:
            answer(well, "200 OK")

    Thread(target=stay_well, daemon=True).start()
    process, _ = begin(program, folder, "backends = ['198.51.100.1:80', '198.51.100.1:81']\n"
                       "probe = 'http:/'\nprobe-interval = '2s'\nfall = 1\nrise = 1\n")
    started.append(process)
    answer(ill, "200 OK")
    time.sleep(1)
    times, doors = [], Doors()
    for status in ("503 Unavailable", "200 OK") * 8:
        before = doors.read()
        begun = answer(ill, status)
        times.append(doors.wait_beyond(before) - begun)
        time.sleep(1.5)  # what is no longer needed goes after a second
    process.terminate()
    process.wait()
    return times


def in_words(times):
    return f"{statistics.median(times) * 1e3:.1f} ms, at most {max(times) * 1e3:.1f} ms"


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, network(lay_two) as started:
        os.environ["EVENKEEL_RUNTIME_DIR"] = folder
        print(f"two wakes: {in_words(wakes())}", flush=True)
        print(f"2 backends: probed change {in_words(health_changes(program, folder, started))}", flush=True)
        for count, policy in POOLS:
            process, start = begin(program, folder, pool(count, policy))
            started.append(process)
            time.sleep(4)
            times, doors = [], Doors()
            for state in ("disabled", "enabled") * 5:
                times.append(follow(folder, doors, state))
                time.sleep(2)  # what is no longer needed goes after a second
            before = processor_time(process.pid)
            time.sleep(10)
            spent = processor_time(process.pid) - before
            print(f"{count} backends, {policy}: start {start * 1e3:.0f} ms; change {in_words(times)}; {spent * 10:.1f} % of a CPU at rest",
                  flush=True)
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
