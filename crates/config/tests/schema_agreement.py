#!/usr/bin/env python3
"""Whether the JSON Schema and `evenkeel check` agree.

Generates configuration files, valid ones and ones with faults, and asks two judges about each:
`evenkeel check --offline`, and the package `jsonschema` with what `evenkeel schema` prints. A fault
is either visible to a schema (an unknown key, a wrong type, a word that is not a choice, ...), and
then both must refuse the file, or it is beyond one (a pool that does not exist, an address twice,
...), and then only `check` may. BEYOND lists these with the code of the report.

With --files, files are judged instead, and the TOML blocks in Markdown files: both must accept.
"""

import argparse
import copy
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor

from jsonschema import Draft202012Validator

POLICIES = [
    "round-robin", "hash", "least-sessions", "random", "rotation", "address-hash",
    "address-port-hash", "weighted", "priority", "weighted-turn",
    "least-weighted", "two", "fastest", "maglev", "rendezvous",
]
SCOPES = ["whole-tier", "later-tiers", "nothing"]
TIMES = ["500ms", "2s", "10m", "1h", "7d", "100us", "3", 5, 3600, "${TIME:-5s}"]
NEVER = TIMES + ["never", 0, "0"]
COUNTS = [1, 20, 4294967295, "100", "${COUNT:-7}"]
CLIENTS = [
    "10.0.0.0/8", "192.0.2.7", "10.0.0.0/255.0.0.0", "::1", "2001:db8::/32", "country:SE", "0.0.0.0/0",
]

# How each key is written validly, by the kind of table. Names, addresses and backends are made
# where they are needed.
PROCESS = {
    "user": ["evenkeel", "it's me"],
    "root": ["/var/empty"],
    "state": ["/var/lib/evenkeel", "none"],
    "daemon": [True, False],
    "watch": [True, False],
    "pid-file": ["/run/evenkeel.pid"],
    "admin": ["/run/evenkeel/admin.sock"],
    "log-format": ["text", "json"],
    "log-sessions": ["all", "problems", "none"],
    "log-sample": COUNTS,
    "log-start": [True, False],
    "log-every": ["500ms", 600, "10m"],
    "log-slow-connect": ["500ms", 1],
    "log-file": ["/var/log/evenkeel.log"],
    "metrics": ["127.0.0.1:9188", "[::1]:9188", "9188", "${METRICS:-9188}"],
    "metrics-detail": ["auto", "backend", "pool"],
    "otlp": ["http://127.0.0.1:4318", "http://otel", "http://[::1]:80/a/", "${OTLP:-http://otel}"],
    "otlp-interval": ["500ms", 60],
    "viewers": ["monitor", ["monitor", "@adm"]],
    "operators": ["@oncall", ["1000"]],
    "admins": ["deploy"],
    "view-socket": ["/run/evenkeel/view.sock"],
    "admin-listen": ["127.0.0.1:9189", "[::1]:9189", "9189"],
    "admin-tokens": ["/etc/evenkeel/tokens"],
    "tap": ["off", "on", "decrypted"],
    "ready-interface": ["ekready", "vip.0", "${READY:-ekready}"],
    "pre-stop": TIMES + [0],
    "upgrade-drain": TIMES + [0, "never"],
    "workers": [1, 4, 1024, "2"],
    "spin": ["50us", 0, "0s"],
}
LISTENER = {
    "share-port": [True, False],
    "max-sessions": COUNTS,
    "client-limits": ["sessions=20", "rate=100/1m,prefix=24/48", "table=5,full=refuse,sessions=1"],
    "max-rate": ["100/s", "300/1m", "5/10s", "1/h"],
    "max-connecting": COUNTS,
    "connect-timeout": TIMES,
    "idle-timeout": NEVER,
    "half-close-timeout": NEVER + ["now"],
    "backend-half-close-timeout": NEVER + ["now"],
    "linger": TIMES + [0],
    "keep-alive": NEVER,
    "user-timeout": NEVER,
    "first-byte-timeout": NEVER,
    "shutdown-timeout": NEVER,
    "flow-timeout": TIMES,
    "tls-cert": ["/etc/tls/site.pem", ["/etc/tls/a.pem", "/etc/tls/b.pem"]],
    "tls-key": ["/etc/tls/site.key"],
    "tls-alpn": ["h2", ["h2", "http/1.1"]],
    "tls-timeout": TIMES,
    "tls-min": ["1.2", "1.3"],
    "tls-ciphers": ["HIGH:!aNULL", "ECDHE+AESGCM"],
    "tls-ocsp": ["/etc/tls/site.ocsp"],
    "tls-ticket-keys": ["/etc/tls/tickets.keys"],
    "tls-clients": ["off", "request", "require"],
    "tls-clients-ca": ["/etc/tls/ca.pem", ["/etc/tls/a.pem", "/etc/tls/cas"]],
    "tls-clients-crl": ["/etc/tls/crl.pem"],
    "requests": COUNTS,
    "responses": COUNTS,
    "retry-after": TIMES,
    "hash-on": ["quic-cid", "quic-cid:4", "quic-cid:20", "${IDS:-quic-cid:8}"],
    "source": ["192.0.2.7", "::1"],
    "transparent": [False],
    "accept-proxy": ["10.0.0.0/8", ["::1", "unix"], "10.0.0.1,unix"],
    "forwarded-headers": [True, False],
    "splice": ["auto", "always", "never"],
    "cut": ["reset", "close"],
}
LISTENER_ONLY = {"family": ["any", "ipv4", "ipv6"], "protocol": ["tcp", "udp", "tcp+udp"],
                  "dummy": [True, False]}
