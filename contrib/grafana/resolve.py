#!/usr/bin/env python3
"""Whether every query of the board and every alert resolves against a live instance.

Starts two small backends, a balancer in front of them with a third backend that is down and a
certificate made with openssl, and a Prometheus that scrapes it; makes sessions, and asks
Prometheus each query of evenkeel.json and each expression of alerts.yaml. A query of the board
must return series. An alert need not fire, but each metric in it must exist.

    resolve.py --program target/debug/evenkeel [--prometheus prometheus]
"""

import argparse
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
BOARD = HERE / "evenkeel.json"
ALERTS = HERE.parent / "prometheus" / "alerts.yaml"
PATIENCE = 60


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def backend():
    """A backend that greets, reads what comes and answers; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            client, _ = listener.accept()
            with client:
                try:
                    client.sendall(b"hello")
                    while client.recv(4096):
                        client.sendall(b"answer")
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def session(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.recv(5)
            client.sendall(b"question")
            client.recv(6)
    except OSError:
        pass


def ask(port, path, **query):
    url = f"http://127.0.0.1:{port}{path}?" + urllib.parse.urlencode(query)
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def board_queries():
    board = json.loads(BOARD.read_text())
    panels = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    notes = [(note["name"], note["expr"]) for note in board["annotations"]["list"]]
    return panels, notes


def concrete(expression):
    for variable in ["job", "instance", "pool"]:
        expression = expression.replace(f"${variable}", ".*")
    return expression.replace("$__rate_interval", "10s")


def alert_expressions():
    text = ALERTS.read_text()
    names = set(re.findall(r"\bevenkeel_[a-z_]+", text))
    return sorted(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--prometheus", default="prometheus")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        return run(args, pathlib.Path(directory))


def run(args, directory):
    port, secure, metrics, prometheus = (free_port() for _ in range(4))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a.test",
         "-addext", "subjectAltName=DNS:a.test", "-keyout", directory / "a.key", "-out", directory / "a.pem"],
        check=True, stderr=subprocess.DEVNULL,
    )
    config = directory / "prometheus.yml"
    config.write_text(
        "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
        "scrape_configs:\n  - job_name: evenkeel\n    static_configs:\n"
        f"      - targets: ['127.0.0.1:{metrics}']\n"
    )
    lb = directory / "lb.toml"
    backends = ", ".join(f'"127.0.0.1:{it}"' for it in [backend(), backend(), free_port()])
    lb.write_text(
        f'[process]\nmetrics = "127.0.0.1:{metrics}"\nadmin = "{directory}/admin"\nlog-sessions = "none"\n'
        f'[listeners.web]\nbind = "127.0.0.1:{port}"\npool = "web"\nmax-sessions = 100\n'
        f'[listeners.secure]\nbind = "127.0.0.1:{secure}"\npool = "web"\n'
        f'tls-cert = "{directory}/a.pem"\ntls-key = "{directory}/a.key"\n'
        f'[pools.web]\nbackends = [{backends}]\n'
    )
    balancer = subprocess.Popen([args.program, "run", str(lb)], stderr=subprocess.DEVNULL)
    server = subprocess.Popen(
        [args.prometheus, f"--config.file={config}", f"--storage.tsdb.path={directory}/tsdb",
         f"--web.listen-address=127.0.0.1:{prometheus}", "--log.level=error"],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )
    try:
        return check(port, prometheus)
    finally:
        server.terminate()
        balancer.terminate()
        server.wait()
        balancer.wait()


def check(port, prometheus):
    panels, notes = board_queries()
    wanted = [(title, query) for title, query in panels]
    deadline = time.monotonic() + PATIENCE
    missing = wanted
    while missing and time.monotonic() < deadline:
        for _ in range(20):
            session(port)
        try:
            missing = [it for it in wanted if not resolves(prometheus, it[1])]
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)  # it is still starting
    for title, query in notes:
        answer = ask(prometheus, "/api/v1/query", query=concrete(query))
        if answer["status"] != "success":
            missing.append((title, query))
    absent = [name for name in alert_expressions() if not resolves(prometheus, name)]
    for title, query in missing:
        print(f"no series: {title}: {concrete(query)}")
    for name in absent:
        print(f"no such metric: {name}")
    print(f"{len(panels)} queries of the board, {len(panels) - len(missing)} resolve; "
          f"{len(alert_expressions())} metrics in alerts, {len(absent)} missing")
    return 1 if missing or absent else 0


def resolves(prometheus, query):
    answer = ask(prometheus, "/api/v1/query", query=concrete(query))
    return answer["status"] == "success" and bool(answer["data"]["result"])


if __name__ == "__main__":
    sys.exit(main())
