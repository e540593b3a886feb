"""Makes one Valkey Cluster of the six nodes on the three database machines: a primary and a replica on each.

`python -m deploy.cluster.limits_cluster my.toml --secrets FOLDER` does it for real machines, on one
that reaches them all; again, after a machine was away, it puts each primary back in its place.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import redis

from deploy.cluster import inventory
from deploy.cluster.inventory import Inventory
from deploy.cluster.render import LIMITS_PORTS

SLOTS = 16384
WAIT_SECONDS = 30


class NotFormed(Exception):
    """The nodes did not become one Cluster in time."""


def form(made: Inventory, password: str) -> None:
    """Does nothing where it is done already. Raises NotFormed, redis.RedisError."""
    nodes = {
        (number, which): redis.Redis(machine.address, port, password=password, socket_timeout=5)
        for number, machine in enumerate(made.databases)
        for which, port in LIMITS_PORTS.items()
    }
    if any(b"cluster_slots_assigned:0" not in _ask(node, "CLUSTER", "INFO") for node in nodes.values()):
        return
    count = len(made.databases)
    for number in range(count):
        first, last = number * SLOTS // count, (number + 1) * SLOTS // count - 1
        _ask(nodes[number, "a"], "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        _ask(nodes[number, "a"], "CLUSTER", "ADDSLOTSRANGE", first, last)
    for machine in made.databases:
        for port in LIMITS_PORTS.values():
            _ask(nodes[0, "a"], "CLUSTER", "MEET", machine.address, port)
    _wait(
        lambda: all(len(_known(node)) == len(nodes) for node in nodes.values()), "they do not know each other"
    )
    for number in range(count):
        # On another machine than its primary, so that no machine takes both along.
        primary = _ask(nodes[number, "a"], "CLUSTER", "MYID")
        _ask(nodes[(number + 1) % count, "b"], "CLUSTER", "REPLICATE", primary)
    _wait(lambda: all(_is_well(node) for node in nodes.values()), "not all slots are served")


def spread(made: Inventory, password: str) -> None:
    """Gives the slots back to the nodes that had them first, where their replicas have taken them over.

    Two primaries on one machine would be a majority that dies with it, after which nobody takes over from anybody.
    """
    for machine in made.databases:
        node = redis.Redis(machine.address, LIMITS_PORTS["a"], password=password, socket_timeout=5)
        if b"role:slave" in _ask(node, "INFO", "REPLICATION"):
            _ask(node, "CLUSTER", "FAILOVER")


def is_well(made: Inventory, password: str) -> bool:
    """Whether every node answers and sees all slots served, each by a primary with a replica."""
    try:
        return all(
            _is_well(redis.Redis(machine.address, port, password=password, socket_timeout=2))
            for machine in made.databases
            for port in LIMITS_PORTS.values()
        )
    except redis.RedisError:
        return False


def _is_well(node: "redis.Redis") -> bool:
    if b"cluster_state:ok" not in _ask(node, "CLUSTER", "INFO"):
        return False
    shares: list[Any] = _ask(node, "CLUSTER", "SLOTS")
    served = sum(last - first + 1 for first, last, *_nodes in shares)
    return served == SLOTS and all(len(share) > 3 for share in shares)


def _known(node: "redis.Redis") -> list[bytes]:
    lines: list[bytes] = _ask(node, "CLUSTER", "NODES").splitlines()
    return [line for line in lines if b"handshake" not in line]


def _ask(node: "redis.Redis", *words: Any) -> Any:
    return node.execute_command(*words)  # type: ignore[no-untyped-call]


def _wait(holds: Any, otherwise: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise NotFormed(f"The nodes of Valkey did not become one Cluster: {otherwise}.")
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--secrets", type=Path, required=True, help="the folder that render wrote into")
    options = parser.parse_args()
    made, password = (
        inventory.read(options.inventory),
        inventory.passwords(options.secrets)["valkey_password"],
    )
    form(made, password)
    spread(made, password)
    sys.stdout.write("The Valkey Cluster is formed, with a primary on each machine.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
