#!/usr/bin/env python3
"""scrapes.py BINARY [ROUNDS]: what scraping /metrics costs.

With 1000 backends: how long a scrape takes, how large it is, and how much processor time of the process; then whether
ten scrapes a second slow down a flood of short connections (wrk before nginx; BINARY has CPU 0, the others CPU 1), in
ROUNDS (8) pairs of two seconds each, with and without. With 10,000 backends: how large a scrape is, and how long
commands on the admin socket take while there are ten scrapes a second. Needs nginx and wrk.
"""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def cpu(pid):
    """Processor time in seconds, of all threads."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class Admin(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("evenkeel")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(connection, path):
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {body!r}")
    return body


class Instance:
    def __init__(self, binary, folder, backends, web=None):
        self.port, self.metrics = free_port(), free_port()
        many = [f"127.{1 + it // 60000}.{it // 250 % 250}.{1 + it % 250}:9" for it in range(backends)]
        text = f"[process]\nworkers = 1\nmetrics = '127.0.0.1:{self.metrics}'\nlog-sessions = 'none'\nadmin = '{folder}/admin.sock'\n"
        text += f"[listeners.many]\nbind = '127.0.0.1:{free_port()}'\npool = 'many'\n"
        text += f"[pools.many]\nbackends = {json.dumps(many)}\n"
        if web:
            text += f"[listeners.web]\nbind = '127.0.0.1:{self.port}'\npool = 'web'\n"
            text += f"[pools.web]\nbackends = ['127.0.0.1:{web}']\n"
        file = folder / "scrapes.toml"
        file.write_text(text)
        self.admin = str(folder / "admin.sock")
        command = ["taskset", "-c", "0", binary, "run", str(file)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env={**os.environ, "EVENKEEL_RUNTIME_DIR": str(folder)})
        for _ in range(200):
            with contextlib.suppress(OSError):
                ask(self.scraper(), "/readyz")
                return
            time.sleep(0.05)
        sys.exit("it does not start")

    def scraper(self):
        return http.client.HTTPConnection("127.0.0.1", self.metrics)

    @contextlib.contextmanager
    def scraped(self, per_second):
        over = threading.Event()

        def scrape():
            connection, due = self.scraper(), time.monotonic()
            while not over.wait(max(0, due - time.monotonic())):
                ask(connection, "/metrics")
                due += 1 / per_second

        thread = threading.Thread(target=scrape)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def nginx(folder):
    port = free_port()
    (folder / "index.html").write_text("x" * 512)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log stderr crit;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; }} }}\n")
    folder.chmod(0o755)
    process = subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", str(folder / "nginx.conf")])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def flood(instance, seconds=2):
    """Connections per second, and what each cost the instance in microseconds."""
    before = cpu(instance.process.pid)
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c50", f"-d{seconds}s", "-H", "Connection: close"]
    command.append(f"http://127.0.0.1:{instance.port}/index.html")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    errors = re.search(r"Socket errors.*|Non-2xx.*", text)
    if errors:
        sys.exit(errors[0])
    count = int(re.search(r"(\d+) requests in", text)[1])
    return count / seconds, (cpu(instance.process.pid) - before) / count * 1e6


def milliseconds(times):
    times = sorted(times)
    return f"{statistics.median(times) * 1e3:.2f} ms (median), {times[-1] * 1e3:.2f} at most"


def timed(connection, path, count, pause=0.0):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        body = ask(connection, path)
        times.append(time.perf_counter() - begun)
        time.sleep(pause)
    return times, body


def main():
    binary = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with nginx(folder) as web:
            instance = Instance(binary, folder, 1000, web)
            try:
                flood(instance, 1)
                before = cpu(instance.process.pid)
                times, body = timed(instance.scraper(), "/metrics", 100)
                used = (cpu(instance.process.pid) - before) / len(times)
                print(f"1000 backends: a scrape takes {milliseconds(times)}; {len(body)} bytes compressed, "
                      f"{len(gzip.decompress(body))} plain; {used * 1e3:.2f} ms of processor time", flush=True)
                found = {False: [], True: []}
                for number in range(2 * rounds):
                    # In turns of which comes first.
                    scraped = number % 4 in (1, 2)
                    with instance.scraped(10) if scraped else contextlib.nullcontext():
                        found[scraped].append(flood(instance))
                (rate, cost), (rate_, cost_) = (
                    [statistics.median(it) for it in zip(*found[scraped])] for scraped in (False, True))
                print(f"connections a second: {rate:.0f}, {cost:.2f} us each; "
                      f"with ten scrapes a second {rate_:.0f}, {cost_:.2f} us: {rate_ / rate:.3f} and {cost_ / cost:.3f}",
                      flush=True)
            finally:
                instance.end()
        instance = Instance(binary, folder, 10_000)
        try:
            times, body = timed(instance.scraper(), "/metrics", 50)
            print(f"10,000 backends: a scrape takes {milliseconds(times)}; {len(gzip.decompress(body))} bytes plain")
            admin = Admin(instance.admin)
            for name, how in (("alone", contextlib.nullcontext()), ("beside scrapes", instance.scraped(10))):
                with how:
                    times, _ = timed(admin, "/v1/sessions", 1000, 0.003)
                print(f"a command {name}: {milliseconds(times)}", flush=True)
        finally:
            instance.end()


if __name__ == "__main__":
    main()
