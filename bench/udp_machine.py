#!/usr/bin/env python3
"""udp_machine.py PROGRAM [ROUNDS [SECONDS]]: what an exchange of datagrams costs the whole machine.

The test `urr` of ../shared/bench/peers.py, 200 clients with 64-byte exchanges, without a balancer, through nginx, pen,
PROGRAM, and PROGRAM with `--engine kernel`, in interleaved rounds. Prints medians: the processor time of the balancer's
processes for an exchange, the busy time of the whole machine, and what that is more than without a balancer. The
kernel's engine works where others send, so that only the last tells its cost. The ratios, with 95 % intervals, are to
the better of nginx and pen in each round. Needs root, nft, nginx and pen.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../shared/bench"))
import peers
from engines import busy

SERVER, LOAD = peers.TESTS["urr"]


def exchange(name, command, args):
    """Microseconds of the balancer's processes and of the machine for an exchange, and how many were repeated."""
    with peers.stage(name, command, SERVER, LOAD, args, settle=0.3) as (process, port):
        load = ["taskset", "-c", args.loadcpu, peers.LG, LOAD[0], f"127.0.0.1:{port}", "--secs", args.secs, *LOAD[1:]]
        used, spent = (peers.cpu_ns(process.pid) if process else 0), busy()
        result = json.loads(subprocess.run(load, stdout=subprocess.PIPE, check=True).stdout)
        used, spent = (peers.cpu_ns(process.pid) if process else 0) - used, busy() - spent
    return used / result["ops"] * 1e6, spent / result["ops"] * 1e6, result["errors"]


def with_interval(values):
    medians = sorted(statistics.median(random.choices(values, k=len(values))) for _ in range(2000))
    return f"{statistics.median(values):6.2f} ({medians[50]:.2f} to {medians[1949]:.2f})"


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    program, rounds, seconds = sys.argv[1], *(sys.argv[2:] + ["10", "2"])[:2]
    evenkeel = f"{program} --workers 1 --shutdown-timeout 0 --log-sessions none 127.0.0.1:{{L}}/udp 127.0.0.1:{{B1}}"
    candidates = [f"user={evenkeel} 127.0.0.1:{{B2}}", f"kernel={evenkeel} 127.0.0.1:{{B2}} --engine kernel"]
    args = argparse.Namespace(
        peers="", candidate=[], udp_candidate=candidates, secs=seconds, cpu="0", loadcpu="1")
    os.environ["EVENKEEL_RUNTIME_DIR"] = peers.TMP
    peers.build()
    peers.peers(args)
    found = {name: [] for name in peers.UDP}
    for _ in range(int(rounds)):
        for name, command in peers.UDP.items():
            found[name].append(exchange(name, command, args))
    clients = [machine for _, machine, _ in found.pop("direct")]
    costs = {name: [(own, machine, machine - alone) for (own, machine, _), alone in zip(values, clients)]
             for name, values in found.items()}
    best = [[min(both) for both in zip(*round)] for round in zip(costs["nginx"], costs["pen"])]
    print(f"{'':8}{'processes us':>13}{'machine us':>12}{'more us':>9}{'repeated':>10}"
          f"   processes / best peer    more / best peer\n{'direct':8}{'':13}{statistics.median(clients):12.2f}")
    for name, values in costs.items():
        own, machine, more = map(statistics.median, zip(*values))
        repeated = sum(errors for *_, errors in found[name])
        ratios = [with_interval([mine[at] / its[at] for mine, its in zip(values, best)]) for at in (0, 2)]
        print(f"{name:8}{own:13.2f}{machine:12.2f}{more:9.2f}{repeated:10}   {ratios[0]:24} {ratios[1]}", flush=True)


if __name__ == "__main__":
    main()