POOL = {
    "policy": POLICIES,
    "load-bound": ["1.25", "2"],
    "subset": ["size=20,node=3,nodes=10", "node=0,nodes=1,size=1"],
    "quarantine": TIMES + [0],
    "no-last-resort": [True, False],
    "essential": [True, False],
    "engine": ["user", "kernel", "direct"],
    "failover": SCOPES,
    "hash-failover": SCOPES,
    "auto-disable": [True, False],
    "probe": ["tcp", "http:/healthz status=2xx,404", "send=a expect=\"b c\"", "mysql user=a", "ntp", "command:/a arg=-v", "${PROBE:-redis}"],
    "probe-interval": ["500ms", 1, "2s"],
    "probe-timeout": ["500ms", 1, "2s"],
    "probe-port": [1, 65535, "80"],
    "agent": ["9100", "192.0.2.9:80", "[::1]:80 send=\"{backend}\\n\"", "${AGENT:-9100}"],
    "agent-interval": ["500ms", 1, "2s"],
    "on-down": ["keep", "end-sessions"],
    "on-up": ["keep", "return"],
    "max-age": NEVER,
    "warm-up": TIMES,
    "eject": ["1%", "50%", "100%"],
    "fail-open-below": ["30%"],
    "refuse-below": ["30%"],
    "fall": [1, 1000, "3"],
    "rise": [1, 1000],
    "affinity": COUNTS,
    "affinity-time": NEVER,
    "affinity-count-only": [True, False],
    "reject": ["192.0.2.9:80", "[::1]:80", "unix:/run/reject", {"to": "a:1", "access": ["deny ::1"]}],
}
SEND_PROXY = ["v1", "v2", "v2-unique-id"]
POOL["send-proxy"] = SEND_PROXY
BACKEND_TLS = ["off", "verify", "insecure"]
POOL.update({
    "backend-tls": BACKEND_TLS,
    "backend-tls-ca": ["/etc/tls/ca.pem", ["/etc/tls/a.pem", "/etc/tls/b.pem"]],
    "backend-tls-name": ["app.example.org"],
    "backend-tls-cert": ["/etc/tls/client.pem"],
    "backend-tls-key": ["/etc/tls/client.key"],
    "backend-tls-alpn": ["h2", ["h2", "http/1.1"]],
})
POOL_ONLY = {"fixed-places": [True, False]}
BACKEND = {
    "max-sessions": [0, 100, -5, 2147483647, "12"],
    "max-affine": [0, 120, 2147483647],
    "weight": [0, 2, 4294967295],
    "priority": [-3, 10],
    "send-proxy": SEND_PROXY,
    "backend-tls": BACKEND_TLS,
    "backend-tls-name": ["app2.example.org"],
    "admin": ["enabled", "draining", "disabled"],
}
# Keys whose values are not drawn from a list above.
MADE = {
    "file": ["process", "defaults", "listeners", "pools"],
    "listener": ["bind", "pool", "routes", "hello-wait", "starttls"],
    "route": ["sni", "alpn", "pool"],
    "pool": ["access", "backends", "tiers"],
    "defaults": ["access"],
    "tier": ["policy", "backends"],
    "backend": ["to", "name", "access"],
}

