#!/usr/bin/env python3
"""udp_flood.py BINARY [COUNT [RATE]]: what a flood of forged addresses costs, and whom it hurts.

Needs root, for two network namespaces that are removed at the end. COUNT datagrams (1,000,000), each of another address
and port, reach a listener of BINARY at RATE per second (20,000), while one client exchanges 500 datagrams a second in
a flow that has been answered before. Prints what that client lost, the most memory and descriptors that the process
had, and what the kernel dropped at the sockets.
"""
import os
import subprocess
import sys
import tempfile
import time

from flood_network import BALANCER, CLIENT, network, resident, start

BACKEND = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
s.bind(("127.0.0.1", 5301))
while True:
    data, peer = s.recvfrom(2000)
    if data[:1] == b"e":
        s.sendto(data, peer)
"""

ESTABLISHED = """
import select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
s.settimeout(10)
s.connect(("192.0.2.254", 5300))
for _ in range(2):
    s.send(b"e")
    s.recv(10)
s.setblocking(False)
sent = answered = 0
def receive():
    global answered
    try:
        s.recv(10)
        answered += 1
    except OSError:
        return False
    return True
due = time.time()
end = due + float(sys.argv[1])
while due < end:
    s.send(b"e")
    sent += 1
    due += 0.002
    while (left := due - time.time()) > 0:
        if select.select([s], [], [], left)[0]:
            receive()
time.sleep(1)
while receive():
    pass
print(f"established flow: {sent} sent, {answered} answered, {100 * (sent - answered) / sent:.3f} % lost")
"""

FLOOD = """
import socket, struct, sys, time
count, rate = int(sys.argv[1]), int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
to = socket.inet_aton("192.0.2.254")
start = time.time()
for i in range(count):
    ip = struct.pack("!BBHHHBBHI4s", 0x45, 0, 36, 0, 0, 64, 17, 0, 0x0A000001 + i * 7 % 16000000, to)
    s.sendto(ip + struct.pack("!HHHH", 1024 + i % 60000, 5300, 16, 0) + b"forged!!", ("192.0.2.254", 0))
    if i % 32 == 0 and (ahead := start + i / rate - time.time()) > 0:
        time.sleep(ahead)
print(f"flood: {count} datagrams in {time.time() - start:.1f} s")
"""


def usage(pid):
    return resident(pid), len(os.listdir(f"/proc/{pid}/fd"))


def measure(binary, count, rate):
    running = []
    runtime = tempfile.TemporaryDirectory()
    try:
        lenient = "for f in all client; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done"
        start(BALANCER, "sh", "-c", lenient).wait()
        running.append(start(BALANCER, sys.executable, "-c", BACKEND))
        environment = dict(os.environ, EVENKEEL_RUNTIME_DIR=runtime.name)
        command = [binary, "0.0.0.0:5300/udp", "127.0.0.1:5301"]
        evenkeel = start(BALANCER, *command, env=environment, stderr=subprocess.DEVNULL)
        running.append(evenkeel)
        time.sleep(1)
        seconds = str(count / rate + 1)
        established = start(CLIENT, sys.executable, "-c", ESTABLISHED, seconds)
        running.append(established)
        time.sleep(0.5)
        before = most = usage(evenkeel.pid)
        flood = start(CLIENT, sys.executable, "-c", FLOOD, str(count), str(rate))
        running.append(flood)
        while established.poll() is None:
            time.sleep(0.2)
            most = tuple(map(max, most, usage(evenkeel.pid)))
        print(f"resident kB and descriptors: {before} before, {most} at most")
        table = subprocess.run(["ip", "netns", "exec", BALANCER, "cat", "/proc/net/udp"], capture_output=True, text=True)
        drops = [line.split()[-1] for line in table.stdout.splitlines()[1:]]
        print("dropped by the kernel at sockets:", sum(map(int, drops)))
    finally:
        for process in running:
            process.kill()
            process.wait()
        runtime.cleanup()


def main(binary, count=1_000_000, rate=20_000):
    with network():
        measure(binary, count, rate)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
