#!/usr/bin/env python3
"""Compares plain routing, our user engine and the kernel's engine on the same path, in interleaved rounds.

Three network namespaces: a client, a balancer that forwards, and a backend. `rr` is requests on kept connections and
`crr` one connection for each request, both by wrk before nginx; `bulk` is iperf3. The cost is the busy time of the whole
machine. Needs root, nft, nginx, wrk and iperf3.

    python3 bench/engines.py --program target/release/evenkeel --rounds 3
"""
import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import tempfile
import time

from flood_network import ip, start

ROLES = {role: f"evenkeel-engines-{role}-{os.getpid()}" for role in ("client", "balancer", "backend")}
WAYS = {"routed": ("198.51.100.1", 80, 5201), "user": ("192.0.2.254", 8080, 8081),
        "kernel": ("192.0.2.254", 9080, 9081)}


def within(role, *command, **options):
    return start(ROLES[role], *command, **options)


def lay():
    for name in ROLES.values():
        ip(f"netns add {name}")
        ip(f"-n {name} link set lo up")
    for role, net in (("client", "192.0.2"), ("backend", "198.51.100")):
        far = ROLES["balancer"]
        ip(f"-n {ROLES[role]} link add eth0 type veth peer name {role} netns {far}")
        for name, device, host in ((ROLES[role], "eth0", 1), (far, role, 254)):
            ip(f"-n {name} address add {net}.{host}/24 dev {device}")
            ip(f"-n {name} link set {device} up")
        ip(f"-n {ROLES[role]} route add default via {net}.254")
    # The connections of one way must not fill the table for the next.
    times = "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1"
    within("balancer", "sysctl", "-qw", "net.ipv4.ip_forward=1", times).wait()


@contextlib.contextmanager
def network():
    """The namespaces, and a list of processes; all are gone at the end."""
    started = []
    try:
        lay()
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
        for name in ROLES.values():
            subprocess.run(["ip", "netns", "del", name])


def busy():
    """Busy time of all CPUs in seconds."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, soft = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def wrk(address, port, seconds, *headers):
    command = ["wrk", "-t1", "-c50", f"-d{seconds}s", *headers, f"http://{address}:{port}/"]
    text = within("client", *command, stdout=subprocess.PIPE, text=True).communicate()[0]
    errors = re.search(r"Socket errors.*|Non-2xx.*", text)
    if errors:
        print("   ", errors[0])
    return int(re.search(r"(\d+) requests in", text)[1])


def iperf(address, port, seconds):
    command = ["iperf3", "-J", "-P4", "-c", address, "-p", str(port), "-t", str(seconds)]
    text = within("client", *command, stdout=subprocess.PIPE, text=True).communicate()[0]
    return json.loads(text)["end"]["sum_received"]["bytes"] / 1e6


TESTS = {
    "rr": lambda way, seconds: wrk(*way[:2], seconds),
    "crr": lambda way, seconds: wrk(*way[:2], seconds, "-H", "Connection: close"),
    "bulk": lambda way, seconds: iperf(way[0], way[2], seconds),
}


def measure(rounds, seconds):
    found = {}
    for _ in range(rounds):
        for test, run in TESTS.items():
            for name, way in WAYS.items():
                before, began = busy(), time.monotonic()
                done = run(way, seconds)
                took, spent = time.monotonic() - began, busy() - before
                found.setdefault((test, name), []).append((done / took, spent / done * 1e6))
    print(f"{'':14}{'per second':>12}{'of routed':>11}{'machine us':>12}{'of user':>9}")
    for (test, name), values in found.items():
        rate, cost = (statistics.median(column) for column in zip(*values))
        routed = statistics.median(rate for rate, _ in found[test, "routed"])
        user = statistics.median(cost for _, cost in found[test, "user"])
        unit = "MB" if test == "bulk" else "ops"
        print(f"{test + ' ' + name:14}{rate:>9.0f} {unit:3}{rate / routed:>10.2f}{cost:>12.2f}{cost / user:>9.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, network() as started:
        with open(f"{folder}/nginx.conf", "w") as conf:
            conf.write(f"daemon off; pid {folder}/pid; error_log /dev/null; worker_processes 1; events {{}}\n"
                       "http { access_log off; keepalive_requests 1000000000; server {\n"
                       "listen 198.51.100.1:80 backlog=4096; location / { return 200 'hello'; } } }\n")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(within("backend", "nginx", "-c", f"{folder}/nginx.conf", **quiet))
        started.append(within("backend", "iperf3", "-s", **quiet))
        os.environ["EVENKEEL_RUNTIME_DIR"] = folder
        for engine, first in (("user", 8080), ("kernel", 9080)):
            words = [f"192.0.2.254:{first}", "198.51.100.1:80", "--engine", engine, "--log-sessions", "problems",
                     "--", f"192.0.2.254:{first + 1}", "198.51.100.1:5201", "--engine", engine]
            started.append(within("balancer", os.path.abspath(args.program), *words, **quiet))
        time.sleep(1)
        measure(args.rounds, args.seconds)


if __name__ == "__main__":
    main()