FLAGS = ["daemon", "watch", "log-start", "share-port", "transparent", "forwarded-headers", "dummy", "no-last-resort", "essential",
         "auto-disable", "affinity-count-only", "fixed-places"]
CHOICES = ["tap", "log-format", "log-sessions", "metrics-detail", "send-proxy", "backend-tls", "splice", "cut", "family", "protocol", "policy", "engine", "failover", "hash-failover", "admin"]
DURATIONS = ["spin", "pre-stop", "upgrade-drain", "log-every", "log-slow-connect", "connect-timeout", "idle-timeout", "half-close-timeout", "linger", "keep-alive",
             "backend-half-close-timeout", "user-timeout", "first-byte-timeout", "shutdown-timeout", "flow-timeout", "retry-after", "quarantine",
             "affinity-time", "probe-interval", "probe-timeout", "agent-interval", "max-age", "warm-up"]
NUMBERS = {
    "workers": (1, 1024), "log-sample": (1, 2**32 - 1), "max-connecting": (1, 2**32 - 1), "requests": (1, 2**32 - 1),
    "responses": (1, 2**32 - 1), "affinity": (1, 2**32 - 1),
    "probe-port": (1, 65535), "fall": (1, 1000), "rise": (1, 1000),
    "max-affine": (0, 2**31 - 1), "weight": (0, 2**32 - 1), "priority": (-(2**31), 2**31 - 1),
}
STRINGS = ["user", "root", "pid-file", "admin", "source", "pool", "to", "name"]

# What a schema cannot see, with the code that `check` reports.
BEYOND = {
    "unknown_pool": "E017", "same_address": "E018", "same_name": "E020", "needs": "E011",
    "conflict": "E012", "no_port": "E015", "unknown_variable": "E003", "variable_form": "E004",
    "quoted_range": "E008", "too_long_a_time": "E008", "port_range": "E014", "ipv4_digits": "E014",
    "ipv6_digits": "E014", "unknown_service": "E013", "bits_beyond": "E016", "no_listeners": "E022",
    "command_line": "E005", "line_without_backends": "E019", "number_in_operand": "E014",
    "reject_by_discovery": "E014",
}


def subset(rng, keys, share=0.3):
    return {key: rng.choice(values) for key, values in keys.items() if rng.random() < share}


