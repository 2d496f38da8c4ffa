#!/usr/bin/env python3
"""round_trips.py BINARY: whether round-trip times and retransmissions of the log and of `ctl sessions` are right.

Needs root, for two network namespaces that are removed at the end. Between them is a relay of this script (a TUN
device in each), which holds every packet for a time and may drop some: what `tc netem` does where the kernel has it.
For each delay, a session exchanges bytes one at a time, once with the relay on the client's side and once on the
backend's; what BINARY says of it is compared with what the session itself measured. Then a side is sent 4 MB while the
relay drops a share of the segments and counts those that come again. Exits with 1 if anything differs by more than
10 %.
"""
import contextlib
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from flood_network import ip, start

NEAR, FAR = (f"evenkeel-rtt-{role}-{os.getpid()}" for role in ("near", "far"))
ADDRESSES = {NEAR: "10.9.0.1", FAR: "10.9.0.2"}
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 1, 0x1000, 0x40000000
BULK = 4 << 20


def within(namespace, call):
    """What `call` makes there, a socket or a process, stays there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    setns = ctypes.CDLL(None, use_errno=True).setns
    try:
        if setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        return call()
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


def tun():
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
    return device


class Relay(threading.Thread):
    """Carries packets between two devices: each arrives after `delay`, and of those with data a share is dropped."""

    def __init__(self, devices):
        super().__init__(daemon=True)
        self.to = dict(zip(devices, reversed(devices)))
        self.set(0, 0)

    def set(self, delay, loss):
        self.delay, self.loss, self.again, self.ends = delay, loss, {FAR: 0, NEAR: 0}, {}

    def run(self):
        waiting, order, dice = [], itertools.count(), random.Random(1)
        while True:
            wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
            for device in select.select(list(self.to), [], [], wait)[0]:
                with contextlib.suppress(BlockingIOError):
                    while packet := os.read(device, 65536):
                        if not (self.look(packet) and dice.random() < self.loss):
                            due = time.monotonic() + self.delay
                            heapq.heappush(waiting, (due, next(order), self.to[device], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, device, packet = heapq.heappop(waiting)
                with contextlib.suppress(BlockingIOError):
                    os.write(device, packet)

    def look(self, packet):
        """Whether a packet is TCP with data; counts it if its bytes have been on their way before."""
        if packet[0] >> 4 != 4 or packet[9] != 6:
            return False
        head = (packet[0] & 15) * 4
        data = struct.unpack_from("!H", packet, 2)[0] - head - (packet[head + 12] >> 4) * 4
        if data <= 0:
            return False
        flow, (number,) = packet[12:20] + packet[head : head + 4], struct.unpack_from("!I", packet, head + 4)
        end = (number + data) & 0xFFFFFFFF
        known = self.ends.get(flow)
        if known is not None and (end - known) & 0xFFFFFFFF >= 1 << 31 or end == known:
            self.again[FAR if packet[16:20] == socket.inet_aton(ADDRESSES[FAR]) else NEAR] += 1
        else:
            self.ends[flow] = end
        return True


@contextlib.contextmanager
def network():
    try:
        for namespace in (NEAR, FAR):
            ip(f"netns add {namespace}")
        devices = [within(namespace, tun) for namespace in (NEAR, FAR)]
        for namespace, address in ADDRESSES.items():
            for words in (f"address add {address}/24 dev tun0", "link set tun0 txqueuelen 10000 up", "link set lo up"):
                ip(f"-n {namespace} {words}")
        relay = Relay(devices)
        relay.start()
        yield relay
    finally:
        for namespace in (NEAR, FAR):
            subprocess.run(["ip", "netns", "del", namespace])


def serve(listener):
    """Echoes bytes; a `B` asks for 4 MB, `U` and 4 MB upwards are answered with one byte."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=answer, args=(client,), daemon=True).start()


