#!/usr/bin/env python3
"""watched_death.py BINARY [TIMES [SECONDS]]: what clients notice if the new process dies while the old one watches.

TIMES (10) times: `evenkeel upgrade --watch 1m`, and after SECONDS (5) the new process is ended by SIGKILL. All the
while, 200 clients a second connect, send 64 bytes, and get them back. Prints how long after the kill the first client
was served that came after it, the longest time that a client waited, and what became of all: those that were in the new
process when it died are cut, as in any crash; nobody may be refused.
"""
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RATE = 200
TEXT = b"x" * 64


async def echo(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data)
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


class Clients:
    """What became of each: when it came, how long it took, and how it ended."""

    def __init__(self, port):
        self.port, self.ended, self.is_over = port, [], False

    async def one(self):
        came, how = time.monotonic(), "served"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(TEXT)
                if await asyncio.wait_for(reader.readexactly(len(TEXT)), 10) != TEXT:
                    how = "wrong"
            finally:
                writer.close()
        except ConnectionRefusedError:
            how = "refused"
        except asyncio.TimeoutError:
            how = "not served"
        except (OSError, EOFError):
            how = "cut"
        self.ended.append((came, time.monotonic() - came, how))

    async def come(self):
        tasks, begin, number = set(), time.monotonic(), 0
        while not self.is_over:
            tasks.add(task := asyncio.create_task(self.one()))
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(max(0, begin + number / RATE - time.monotonic()))
        await asyncio.gather(*tasks)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


async def main():
    binary = sys.argv[1]
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 5
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
    backend, port = server.sockets[0].getsockname()[1], free_port()
    with tempfile.TemporaryDirectory() as runtime:
        environment = {**os.environ, "EVENKEEL_RUNTIME_DIR": runtime}
        log = open(f"{runtime}/log", "w")
        command = [binary, f"127.0.0.1:{port}", f"127.0.0.1:{backend}"]
        old = subprocess.Popen(command, stderr=log, env=environment)
        deadline = time.monotonic() + 10
        while not any(it.endswith(".hand-over") for it in os.listdir(runtime)):
            assert time.monotonic() < deadline and old.poll() is None, "it does not start"
            await asyncio.sleep(0.01)
        clients = Clients(port)
        coming = asyncio.create_task(clients.come())
        kills = []
        for _ in range(times):
            await asyncio.sleep(1)
            upgrade = await asyncio.create_subprocess_exec(
                binary, "upgrade", "--watch", "1m", env=environment, stdout=subprocess.DEVNULL)
            assert await upgrade.wait() == 0, "the upgrade failed"
            status = await asyncio.create_subprocess_exec(
                binary, "ctl", "status", "--json", env=environment, stdout=subprocess.PIPE)
            new = json.loads((await status.communicate())[0])["pid"]
            assert new != old.pid
            await asyncio.sleep(seconds)
            kills.append(time.monotonic())
            os.kill(new, signal.SIGKILL)
            await asyncio.sleep(1)
        clients.is_over = True
        await coming
        old.terminate()
        old.wait()
    hows = [how for _, _, how in clients.ended]
    back, waited = [], []
    for kill in kills:
        after = [(came, took) for came, took, how in clients.ended if kill <= came < kill + 1 and how == "served"]
        back.append(min(came + took for came, took in after) - kill)
        waited.append(max(took for _, took in after))
    ms = [1000 * it for it in back]
    counts = ", ".join(f"{hows.count(how)} {how}" for how in ("served", "cut", "refused", "wrong", "not served"))
    print(f"{times} deaths, {seconds:g} s after the upgrade; of {len(hows)} clients: {counts}")
    print(f"first client served after the death: median {statistics.median(ms):.1f} ms, at most {max(ms):.1f} ms")
    print(f"longest wait of a client that came within a second: {1000 * max(waited):.1f} ms")
    return any(how in ("refused", "wrong", "not served") for how in hows)


sys.exit(asyncio.run(main()))