def settled(table):
    """Without keys that need or exclude one another."""
    if "probe" not in table:
        for key in ["probe-interval", "probe-timeout", "probe-port", "on-down", "on-up"]:
            table.pop(key, None)
    for key in ["agent", "otlp"]:
        if key not in table:
            table.pop(f"{key}-interval", None)
    if "admin-listen" not in table or "admin-tokens" not in table:
        for key in ["admin-listen", "admin-tokens"]:
            table.pop(key, None)
    if "fail-open-below" in table:
        table.pop("refuse-below", None)
    if "requests" in table:
        table.pop("hash-on", None)
    if "tls-cert" not in table:
        for key in ["tls-key", "tls-alpn", "tls-timeout", "tls-min", "tls-ciphers", "tls-ocsp", "tls-ticket-keys", "tls-clients"]:
            table.pop(key, None)
    if "tls-clients" not in table:
        for key in ["tls-clients-ca", "tls-clients-crl"]:
            table.pop(key, None)
    if "backend-tls-cert" not in table:
        table.pop("backend-tls-key", None)
    if "backend-tls" not in table:
        for key in ["ca", "name", "cert", "key", "alpn"]:
            table.pop("backend-tls-" + key, None)
    if "affinity" not in table:
        table.pop("affinity-time", None)
        table.pop("affinity-count-only", None)
    return table


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.port = 1000

    def next_port(self):
        self.port += 1
        return self.port

    def host(self):
        rng = self.rng
        return rng.choice(["app%d" % rng.randrange(9), "db.example.org", "10.0.%d.1" % rng.randrange(99),
                           "[2001:db8::%d]" % rng.randrange(9), "my_host-2", "name.", "[fe80::1%eth0]"])

    def bind(self):
        port = self.next_port()
        return self.rng.choice([port, str(port), "*:%d" % port, "127.0.0.1:%d" % port, "[::1]:%d" % port,
                                "unix:/run/s%d" % port, "h%d.example:%d" % (port, port),
                                "%d/udp" % port, "[::1]:%d/tcp+udp" % port, "udp://127.0.0.1:%d" % port])

    def operand(self):
        rng = self.rng
        if rng.random() < 0.1:
            return "unix:/run/b%d" % rng.randrange(99)
        numbers = ["", ":100", ":-5:7", "::3", ":1:2:3:4", "::::-9"]
        host, numbers = self.host(), rng.choice(numbers)
        if "." in host and host[0].isalpha() and rng.random() < 0.3:
            return "srv:_db._tcp.%s%s" % (host, numbers) if rng.random() < 0.5 else "dns:%s:%d%s" % (
                host, rng.randrange(1, 65535), numbers)
        return "%s:%d%s" % (host, rng.randrange(1, 65535), numbers)

    def access(self):
        rng = self.rng
        return ["%s %s" % (rng.choice(["allow", "deny"]), rng.choice(CLIENTS))
                for _ in range(rng.randrange(1, 4))]

    def backend(self):
        rng = self.rng
        if rng.random() < 0.6:
            return self.operand()
        table = {"to": "%s:%d" % (self.host(), rng.randrange(1, 65535))}
        table.update(subset(rng, BACKEND))
        if rng.random() < 0.2:
            table["to"] = rng.choice(["dns:app.internal:8080", "srv:_db._tcp.internal"])
        elif rng.random() < 0.3:
            table["name"] = "b%d" % self.next_port()
        if rng.random() < 0.2:
            table["access"] = self.access()
        return table

    def backends(self):
        return [self.backend() for _ in range(self.rng.choice([0, 1, 1, 2, 2, 3, 3]))]

    def tier(self):
        if self.rng.random() < 0.6:
            return self.backends()
        tier = {"backends": self.backends()}
        if self.rng.random() < 0.6:
            tier["policy"] = self.rng.choice(POLICIES)
        return tier

    def pool(self):
        rng = self.rng
        pool = settled(subset(rng, {**POOL, **POOL_ONLY}))
        if rng.random() < 0.2:
            pool["access"] = self.access()
        if rng.random() < 0.6:
            pool["backends"] = self.backends()
        else:
            pool["tiers"] = [self.tier() for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))]
        return pool

    def listener(self, pools):
        rng = self.rng
        if rng.random() < 0.25:
            options = rng.choice(["", "--policy hash ", "--max-sessions 5 ", "--deny 10.0.0.0/8 "])
            return "%s%d app1:80 ! app2:81" % (options, self.next_port())
        bind = self.bind() if rng.random() < 0.7 else [self.bind() for _ in range(rng.randrange(1, 4))]
        table = {"bind": bind, "pool": rng.choice(pools)}
        table.update(settled(subset(rng, {**LISTENER, **LISTENER_ONLY}, 0.15)))
        if rng.random() < 0.3:
            table["routes"] = self.routes(pools)
            table.update(subset(rng, {"hello-wait": [t for t in TIMES if t != 0], "starttls": ["postgresql", "ldap", "smtp", "imap", "pop3"]}))
        return table

    def routes(self, pools):
        rng = self.rng
        names = ["a.example.org", "*.Example.org", "b-1.example.org.", "_x.org", "localhost"]
        chosen = rng.sample(names, rng.randrange(1, 4))
        routes = [{"sni": rng.choice([name, [name]]), "pool": rng.choice(pools)} for name in chosen]
        if rng.random() < 0.5:
            routes.append({"alpn": rng.choice(["h2", ["h2", "http/1.1"]]), "pool": rng.choice(pools)})
        return routes

    def file(self):
        rng = self.rng
        pools = ["p%d" % at for at in range(rng.randrange(1, 4))]
        file = {"listeners": {}, "pools": {name: self.pool() for name in pools}}
        for at in range(rng.randrange(1, 4)):
            file["listeners"]["l%d" % at] = self.listener(pools)
        if rng.random() < 0.4:
            file["process"] = settled(subset(rng, PROCESS))
        if rng.random() < 0.3:
            defaults = subset(rng, {**LISTENER, **POOL}, 0.1)
            if rng.random() < 0.2:
                defaults["access"] = self.access()
            file["defaults"] = settled(defaults)
        announce_datagrams(file)
        return file


