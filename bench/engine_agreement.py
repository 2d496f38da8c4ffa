#!/usr/bin/env python3
"""engine_agreement.py PROGRAM [KEYS]: whether both engines, and two machines, send clients to the same backends.

KEYS clients (1,000,000), each with an address of its own, send one datagram to `--engine user`,
to `--engine kernel` on the same machine and to `--engine kernel` on another one, which share nothing but the words of
their pool: seven backends with three different weights, `--policy maglev`. The backends note whom they have heard of:
by the PROXY header of the user engine, and otherwise by the address that they see. Needs root and nft.
"""
import array
import ipaddress
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

from engine_changes import enter
from engines import ROLES, lay_two, network, run, within
from flood_network import ip

BACKENDS = [f"198.51.100.{host}" for host in range(1, 8)]
WEIGHTS = [1, 2, 5, 1, 2, 5, 1]
WAYS = {"user": "192.0.2.254", "kernel": "192.0.2.254", "another machine": "203.0.113.254"}
FIRST = int(ipaddress.ip_address("10.0.0.0"))
# The keys are spread over 10.0.0.0/8: the step shares no factor with its size.
STEP, ALL = 0x9e3779 | 1, 1 << 24
SECONDS = 600
# Of the backends, and of the first way. Others have the next ones.
PORT = 8000
# <linux/in.h>, <asm-generic/socket.h>
IP_PKTINFO, SO_RCVBUFFORCE = 8, 33


def address(key):
    return FIRST + key * STEP % ALL


def mark(way):
    return str(list(WAYS).index(way)).encode()


def hear(keys, way, pipe):
    """Notes which backend hears of each key, until it has heard of all. Writes the list to a pipe."""
    enter("backend")
    numbers = {address(key): key for key in range(keys)}
    heard, left = array.array("b", [-1]) * keys, keys
    selector = selectors.DefaultSelector()
    for number, backend in enumerate(BACKENDS):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 27)
        receiver.setblocking(False)
        receiver.bind((backend, PORT))
        selector.register(receiver, selectors.EVENT_READ, number)
    os.write(pipe, b"r")
    end = time.monotonic() + SECONDS
    while left and time.monotonic() < end:
        for event, _ in selector.select(1):
            for _ in range(256):
                try:
                    data, (seen, _) = event.fileobj.recvfrom(100)
                except BlockingIOError:
                    break
                if data[-1:] != mark(way):
                    continue  # from the way before
                client = struct.unpack_from("!I", data, 16)[0] if way == "user" else int(ipaddress.ip_address(seen))
                key = numbers[client]
                if heard[key] < 0:
                    left -= 1
                elif heard[key] != event.data:
                    heard[key] = 127  # two backends
                else:
                    continue
                heard[key] = event.data if heard[key] < 0 else heard[key]
    os.write(pipe, heard.tobytes())
    os._exit(0)


def send(keys, way):
    """Sends a datagram from each key, from a process of its own; again and again, because some may be lost."""
    enter("client")
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to = (WAYS[way], PORT + list(WAYS).index(way))
    begun = time.monotonic()
    sent = 0
    while True:
        for key in range(keys):
            # A `struct in_pktinfo` (ip(7)).
            info = struct.pack("=iII", 0, socket.htonl(address(key)), 0)
            try:
                sender.sendmsg([mark(way)], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, to)
            except OSError:
                pass
            sent += 1
            if sent % 100 == 0:
                time.sleep(max(0, sent / 25_000 - (time.monotonic() - begun)))


def fork(what):
    child = os.fork()
    if child == 0:
        try:
            what()
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(1)
    return child


def listen(keys, way):
    """Which backend hears of each key on this way."""
    reading, writing = os.pipe()
    hearer = fork(lambda: hear(keys, way, writing))
    os.close(writing)
    os.read(reading, 1)
    begun = time.monotonic()
    sender = fork(lambda: send(keys, way))
    with open(reading, "rb") as pipe:
        heard = array.array("b", pipe.read())
    os.kill(sender, 9)
    for child in (hearer, sender):
        os.waitpid(child, 0)
    shares = [heard.count(number) for number in range(len(BACKENDS))]
    print(f"{way}: {sum(shares)} of {keys} heard in {time.monotonic() - begun:.0f} s, by backend {shares}", flush=True)
    return heard


def main():
    program, keys = os.path.abspath(sys.argv[1]), int((sys.argv[2:] or [1_000_000])[0])
    most = "/proc/sys/net/netfilter/nf_conntrack_max"
    with tempfile.TemporaryDirectory() as folder, network(lay_two) as started:
        for role, far, net in (("client", "balancer", "192.0.2"), ("client", "router", "203.0.113")):
            ip(f"-n {ROLES[far]} route add 10.0.0.0/8 via {net}.1")
            run(far, "sysctl -qw net.ipv4.conf.all.rp_filter=0")
        ip(f"-n {ROLES['client']} route add local 10.0.0.0/8 dev lo")
        run("backend", "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.balancer.rp_filter=0 "
            "net.ipv4.conf.router.rp_filter=0")
        ip(f"-n {ROLES['backend']} route add 10.0.0.0/8 via 198.51.100.254")
        for at in BACKENDS[1:]:
            ip(f"-n {ROLES['backend']} address add {at}/24 dev balancer")
        ip(f"-n {ROLES['router']} route add 198.51.100.0/24 via 198.18.0.1")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for number, (way, at) in enumerate(WAYS.items()):
            os.environ["EVENKEEL_RUNTIME_DIR"] = f"{folder}/{number}"
            os.mkdir(f"{folder}/{number}")
            backends = [f"{backend}:{PORT}:0:0:{weight}" for backend, weight in zip(BACKENDS, WEIGHTS)]
            how = ["--send-proxy", "v2", "--requests", "1", "--flow-timeout", "1s"] if way == "user" else \
                ["--engine", "kernel", "--transparent"]
            words = [f"{at}:{PORT + number}/udp", *backends, "--policy", "maglev", "--log-sessions", "none", *how]
            role = "router" if way == "another machine" else "balancer"
            started.append(within(role, program, *words, **quiet))
        time.sleep(2)
        with open(most) as file:
            before = file.read()
        try:
            # Each key is a connection for the kernel for a while.
            with open(most, "w") as file:
                file.write(str(4 * keys + 262_144))
            heard = [listen(keys, way) for way in WAYS]
        finally:
            with open(most, "w") as file:
                file.write(before)
        differ = sum(len(set(all_of)) > 1 for all_of in zip(*heard))
        missing = sum(min(all_of) < 0 for all_of in zip(*heard))
        print(f"{differ} of {keys} differ, {missing} were not heard of")
        sys.exit(bool(differ or missing))


if __name__ == "__main__":
    main()
