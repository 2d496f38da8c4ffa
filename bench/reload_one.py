#!/usr/bin/env python3
"""reload_one.py BINARY [BACKENDS [RELOADS]]: how long a reload takes that changes one backend of many.

Starts BINARY with a file of BACKENDS backends (10,000), changes the limit of one of them RELOADS times (20), and
prints how long `evenkeel reload` took each time: all of it, from the start of the command to its end. Two forms: one
pool with all backends, and as many pools with a backend each behind listeners of their own as there may be (1000).
Each of them also while a command has changed something, which the reload must keep. The target is 50 ms.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time


def backend(number, limit):
    """The backend of this number. One of them has another limit in each file."""
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return f"'{address}:80:{limit if number == 77 else 1}'"


def one_pool(place, count, limit):
    backends = ", ".join(backend(number, limit) for number in range(count))
    return f"[listeners.web]\nbind = 'unix:{place}/web'\npool = 'web'\n[pools.web]\nbackends = [{backends}]\n"


def many_pools(place, count, limit):
    parts = []
    for n in range(count):
        parts.append(f"[listeners.l{n}]\nbind = 'unix:{place}/l{n}'\npool = 'p{n}'\n")
        parts.append(f"[pools.p{n}]\nbackends = [{backend(n, limit)}]\n")
    return "".join(parts)


def run(binary, name, text, count, reloads):
    with tempfile.TemporaryDirectory() as place:
        environment = dict(os.environ, EVENKEEL_RUNTIME_DIR=os.path.join(place, "runtime"))
        file = os.path.join(place, "lb.toml")

        def write(limit):
            with open(file, "w") as to:
                to.write(text(place, count, limit))

        def command(*words):
            subprocess.run([binary, *words], cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)

        write(1)
        process = subprocess.Popen([binary, "run", file], cwd=place, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            if not any("admin socket" in line for line in process.stderr):
                sys.exit("it has not started")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            limit = 1
            for form in ("", ", with a limit set by a command"):
                if form:
                    first = "10.0.0.1:80" if text is one_pool else "p1/0.0"
                    command("ctl", "limit", first, "5")
                took = []
                for _ in range(reloads):
                    limit += 1
                    write(limit)
                    begin = time.monotonic()
                    command("reload")
                    took.append(1000 * (time.monotonic() - begin))
                took.sort()
                print(f"{name}{form}: median {statistics.median(took):.1f} ms, most {took[-1]:.1f} ms")
        finally:
            process.terminate()
            process.wait()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    reloads = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    run(binary, f"one of {count} backends", one_pool, count, reloads)
    pools = min(count, 1000)
    run(binary, f"one of {pools} pools", many_pools, pools, reloads)


main()
