"""Two network namespaces for floods: clients with very many addresses, and the balancer that they reach at 192.0.2.254."""
import contextlib
import os
import subprocess

BALANCER, CLIENT = (f"evenkeel-flood-{role}-{os.getpid()}" for role in ("balancer", "client"))


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def start(namespace, *command, **options):
    return subprocess.Popen(["ip", "netns", "exec", namespace, *command], **options)


@contextlib.contextmanager
def network():
    """The namespaces, removed at the end. Packets from and to 10.0.0.0/8 pass between them."""
    try:
        for namespace in (BALANCER, CLIENT):
            ip(f"netns add {namespace}")
            ip(f"-n {namespace} link set lo up")
        ip(f"-n {CLIENT} link add eth0 type veth peer name client netns {BALANCER}")
        for namespace, device, host in ((CLIENT, "eth0", 1), (BALANCER, "client", 254)):
            ip(f"-n {namespace} address add 192.0.2.{host}/24 dev {device}")
            ip(f"-n {namespace} link set {device} up")
        ip(f"-n {BALANCER} route add 10.0.0.0/8 via 192.0.2.1")
        yield
    finally:
        for namespace in (BALANCER, CLIENT):
            subprocess.run(["ip", "netns", "del", namespace])


def resident(pid):
    """In kB."""
    with open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])