def announce_datagrams(file):
    """Version 1 of the PROXY protocol is not for UDP, which no schema can say."""
    listeners = [it for it in file["listeners"].values() if isinstance(it, dict)]
    if not any("udp" in str(it["bind"]) or "udp" in it.get("protocol", "") for it in listeners):
        return
    tables = [file.get("defaults", {}), *file["pools"].values()]
    for pool in file["pools"].values():
        tiers = [pool.get("backends", [])]
        tiers += [it["backends"] if isinstance(it, dict) else it for it in pool.get("tiers", [])]
        tables += [it for tier in tiers for it in tier if isinstance(it, dict)]
        tables += [it for it in [pool.get("reject")] if isinstance(it, dict)]
    for table in tables:
        if table.get("send-proxy") == "v1":
            table["send-proxy"] = "v2"


def tables(node, kind="file"):
    """All tables of a file, with what each is."""
    yield node, kind
    if kind == "file":
        for name in ["process", "defaults"]:
            if isinstance(node.get(name), dict):
                yield node[name], name
        for name, inner in [("listeners", "listener"), ("pools", "pool")]:
            for table in node.get(name, {}).values():
                if isinstance(table, dict):
                    yield from tables(table, inner)
    elif kind == "listener":
        for route in node.get("routes", []):
            if isinstance(route, dict):
                yield route, "route"
    elif kind in ("pool", "tier"):
        for backend in node.get("backends", []):
            if isinstance(backend, dict):
                yield backend, "backend"
        for tier in node.get("tiers", []):
            if isinstance(tier, dict):
                yield from tables(tier, "tier")
            else:
                for backend in tier:
                    if isinstance(backend, dict):
                        yield backend, "backend"


