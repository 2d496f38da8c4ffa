#!/usr/bin/env python3
"""engine_times.py PROGRAM: how long the kernel's engine takes to start and to follow, and what it costs at rest.

With 2 and with 10,000 backends, and with 100 and 1000 of the policy `maglev`, prints how long it takes from the start
until the kernel forwards; how long it takes from a request to disable or enable a backend until the kernel has the new
rules, ten times; and the processor time of main process and helper in ten seconds without a client. Needs root and nft.
"""
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from engines import lay_two, network, within

POOLS = ((2, "round-robin"), (10_000, "round-robin"), (100, "maglev"), (1000, "maglev"))


def processor_time(pid):
    """Of a process and all that come from it, in seconds."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    with open(f"/proc/{pid}/stat") as stat:
        # Also of children that have ended.
        spent = sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:15]))
    return spent / os.sysconf("SC_CLK_TCK") + sum(map(processor_time, children))


def begin(program, folder, count, policy):
    backends = [f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}:80" for host in range(count)]
    with open(f"{folder}/times.toml", "w") as file:
        file.write(f"[process]\nadmin = '{folder}/times.sock'\n[listeners.web]\nbind = '192.0.2.254:80'\npool = 'web'\n"
                   f"[pools.web]\nengine = 'kernel'\npolicy = '{policy}'\nbackends = {backends}\n")
    begun = time.monotonic()
    with open(f"{folder}/log", "w") as log:
        process = within("balancer", program, "run", f"{folder}/times.toml", stdout=subprocess.DEVNULL, stderr=log)
    with open(f"{folder}/log") as log:
        while "the kernel forwards" not in log.read():
            if time.monotonic() > begun + 60:
                sys.exit("the kernel does not forward")
            time.sleep(0.001)
    return process, time.monotonic() - begun


def doors():
    """The chains that clients are led to."""
    listed = within("balancer", "nft", "list", "tables", stdout=subprocess.PIPE, text=True).communicate()[0].split()
    table = next(name for name in listed if name.startswith("evenkeel_"))
    command = ["nft", "list", "map", "inet", table, "at4"]
    return within("balancer", *command, stdout=subprocess.PIPE, text=True).communicate()[0]


def follow(folder, state):
    """How long it takes until the kernel leads clients to another chain, as far as `nft` can tell: it takes some
    milliseconds itself."""
    before, begun = doors(), time.monotonic()
    command = json.dumps({"command": "set-admin-state", "backend": "web/0.1", "state": state})
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(f"{folder}/times.sock")
        admin.sendall(f"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {len(command)}\r\nConnection: close\r\n\r\n{command}".encode())
        answer = b"".join(iter(lambda: admin.recv(65536), b""))
    if b" 200 " not in answer.split(b"\r\n")[0]:
        sys.exit(answer.decode())
    while doors() == before:
        if time.monotonic() > begun + 60:
            sys.exit("the kernel does not follow")
    return time.monotonic() - begun


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, network(lay_two) as started:
        os.environ["EVENKEEL_RUNTIME_DIR"] = folder
        for count, policy in POOLS:
            process, start = begin(program, folder, count, policy)
            started.append(process)
            time.sleep(4)
            times = []
            for state in ("disabled", "enabled") * 5:
                times.append(follow(folder, state))
                time.sleep(2)  # what is no longer needed goes after a second
            before = processor_time(process.pid)
            time.sleep(10)
            spent = processor_time(process.pid) - before
            print(f"{count} backends, {policy}: start {start * 1e3:.0f} ms; change {statistics.median(times) * 1e3:.0f} ms, at most "
                  f"{max(times) * 1e3:.0f} ms; {spent * 10:.1f} % of a CPU at rest", flush=True)
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
