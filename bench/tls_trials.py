#!/usr/bin/env python3
"""tls_trials.py BINARY [renewals|hellos|floods]...: whether TLS with clients stands what it has to.

renewals  500 new certificates, each taken up by a reload, and 20 that cannot be used, while four clients connect all
          the time, each with the ticket of its connection before. No handshake may fail, each broken file must leave
          the earlier certificate, and 99 % of the handshakes must continue a session.
hellos    ClientHellos cut at every byte, and in up to eight records, with a second between the pieces: ended here, and
          passed through by name. All must be served.
floods    The time of exchanges over open sessions: undisturbed; beside 5000 handshakes that stand still; and beside 2000
          new ones a second, each of which has its key exchange and signature and then ends. The 99th percentile may
          grow to 1.5 times at most. On a small machine, the flood and the cryptography take processor time from
          everybody; so the same flood is sent to another instance as well, and what it does from there is no fault.

Needs openssl.
"""
import multiprocessing
import os
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 30
NAME = "trial.test"


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, place):
        self.place = place
        self.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca "
                     "-keyout ca.key -out ca.pem")

    def openssl(self, words):
        subprocess.run(["openssl", *words.split()], cwd=self.place, check=True, stderr=subprocess.DEVNULL)

    def issue(self, number):
        """Certificate and key in one text."""
        self.openssl(f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=n{number} "
                     f"-set_serial {number + 1000} -CA ca.pem -CAkey ca.key -addext subjectAltName=DNS:{NAME} "
                     "-keyout one.key -out one.pem")
        return "".join(open(os.path.join(self.place, name)).read() for name in ("one.pem", "one.key"))

    def trust(self):
        trust = ssl.create_default_context(cafile=os.path.join(self.place, "ca.pem"))
        return trust


def write(place, name, text):
    """Replaces a file at once."""
    path = os.path.join(place, name)
    with open(path + ".new", "w") as to:
        to.write(text)
    os.replace(path + ".new", path)


def serve_echo(listening):
    """Sends back what it receives."""
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listening:
                client, _ = listening.accept()
                selector.register(client, selectors.EVENT_READ)
                continue
            try:
                bytes_ = key.fileobj.recv(1 << 16)
                if bytes_:
                    key.fileobj.sendall(bytes_)
                    continue
            except OSError:
                pass
            selector.unregister(key.fileobj)
            key.fileobj.close()


def start_echo():
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    echo = multiprocessing.Process(target=serve_echo, args=(listening,), daemon=True)
    echo.start()
    return listening.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as it:
        return it.getsockname()[1]


class Evenkeel:
    def __init__(self, binary, place, text):
        self.binary, self.place = binary, place
        write(place, "lb.toml", text)
        self.environment = dict(os.environ, EVENKEEL_RUNTIME_DIR=os.path.join(place, "runtime"))
        self.log = open(os.path.join(place, "log"), "w+")
        self.process = subprocess.Popen([binary, "run", "lb.toml"], cwd=place, env=self.environment, stderr=self.log)
        deadline = time.time() + PATIENCE
        while "admin socket" not in open(self.log.name).read():
            if self.process.poll() is not None or time.time() > deadline:
                sys.exit(open(self.log.name).read())
            time.sleep(0.02)

    def reload(self):
        """Whether it was taken up."""
        done = subprocess.run([self.binary, "reload"], cwd=self.place, env=self.environment, capture_output=True)
        return done.returncode == 0

    def complaints(self):
        """How often it has said that files cannot be used."""
        return open(self.log.name).read().count("certificates cannot be renewed; the earlier ones stay in use")

    def complains_more(self, before):
        deadline = time.time() + PATIENCE
        while self.complaints() == before and time.time() < deadline:
            time.sleep(0.02)
        return self.complaints() > before

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Client(threading.Thread):
    """Connects all the time, each time with the ticket of the connection before."""

    def __init__(self, port, trust, seen):
        super().__init__(daemon=True)
        self.port, self.trust, self.seen = port, trust, seen
        self.handshakes = self.resumed = 0
        self.failures = []
        self.is_to_end = False

    def run(self):
        session = None
        while not self.is_to_end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain:
                    with self.trust.wrap_socket(plain, server_hostname=NAME, session=session) as tls:
                        tls.sendall(b"ping")
                        assert tls.recv(4) == b"ping"
                        self.handshakes += 1
                        self.resumed += tls.session_reused
                        if not tls.session_reused:
                            self.seen.add(tls.getpeercert()["subject"][0][0][1])
                        session = tls.session
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))


def listener(port, more):
    return f"[listeners.tls]\nbind = '127.0.0.1:{port}'\npool = 'echo'\n{more}\n"