class Faults:
    """Each method adds one fault to a file and returns false if the file has no place for it."""

    def __init__(self, rng):
        self.rng = rng

    def some(self, file, kinds=None, key=None):
        found = [table for table, kind in tables(file)
                 if (kinds is None or kind in kinds) and (key is None or key in table)]
        return self.rng.choice(found) if found else None

    def put(self, file, kinds, key, values):
        table = self.some(file, kinds)
        if table is None:
            return False
        table[key] = self.rng.choice(values)
        return True

    # Visible to a schema.

    def unknown_key(self, file):
        table = self.some(file)
        table[self.rng.choice(["polcy", "Policy", "max_sessions", "timeout", "x", "max-sesions"])] = 1
        return True

    def misplaced_key(self, file):
        kinds, key, value = self.rng.choice([
            (["listener"], "policy", "hash"), (["pool"], "bind", 80), (["pool"], "weight", 2),
            (["process"], "max-sessions", 5), (["backend"], "policy", "hash"), (["tier"], "quarantine", "1s"),
            (["listener"], "backends", ["a:1"]), (["defaults"], "bind", 80), (["defaults"], "fixed-places", True),
            (["file"], "user", "x"), (["pool"], "allow", "10.0.0.0/8"), (["listener"], "print-config", True),
        ])
        return self.put(file, kinds, key, [value])

    def wrong_type(self, file):
        rng = self.rng
        family = rng.choice([
            (FLAGS, ["true", 1, [True], 0.5]), (CHOICES, [1, True, ["hash"], 1.5]),
            (DURATIONS, [True, 1.5, ["1s"], {}]), (list(NUMBERS), [True, 1.5, [1], {}]),
            (STRINGS, [7, True, ["a"], 1.5, {}]), (["bind"], [True, 1.5, {}, [80, True]]),
            (["access", "backends"], ["a:1", 7, True, {}]), (["access", "backends"], [[7], [True], [["a"]]]),
        ])
        places = [(table, key) for table, _ in tables(file) for key in table if key in family[0]]
        if not places:
            return False
        table, key = rng.choice(places)
        table[key] = rng.choice(family[1])
        return True

    def wrong_table(self, file):
        key = self.rng.choice(["process", "defaults", "listeners", "pools"])
        file[key] = self.rng.choice(["x", 7, True, []])
        return True

    def wrong_named(self, file):
        key, values = self.rng.choice([("listeners", [7, True, [], ["80 a"]]), ("pools", ["80 a:1", 7, []])])
        file[key]["x"] = self.rng.choice(values)
        return True

    def range(self, file):
        key = self.rng.choice(list(NUMBERS))
        least, most = NUMBERS[key]
        table = self.some(file, key=key)
        if table is None:
            return False
        table[key] = self.rng.choice([least - 1, most + 1])
        return True

    def word(self, file):
        key = self.rng.choice(CHOICES)
        table = self.some(file, ["process", "listener", "pool", "tier", "backend"][key == "admin":], key)
        if table is None:
            return False
        table[key] = self.rng.choice(["roundrobin", "Hash", "", "yes", "hash "])
        return True

    def duration(self, file):
        key = self.rng.choice(DURATIONS)
        table = self.some(file, key=key)
        if table is None:
            return False
        table[key] = self.rng.choice(["5 s", "1.5s", "5min", "-3s", "", "soon", -1, "5S", "Never"])
        return True

    def zero_duration(self, file):
        return self.put(file, ["listener", "defaults"], "connect-timeout", [0, "0", "0ms"])

    def missing(self, file):
        kind, key = self.rng.choice([("listener", "bind"), ("listener", "pool"), ("backend", "to"),
                                     ("tier", "backends"), ("pool", "backends"), ("pool", "tiers")])
        table = self.some(file, [kind], key)
        return table is not None and table.pop(key, None) is not None

    def backends_and_tiers(self, file):
        table = self.some(file, ["pool"])
        if table is None:
            return False
        table.update(backends=["a:1"], tiers=[["b:1"]])
        return True

    def operand(self, file):
        table = self.some(file, ["pool"], "backends")
        if table is None or not isinstance(table["backends"], list):
            return False
        table["backends"].append(self.rng.choice(
            ["a b:80", "a:1:2:3:4:5:6", "[::1:80", ":80", "", "a:80:x", "dns:a.b:80:x", "srv:a b", "http://a:80", "*:80", "unix:run/a"]))
        return True

    def bind(self, file):
        return self.put(file, ["listener"], "bind",
                        ["", "10.0.0.1", "*:", "a:80:5", 0, 70000, "80 81", "[::1]", "unix:a", [], [80, ""]])

    def access(self, file):
        return self.put(file, ["pool", "backend", "defaults"], "access",
                        [["permit ::1"], ["allow"], ["deny 10.0.0.0/"], ["allow ::1 ::2"], [""], [],
                         ["deny country:SWE"], ["allow localhost"]])

    def destination(self, file):
        return self.put(file, ["backend"], "to", ["a:80:5", "", "a b", "[::1", ":80", "unix:x"])

    def proxies(self, file):
        return self.put(file, ["listener", "defaults"], "accept-proxy",
                        ["", "localhost", "country:SE", [], [""], "10.0.0.0/8 unix", "unix:/run/a"])

    def source(self, file):
        return self.put(file, ["listener", "defaults"], "source", ["localhost", "", "10.0.0.1:80", "eth0"])

    def empty_text(self, file):
        return self.put(file, ["process"], self.rng.choice(["user", "root", "admin", "pid-file"]), [""])

    def name(self, file):
        file["pools"][self.rng.choice(["", "a\nb", "x\x7f"])] = {"backends": ["a:1"]}
        return True

    # Beyond a schema.

    def unknown_pool(self, file):
        return self.put(file, ["listener"], "pool", ["nowhere"])

    def same_address(self, file):
        pool = self.rng.choice(list(file["pools"]))
        for name in ["x", "y"]:
            file["listeners"][name] = {"bind": "127.0.0.1:77", "pool": pool}
        return True

    def same_name(self, file):
        file["pools"]["x"] = {"backends": [{"to": "a:1", "name": "n"}, {"to": "b:1", "name": "n"}]}
        return True

    def needs(self, file):
        if "affinity" in file.get("defaults", {}):
            return False
        file["pools"]["x"] = {"affinity-time": "1h", "backends": ["a:1"]}
        return True

    def conflict(self, file):
        table = self.some(file, ["listener"])
        if table is None:
            return False
        table.update({"source": "::1", "transparent": True})
        return True

    def no_port(self, file):
        file["pools"]["x"] = {"backends": [self.rng.choice(["app1", "app1::5", "[::1]"])]}
        return True

    def unknown_variable(self, file):
        return self.put(file, ["listener"], "max-sessions", ["${NOT_SET_ANYWHERE}"])

    def variable_form(self, file):
        return self.put(file, ["listener"], "idle-timeout", ["${}", "${A", "${1:-2}", "${A B}"])

    def quoted_range(self, file):
        return self.put(file, ["listener"], "max-sessions", ["0", "4294967296"])

    def too_long_a_time(self, file):
        return self.put(file, ["listener"], "idle-timeout", ["36501d", "99999999999999999999"])

    def in_operand(self, file, operands):
        file["pools"]["x"] = {"backends": [self.rng.choice(operands)]}
        return True

    def port_range(self, file):
        return self.in_operand(file, ["a:0", "a:65536", "a:nosuchservice"])

    def ipv4_digits(self, file):
        return self.in_operand(file, ["10.0.0.300:80", "10.0.1:80"])

    def ipv6_digits(self, file):
        return self.in_operand(file, ["[1:2:3]:80", "[::1::2]:80"])

    def server_name(self, file):
        return self.put(file, ["route"], "sni", ["10.0.0.1", "a..b", "*", "a*.org", "b c", "*.", "x" * 64, "::1"])

    def route_for_all(self, file):
        for table, kind in tables(file):
            if kind == "route":
                table.pop("sni", None)
                table.pop("alpn", None)
                return True
        return False

    def number_in_operand(self, file):
        return self.in_operand(file, ["a:1:9999999999", "a:1:2:-3", "a:1:2:3:-4"])

    def reject_by_discovery(self, file):
        return self.put(file, ["pool"], "reject", ["dns:app.internal:80", {"to": "srv:_db._tcp.internal"}])

    def unknown_service(self, file):
        return self.put(file, ["listener"], "bind", ["nosuchservice", "127.0.0.1:nosuchservice"])

    def bits_beyond(self, file):
        return self.put(file, ["pool"], "access", [["deny 10.0.0.1/8"], ["allow 2001:db8::1/32"]])

    def no_listeners(self, file):
        if self.rng.random() < 0.5:
            file["listeners"] = {}
        else:
            file.pop("listeners", None)
        return True

    def command_line(self, file):
        file["listeners"]["x"] = "80 app1 --polcy hash"
        return True

    def line_without_backends(self, file):
        file["listeners"]["x"] = "81"
        return True