def answer(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := client.recv(1 << 16):
        if data[:1] == b"B":
            client.sendall(bytes(BULK))
        elif data[:1] == b"U":
            left = BULK + 1 - len(data)
            while left > 0:
                left -= len(client.recv(1 << 16))
            client.sendall(b"u")
        else:
            client.sendall(data)
    client.close()


def exchanges(client, seconds):
    """The mean time of one, without the first few."""
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 20:
        begun = time.perf_counter()
        client.sendall(b"x")
        client.recv(1)
        times.append(time.perf_counter() - begun)
    times = times[5:]
    return sum(times) / len(times)


def receive(client, count):
    while count > 0:
        count -= len(client.recv(min(count, 1 << 18)))


class Place:
    """The program in NEAR, with its client or its backend behind the relay."""

    def __init__(self, binary, far):
        client, backend = (FAR, NEAR) if far == "client" else (NEAR, FAR)
        listener = within(backend, socket.socket)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESSES[backend], 7001))
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        self.listener, self.client = listener, client
        self.runtime = tempfile.TemporaryDirectory()
        self.environment = {**os.environ, "EVENKEEL_RUNTIME_DIR": self.runtime.name}
        self.binary = binary
        words = [f"{ADDRESSES[NEAR]}:7000", f"{ADDRESSES[backend]}:7001", "--log-format", "json"]
        self.process = start(NEAR, binary, *words, stderr=subprocess.PIPE, env=self.environment, text=True)
        self.ended(lambda line: line["message"] == "admin socket")

    def ended(self, is_it=lambda line: line["message"] == "session ended"):
        for line in self.process.stderr:
            line = json.loads(line)
            if is_it(line):
                return line
        sys.exit("the program has ended")

    def connect(self):
        client = within(self.client, socket.socket)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect((ADDRESSES[NEAR], 7000))
        return client

    def listed(self):
        words = [self.binary, "ctl", "sessions", "--json"]
        output = subprocess.run(words, env=self.environment, check=True, capture_output=True, text=True)
        (session,) = json.loads(output.stdout)
        return session

    def close(self):
        self.process.kill()
        self.process.wait()
        self.listener.close()
        self.runtime.cleanup()


def main():
    binary, worst = sys.argv[1], 0.0

    def compare(what, said, truth):
        nonlocal worst
        difference = abs(said / truth - 1)
        worst = max(worst, difference)
        return f"{what} {said:g} ({said / truth:.3f})"

    with network() as relay:
        for far, prefix in (("client", ""), ("backend", "backend-")):
            place = Place(binary, far)
            try:
                for delay in (0.005, 0.020, 0.050, 0.125):
                    relay.set(delay, 0)
                    client = place.connect()
                    truth = exchanges(client, 4) * 1000
                    row = place.listed()[prefix.replace("-", "_") + "rtt_seconds"] * 1000
                    client.close()
                    line = place.ended()
                    print(f"{far}, {delay * 1000:g} ms each way: exchange {truth:.1f} ms;",
                          compare("sessions", row, truth) + ",",
                          compare("log", line[prefix + "rtt"] * 1000, truth), flush=True)
                for loss in (0.01, 0.03, 0.10):
                    relay.set(0.005, loss)
                    client = place.connect()
                    if far == "client":
                        client.sendall(b"B")
                        receive(client, BULK)
                    else:
                        client.sendall(b"U" + bytes(BULK))
                        receive(client, 1)
                    said = place.listed()[prefix.replace("-", "_") + "retransmits"]
                    client.close()
                    line = place.ended()
                    truth = relay.again[FAR]
                    print(f"{far}, {loss * 100:g} % lost: {truth} segments came again;",
                          compare("sessions", said, truth) + ",",
                          compare("log", line[prefix + "retransmits"], truth), flush=True)
            finally:
                place.close()
    print(f"largest difference: {worst * 100:.1f} %")
    sys.exit(worst > 0.10)


if __name__ == "__main__":
    main()
