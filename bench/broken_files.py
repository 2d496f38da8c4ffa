#!/usr/bin/env python3
"""broken_files.py BINARY [--verbose]: what `evenkeel check`, `haproxy -c` and `nginx -t` say about the same faults.

Each fault is written in all three languages, in a file of its own; the last file has all those that stand in lines of
their own. Prints a table: whether the file is refused, whether the line of the fault is named, the column, and the word
that is meant; and for the last file, how many faults one run names. --verbose prints what each program says. Needs
haproxy, and nginx with its stream module.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

EVENKEEL = """[listeners.web]
bind = "127.0.0.1:5990"
pool = "web"
idle-timeout = "5m"
[pools.web]
policy = "round-robin"
backends = ["127.0.0.1:5991", "127.0.0.1:5992"]
"""
HAPROXY = """defaults
  mode tcp
  timeout connect 5s
  timeout client 5m
  timeout server 5m
frontend web
  bind 127.0.0.1:5990
  default_backend web
backend web
  balance roundrobin
  server a 127.0.0.1:5991
  server b 127.0.0.1:5992
"""
NGINX = """load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events { worker_connections 100; }
stream {
  upstream web {
    server 127.0.0.1:5991;
    server 127.0.0.1:5992;
  }
  server {
    listen 127.0.0.1:5990;
    proxy_timeout 5m;
    proxy_pass web;
  }
}
"""
# What is wrong, and what to replace by what in each file; None where a language does not have such a thing.
FAULTS = [
    ("a key misspelt", ("idle-timeout", "idle-timout"), ("timeout client", "timeout cleint"),
     ("proxy_timeout", "proxy_timout")),
    ("a policy misspelt", ('"round-robin"', '"round-robbin"'), ("balance roundrobin", "balance roundrobbin"), None),
    ("a pool that is not there", ('pool = "web"', 'pool = "wbe"'), ("default_backend web", "default_backend wbe"),
     ("proxy_pass web", "proxy_pass wbe")),
    ("port 70000 of a backend", ("127.0.0.1:5991", "127.0.0.1:70000"), ("127.0.0.1:5991", "127.0.0.1:70000"),
     ("127.0.0.1:5991", "127.0.0.1:70000")),
    ("a listening address with a letter", ("127.0.0.1:5990", "127.0.0.l:5990"), ("127.0.0.1:5990", "127.0.0.l:5990"),
     ("127.0.0.1:5990", "127.0.0.l:5990")),
    ("a unit that does not exist", ('"5m"', '"5min"'), ("timeout client 5m", "timeout client 5min"), ("5m;", "5min;")),
    ("a negative time", ('"5m"', '"-5m"'), ("timeout client 5m", "timeout client -5m"), ("5m;", "-5m;")),
    ("a bracket or quotation mark not closed", ('"127.0.0.1:5992"]', '"127.0.0.1:5992"'),
     ("default_backend web", 'default_backend "web'), ("    proxy_pass web;\n  }", "    proxy_pass web;\n")),
    ("a key given twice", ('pool = "web"\n', 'pool = "web"\npool = "web"\n'),
     ("default_backend web\n", "default_backend web\n  default_backend web\n"),
     ("proxy_pass web;\n", "proxy_pass web;\n    proxy_pass web;\n")),
    ("a section given twice", ("[pools.web]", "[pools.web]\n[pools.web]"), ("backend web\n  balance",
     "backend web\nbackend web\n  balance"), ("  server {", "  upstream web { server 127.0.0.1:1; }\n  server {")),
    ("a certificate that is not there", ('pool = "web"\n', 'pool = "web"\ntls-cert = "/nowhere.pem"\n'),
     ("bind 127.0.0.1:5990", "bind 127.0.0.1:5990 ssl crt /nowhere.pem"),
     ("5990;", "5990 ssl; ssl_certificate /nowhere.pem; ssl_certificate_key /nowhere.pem;")),
]
# Those that may stand in one file together.
TOGETHER = [0, 1, 2, 3]
# The words that were meant.
MEANT = {
    0: ("idle-timeout", "client", "proxy_timeout"),
    1: ("round-robin", "roundrobin", None),
    2: ("web", "web", "web"),
}


def broken(text, replacement):
    old, new = replacement
    at = text.index(old)
    changed = text[:at] + new + text[at + len(old):]
    # The line in which both differ first.
    same = next(i for i, (one, other) in enumerate(zip(text + "\0", changed + "\1")) if one != other)
    return changed, changed.count("\n", 0, same) + 1


def ask(command, text, name, folder):
    file = folder / name
    file.write_text(text)
    answer = subprocess.run([*command, str(file)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return answer.returncode, answer.stdout + answer.stderr


def lines_named(kind, output):
    """The places that a program names: lines, each with its column if it says one."""
    if kind == "evenkeel":
        return [(int(line), column) for line, column in re.findall(r"--> \S+:(\d+):(\d+)", output)]
    if kind == "haproxy":
        return [(int(line), None) for line in re.findall(r"\[\S+:(\d+)\]", output)]
    return [(int(line), None) for line in re.findall(r"\.conf:(\d+)", output)]


def main():
    programs = [
        ("evenkeel", [sys.argv[1], "check"], EVENKEEL, "e.toml"),
        ("haproxy", ["haproxy", "-c", "-f"], HAPROXY, "h.cfg"),
        ("nginx", ["nginx", "-t", "-q", "-c"], NGINX, "n.conf"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for kind, command, text, name in programs:
            code, output = ask(command, text, name, folder)
            if code:
                sys.exit(f"{kind} refuses the file without a fault:\n{output}")
        print("| Fault | " + " | ".join(kind for kind, *_ in programs) + " |\n" + "|---" * 4 + "|")
        for number, (fault, *replacements) in enumerate(FAULTS):
            cells = []
            for place, ((kind, command, text, name), replacement) in enumerate(zip(programs, replacements)):
                if not replacement:
                    cells.append("-")
                    continue
                changed, line = broken(text, replacement)
                code, output = ask(command, changed, name, folder)
                if "--verbose" in sys.argv:
                    print(f"--- {fault}, line {line}: {kind}: {code}\n{output}", file=sys.stderr)
                if code == 0:
                    cells.append("accepted, with a warning" if re.search("warn", output, re.I) else "accepted")
                    continue
                named = lines_named(kind, output)
                cell = "refused"
                if any(it == line for it, _ in named):
                    cell = f"line {line}"
                    column = next(column for it, column in named if it == line)
                    cell += f":{column}" if column else ""
                elif named:
                    cell = f"line {named[0][0]} (it is {line})"
                meant = MEANT.get(number, (None,) * 3)[place]
                if meant and re.search(rf"(did you mean|maybe you meant)\D{{0,3}}{re.escape(meant)}\b", output):
                    cell += ", the word meant"
                cells.append(cell)
            print(f"| {fault} | " + " | ".join(cells) + " |")
        cells = []
        for place, (kind, command, text, name) in enumerate(programs):
            wanted = []
            for number in TOGETHER:
                if FAULTS[number][1 + place]:
                    text, line = broken(text, FAULTS[number][1 + place])
                    wanted.append(line)
            code, output = ask(command, text, name, folder)
            if "--verbose" in sys.argv:
                print(f"--- together, lines {wanted}: {kind}: {code}\n{output}", file=sys.stderr)
            found = {line for line, _ in lines_named(kind, output)} & set(wanted)
            cells.append(f"{len(found)} of {len(wanted)}")
        print("| the first four in one file: how many one run names | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