VISIBLE = [
    "unknown_key", "misplaced_key", "wrong_type", "wrong_table", "wrong_named", "range", "word",
    "duration", "zero_duration", "missing", "backends_and_tiers", "operand", "bind", "access",
    "destination", "proxies", "server_name", "route_for_all", "source", "empty_text", "name",
]


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[%s]" % ", ".join(map(toml, value))
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s = %s" % (toml(key), toml(item)) for key, item in value.items())
    return repr(value)


def written(file, rng):
    """The file as text: inline, or with headers."""
    head, rest = [], []
    for key, value in file.items():
        is_tables = key in ("listeners", "pools") and isinstance(value, dict)
        if is_tables and rng.random() < 0.8:
            rest.append("[%s]" % key)
            plain = {name: item for name, item in value.items() if not isinstance(item, dict)}
            rest += ["%s = %s" % (toml(name), toml(item)) for name, item in plain.items()]
            for name, item in value.items():
                if isinstance(item, dict):
                    rest.append("[%s.%s]" % (key, toml(name)))
                    rest += ["%s = %s" % (toml(name), toml(item)) for name, item in item.items()]
        elif isinstance(value, dict) and rng.random() < 0.8:
            rest.append("[%s]" % key)
            rest += ["%s = %s" % (toml(name), toml(item)) for name, item in value.items()]
        else:
            head.append("%s = %s" % (key, toml(value)))
    return "\n".join(head + rest) + "\n"


def case(seed):
    """A file's text, its faults, and whether they are visible: None if there are none."""
    rng = random.Random(seed)
    file = Generator(rng).file()
    faults = Faults(rng)
    draw = rng.random()
    if draw < 0.35:
        return written(file, rng), [], None
    if draw < 0.6:
        while True:
            name, changed = rng.choice(list(BEYOND)), copy.deepcopy(file)
            if getattr(faults, name)(changed):
                return written(changed, rng), [name], False
    names = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = rng.choice(VISIBLE)
        if name == "missing" and "backends_and_tiers" in names:
            continue  # it could mend that one
        try:
            if getattr(faults, name)(file):
                names.append(name)
        except (AttributeError, TypeError, KeyError):
            break  # an earlier fault has left nothing to spoil
    return written(file, rng), names, bool(names) or None