def renewals(binary, place):
    authority, port, echo = Authority(place), free_port(), start_echo()
    write(place, "server.pem", authority.issue(0))
    pool = f"[pools.echo]\nbackends = ['127.0.0.1:{echo}']\n"
    evenkeel = Evenkeel(binary, place, listener(port, "tls-cert = 'server.pem'") + pool)
    trust, seen = authority.trust(), set()
    clients = [Client(port, trust, seen) for _ in range(4)]
    for client in clients:
        client.start()
    issued = [authority.issue(number) for number in range(1, 51)]
    good = broken = 0

    def shown():
        """The name in the certificate that is served now."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
            with trust.wrap_socket(plain, server_hostname=NAME) as tls:
                return tls.getpeercert()["subject"][0][0][1]

    for number in range(500):
        text = issued[number % len(issued)]
        write(place, "server.pem", text)
        good += evenkeel.reload() and shown() == f"n{number % len(issued) + 1}"
        if number % 25 == 24:
            before = shown()
            other = issued[(number + 1) % len(issued)]
            key = other.index("-----BEGIN PRIVATE")
            bad = ["", text[:200], text[:text.index("-----BEGIN PRIVATE")] + other[key:], "nonsense", other[key:]]
            write(place, "server.pem", bad[number // 25 % len(bad)])
            complaints = evenkeel.complaints()
            evenkeel.reload()
            broken += evenkeel.complains_more(complaints) and shown() == before
    for client in clients:
        client.is_to_end = True
    for client in clients:
        client.join()
    handshakes = sum(it.handshakes for it in clients)
    resumed = sum(it.resumed for it in clients)
    failures = [failure for it in clients for failure in it.failures]
    evenkeel.stop()
    print(f"renewals: {good} of 500 taken up, {broken} of 20 broken ones left the earlier one, {handshakes} handshakes, "
          f"{len(failures)} failed {failures[:3]}, {100 * resumed / handshakes:.2f} % resumed")
    return good == 500 and broken == 20 and not failures and resumed >= 0.99 * handshakes


def in_records(record, count):
    """The same handshake message in so many records."""
    head, body = record[:3], record[5:]
    size = -(-len(body) // count)
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return [head + len(piece).to_bytes(2, "big") + piece for piece in pieces]


class Slow(threading.Thread):
    """A client whose ClientHello comes in pieces, a second apart."""

    def __init__(self, port, trust, cut):
        super().__init__(daemon=True)
        self.port, self.trust, self.cut, self.error = port, trust, cut, None

    def run(self):
        try:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.trust.wrap_bio(incoming, outgoing, server_hostname=NAME)
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.perform(plain, tls, tls.do_handshake, incoming, outgoing, is_first=True)
                self.perform(plain, tls, lambda: tls.write(b"ping"), incoming, outgoing)
                assert self.perform(plain, tls, lambda: tls.read(4), incoming, outgoing) == b"ping"
        except (OSError, AssertionError) as error:
            self.error = repr(error)

    def perform(self, plain, tls, act, incoming, outgoing, is_first=False):
        while True:
            result, is_done = None, False
            try:
                result, is_done = act(), True
            except ssl.SSLWantReadError:
                pass
            sent = outgoing.read()
            for number, piece in enumerate(self.cut(sent) if is_first else [sent]):
                if number > 0:
                    time.sleep(1)
                plain.sendall(piece)
            is_first = False
            if is_done:
                return result
            received = plain.recv(1 << 16)
            assert received, "the connection has ended"
            incoming.write(received)


def hellos(binary, place):
    authority, echo = Authority(place), start_echo()
    write(place, "server.pem", authority.issue(0))
    [through, port] = [free_port() for _ in range(2)]
    file = (f"[listeners.ended]\nbind = '127.0.0.1:{port}'\npool = 'echo'\ntls-cert = 'server.pem'\n"
            f"[listeners.through]\nbind = '127.0.0.1:{through}'\npool = 'none'\n"
            f"routes = [{{ sni = '{NAME}', pool = 'ended' }}]\n[pools]\necho.backends = ['127.0.0.1:{echo}']\n"
            f"ended.backends = ['127.0.0.1:{port}']\nnone.backends = ['127.0.0.1:9']\n")
    # A process may not be its own backend, so there are two.
    other = os.path.join(place, "other")
    os.mkdir(other)
    start = file.index("[listeners.through]")
    ended = Evenkeel(binary, place, file[:start] + f"[pools]\necho.backends = ['127.0.0.1:{echo}']\n")
    routed = Evenkeel(binary, other, file[start:].replace(f"echo.backends = ['127.0.0.1:{echo}']\n", ""))
    trust = authority.trust()
    bio = ssl.MemoryBIO()
    hello = trust.wrap_bio(ssl.MemoryBIO(), bio, server_hostname=NAME)
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    length = len(bio.read())
    cuts = [lambda sent, at=at: [sent[:at], sent[at:]] for at in range(1, length)]
    cuts += [lambda sent, n=n: in_records(sent, n) for n in range(1, 9)]
    cuts += [lambda sent, n=n: [b"".join(in_records(sent, n))] for n in range(1, 9)]
    is_good = True
    for what, at in (("ended", port), ("passed through", through)):
        clients = [Slow(at, trust, cut) for cut in cuts]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        errors = [client.error for client in clients if client.error]
        is_good &= not errors
        print(f"hellos, {what}: {len(clients) - len(errors)} of {len(clients)} served ({length} bytes) {errors[:3]}")
    ended.stop()
    routed.stop()
    return is_good


def flood(port, hello, rate, is_begun, is_to_end, count):
    """New handshakes at this rate; each is ended when the server has answered, or after a second."""
    selector = selectors.DefaultSelector()
    address = ("127.0.0.1", port)
    begin, begun, open_ = time.time(), 0, {}
    while not is_to_end.is_set():
        now = time.time()
        while begun < (now - begin) * rate:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            selector.register(client, selectors.EVENT_WRITE, now)
            open_[client] = now
            begun += 1
        for key, events in selector.select(0.0005):
            client = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    client.send(hello)
                    selector.modify(client, selectors.EVENT_READ, key.data)
                    continue
                if client.recv(1 << 14):
                    count.value += 1
            except OSError:
                pass
            selector.unregister(client)
            del open_[client]
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        is_begun.set()


def exchange_times(sessions, seconds):
    """The times of exchanges over these sessions, one after the other."""
    times, end, number = [], time.time() + seconds, 0
    while time.time() < end:
        tls = sessions[number % len(sessions)]
        number += 1
        begin = time.perf_counter()
        tls.sendall(b"x" * 64)
        assert tls.recv(64)
        times.append(time.perf_counter() - begin)
        time.sleep(0.001)
    times.sort()
    return times


def floods(binary, place):
    authority, port, echo = Authority(place), free_port(), start_echo()
    write(place, "server.pem", authority.issue(0))
    pool = f"[pools.echo]\nbackends = ['127.0.0.1:{echo}']\n"
    more = "tls-cert = 'server.pem'\ntls-timeout = '60s'"
    evenkeel = Evenkeel(binary, place, listener(port, more) + pool)
    trust = authority.trust()

    def connect():
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return trust.wrap_socket(plain, server_hostname=NAME)

    bio = ssl.MemoryBIO()
    try:
        trust.wrap_bio(ssl.MemoryBIO(), bio, server_hostname=NAME).do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = bio.read()
    sessions = [connect() for _ in range(50)]
    exchange_times(sessions, 1)

    def p99(what, before=None):
        times = exchange_times(sessions, 10)
        median, high = times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6
        ratio = f", {high / before:.2f} times" if before else ""
        print(f"floods, {what}: {len(times)} exchanges, median {median:.0f} us, 99th percentile {high:.0f} us{ratio}")
        return high

    before = p99("undisturbed")
    halves = []
    for _ in range(5000):
        half = socket.create_connection(("127.0.0.1", port), PATIENCE)
        half.sendall(hello[:len(hello) // 2])
        halves.append(half)
    beside_halves = p99("beside 5000 handshakes that stand still", before)
    with connect() as newcomer:
        newcomer.sendall(b"hello")
        assert newcomer.recv(5) == b"hello"
    for half in halves:
        half.close()
    time.sleep(1)
    again = p99("undisturbed again")
    # What the flood takes from the sessions by the processor time that it and its server need: the same flood, at
    # another instance.
    elsewhere, place_elsewhere = free_port(), os.path.join(place, "elsewhere")
    os.mkdir(place_elsewhere)
    write(place_elsewhere, "server.pem", open(os.path.join(place, "server.pem")).read())
    other = Evenkeel(binary, place_elsewhere, listener(elsewhere, more) + pool)
    results = []
    for what, to in (("at another instance", elsewhere), ("here", port)):
        is_begun, is_to_end = multiprocessing.Event(), multiprocessing.Event()
        count = multiprocessing.Value("i", 0)
        process = multiprocessing.Process(target=flood, args=(to, hello, 2000, is_begun, is_to_end, count), daemon=True)
        process.start()
        is_begun.wait()
        begin, answered = time.time(), count.value
        results.append(p99(f"beside new handshakes {what}", results[0] if results else again))
        rate = (count.value - answered) / (time.time() - begin)
        print(f"floods: {rate:.0f} new handshakes a second were answered")
        is_to_end.set()
        process.join()
    other.stop()
    evenkeel.stop()
    return beside_halves <= 1.5 * before and results[1] <= 1.5 * max(again, results[0])


def main():
    binary, *names = sys.argv[1:]
    trials = {"renewals": renewals, "hellos": hellos, "floods": floods}
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    is_good = True
    for name in names or trials:
        with tempfile.TemporaryDirectory() as place:
            is_good &= trials[name](os.path.abspath(binary), place)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
