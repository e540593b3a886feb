#!/bin/sh
# etcd 3.4.23 (Debian 12): a leader that stood still takes away leases that others have renewed meanwhile.
#
# Three members; a lease of 5 s, renewed every half second through a member that is not the leader, and a key that lives
# by it. The leader's process stands still for 8 s and goes on: a machine that was paused, a disk that hung. Another
# member leads after a second, and the lease is renewed by it without a gap. When the old leader wakes, it takes the
# lease for expired by its own clock, and in one pause of several it asks for its end before it has learned that it leads
# no more. The new leader carries that out: the key is gone, though its owner was never late. Who keeps a lock so
# (Patroni its primary's) can lose it to the very machine that stood still. It is etcd's issue 15247; the change that
# followed (16822, November 2023) says of itself that it makes this rare, not impossible.
#
# Needs Debian 12 on amd64 (apt-get, dpkg) and python3.
#
# Seen on 2026-11-30 (which pause it is changes; it tries ten times):
#   etcd Version: 3.4.23
#   pause 8: renewed in time and there while it lasted: True; two seconds later: there
#   pause 9: renewed in time and there while it lasted: True; two seconds later: gone
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq etcd-server=3.4.23-4+b4 2>/dev/null
dpkg -x etcd-server_*.deb .
usr/bin/etcd --version | head -1
cat >paused.py <<'PY'
import base64
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request

LEASE_SECONDS, PAUSED_SECONDS, TRIES = 5, 8, 10
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


def is_there(name):
    return "kvs" in ask(name, "/kv/range", {"key": KEY})


def leader():
    status = ask("m0", "/maintenance/status", {})
    by_id = {each["ID"]: each["name"] for each in ask("m0", "/cluster/member/list", {})["members"]}
    return by_id[status["leader"]]


def renewed(name, lease):
    try:
        return int(ask(name, "/lease/keepalive", {"ID": lease})["result"].get("TTL", 0)) > 0
    except (OSError, KeyError):
        return False


members = {name: start(name) for name in ports}
try:
    for _ in range(100):
        try:
            leader()
            break
        except (OSError, KeyError):
            time.sleep(0.2)
    gone = False
    for number in range(1, TRIES + 1):
        old = leader()
        other = next(name for name in ports if name != old)
        lease = ask(other, "/lease/grant", {"TTL": LEASE_SECONDS})["ID"]
        ask(other, "/kv/put", {"key": KEY, "value": KEY, "lease": lease})
        members[old].send_signal(signal.SIGSTOP)
        paused = last = time.monotonic()
        gap = 0.0
        while time.monotonic() < paused + PAUSED_SECONDS:
            if renewed(other, lease):
                gap, last = max(gap, time.monotonic() - last), time.monotonic()
            time.sleep(0.5)
        was_there = is_there(other) and gap < LEASE_SECONDS
        members[old].send_signal(signal.SIGCONT)
        woken = time.monotonic()
        while time.monotonic() < woken + 2:
            renewed(other, lease)
            time.sleep(0.2)
        gone = was_there and not is_there(other)
        print(f"pause {number}: renewed in time and there while it lasted: {was_there}; two seconds later: "
              + ("gone" if gone else "there"))
        if gone:
            break
finally:
    for process in members.values():
        process.kill()
        process.wait()
sys.exit(not gone)
PY
python3 paused.py