class Judges:
    def __init__(self, binary):
        self.binary = binary
        schema = json.loads(subprocess.run([binary, "schema"], capture_output=True, check=True).stdout)
        Draft202012Validator.check_schema(schema)
        self.schema = Draft202012Validator(schema)
        self.keys = {kind: set(table["properties"]) for kind, table in schema["$defs"].items()
                     if "properties" in table}
        self.keys["file"] = set(schema["properties"])

    def check(self, path):
        command = [self.binary, "check", "--offline", "--format", "json", path]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit("%s: status %d: %s" % (path, done.returncode, done.stderr))
        reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        errors = [report for report in reports if report["severity"] == "error"]
        return done.returncode == 0, errors

    def is_described(self, text):
        return [error.message for error in self.schema.iter_errors(tomllib.loads(text))]


def judged(judges, seed, directory):
    """What is wrong with the judges' verdicts about this case."""
    text, faults, visible = case(seed)
    path = os.path.join(directory, "%d.toml" % seed)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    accepted, errors = judges.check(path)
    refusals = judges.is_described(text)
    os.remove(path)
    codes = sorted({error["code"] for error in errors})
    wrong = []
    if accepted == bool(faults):
        wrong.append("check should %s" % ("refuse" if faults else "accept"))
    if bool(refusals) != (visible is True):
        wrong.append("the schema should %s" % ("refuse" if visible else "accept"))
    if visible is False and codes != [BEYOND[faults[0]]] and not accepted:
        wrong.append("the code should be %s" % BEYOND[faults[0]])
    if not wrong:
        return None, visible
    shown = [error["message"] for error in errors] + refusals[:3]
    return "seed %d, faults %s, codes %s: %s\n  %s\n%s" % (
        seed, faults, codes, "; ".join(wrong), "\n  ".join(shown), text), visible


def uncovered(judges):
    """Keys that are not generated, and generated ones that are no keys."""
    generated = {
        "process": set(PROCESS), "listener": {*LISTENER, *LISTENER_ONLY}, "route": set(), "pool": {*POOL, *POOL_ONLY},
        "defaults": {*LISTENER, *POOL}, "backend": set(BACKEND), "tier": set(), "file": set(),
    }
    for kind, keys in MADE.items():
        generated[kind].update(keys)
    return {kind: keys ^ generated[kind] for kind, keys in judges.keys.items() if keys ^ generated[kind]}


def blocks(path):
    """The configuration files that a path stands for: itself, or the TOML blocks of a Markdown file."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not path.endswith(".md"):
        return [(path, text)]
    found = re.finditer(r"^```toml\n(.*?)^```$", text, re.M | re.S)
    found = [block for block in found if "[listeners" in block[1]]  # others are pieces
    return [("%s:%d" % (path, text[:block.start()].count("\n") + 2), block[1]) for block in found]


def judge_files(judges, paths):
    failed = count = 0
    for path in paths:
        for name, text in blocks(path):
            count += 1
            with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                accepted, errors = judges.check(file.name)
            problems = [error["message"] for error in errors] + judges.is_described(text)
            if problems or not accepted:
                failed += 1
                print("%s:\n  %s" % (name, "\n  ".join(problems)))
    print("%d files, %d refused" % (count, failed))
    return failed == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", default="target/debug/evenkeel")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", nargs="+", metavar="FILE")
    args = parser.parse_args()
    judges = Judges(args.binary)
    if args.files:
        sys.exit(0 if judge_files(judges, args.files) else 1)
    if missing := uncovered(judges):
        sys.exit("teach the generator these keys: %s" % missing)
    counts = {True: 0, False: 0, None: 0}
    wrong = []
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(os.cpu_count()) as threads:
        seeds = range(args.seed, args.seed + args.count)
        for problem, visible in threads.map(lambda seed: judged(judges, seed, directory), seeds):
            counts[visible] += 1
            wrong += [problem] if problem else []
    for problem in wrong[:10]:
        print(problem)
    print("%d files: %d valid, %d with faults that a schema sees, %d with one beyond it; %d disagreements"
          % (args.count, counts[None], counts[True], counts[False], len(wrong)))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
