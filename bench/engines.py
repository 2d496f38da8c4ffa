#!/usr/bin/env python3
"""Compares plain routing, our user engine and the kernel's two engines on the same path, in interleaved rounds.

A client, a balancer, a plain router and a backend, each in a network namespace: for `--engine kernel`, the balancer and
the router are between the networks of client and backend, for `--engine direct` all are on one network, and answers
pass neither. Beside `--engine kernel`, another namespace, `bare`, translates addresses by two rules and does nothing
else: that is what the kernel itself takes for it. `rr` is requests on kept connections and `crr` one connection for
each request, both by wrk before nginx; `up` and `down` are four streams of iperf3. The cost is the busy time of the
whole machine, of which two CPUs are used. Needs root, nft, nginx, wrk and iperf3.

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

ROLES = {role: f"evenkeel-engines-{role}-{os.getpid()}"
         for role in ("client", "balancer", "router", "bare", "backend", "switch")}
# The backend's address for the balancer, and the address that the client asks, by way. A way has ports of its own: 80N
# of nginx and 520N of iperf3, with its number as N. Otherwise a source port that the backend has just closed for one
# way would make a connection of the next one wait for a second.
NETWORKS = {
    "kernel": ("198.51.100.1", {"routed": "198.18.0.1", "user": "192.0.2.254", "kernel": "192.0.2.254",
                                "bare": "198.18.1.254"}),
    "direct": ("192.0.2.11", {"routed": "198.18.0.1", "user": "192.0.2.100", "direct": "192.0.2.100"}),
}

# One backend, connections that are forgotten a second after their end, and the kernel's own accounting, as with ours.
BARE = """
table ip bare {
  ct timeout short { protocol tcp; l3proto ip; policy = { time_wait : 1, close : 1 }; }
  chain pre { type nat hook prerouting priority dstnat;
    ip daddr 198.18.1.254 meta l4proto tcp ct timeout set "short" dnat to 198.19.0.1
  }
  chain post { type nat hook postrouting priority srcnat;
    ip daddr 198.19.0.1 masquerade
  }
}
"""


def within(role, *command, **options):
    return start(ROLES[role], *command, **options)


def pinned(role, *command, **options):
    """Clients and backends share CPU 1, which also forwards; a process that balances has CPU 0."""
    return within(role, "taskset", "-c", "0" if role == "balancer" else "1", *command, **options)


def run(role, command):
    within(role, *command.split()).wait()


def lay_two():
    """The networks of client and backend: two for each of those between them."""
    for far, client, backend in (("balancer", "192.0.2", "198.51.100"), ("router", "203.0.113", "198.18.0"),
                                 ("bare", "198.18.1", "198.19.0")):
        for role, net in (("client", client), ("backend", backend)):
            ip(f"-n {ROLES[role]} link add {far} type veth peer name {role} netns {ROLES[far]}")
            for name, device, host in ((ROLES[role], far, 1), (ROLES[far], role, 254)):
                ip(f"-n {name} address add {net}.{host}/24 dev {device}")
                ip(f"-n {name} link set {device} up")
        ip(f"-n {ROLES['client']} route add {backend}.0/24 via {client}.254")
        ip(f"-n {ROLES['backend']} route add {client}.0/24 via {backend}.254")
    run("bare", "sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1")
    subprocess.run(["ip", "netns", "exec", ROLES["bare"], "nft", "-f", "-"], input=BARE, text=True, check=True)


def lay_one():
    """One network. The backend has the address that is balanced by `--engine direct`, too, and one to be routed to."""
    ip(f"-n {ROLES['switch']} link add bridge type bridge")
    ip(f"-n {ROLES['switch']} link set bridge up")
    for role, host in (("client", 1), ("backend", 11), ("router", 253), ("balancer", 254)):
        ip(f"-n {ROLES[role]} link add eth0 type veth peer name {role} netns {ROLES['switch']}")
        ip(f"-n {ROLES[role]} address add 192.0.2.{host}/24 dev eth0")
        ip(f"-n {ROLES[role]} link set eth0 up")
        ip(f"-n {ROLES['switch']} link set dev {role} master bridge up")
    run("backend", "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")
    for address in ("198.18.0.1", "192.0.2.100"):
        ip(f"-n {ROLES['backend']} address add {address}/32 dev lo")
    ip(f"-n {ROLES['balancer']} address add 192.0.2.100/32 dev eth0")
    ip(f"-n {ROLES['client']} route add 198.18.0.1 via 192.0.2.253")
    ip(f"-n {ROLES['router']} route add 198.18.0.1 via 192.0.2.11")
    # The router must not tell the client that there is a shorter way.
    run("router", "sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0")


@contextlib.contextmanager
def network(lay):
    """The namespaces, and a list of processes; all are gone at the end."""
    started = []
    try:
        for name in ROLES.values():
            ip(f"netns add {name}")
            ip(f"-n {name} link set lo up")
        lay()
        for role in ("balancer", "router", "bare"):
            run(role, "sysctl -qw net.ipv4.ip_forward=1")
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


def wrk(address, number, seconds, *headers):
    command = ["wrk", "-t1", "-c50", f"-d{seconds}s", *headers, f"http://{address}:80{number}/"]
    text = pinned("client", *command, stdout=subprocess.PIPE, text=True).communicate()[0]
    errors = re.search(r"Socket errors.*|Non-2xx.*", text)
    if errors:
        print("   ", errors[0])
    return int(re.search(r"(\d+) requests in", text)[1])


def iperf(address, number, seconds, *options):
    command = ["iperf3", "-J", "-P4", "-c", address, "-p", f"520{number}", "-t", str(seconds), *options]
    text = pinned("client", *command, stdout=subprocess.PIPE, text=True).communicate()[0]
    return json.loads(text)["end"]["sum_received"]["bytes"] / 1e6


TESTS = {
    "rr": wrk,
    "crr": lambda *way: wrk(*way, "-H", "Connection: close"),
    "up": iperf,
    "down": lambda *way: iperf(*way, "-R"),
}


def measure(ways, tests, rounds, seconds):
    found = {}
    for _ in range(rounds):
        for test in tests:
            for number, (name, address) in enumerate(ways.items()):
                before, began = busy(), time.monotonic()
                done = TESTS[test](address, number, seconds)
                took, spent = time.monotonic() - began, busy() - before
                found.setdefault((test, name), []).append((done / took, spent / done * 1e6))
    last = ["of bare"] if "bare" in ways else []
    print(f"{'':14}{'per second':>12}{'of routed':>11}{'machine us':>12}{'of user':>9}", *last)
    for (test, name), values in found.items():
        rate, cost = (statistics.median(column) for column in zip(*values))

        def ratio(other, column):
            """Of each round, and then the median."""
            return statistics.median(mine[column] / its[column] for mine, its in zip(values, found[test, other]))

        unit = "ops" if "rr" in test else "MB"
        of_routed, of_user, of_bare = ratio("routed", 0), ratio("user", 1), [ratio("bare", 0) for _ in last]
        print(f"{test + ' ' + name:14}{rate:>9.0f} {unit:3}{of_routed:>10.2f}{cost:>12.2f}{of_user:>9.2f}",
              *(f"{it:7.2f}" for it in of_bare), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--engine", choices=NETWORKS, action="append", help="default: both")
    parser.add_argument("--tests", nargs="+", choices=TESTS, default=list(TESTS))
    args = parser.parse_args()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for engine in args.engine or NETWORKS:
        backend, ways = NETWORKS[engine]
        lay = {"kernel": lay_two, "direct": lay_one}[engine]
        with tempfile.TemporaryDirectory() as folder, network(lay) as started:
            listens = " ".join(f"listen 80{number} backlog=4096;" for number in range(len(ways)))
            with open(f"{folder}/nginx.conf", "w") as conf:
                conf.write(f"daemon off; pid {folder}/pid; error_log /dev/null; worker_processes 1; events {{}}\n"
                           "http { access_log off; keepalive_requests 1000000000; server {\n"
                           f"{listens} location / {{ return 200 'hello'; }} }} }}\n")
            started.append(pinned("backend", "nginx", "-c", f"{folder}/nginx.conf", **quiet))
            for number in range(len(ways)):
                started.append(pinned("backend", "iperf3", "-s", "-p", f"520{number}", **quiet))
            os.environ["EVENKEEL_RUNTIME_DIR"] = folder
            for number, (name, address) in enumerate(ways.items()):
                if name in ("routed", "bare"):
                    continue
                words = ["--log-sessions", "problems"]
                for port in (f"80{number}", f"520{number}"):
                    words += ["--", f"{address}:{port}", f"{backend}:{port}", "--engine", name]
                started.append(pinned("balancer", os.path.abspath(args.program), *words[3:], *words[:2], **quiet))
            time.sleep(1)
            measure(ways, args.tests, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
