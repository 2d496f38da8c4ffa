#!/usr/bin/env python3
"""blocked_log.py BINARY [SESSIONS [SECONDS]]: what a log that nobody reads costs the sessions.

Each of SESSIONS (10,500) idle sessions, half of them UDP flows, is logged every 100 ms (--log-every), which makes over
100,000 lines a second, while another session exchanges a byte again and again for SECONDS (10). A session takes two
file descriptors here and two in the instance, a flow one in each. The instance runs on CPU 0, clients and backend on
CPU 1. Both CPUs are kept busy, because an idle one takes longer to wake up, which would favour the runs with more to
do. Prints the round-trip times without these lines, with a log that is thrown away, and with one whose pipe nobody
reads; and how many lines are reported as lost.
"""
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

F_SETPIPE_SZ = 1031


def echo(listener):
    kept = []
    while True:
        client, _ = listener.accept()
        kept.append(client)
        if len(kept) == 1:
            threading.Thread(target=answer, args=(client,), daemon=True).start()


def answer(client):
    while data := client.recv(64):
        client.send(data)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def connect(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("it does not listen")


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}


def send(port):
    flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flow.connect(("127.0.0.1", port))
    flow.send(b"x")
    return flow


def keep_awake(cpu):
    """Keeps a CPU from idling, and leaves it to everything else that wants to run."""
    child = os.fork()
    if child == 0:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.sched_setaffinity(0, {cpu})
        while True:
            pass
    return child


def measure(*how):
    """In a process of its own, whose sockets go with it."""
    child = os.fork()
    if child == 0:
        try:
            measure_here(*how)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)


def measure_here(name, binary, words, log, sessions, seconds):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = listener.getsockname()
    datagrams.bind(address)
    threading.Thread(target=echo, args=(listener,), daemon=True).start()
    port, its_metrics = free_port(), free_port()
    with tempfile.TemporaryDirectory() as runtime:
        command = ["taskset", "-c", "0", binary, f"127.0.0.1:{port}/tcp+udp", f"127.0.0.1:{address[1]}"]
        command += ["--workers", "1", "--metrics", str(its_metrics), *words]
        environment = {**os.environ, "EVENKEEL_RUNTIME_DIR": runtime}
        process = subprocess.Popen(command, stderr=log, env=environment)
        probe = connect(port)
        probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The backend answers only the first connection that it accepts.
        probe.send(b"x")
        probe.recv(1)
        idle = [each(port) for _ in range(sessions // 2) for each in (connect, send)]
        time.sleep(1)
        lost_before = metrics(its_metrics)['evenkeel_log_lines_lost_total{kind="lines"}']
        times, begun = [], time.monotonic()
        while time.monotonic() - begun < seconds:
            before = time.perf_counter()
            probe.send(b"x")
            probe.recv(1)
            times.append(time.perf_counter() - before)
        now = metrics(its_metrics)
        lost = [now[f'evenkeel_log_lines_lost_total{{kind="{kind}"}}'] for kind in ("lines", "events")]
        memory = now["evenkeel_process_resident_memory_bytes"]
        process.kill()
        process.wait()
        del idle
    times.sort()
    shown = " ".join(
        f"p{share * 100:g} {times[int(len(times) * share)] * 1e6:.0f} us" for share in (0.5, 0.99, 0.999)
    )
    rate = (lost[0] - lost_before) / seconds
    print(f"{name}: {len(times)} round trips, {shown}; {rate:.0f} lines lost a second, {lost[1]:.0f} events; "
          f"{memory / 2**20:.0f} MB", flush=True)


def main():
    binary = sys.argv[1]
    sessions, seconds = (int(it) for it in (sys.argv[2:] + ["10500", "10"][len(sys.argv) - 2:])[:2])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    busy = ["--log-every", "100ms"]
    unread, written = os.pipe()
    fcntl.fcntl(written, F_SETPIPE_SZ, 4096)
    awake = [keep_awake(cpu) for cpu in (0, 1)]
    os.sched_setaffinity(0, {1})
    try:
        measure("no lines", binary, ["--log-sessions", "none"], subprocess.DEVNULL, sessions, seconds)
        measure("read", binary, busy, subprocess.DEVNULL, sessions, seconds)
        measure("blocked", binary, busy, written, sessions, seconds)
    finally:
        for child in awake:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    os.close(unread)


if __name__ == "__main__":
    main()
