#!/bin/sh
# etcd 3.4.23 (Debian 12): a lease that nobody renews lives for more than twice its time where its leader dies.
#
# Three members; a lease of 5 s that is never renewed, and a key that lives by it. With all members alive the key is gone
# after 5 s and a bit. If the leading member is killed 4 s after the lease was granted, the one that takes its place
# gives every lease its whole time again, and the time of an election (1 s) on top: the key stays for some 12 s. So whoever
# keeps a lock by a lease is replaced after its time only where it did not take etcd's leader along. A cluster that has
# to be back within a time has to count with the other case: Patroni's primary and etcd's leader on one machine that
# dies.
#
# Needs Debian 12 on amd64 (apt-get, dpkg) and python3.
#
# Seen on 2026-11-30:
#   etcd Version: 3.4.23
#   a lease of 5 s: gone after 5.1 s; its leader killed after 4 s: 11.5 s
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq etcd-server=3.4.23-4+b4 2>/dev/null
dpkg -x etcd-server_*.deb .
usr/bin/etcd --version | head -1
cat >outlived.py <<'PY'
import base64
import json
import socket
import subprocess
import sys
import time
import urllib.request

LEASE_SECONDS, KILLED_AFTER_SECONDS = 5, 4
KEY = base64.b64encode(b"lock").decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


ports = {f"m{number}": (free_port(), free_port()) for number in range(3)}
everybody = ",".join(f"{name}=http://127.0.0.1:{peer}" for name, (_client, peer) in ports.items())


def start(name):
    client, peer = (f"http://127.0.0.1:{port}" for port in ports[name])
    return subprocess.Popen(
        [
            "usr/bin/etcd", "--name", name, "--data-dir", name, "--listen-client-urls", client, "--advertise-client-urls",
            client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", everybody,
            "--heartbeat-interval", "100", "--election-timeout", "1000",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def ask(name, path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{ports[name][0]}/v3{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=1) as answer:
        return json.load(answer)


def is_there(names):
    for name in names:
        try:
            return "kvs" in ask(name, "/kv/range", {"key": KEY})
        except OSError:  # while there is no leader
            continue
    return True


def leader():
    status = ask("m0", "/maintenance/status", {})
    by_id = {each["ID"]: each["name"] for each in ask("m0", "/cluster/member/list", {})["members"]}
    return by_id[status["leader"]]


def lived(killed):
    """Seconds until the key is gone."""
    led = leader()
    others = [name for name in ports if name != led]
    granted = time.monotonic()
    lease = ask(others[0], "/lease/grant", {"TTL": LEASE_SECONDS})["ID"]
    ask(others[0], "/kv/put", {"key": KEY, "value": KEY, "lease": lease})
    if killed:
        time.sleep(KILLED_AFTER_SECONDS)
        members[led].kill()
    while is_there(others):
        time.sleep(0.1)
    return time.monotonic() - granted


members = {name: start(name) for name in ports}
try:
    for _ in range(100):
        try:
            leader()
            break
        except (OSError, KeyError):
            time.sleep(0.2)
    usual, outlived = lived(killed=False), lived(killed=True)
finally:
    for process in members.values():
        process.kill()
        process.wait()
print(f"a lease of {LEASE_SECONDS} s: gone after {usual:.1f} s; its leader killed after {KILLED_AFTER_SECONDS} s: {outlived:.1f} s")
sys.exit(not (usual < LEASE_SECONDS + 2 and outlived > 2 * LEASE_SECONDS))
PY
python3 outlived.py
